"""Topology hiding as the phones see it: nothing of one side appears in another's SIP trace."""

import itertools
import re

# What the phones call themselves, in headers and in SDP.
PRODUCTS = {
    "baresip": r"^(?:User-Agent|Server): *baresip|tool:baresip",
    "pjsua2": r"^(?:User-Agent|Server): *pjsua2|^s=pjmedia",
}
IDENTITIES = (r"^(Call-ID): *(\S+)", r"^(From|To):.*?;tag=([^;\s]+)", r"^(Via):.*;branch=([^;\s]+)")


def leaks(phones, network):
    """What appears where it must not, for phones that were on a network each."""
    texts = [phone.log.read_text(errors="replace") for phone in phones]
    found = []
    for phone, text in zip(phones, texts):
        own = phone.place.address.rsplit(".", 1)[0].removeprefix(network)
        for part in sorted(set(re.findall(re.escape(network) + r"(\.\d+)\.\d+", text))):
            # The network of the media ports is everybody's.
            if part not in (own, ".9"):
                found.append(f"{phone.name} sees {network}{part}")
        for kind in {other.kind for other in phones} - {phone.kind}:
            if seen := re.search(PRODUCTS[kind], text, re.M | re.I):
                found.append(f"{phone.name} sees {seen[0]!r} of {kind}")
    for (one, first), (other, second) in itertools.combinations(list(zip(phones, texts)), 2):
        for pattern in IDENTITIES:
            both = identities(pattern, first) & identities(pattern, second)
            for header, value in sorted(both):
                found.append(f"{one.name} and {other.name} both see {header} {value}")
    return found


def identities(pattern, text):
    """Header and value of everything that matches."""
    return set(re.findall(pattern, text, re.M | re.I))
