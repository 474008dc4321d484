//! Events of RFC 4733 to their receiver, comfort noise of RFC 3389 to its reader, audio to the in-band detector, bodies
//! of INFO to their reader, and packets to a relay that listens for digits on both sides.
//!
//! The bytes are a series of `length, time, what follows`.

use sbc_core::sip::{DURATION_MAX_MS, DURATION_MIN_MS, InfoForm};
use sbc_media::{
    dtmf::{Report, event::Receiver, inband::Detector},
    g711::Law,
    latch::LatchMode,
    noise::{ComfortNoise, Noise},
    relay::{Listen, MediaEvent, OWN_LEN_MAX, OutletParams, PairIndex, Relay, Remote},
    rtp,
    time::Timestamp,
};
use std::net::SocketAddr;

/// Feeds every piece to all of them.
pub(crate) fn run(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    let mut detector = Detector::new(Law::A);
    let mut noise = Noise::new(Law::Mu, -40.0, 1);
    let (mut by_events, mut by_tones) = (None, None);
    let mut relay = relay();
    let mut by_pair = [None, None];
    let mut rest = bytes;
    let mut now_ms = 0;
    while let [len, passed, tail @ ..] = rest {
        let (piece, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        now_ms += u64::from(*passed);
        let now = Timestamp::from_millis(now_ms);
        receiver.handle_timeout(now, &mut |report| in_turn(&mut by_events, report));
        if let Ok(packet) = rtp::Packet::new_checked(piece) {
            let mut told = 0;
            receiver.receive(now, &packet, &mut |report| {
                told += 1;
                in_turn(&mut by_events, report);
            });
            assert!(told <= 3);
        }
        assert_eq!(receiver.poll_timeout().is_some(), by_events.is_some());
        detector.hear(piece, &mut |report| in_turn(&mut by_tones, report));
        info(piece);
        for pair in [PairIndex(0), PairIndex(1)] {
            let mut buffer = [0; 512];
            buffer[..piece.len()].copy_from_slice(piece);
            relay.forward(now, pair.rtp(), address(pair), &mut buffer, piece.len());
        }
        while relay.poll_transmit(now, &mut [0; OWN_LEN_MAX]).is_some() {}
        while let Some((pair, event)) = relay.poll_event() {
            if let MediaEvent::Digit(report) = event {
                in_turn(&mut by_pair[pair.0 as usize], report);
            }
        }
        assert_eq!(
            relay.poll_timeout().is_some(),
            by_pair.iter().any(Option::is_some)
        );
        if let Some(comfort) = ComfortNoise::read(piece) {
            let mut buffer = [0; ComfortNoise::LEN_MAX];
            let len = comfort.write(&mut buffer).expect("the buffer holds the longest");
            assert_eq!(ComfortNoise::read(&buffer[..len]), Some(comfort));
            noise.set(&comfort);
            noise.fill(&mut [0; 80]);
        }
    }
}

fn address(pair: PairIndex) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + pair.0 as u8], 4000))
}

/// Two pairs: of the first events are heard, of the second tones.
fn relay() -> Relay {
    let (a, b) = (PairIndex(0), PairIndex(1));
    let mut relay = Relay::new(2);
    assert!(relay.add_pair(a) && relay.add_pair(b) && relay.open(a, b));
    for pair in [a, b] {
        let remote = Remote {
            rtp: Some(address(pair)),
            rtcp: None,
            send: true,
            mux: false,
            latch: LatchMode::default(),
        };
        relay.set_remote(pair, remote);
        let outlet = OutletParams {
            ssrc: 1,
            sequence: 1,
            timestamp: 1,
            clock_rate: 8000,
            step: 160,
        };
        relay.set_outlet(Timestamp::ZERO, pair, Some(&outlet));
    }
    relay.set_digits(a, Some(Listen::Events { payload_type: 101 }));
    let (mu, law_a) = (Some(0), Some(8));
    relay.set_digits(b, Some(Listen::Tones { mu, a: law_a }));
    relay
}

/// What is read as a digit can be told, and is the same digit then.
fn info(body: &[u8]) {
    let mut written = String::new();
    for form in [InfoForm::Relay, InfoForm::Plain] {
        let Some(digit) = form.read(body) else { continue };
        assert!((DURATION_MIN_MS..=DURATION_MAX_MS).contains(&digit.duration_ms));
        InfoForm::Relay.write(digit, &mut written);
        assert_eq!(form.read(written.as_bytes()), Some(digit));
        InfoForm::Plain.write(digit, &mut written);
        let plain = form.read(written.as_bytes()).expect("a digit alone is one");
        assert_eq!(plain.digit, digit.digit);
    }
}

/// A digit begins when none is active, and ends when it is.
fn in_turn(active: &mut Option<u8>, report: Report) {
    match report {
        Report::Began(digit) => assert_eq!(active.replace(digit.code()), None),
        Report::Ended { digit, .. } => assert_eq!(active.take(), Some(digit.code())),
    }
}
