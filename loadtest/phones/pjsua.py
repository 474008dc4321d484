"""A pjsua2 phone as the scenarios see it; pjsua_child.py is the phone itself."""

import json
import pathlib
import shutil
import subprocess
import threading

from .phone import Event, Failed, Phone
from .tone import Heard

CHILD = pathlib.Path(__file__).with_name("pjsua_child.py")


class Pjsua(Phone):
    """A running pjsua2 phone."""

    kind = "pjsua2"
    sends_info = True
    knows_replaces = True
    # Interpreter that has the package; set by the driver.
    python = "python3"
    _rtp_port = 4000

    def __init__(self, place, tone_hz, directory, tls=None):
        super().__init__(place, tone_hz, directory)
        directory.mkdir()
        self.log = directory / "log"
        setup = {
            "name": place.name,
            "address": place.address,
            "port": place.sip_port,
            "transport": place.transport,
            "proxy": place.proxy,
            "srtp": place.srtp,
            "codec": place.codec,
            "login": place.login,
            "domain": place.domain,
            "voice": place.voice and str(place.voice),
            "tone_hz": tone_hz,
            "rtp_port": self._rtp_port,
            "directory": str(directory),
        }
        if place.transport == "tls":
            setup["authority"] = str(tls.authority)
            setup["certificate"] = str(tls.certificate(place.name))
            setup["key"] = str(tls.key(place.name))
        with (directory / "errors").open("wb") as errors:
            self.spawn(
                [self.python, "-B", CHILD, json.dumps(setup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._answers = {}
        self._token = 0
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.wait("ready")
        except Failed:
            self.stop()
            text = (directory / "errors").read_text(errors="replace")[-500:]
            raise Failed(f"{self.name} (pjsua2) did not start: {text}") from None

    def _read(self):
        for line in self.process.stdout:
            # Warnings of the library may share the stream.
            if not line.startswith(b"{"):
                continue
            message = json.loads(line)
            if "answer" in message:
                with self._changed:
                    self._answers[message["answer"]] = message
                    self._changed.notify_all()
            else:
                self.report(Event(message["event"], message.get("call"), message.get("value")))
        self.report(Event("gone"))

    def command(self, command, seconds=5.0, **parameters):
        """Give a command and wait for its answer."""
        with self._changed:
            self._token += 1
            token = self._token
        line = json.dumps({"command": command, "token": token, **parameters}) + "\n"
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(f"{self.name} (pjsua2) is gone: {error}") from error
        with self._changed:
            if not self._changed.wait_for(lambda: token in self._answers, seconds):
                raise Failed(f"{self.name} (pjsua2) does not answer {command}")
            answer = self._answers.pop(token)
        if "error" in answer:
            raise Failed(f"{self.name} (pjsua2) refuses {command}: {answer['error']}")
        return answer

    def call(self, uri):
        """Dial."""
        return self.command("call", uri=uri)["call"]

    def unregister(self):
        """Say that it is gone."""
        self.command("unregister")

    def hold(self, call=None):
        """Put a call on hold."""
        self.command("hold", call=call)

    def resume(self, call=None):
        """Take it back."""
        self.command("resume", call=call)

    def hang_up(self, call=None):
        """End a call."""
        self.command("hang_up", call=call)

    def dtmf(self, digits, call=None, method="rfc4733"):
        """Type digits, as RFC 4733 events or with INFO."""
        self.command("dtmf", digits=digits, call=call, method=method)

    def hang_up_all(self):
        """End every call that is left."""
        for call in self.command("calls")["calls"]:
            self.hang_up(call)

    def packets(self, call=None):
        """RTP packets of a call."""
        return self.command("packets", call=call)

    def transfer(self, uri, call=None):
        """Blind transfer (RFC 3515)."""
        self.command("transfer", uri=uri, call=call)

    def transfer_to_call(self, call, other):
        """Attended transfer: have the peer of one call replace us in the other (RFC 3891)."""
        self.command("transfer_to_call", call=call, other=other)

    def listen(self, seconds):
        """What comes in from now for some seconds."""
        answer = self.command("listen", seconds + 10, length_seconds=seconds, keep=False)
        heard = Heard((), 1)
        heard.seconds, heard.rms = answer["seconds"], answer["rms"]
        heard.frequency_hz, heard.share = answer["frequency_hz"], answer["share"]
        return heard

    def record(self, seconds, path):
        """The same, as a WAV file."""
        answer = self.command("listen", seconds + 10, length_seconds=seconds, keep=True)
        shutil.move(answer["path"], path)

    def quit(self):
        """Its loop ends and it hangs up."""
        try:
            self.process.stdin.write(b'{"command": "quit"}\n')
            self.process.stdin.close()
        except OSError:
            pass
