"""What the phones do: each scenario is a function of three phones and returns its figures, or
None when the phones cannot do it.

Alice calls Bob. Carol is the third one, for transfers: Alice is the one who transfers, Bob the
one who is transferred, and Carol where to. Calls go in a ring, from Alice to Bob, from
Bob to Carol and from Carol to Alice, because that is how routes by trunk can send them.
"""

import re
import threading
import time

from .phone import Failed

# Until media follows signalling.
SETTLE_SECONDS = 0.6
LISTEN_SECONDS = 0.7
DIGITS = "1590#*2"
# Each call of `audio` hears the speech of 8 s with its pause of 1 s at least once whole.
AUDIO_CALLS = 3
AUDIO_SECONDS = 19


def check(holds, what):
    """A condition of success."""
    if not holds:
        raise Failed(what)


def talk(*pairs):
    """Each phone of a pair must hear the other's tone and nothing else; what they heard."""
    texts = []
    for one, other in pairs:
        for listener, speaker in ((one, other), (other, one)):
            # The first moment may still hold the end of something else.
            for attempt in (1, 2, 3):
                heard = listener.listen(LISTEN_SECONDS)
                if heard.is_tone(speaker.tone_hz) and heard.seconds > LISTEN_SECONDS / 2:
                    break
                check(
                    attempt < 3,
                    f"{listener.name} ({listener.kind}) hears {heard}"
                    f" instead of {speaker.name}'s {speaker.tone_hz} Hz",
                )
            texts.append(f"{listener.name} {heard.frequency_hz} Hz")
    return ", ".join(texts)


def connect(caller, callee):
    """A call that is answered; the numbers that both have for it."""
    marks = caller.mark(), callee.mark()
    caller.call(caller.place.uri_of(callee.place))
    ours = caller.wait("established", marks[0])
    theirs = callee.wait("established", marks[1])
    time.sleep(SETTLE_SECONDS)
    return ours.call, theirs.call


def end(ender, *others):
    """Hang up, and see that the others notice."""
    marks = [(phone, phone.mark()) for phone in others]
    ender.hang_up()
    for phone, mark in marks:
        phone.wait("closed", mark)


def packets(*phones):
    """RTP packets by the phones' own count, of those that count."""
    counts = []
    for phone in phones:
        if hasattr(phone, "packets"):
            stat = phone.packets()
            counts.append(f"{phone.name} sent {stat['sent']} got {stat['received']} lost {stat['lost']}")
    return counts


def call(alice, bob, _carol):
    """A call with audio both ways, ended by the caller; and one ended by the callee."""
    texts = []
    for ender, other in ((alice, bob), (bob, alice)):
        connect(alice, bob)
        texts = [talk((alice, bob)), *packets(alice, bob)]
        end(ender, other)
    return texts


def hold(alice, bob, _carol):
    """Hold and resume by each side: silence for the holder, then audio both ways again."""
    connect(alice, bob)
    talk((alice, bob))
    texts = []
    for holder, held in ((alice, bob), (bob, alice)):
        holder.hold()
        time.sleep(SETTLE_SECONDS)
        for listener, speaker in ((holder, held), (held, holder)):
            heard = listener.listen(LISTEN_SECONDS)
            check(heard.silent, f"{speaker.name} is heard by {listener.name} on hold: {heard}")
        holder.resume()
        time.sleep(SETTLE_SECONDS)
        texts.append(f"after {holder.name}'s: {talk((alice, bob))}")
    end(alice, bob)
    return texts


def dtmf(alice, bob, _carol):
    """Digits as RFC 4733 events, both ways: each arrives once and in order."""
    connect(alice, bob)
    texts = [
        f"{sender.name} sent {len(DIGITS)}, {receiver.name} got {type_digits(sender, receiver)}"
        for sender, receiver in ((alice, bob), (bob, alice))
    ]
    # The audio goes on.
    talk((alice, bob))
    end(alice, bob)
    return texts


def info(alice, bob, _carol):
    """Digits in INFO requests, from the phones that can send them."""
    senders = [pair for pair in ((alice, bob), (bob, alice)) if pair[0].sends_info]
    if not senders:
        return None
    connect(alice, bob)
    texts = [
        f"{sender.name} sent {len(DIGITS)},"
        f" {receiver.name} got {type_digits(sender, receiver, method='info')}"
        for sender, receiver in senders
    ]
    end(alice, bob)
    return texts


def type_digits(sender, receiver, wanted=DIGITS, **options):
    """Send the digits and count what arrives."""
    mark = receiver.mark()
    sender.dtmf(wanted, **options)
    until = time.monotonic() + 8
    while len(receiver.count("dtmf", mark)) < len(wanted) and time.monotonic() < until:
        time.sleep(0.1)
    # One too many would come late.
    time.sleep(0.5)
    digits = "".join(event.value for event in receiver.count("dtmf", mark))
    check(
        digits == wanted,
        f"{receiver.name} ({receiver.kind}) got the digits {digits!r} instead of {wanted!r}",
    )
    return len(digits)


def blind(alice, bob, carol):
    """Alice transfers Bob to Carol and learns that it worked (RFC 3515, RFC 5589 §6)."""
    connect(alice, bob)
    talk((alice, bob))
    marks = alice.mark(), bob.mark(), carol.mark()
    alice.transfer(alice.place.uri_of(carol.place))
    bob.wait("transfer", marks[1])
    carol.wait("established", marks[2])
    alice.wait("transferred", marks[0])
    if not alice.count("closed", marks[0]):
        alice.hang_up()
    alice.wait("closed", marks[0])
    bob.wait("closed", marks[1])
    time.sleep(SETTLE_SECONDS)
    texts = [talk((bob, carol))]
    end(carol, bob)
    return texts


def attended(*phones):
    """One has calls with both others and connects them: the new call replaces the one with the
    third phone (RFC 3891, RFC 5589 §7). The roles turn in the ring until the one who is
    transferred can do that; None when nobody can."""
    for turn in range(2):
        ours, peer, target = phones[turn:] + phones[:turn]
        if peer.knows_replaces:
            break
    else:
        return None
    first, theirs = reversed(connect(target, ours))
    talk((target, ours))
    ours.hold(first)
    time.sleep(SETTLE_SECONDS)
    second, _ = connect(ours, peer)
    talk((ours, peer))
    marks = ours.mark(), peer.mark(), target.mark()
    ours.transfer_to_call(second, first)
    peer.wait("transfer", marks[1])
    ours.wait("transferred", marks[0])
    # One that does not know Replaces takes one more call, or sbcd gives its call a new peer.
    if target.knows_replaces:
        target.wait("replaced", marks[2], theirs)
        target.wait("established", marks[2])
        target.wait("closed", marks[2], theirs)
    ours.hang_up_all()
    peer.wait("closed", marks[1])
    time.sleep(SETTLE_SECONDS)
    texts = [f"by {ours.name}", talk((peer, target))]
    end(peer, target)
    return texts


def audio(alice, bob, _carol):
    """Speech both ways, recorded by the phone that hears it; the driver scores the recordings."""
    texts = []
    for number in range(AUDIO_CALLS):
        connect(alice, bob)
        listeners = [
            threading.Thread(
                target=phone.record, args=(AUDIO_SECONDS, phone.directory / f"speech-{number}.wav")
            )
            for phone in (alice, bob)
        ]
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.join()
        texts = packets(alice, bob)
        end(alice, bob)
    return texts


ALL = {scenario.__name__: scenario for scenario in (call, hold, dtmf, info, blind, attended)}
# Only when it is asked for: it needs more to be installed, and minutes.
ALL["audio"] = audio
