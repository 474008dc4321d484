"""The driver. `prepare` once, then `run` beside a running sbcd, or `run --direct`.

    python3 -m phones prepare --directory D --venv V
    python3 -m phones run --directory D --venv V --transport udp --proxy 127.77.{}.1:5060

Prints a line for each cell of the matrix; `--json` writes them to a file.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from .baresip import Baresip
from .certificates import Certificates
from .hiding import leaks
from .phone import Failed, Place
from .pjsua import Pjsua
from .registering import Registrar, register
from .scenarios import ALL, check
from .tone import TONES_HZ

# The version that pjsua_child.py was written for.
PJSUA2 = "pjsua2-python==2.15.1.post1"
AUDIO_PACKAGES = ("pesq==0.0.4", "numpy<3")
KINDS = {"baresip": Baresip, "pjsua2": Pjsua}
NAMES = ("alice", "bob", "carol")


def main():
    """0: every cell that could be run is ok; 1: some are not; 2: could not be run."""
    parser = argparse.ArgumentParser(prog="phones")
    parser.add_argument("action", choices=("prepare", "run"))
    parser.add_argument("--directory", type=pathlib.Path, required=True, help="for files of the run")
    parser.add_argument("--venv", type=pathlib.Path, required=True, help="where pjsua2 is, or will be")
    parser.add_argument("--network", default="127.77", help="first half of all addresses")
    parser.add_argument("--transport", default="udp", help="udp, tcp or tls, also as udp+srtp or udp+pcma, or Alice's-Bob's")
    parser.add_argument("--pair", action="append", help="caller-callee, as baresip-pjsua2")
    parser.add_argument("--scenario", action="append", choices=[*ALL, "register"])
    parser.add_argument("--socket", type=pathlib.Path, help="sbcd's admin socket, for `register`")
    parser.add_argument("--audio", action="store_true", help="prepare for that scenario, too")
    parser.add_argument("--direct", action="store_true", help="without sbcd")
    parser.add_argument("--seconds", type=float, default=600, help="for all of it")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    # What stops us must stop the phones, too: they end on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        return prepare(options) if options.action == "prepare" else run(options)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"phones: {error}", file=sys.stderr)
        return 2


def prepare(options):
    """What a run needs: the package and the certificates."""
    options.directory.mkdir(parents=True, exist_ok=True)
    python = options.venv / "bin" / "python"
    if not has_pjsua2(python):
        subprocess.run([sys.executable, "-m", "venv", options.venv], check=True, timeout=60)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([*pip, "--only-binary=:all:", PJSUA2], check=True, timeout=120)
        except subprocess.SubprocessError as error:
            raise Failed(f"pjsua2 cannot be installed: {error}") from error
        if not has_pjsua2(python):
            raise Failed("pjsua2 is installed, but cannot be imported")
    if options.audio:
        prepare_audio(options, python)
    addresses = {name: [f"{options.network}.{n}.2"] for n, name in enumerate(NAMES, 1)}
    addresses["sbcd"] = [f"{options.network}.{n}.1" for n in range(1, len(NAMES) + 1)]
    Certificates(options.directory / "tls").make(addresses)
    return 0


def prepare_audio(options, python):
    """Speech to play, and what scores it."""
    has = [python, "-c", "import numpy, pesq"]
    if subprocess.run(has, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode:
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            # It comes as source, in C.
            subprocess.run([*pip, *AUDIO_PACKAGES], check=True, timeout=900)
        except subprocess.SubprocessError as error:
            raise Failed(f"pesq cannot be installed: {error}") from error
    if not shutil.which("espeak-ng"):
        raise Failed("espeak-ng is not installed: apt install espeak-ng")
    for name in NAMES[:2]:
        speech(options, python, "make", name, voice_file(options, name))


def speech(options, python, *arguments):
    """What speech.py prints."""
    command = [python, "-B", "-m", "phones.speech", *map(str, arguments)]
    package = pathlib.Path(__file__).resolve().parent.parent
    done = subprocess.run(command, check=True, timeout=120, cwd=package, stdout=subprocess.PIPE)
    return done.stdout


def voice_file(options, name):
    """What this phone says."""
    return options.directory.resolve() / f"{name}.wav"


def has_pjsua2(python):
    """Whether an interpreter can import it."""
    if not python.exists():
        return False
    return subprocess.run([python, "-c", "import pjsua2"], check=False, timeout=30).returncode == 0


def run(options):
    """Every scenario for every pair."""
    Pjsua.python = str(options.venv / "bin" / "python")
    until = time.monotonic() + options.seconds
    pairs = options.pair or [f"{one}-{other}" for one in KINDS for other in KINDS]
    cells = []
    for pair in pairs:
        kinds = pair.split("-")
        if len(kinds) != 2 or not set(kinds) <= set(KINDS):
            raise Failed(f"no such pair: {pair}")
        cells += Round(options, pair, kinds).run(until)
    if options.json:
        options.json.write_text(json.dumps(cells))
    return 0 if all(cell["verdict"] != "failed" for cell in cells) else 1


class Round:
    """All scenarios of one pair. Phones live from one scenario to the next, unless it failed."""

    def __init__(self, options, pair, kinds):
        self.options, self.pair = options, pair
        # Carol is of Alice's kind and transport: calls go in a ring.
        self.kinds = [*kinds, kinds[0]]
        transports = (options.transport.split("-") * 2)[:2]
        self.transports = [*transports, transports[0]]
        self.phones = []
        self.starts = 0

    def run(self, until):
        """The cells of this pair; one more for each time that topology hiding failed."""
        cells = []
        try:
            for name in self.options.scenario or [name for name in ALL if name != "audio"]:
                if time.monotonic() > until:
                    cells.append(self.cell(name, "failed", ["no time left"], 0))
                    continue
                cells.append(self.scenario(name))
                if cells[-1]["verdict"] == "failed":
                    cells += self.stop()
            cells += self.stop()
        finally:
            self.stop()
        return cells

    def scenario(self, name):
        """One cell."""
        began = time.monotonic()
        scores, converted = {}, {}
        try:
            if name == "register":
                registrar = Registrar(self.options.socket)
                texts = register(self.start_one, registrar)
            else:
                self.start(3 if name in ("blind", "attended") else 2)
                texts = ALL[name](*(self.phones + [None])[:3])
            verdict = "ok" if texts is not None else "n/a"
            if name == "audio":
                scores = self.scores("score")
                if self.options.direct:
                    converted = self.scores("convert")
                texts += [f"{name} hears {values}" for name, values in scores.items()]
                check(all(scores.values()), "; ".join(["speech was not heard", *texts]))
        except Failed as error:
            verdict, texts = "failed", [str(error)]
        cell = self.cell(name, verdict, texts or [], time.monotonic() - began)
        return {**cell, "scores": scores, "converted": converted}

    def scores(self, how):
        """By who heard it: the scores of the other one's speech; `how` as speech.py has it."""
        python = self.options.venv / "bin" / "python"
        scores = {}
        for listener, speaker in ((0, 1), (1, 0)):
            listener, speaker = self.phones[listener], self.phones[speaker]
            scores[listener.name] = [
                round(value, 3)
                for heard in sorted(listener.directory.glob("speech-*.wav"))
                for value in json.loads(
                    speech(self.options, python, how, voice_file(self.options, speaker.name), heard)
                )
            ]
        return scores

    def cell(self, name, verdict, texts, seconds, phones=()):
        """What is reported of a scenario."""
        cell = {
            "pair": self.pair,
            "transport": self.options.transport,
            "direct": self.options.direct,
            "scenario": name,
            "verdict": verdict,
            "detail": "; ".join(texts),
            "seconds": round(seconds, 1),
            "files": [str(phone.directory) for phone in phones or self.phones] if verdict == "failed" else [],
        }
        via = "direct" if self.options.direct else "sbcd"
        print(
            f"{via} {cell['transport']} {self.pair} {name}: {verdict} ({seconds:.1f} s) {cell['detail']}",
            flush=True,
        )
        return cell

    def start(self, count):
        """Have so many phones running."""
        while len(self.phones) < count:
            self.start_one(len(self.phones))

    def start_one(self, number, login=None):
        """Start one phone; with a password it registers."""
        name, kind = NAMES[number], self.kinds[number]
        transport, *media = self.transports[number].split("+")
        network = f"{self.options.network}.{number + 1}"
        # The port of TLS is the next one at sbcd, too.
        port = 5060 + (transport == "tls")
        proxy = None if self.options.direct else f"{network}.1:{port}"
        codecs = [word.upper() for word in media if word in ("pcma", "pcmu")]
        place = Place(
            name,
            f"{network}.2",
            transport,
            proxy,
            srtp=any(word.startswith("srtp") for word in media),
            codec=codecs[0] if codecs else None,
            voice=voice_file(self.options, name) if self.options.scenario == ["audio"] else None,
            login=login,
        )
        self.starts += 1
        directory = self.options.directory / f"{self.pair}-{self.options.transport}-{self.starts}-{name}"
        shutil.rmtree(directory, ignore_errors=True)
        tls = Certificates(self.options.directory / "tls")
        self.phones.append(KINDS[kind](place, TONES_HZ[number], directory, tls))
        return self.phones[-1]

    def stop(self):
        """End all phones; a cell about what they saw of each other, when that is too much."""
        phones, self.phones = self.phones, []
        for phone in phones:
            phone.stop()
        found = [] if self.options.direct else leaks(phones, self.options.network)
        return [self.cell("hiding", "failed", found, 0, phones)] if found else []


if __name__ == "__main__":
    sys.exit(main())
