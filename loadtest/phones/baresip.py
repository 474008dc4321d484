"""baresip, from Debian's package, without a sound card.

It is controlled through its module ctrl_tcp: commands and events are JSON in netstrings on a
TCP connection. It speaks from a WAV file (module aufile) and what it hears is written to WAV
files by the filter sndfile, one for each time that a stream starts. It answers every call.

What 1.0.0 cannot do, so that a test must not expect it: it does not know Replaces (RFC 3891).
An attended transfer begins by typing the URI with Replaces as its target, which baresip passes
on. Transferred itself, it puts the headers of the URI, spoilt, into its Request-URI, which is to
be refused; as the target it takes the new call for one more call.
"""

import json
import re
import socket
import subprocess
import threading
import time

from .phone import Event, Failed, Phone
from .tone import RATE_HZ, Heard, pcm_wav, repeat_wav, samples_of, write_wav

MODULES = "/usr/lib/baresip/modules"
WAV_HEADER_BYTES = 44
LIFE_SECONDS = 300
REGISTER_SECONDS = 120
# Its events as ours.
KINDS = {
    "CALL_INCOMING": "incoming",
    "CALL_RINGING": "ringing",
    "CALL_PROGRESS": "ringing",
    "CALL_ESTABLISHED": "established",
    "CALL_CLOSED": "closed",
    "CALL_DTMF_START": "dtmf",
    "REGISTER_OK": "registered",
    "REGISTER_FAIL": "register_failed",
    "TRANSFER": "transfer",
    "TRANSFER_FAILED": "transfer_failed",
}


class Baresip(Phone):
    """A running baresip."""

    kind = "baresip"
    # It has no other.
    algorithm = "MD5"

    def __init__(self, place, tone_hz, directory, tls=None):
        super().__init__(place, tone_hz, directory)
        directory.mkdir()
        voice = directory / "voice.wav"
        if place.voice:
            repeat_wav(voice, place.voice, 120)
        else:
            write_wav(voice, tone_hz, 120)
        control = ("127.0.0.1", free_port())
        self._heard = directory / "heard"
        self._heard.mkdir()
        block_encode_files(self._heard)
        (directory / "config").write_text(self._config(voice, control, tls))
        # One who registers does so at once, and what comes of it is told to who listens then.
        (directory / "accounts").write_text("" if place.login else self._account())
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.spawn(
                # Its own end is the last resort, should this process die without a word.
                ["baresip", "-4", "-s", "-v", "-t", str(LIFE_SECONDS), "-n", place.address, "-f", directory],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
            )
        self._socket = self._connect(control)
        self._answers = {}
        self._token = 0
        threading.Thread(target=self._read, daemon=True).start()
        if place.login:
            self.command("uanew", self._account().strip())

    def _config(self, voice, control, tls):
        place = self.place
        lines = [
            "poll_method epoll",
            f"sip_listen {place.address}:{place.port}",
            "call_local_timeout 30",
            "call_max_calls 4",
            f"audio_source aufile,{voice}",
            "audio_player none,none",
            "audio_alert none,none",
            "ausrc_format s16",
            "auplay_format s16",
            "auenc_format s16",
            "audec_format s16",
            "audio_buffer 20-160",
            "rtp_tos 184",
            "jitter_buffer_delay 1-5",
            f"module_path {MODULES}",
            *(f"module {name}.so" for name in ("stdio", "g711", "sndfile", "aufile", "srtp")),
            *(f"module_tmp {name}.so" for name in ("account",)),
            *(f"module_app {name}.so" for name in ("menu", "ctrl_tcp")),
            f"ctrl_tcp_listen {control[0]}:{control[1]}",
            f"snd_path {self._heard}",
            "menu_bell no",
            "ringback_disabled yes",
            "statmode_default off",
        ]
        if tls:
            lines += [f"sip_certificate {tls.pem(place.name)}", f"sip_cafile {tls.authority}"]
        return "\n".join(lines) + "\n"

    def _account(self):
        place = self.place
        outbound = f';outbound="sip:{place.proxy};transport={place.transport}"' if place.proxy else ""
        host, login = f"{place.address}:{place.sip_port}", ";regint=0"
        if place.login:
            host = place.domain
            login = f";regint={REGISTER_SECONDS};auth_user={place.name};auth_pass={place.login}"
        return (
            f"<sip:{place.name}@{host};transport={place.transport}>{login}"
            f";answermode=auto;mwi=no{outbound}{';mediaenc=srtp-mand' * place.srtp}"
            f"{f';audio_codecs={place.codec}/8000/1' if place.codec else ''}\n"
        )

    def _connect(self, control):
        until = time.monotonic() + 8
        while True:
            try:
                return socket.create_connection(control, timeout=2)
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    raise Failed(f"{self.name} (baresip) did not start: {error}, see {self.log}") from error
                time.sleep(0.05)

    def _read(self):
        data = b""
        self._socket.settimeout(None)
        while True:
            try:
                more = self._socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                self.report(Event("gone"))
                return
            data += more
            while b":" in data:
                length, rest = data.split(b":", 1)
                if len(rest) <= int(length):
                    break
                self._message(json.loads(rest[: int(length)].decode("utf-8", "replace")))
                data = rest[int(length) + 1 :]

    def _message(self, message):
        if message.get("response"):
            with self._changed:
                self._answers[message.get("token")] = message
                self._changed.notify_all()
        elif kind := KINDS.get(message.get("type")):
            value = message.get("param")
            self.report(Event(kind, message.get("id"), value))
            if kind == "closed" and value == "Call transfered":
                self.report(Event("transferred", message.get("id")))

    def command(self, command, params=None, seconds=5.0):
        """Give a command and wait for its answer's text."""
        with self._changed:
            self._token += 1
            token = str(self._token)
        message = {"command": command, "token": token}
        if params is not None:
            message["params"] = params
        data = json.dumps(message).encode()
        self._socket.sendall(b"%d:%s," % (len(data), data))
        with self._changed:
            if not self._changed.wait_for(lambda: token in self._answers, seconds):
                raise Failed(f"{self.name} (baresip) does not answer {command}")
            answer = self._answers.pop(token)
        if not answer.get("ok"):
            raise Failed(f"{self.name} (baresip) refuses {command}: {answer.get('data')}")
        return answer.get("data", "")

    def call(self, uri):
        """Dial."""
        self.command("dial", uri)

    def unregister(self):
        """Say that it is gone, for good: it has no other way than to delete its user."""
        self.command("uadel", f"sip:{self.name}@{self.place.domain}")

    def hold(self, _call=None):
        """Put the current call on hold."""
        self.command("hold")

    def resume(self, _call=None):
        """Take it back."""
        self.command("resume")

    def hang_up(self, _call=None):
        """End the current call."""
        self.command("hangup")

    def dtmf(self, digits, _call=None):
        """Type digits as RFC 4733 events."""
        for digit in digits:
            self.command("sndcode", digit)
            time.sleep(0.25)

    def transfer(self, uri, _call=None):
        """Blind transfer of the current call (RFC 3515)."""
        self.command("transfer", uri)

    def quit(self):
        """By its own command, which first ends its calls."""
        try:
            self.command("quit", seconds=2)
        except (Failed, OSError):
            pass

    def listen(self, seconds):
        """What comes in from now for some seconds."""
        return Heard(samples_of(self._data(seconds)), RATE_HZ)

    def record(self, seconds, path):
        """The same, as a WAV file."""
        pcm_wav(path, self._data(seconds))

    def _data(self, seconds):
        before = self._recorded()
        time.sleep(seconds)
        data = b""
        for path, size in sorted(self._recorded().items()):
            # A stream that started again within the same second has truncated the file.
            start = before.get(path, WAV_HEADER_BYTES)
            if size < start:
                start = WAV_HEADER_BYTES
            with path.open("rb") as file:
                file.seek(start)
                data += file.read(size - start)
        return data

    def _recorded(self):
        return {path: path.stat().st_size for path in self._heard.glob("dump-*-dec.wav")}

    def hang_up_all(self):
        """End every call that is left."""
        for _ in range(2):
            self.command("hangup")

    def transfer_to_call(self, _call, other):
        """Attended transfer of the current call (RFC 5589 §7), as a target typed by hand.

        The peer of the other call knows it by the same Call-ID with the tags the other way.
        """
        peer, ours, theirs = self._dialog(other)
        # Without the brackets it would write a Refer-To that nobody can read.
        self.transfer(f"<{peer}?Replaces={other}%3Bto-tag%3D{theirs}%3Bfrom-tag%3D{ours}>")

    def _dialog(self, number):
        """The peer's URI, our tag and its tag of a call that came in, from the SIP trace."""
        text = self.log.read_text(errors="replace")
        for message in text.split("SIP/2.0 200 ")[1:]:
            fields = dict(re.findall(r"^([\w-]+): *(.*?)\r?$", message, re.M)[::-1])
            if fields.get("Call-ID") != number or "INVITE" not in fields.get("CSeq", ""):
                continue
            tags = [re.search(r"tag=([^;\s]+)", fields[side]) for side in ("To", "From")]
            uri = re.search(r"sips?:[^>;?\s]+", fields["From"])
            if all(tags) and uri:
                return uri[0], tags[0][1], tags[1][1]
        raise Failed(f"{self.name} (baresip) knows no call {number}")


def block_encode_files(directory):
    """Take the names of the files that sndfile would write outgoing audio to.

    baresip 1.0.0 closes the filters of incoming audio when a call is held, and opens them again
    only if there are none for outgoing audio. A filter whose file cannot be opened is left out.
    """
    now = int(time.time())
    for second in range(now - 1, now + LIFE_SECONDS + 2):
        stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(second))
        (directory / f"dump-{stamp}-enc.wav").mkdir()


def free_port():
    """A TCP port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
