"""A phone as the scenarios see it: commands go in, events come out, and everything ends.

A phone is a child process. What it reports is kept in the order it came; a scenario marks a
place in that order, does something, and waits for what must follow. Each wait has an end.
"""

import signal
import subprocess
import threading
import time


class Failed(Exception):
    """What did not happen."""


class Event:
    """Something a phone reported: a kind, the call it is about, and a value."""

    def __init__(self, kind, call=None, value=None):
        self.kind, self.call, self.value = kind, call, value

    def __repr__(self):
        return f"{self.kind}({self.call}, {self.value})"


class Place:
    """Where a phone is: its name, its address, and how it reaches the others."""

    def __init__(
        self, name, address, transport, proxy=None, port=5060, srtp=False, codec=None, voice=None, login=None
    ):
        self.name, self.address, self.transport = name, address, transport
        # Media is encrypted, or there is no call.
        self.srtp = srtp
        # "PCMU" or "PCMA", and no other; None: whatever it likes.
        self.codec = codec
        # A WAV file that it speaks, again and again; None: its tone.
        self.voice = voice
        # It registers at its proxy with this password, as a user of `domain`; None: it does not.
        self.login = login
        # Where everything is sent, "address:port"; None: straight to the other phone.
        self.proxy = proxy
        # For TLS the next one: baresip listens there.
        self.port = port

    @property
    def sip_port(self):
        """The port that its transport listens on."""
        return self.port + (self.transport == "tls")

    @property
    def domain(self):
        """Of one who registers: the host in its From, and the realm that it is asked for."""
        return f"{self.name}.example"

    @property
    def uri(self):
        """How others reach it without a proxy."""
        return f"sip:{self.name}@{self.address}:{self.sip_port};transport={self.transport}"

    def uri_of(self, other):
        """The URI of another phone, as this one dials it."""
        if self.proxy is None:
            return other.uri
        return f"sip:{other.name}@{self.proxy};transport={self.transport}"


class Phone:
    """A child process and its events. Kinds of phones fill in the commands.

    Events are `incoming`, `ringing`, `established`, `closed` (value: why), `dtmf` (value: the
    digit), `transfer` (a REFER came), `replaced` (an INVITE took the call's place), `transferred`,
    `transfer_failed`, `registered` and `register_failed` (value: why).
    """

    kind = "phone"
    # Whether it can send digits in INFO requests.
    sends_info = False
    # Whether it obeys Replaces, in a REFER and in an INVITE (RFC 3891).
    knows_replaces = False
    # The hash algorithm that its log-ins are asked for.
    algorithm = "SHA-256"

    def __init__(self, place, tone_hz, directory):
        self.place, self.tone_hz, self.directory = place, tone_hz, directory
        self.process = None
        self.events = []
        self._changed = threading.Condition()

    @property
    def name(self):
        """Its user name."""
        return self.place.name

    def spawn(self, command, **options):
        """Start the child; its output goes to a file, too."""
        self.process = subprocess.Popen(command, **options)

    def report(self, event):
        """From the thread that reads what the child says."""
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def mark(self):
        """The place after the last event so far."""
        with self._changed:
            return len(self.events)

    def wait(self, kind, since=0, call=None, seconds=8.0):
        """The first event of a kind after a mark."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if event.kind == kind and call in (None, event.call):
                        return event
                    if event.kind == "gone":
                        raise Failed(f"{self.name} ({self.kind}) ended by itself")
                left = until - time.monotonic()
                if left <= 0:
                    seen = ", ".join(map(repr, self.events[since:])) or "nothing"
                    raise Failed(f"{self.name} ({self.kind}) saw no {kind} in {seconds:g} s, but {seen}")
                self._changed.wait(left)

    def count(self, kind, since=0):
        """Events of a kind after a mark."""
        with self._changed:
            return [event for event in self.events[since:] if event.kind == kind]

    def stop(self):
        """End the child: asked, told, killed."""
        if self.process is None:
            return
        for number, patience in ((None, 4), (signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            if self.process.poll() is not None:
                return
            if number is None:
                self.quit()
            else:
                self.process.send_signal(number)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue

    def quit(self):
        """Ask the child to end."""
