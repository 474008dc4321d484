//! The path of a packet does not allocate.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::g711::Law;
use sbc_media::noise::Noise;
use sbc_media::relay::{Action, Formats, OWN_LEN_MAX, OutletParams, PairIndex, Relay, Verdict, Voice, Yield};
use sbc_media::source::Sound;
use sbc_media::srtp::{MKI_LEN_MAX, MasterKey, Mki, OVERHEAD_MAX, Receiver, Sender, Suite};
use sbc_media::time::Timestamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::*;

struct Counting;

thread_local! {
    // Per thread, so that the test harness's own threads do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // During the thread's end the counter is gone; nobody looks at it then.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system allocator, which keeps the contract; the
// counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `pointer`, `layout` and `size` are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A report, a name, an application's data and a reason for leaving.
fn compound(middle: u8) -> [u8; 84] {
    let mut bytes = [0; 84];
    bytes[..8].copy_from_slice(&[0x80, 200, 0, 6, 0, 0, 0, 1]);
    bytes[13] = middle;
    bytes[28..52].copy_from_slice(b"\x81\xca\0\x05\0\0\0\x01\x01\x04name\x06\x05phone\0\0\0");
    bytes[52..68].copy_from_slice(b"\x80\xcc\0\x03\0\0\0\x01HOSTdata");
    bytes[68..].copy_from_slice(b"\x81\xcb\0\x03\0\0\0\x01\x06reason\0");
    bytes
}

#[test]
fn a_hundred_thousand_packets_allocate_nothing() {
    let mut session = Session::new();
    let sources = [A_RTP, B_RTP, NAT, STRANGER];
    let (mut forwarded, mut actions) = (0, 0);
    let before = ALLOCATIONS.get();
    for round in 0..100_000u32 {
        session.wait_ms(1);
        let pair = if round % 2 == 0 { A } else { B };
        let source = match round % 64 {
            63 => sources[round as usize / 64 % 4],
            _ if pair == A => A_RTP,
            _ => B_RTP,
        };
        let verdict = match round % 100 {
            99 => session.rtcp(pair, source),
            97 => session.send(pair.rtcp(), source, &mut compound(round as u8)),
            98 => session.send(pair.rtp(), source, &mut [0; 40]),
            _ => session.rtp(pair, source),
        };
        forwarded += u32::from(matches!(verdict, sbc_media::relay::Verdict::Forward { .. }));
        if round % 1000 == 999 {
            session.remote(A, if round % 2000 == 999 { A2_RTP } else { A_RTP });
        }
        while session.relay.poll_action().is_some() {
            actions += 1;
        }
    }
    let allocated = ALLOCATIONS.get() - before;
    assert_eq!(allocated, 0);
    assert!(
        forwarded > 50_000 && actions > 50,
        "{forwarded} forwarded, {actions} actions: the paths were taken"
    );
    let stats = session.relay.stats(B);
    assert!(stats.rtcp_removed > 100, "{stats:?}: RTCP was rewritten");
    // The counter does count.
    let boxed = std::hint::black_box(Box::new(1u8));
    assert_eq!((ALLOCATIONS.get() - before, *boxed), (1, 1));
}

/// Digits, tones and noise: what is sized is sized when it is made.
#[test]
fn minutes_of_sounds_allocates_nothing() {
    use sbc_media::dtmf::{Digit, Report, Timing, event, inband};
    use sbc_media::g711::Law;
    use sbc_media::source::{PACKET_MAX, Sound, Source};
    use sbc_media::tone::{Country, Meaning, Player, Tone};
    use sbc_media::{noise::Noise, rtp, splice::Splice, time::Timestamp};

    let mut splice = Splice::new(Timestamp::ZERO, 1, 0, 0, 160);
    let mut source = Source::new(Law::A, 8, 20);
    let mut detector = inband::Detector::new(Law::A);
    let mut receiver = event::Receiver::new();
    let (mut written, mut began) = (0, 0);
    let mut report = |report| began += u32::from(matches!(report, Report::Began(_)));
    let before = ALLOCATIONS.get();
    for tick in 0..20_000u64 {
        let now = Timestamp::from_millis(tick * 20);
        if tick % 100 == 0 {
            let digit = Digit::from_code((tick / 100 % 16) as u8).unwrap();
            source.play(
                now,
                match tick / 100 % 4 {
                    0 => Sound::Tone(Player::new(Tone::of(Country::In, Meaning::Busy), Law::A, -10.0)),
                    1 => Sound::Noise(Noise::new(Law::A, -40.0, tick)),
                    2 => {
                        let mut generator = inband::Generator::new(Law::A, -9.0, -7.0, Timing::default());
                        generator.send(digit, 800).unwrap();
                        Sound::Digits(generator)
                    }
                    _ => {
                        let mut sender = event::Sender::new(Timing::default(), 10);
                        sender.send(digit, 800).unwrap();
                        Sound::Events(sender, 101)
                    }
                },
            );
        }
        let _ = splice.forward(now, 9, tick as u16, tick as u32 * 160);
        let mut buffer = [0; PACKET_MAX];
        if let Some(len) = source.write(now, &mut splice, &mut buffer) {
            let packet = rtp::Packet::new_checked(&buffer[..len]).unwrap();
            if packet.payload_type() == 8 {
                detector.hear(packet.payload(), &mut report);
            } else {
                receiver.receive(now, &packet, &mut report);
            }
            written += 1;
        }
        receiver.handle_timeout(now, &mut report);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(
        written > 10_000 && began == 100,
        "{written} packets, {began} digits"
    );
}

/// A hundred digits of A as events and as tones, which B is told as events: heard, taken out, played.
#[test]
fn digits_that_are_converted_allocate_nothing() {
    use sbc_media::dtmf::{Digit, Report, Timing, event, inband};
    use sbc_media::g711::Law;
    use sbc_media::relay::{Listen, MediaEvent, OWN_LEN_MAX, OutletParams, Voice, Yield};
    use sbc_media::source::Sound;
    use sbc_media::time::Timestamp;

    let listens = [
        Listen::Events { payload_type: 101 },
        Listen::Tones { mu: None, a: Some(8) },
    ];
    for listen in listens {
        let mut session = Session::flowing();
        let outlet = OutletParams {
            ssrc: 1,
            sequence: 1,
            timestamp: 1,
            clock_rate: 8000,
            step: 160,
        };
        session.relay.set_outlet(Timestamp::ZERO, B, Some(&outlet));
        session.relay.set_digits(A, Some(listen));
        let mut sender = event::Sender::new(Timing::default(), 10);
        let mut generator = inband::Generator::new(Law::A, -9.0, -7.0, Timing::default());
        let (mut began, mut played) = (0, 0);
        let before = ALLOCATIONS.get();
        for tick in 0..2_000u16 {
            let digit = Digit::from_code((tick / 20 % 16) as u8).unwrap();
            if tick % 20 == 0 {
                match listen {
                    Listen::Events { .. } => sender.send(digit, 800).unwrap(),
                    Listen::Tones { .. } => generator.send(digit, 800).unwrap(),
                }
            }
            session.wait_ms(20);
            let mut packet = rtp(tick.wrapping_add(65_000));
            let mut len = packet.len();
            match (listen, sender.tick(u32::from(tick) * 160)) {
                (Listen::Events { .. }, Some(update)) => {
                    packet[1] = 101;
                    packet[4..8].copy_from_slice(&update.timestamp.to_be_bytes());
                    packet[12..16].copy_from_slice(&update.event.to_bytes());
                    len = 16;
                }
                (Listen::Events { .. }, None) => {}
                (Listen::Tones { .. }, _) => {
                    generator.fill(&mut packet[12..]);
                }
            }
            session.send(A.rtp(), A_RTP, &mut packet[..len]);
            let now = Timestamp::from_millis(session.now_ms);
            while let Some((_, event)) = session.relay.poll_event() {
                let MediaEvent::Digit(Report::Began(digit)) = event else {
                    continue;
                };
                began += 1;
                let mut sender = event::Sender::new(Timing::default(), 10);
                sender.send(digit, 800).unwrap();
                let voice = Voice {
                    law: Law::A,
                    payload_type: 8,
                    ptime_ms: 20,
                };
                session
                    .relay
                    .play(now, B, voice, Sound::Events(sender, 96), Yield::Never);
            }
            let mut buffer = [0; OWN_LEN_MAX];
            while session.relay.poll_transmit(now, &mut buffer).is_some() {
                played += 1;
            }
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{listen:?}");
        assert!(
            began == 100 && played >= 500,
            "{listen:?}: {began} digits, {played} packets"
        );
    }
}

#[test]
fn protecting_and_unprotecting_allocate_nothing() {
    for suite in Suite::ALL {
        let key =
            |octet| MasterKey::new(suite, &[octet; 46][..suite.key_bytes() + suite.salt_bytes()]).unwrap();
        let named = |octet| key(octet).identified(Mki::new(&[octet; 4]).unwrap());
        protects_and_unprotects_without_allocating(&key(3));
        protects_and_unprotects_without_allocating(&named(3).with_further(named(4)).unwrap());
    }
}

fn protects_and_unprotects_without_allocating(key: &MasterKey) {
    let (mut sender, mut receiver) = (Sender::new(key), Receiver::new(key));
    let before = ALLOCATIONS.get();
    for round in 0..2_000u32 {
        let mut buffer = [0x80; 172 + OVERHEAD_MAX + MKI_LEN_MAX];
        // Over a wrap; some SSRCs that are new, some packets that are forged.
        buffer[2..4].copy_from_slice(&(65_000 + round).to_be_bytes()[2..]);
        buffer[8..12].copy_from_slice(&(round / 500).to_be_bytes());
        let len = sender.protect(&mut buffer, 172).unwrap();
        let mut forged = buffer;
        forged[20] ^= 1;
        assert!(receiver.unprotect(&mut forged, len).is_err());
        assert_eq!(receiver.unprotect(&mut buffer, len), Ok(172));
        let len = sender.protect_rtcp(&mut buffer, 60).unwrap();
        assert_eq!(receiver.unprotect_rtcp(&mut buffer, len), Ok(60));
        assert!(receiver.unprotect_rtcp(&mut buffer, len).is_err());
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "{key:?}");
}

const OUTLET: OutletParams = OutletParams {
    ssrc: 9,
    sequence: 7,
    timestamp: 0,
    clock_rate: 8000,
    step: 160,
};

/// Many pairs that play and stop at once.
#[test]
fn packets_of_our_own_allocate_nothing() {
    const PAIRS: u32 = 64;
    let mut relay = Relay::new(PAIRS);
    for pair in (0..PAIRS).map(PairIndex) {
        relay.add_pair(pair);
    }
    for pair in (0..PAIRS / 2).map(PairIndex) {
        relay.open(pair, PairIndex(pair.0 + PAIRS / 2));
        relay.set_remote(pair, remote(A_RTP));
        relay.set_outlet(Timestamp::ZERO, pair, Some(&OUTLET));
    }
    let voice = Voice {
        law: Law::A,
        payload_type: 8,
        ptime_ms: 20,
    };
    let mut sent = 0;
    let before = ALLOCATIONS.get();
    for tick in 0..5_000u64 {
        let now = Timestamp::from_millis(tick * 10);
        let pair = PairIndex((tick % u64::from(PAIRS / 2)) as u32);
        if tick % 3 == 0 {
            relay.stop(pair);
        } else {
            let sound = Sound::Noise(Noise::new(Law::A, -40.0, tick));
            assert!(relay.play(now, pair, voice, sound, Yield::ToMedia));
        }
        let mut buffer = [0; OWN_LEN_MAX];
        while let Some(verdict) = relay.poll_transmit(now, &mut buffer) {
            assert!(matches!(verdict, Verdict::Forward { len: 172, .. }));
            sent += 1;
        }
        while relay.poll_event().is_some() {}
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(sent > 20_000, "{sent}");
}

/// Packets that are cut and joined, some lost, some overtaken, some events between them.
#[test]
fn packets_of_another_length_allocate_nothing() {
    use sbc_media::repacketize::Framing;
    for ptime_ms in [10, 20, 30, 60] {
        let mut session = Session::flowing();
        session.relay.set_outlet(Timestamp::ZERO, B, Some(&OUTLET));
        let framing = Framing {
            ptime_ms,
            laws: [None, Some(8)],
        };
        session.relay.set_framing(B, Some(&framing));
        let mut left = 0;
        let before = ALLOCATIONS.get();
        for n in 0..5_000u16 {
            let sequence = match n % 50 {
                7 => continue,
                20 => n + 1,
                21 => n - 1,
                _ => n,
            };
            session.wait_ms(20);
            let mut packet = rtp(sequence);
            if n % 50 == 30 {
                packet[1] = 101;
            }
            let verdict = session.send(A.rtp(), A_RTP, &mut packet);
            left += u32::from(matches!(verdict, Verdict::Forward { .. }));
            let now = Timestamp::from_millis(session.now_ms);
            let mut buffer = [0; OWN_LEN_MAX];
            while session.relay.poll_transmit(now, &mut buffer).is_some() {
                left += 1;
            }
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{ptime_ms}");
        assert!(left >= 4_500 * 20 / ptime_ms.max(20), "{ptime_ms}: {left}");
    }
}

/// Packets of the peers of `session`, in the clear or protected, with losses, copies, forgeries,
/// and another key in the middle of it: how many left. Nothing is allocated on the way.
fn walk(name: &str, mut session: Session, mut peers: [Option<Peer>; 2]) -> u32 {
    let mut left = 0;
    let sides = [(A, A_RTP), (B, B_RTP)];
    // What peers send is made beforehand.
    let mut packets = Vec::new();
    for sequence in 0..240u16 {
        if sequence == 120
            && let Some(a) = &mut peers[0]
        {
            a.rekey_sender(SUITE, 99);
        }
        for ((pair, from), peer) in sides.into_iter().zip(&mut peers) {
            let packet = match peer {
                Some(peer) if sequence % 50 == 49 => peer.protect_rtcp(&rtcp()),
                Some(peer) => peer.protect(&rtp(sequence)),
                None if sequence % 50 == 49 => rtcp().to_vec(),
                None => rtp(sequence).to_vec(),
            };
            packets.push((pair, from, packet.clone()));
            if sequence % 7 == 0 {
                packets.push((pair, STRANGER, packet.clone()));
                packets.push((pair, from, packet.clone()));
                packets.push((pair, from, [&packet[..packet.len().min(20)], &[0; 40]].concat()));
            }
        }
    }
    let mut buffer = [0; 300];
    let keys = peers[0].as_ref().map(|peer| peer.keys.clone());
    for (n, (pair, from, packet)) in packets.iter().enumerate() {
        if n == packets.len() / 2 - 40 {
            session.relay.set_keys(A, keys.as_ref());
        }
        session.wait_ms(10);
        buffer[..packet.len()].copy_from_slice(packet);
        let now = sbc_media::time::Timestamp::from_millis(session.now_ms);
        let from = addr(from);
        let before = ALLOCATIONS.get();
        let verdict = session
            .relay
            .forward(now, pair.rtp(), from, &mut buffer, packet.len());
        assert_eq!(ALLOCATIONS.get() - before, 0, "{name}: {verdict:?}");
        left += u32::from(matches!(verdict, Verdict::Forward { .. }));
    }
    left
}

#[test]
fn no_walk_allocates() {
    let formats = {
        let mut formats = Formats([Action::Drop; 128]);
        formats.0[8] = Action::AlawToUlaw(0);
        formats
    };
    for suite in [None].into_iter().chain(Suite::ALL.map(Some)) {
        for protected in [[true, true], [true, false], [false, true], [false, false]] {
            for with_formats in [false, true] {
                let mut session = Session::new();
                if with_formats {
                    session.relay.set_formats(A, Some(&formats));
                    for pair in [A, B] {
                        session.relay.set_outlet(Timestamp::ZERO, pair, Some(&OUTLET));
                    }
                }
                let mut peer = |pair, seed, protected: bool| {
                    suite
                        .filter(|_| protected)
                        .map(|suite| Peer::of(&mut session, pair, suite, seed))
                };
                let peers = [peer(A, 10, protected[0]), peer(B, 20, protected[1])];
                let name = format!("{suite:?} {protected:?} {with_formats}");
                let left = walk(&name, session, peers);
                assert!(left >= 470, "{name}: {left}");
            }
        }
    }
}
