//! Events of RFC 4733 to their receiver, comfort noise of RFC 3389 to its reader, and audio to the in-band detector.
//!
//! The bytes are a series of `length, time, what follows`.

use sbc_media::{
    dtmf::{Report, event::Receiver, inband::Detector},
    g711::Law,
    noise::{ComfortNoise, Noise},
    rtp,
    time::Timestamp,
};

/// Feeds every piece to all of them.
pub(crate) fn run(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    let mut detector = Detector::new(Law::A);
    let mut noise = Noise::new(Law::Mu, -40.0, 1);
    let (mut by_events, mut by_tones) = (None, None);
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
        if let Some(comfort) = ComfortNoise::read(piece) {
            let mut buffer = [0; ComfortNoise::LEN_MAX];
            let len = comfort.write(&mut buffer).expect("the buffer holds the longest");
            assert_eq!(ComfortNoise::read(&buffer[..len]), Some(comfort));
            noise.set(&comfort);
            noise.fill(&mut [0; 80]);
        }
    }
}

/// A digit begins when none is active, and ends when it is.
fn in_turn(active: &mut Option<u8>, report: Report) {
    match report {
        Report::Began(digit) => assert_eq!(active.replace(digit.code()), None),
        Report::Ended { digit, .. } => assert_eq!(active.take(), Some(digit.code())),
    }
}
