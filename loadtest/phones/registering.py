"""`register`: phones that say by REGISTER where they are, and prove who they are by digest.

Both phones are users of a trunk that logs in: whoever calls is challenged, and whoever is called
is reached over the flow of its registration. sbcd asks each trunk for one algorithm alone; that
it was this one is read from the phones' SIP traces.
"""

import json
import re
import socket
import time

from .phone import Failed
from .scenarios import check, connect, end, talk, type_digits

PASSWORD = "s3cret"
WRONG = "wr0ng"
DIGITS = "59#"
# Octets of a hash in hexadecimal.
HASH_LENGTHS = {"MD5": 32, "SHA-256": 64}


class Registrar:
    """What sbcd says of registrations on its admin socket (docs/ADMIN.md)."""

    def __init__(self, path):
        self.path = path

    def users(self):
        """The contacts of each user that is registered, by its name."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.path))
            connection.sendall(b'{"jsonrpc":"2.0","id":1,"method":"registrations.list"}\n')
            answer = json.loads(connection.makefile().readline())
        return {one["user"]: one["contacts"] for one in answer["result"]["registrations"]}

    def expect(self, *phones):
        """These are registered from where they are, once each, and nobody else is."""
        users = self.users()
        names = sorted(phone.name for phone in phones)
        check(sorted(users) == names, f"registered are {sorted(users)} instead of {names}")
        for phone in phones:
            place, contacts = phone.place, users[phone.name]
            found = [(contact["address"].rsplit(":", 1)[0], contact["transport"]) for contact in contacts]
            wanted = [(place.address, place.transport)]
            check(found == wanted, f"{phone.name} is at {found} instead of {wanted}")
            check(contacts[0]["expires_s"] > 0, f"{phone.name}'s time is over: {contacts[0]}")


def register(start, registrar):
    """Log-ins with the wrong password and the right one, calls both ways, and good-bye.

    `start(n, password)` starts phone n; the caller of this function ends what is left of them.
    """
    impostor = start(1, WRONG)
    refused(impostor, "register_failed")
    impostor.stop()
    registrar.expect()
    bob = start(1, PASSWORD)
    bob.wait("registered")
    registrar.expect(bob)

    impostor = start(0, WRONG)
    refused(impostor, "register_failed")
    mark = impostor.mark()
    impostor.call(impostor.place.uri_of(bob.place))
    refused(impostor, "closed", mark)
    registrar.expect(bob)
    check(not bob.count("incoming"), f"{bob.name} was called by who does not know the password")
    impostor.stop()
    alice = start(0, PASSWORD)
    alice.wait("registered")
    registrar.expect(alice, bob)

    texts = []
    for caller, callee in ((alice, bob), (bob, alice)):
        connect(caller, callee)
        texts.append(talk((caller, callee)))
        type_digits(caller, callee, DIGITS)
        end(caller, callee)
        texts.append(proofs(caller, ("REGISTER", "INVITE")))

    bob.unregister()
    gone(registrar, alice)
    mark = alice.mark()
    alice.call(alice.place.uri_of(bob.place))
    refused(alice, "closed", mark, "480")
    alice.unregister()
    gone(registrar)
    return texts


def refused(phone, kind, mark=0, status="403"):
    """What it tried has failed in the way that it had to."""
    why = str(phone.wait(kind, mark).value)
    check(status in why, f"{phone.name} ({phone.kind}) saw {kind} {why!r} instead of {status}")


def gone(registrar, *left):
    """Nobody but these is registered any more, soon."""
    until = time.monotonic() + 3
    while True:
        try:
            return registrar.expect(*left)
        except Failed:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)


def proofs(phone, methods):
    """How often it has proven requests of these methods, by its SIP trace, and with what."""
    trace = phone.log.read_text(errors="replace").replace("\r", "")
    asked = set(re.findall(r"^WWW-Authenticate: Digest .*?algorithm=\"?([\w-]+)", trace, re.M))
    check(asked == {phone.algorithm}, f"{phone.name} was asked for {asked or 'nothing'}")
    texts = []
    for method in methods:
        requests = re.findall(rf"^{method} sips?:\S+ SIP/2\.0\n((?:.+\n)+)", trace, re.M)
        given = re.findall(r"^Authorization: (Digest .*)", "\n".join(requests), re.M)
        check(given, f"{phone.name} ({phone.kind}) sent no {method} with a proof")
        for value in given:
            # Without a word about it, it is MD5 (RFC 7616 §3.4).
            algorithm = re.search(r'algorithm="?([\w-]+)', value)
            proof = re.search(r'response="([0-9a-f]+)"', value)
            check(
                (algorithm[1] if algorithm else "MD5") == phone.algorithm
                and proof
                and len(proof[1]) == HASH_LENGTHS[phone.algorithm],
                f"{phone.name} ({phone.kind}) proves {method} with {value}",
            )
        texts.append(f"{len(given)} {method}")
    return f"{phone.name} proved {' and '.join(texts)} with {phone.algorithm}"
