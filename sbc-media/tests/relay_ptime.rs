//! A direction whose packets leave with another length: through the walk, the outlet, SRTP, hold, sounds and RTCP.

#[path = "support/peer.rs"]
mod peer;
mod support;
use peer::{Peer, SUITE};
use sbc_media::{
    dtmf::{Digit, Timing, event},
    g711::{self, Law},
    relay::{
        Action, DropReason, Formats, Listen, MediaEvent, OWN_LEN_MAX, OutletParams, Verdict, Voice, Yield,
    },
    repacketize::Framing,
    rtp,
    source::Sound,
    time::Timestamp,
    tone::{Country, Meaning, Player, Tone},
};
use support::*;

const OUT: u32 = 0xabcd_0123;

/// What is made for B.
fn framing(session: &mut Session, ptime_ms: u32) {
    let params = OutletParams {
        ssrc: OUT,
        sequence: 1000,
        timestamp: 50_000,
        clock_rate: 8000,
        step: 160,
    };
    session
        .relay
        .set_outlet(Timestamp::from_millis(session.now_ms), B, Some(&params));
    let framing = Framing {
        ptime_ms,
        laws: [Some(0), Some(8)],
    };
    session.relay.set_framing(B, Some(&framing));
    assert_eq!(session.relay.framing(B), Some(framing));
}

/// A packet at B: when, SSRC, number, timestamp, marker, payload type, payload.
#[derive(Clone, Debug, PartialEq)]
struct Heard {
    at_ms: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    payload: Vec<u8>,
}

impl Heard {
    fn of(at_ms: u64, bytes: &[u8]) -> Self {
        let packet = rtp::Packet::new_checked(bytes).unwrap();
        Self {
            at_ms,
            ssrc: packet.ssrc(),
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            payload_type: packet.payload_type(),
            payload: packet.payload().to_vec(),
        }
    }
}

/// A and what B hears, which opens SRTP if it has keys.
struct Call {
    session: Session,
    peers: [Option<Peer>; 2],
    heard: Vec<Heard>,
    start_ms: u64,
    sequence: u16,
}

impl Call {
    fn new(ptime_ms: u32) -> Self {
        Self::of(Session::flowing(), ptime_ms)
    }

    fn of(mut session: Session, ptime_ms: u32) -> Self {
        framing(&mut session, ptime_ms);
        Self {
            start_ms: session.now_ms,
            session,
            peers: [None, None],
            heard: Vec::new(),
            sequence: 0,
        }
    }

    fn hear(&mut self, mut bytes: Vec<u8>) {
        if let Some(b) = &mut self.peers[1] {
            let len = bytes.len();
            let len = b.receiver.unprotect(&mut bytes, len).expect("authentic");
            bytes.truncate(len);
        }
        self.heard
            .push(Heard::of(self.session.now_ms - self.start_ms, &bytes));
    }

    fn send(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let packet = match &mut self.peers[0] {
            Some(a) => a.protect(packet),
            None => packet.to_vec(),
        };
        let (verdict, bytes) = self.session.through(A.rtp(), A_RTP, &packet);
        let result = match verdict {
            Verdict::Forward { socket, len, .. } => {
                assert_eq!((socket, len), (B.rtp(), bytes.len()));
                self.hear(bytes);
                Ok(())
            }
            Verdict::Drop(reason) => Err(reason),
        };
        self.transmit();
        result
    }

    /// The next packet of A, of `payload_type`.
    fn next(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Result<(), DropReason> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(7u32.to_be_bytes());
        packet.extend(payload);
        self.send(&packet)
    }

    fn transmit(&mut self) {
        let mut buffer = [0; OWN_LEN_MAX];
        let now = Timestamp::from_millis(self.session.now_ms);
        while let Some(verdict) = self.session.relay.poll_transmit(now, &mut buffer) {
            let Verdict::Forward { socket, len, .. } = verdict else {
                panic!("{verdict:?}");
            };
            if socket == B.rtp() {
                self.hear(buffer[..len].to_vec());
            }
        }
        let due = self.session.relay.poll_timeout();
        assert!(due.is_none_or(|due| due > now), "what is due was sent");
    }

    fn wait(&mut self, ms: u64) {
        let end = self.session.now_ms + ms;
        while let Some(due) = self
            .session
            .relay
            .poll_timeout()
            .filter(|due| due.as_millis() <= end)
        {
            self.session.now_ms = self.session.now_ms.max(due.as_millis());
            self.transmit();
        }
        self.session.now_ms = end;
    }

    /// When, number, timestamp, marker, payload type and length of what B has heard since the last time.
    fn shape(&mut self) -> Vec<(u64, u16, u32, bool, u8, usize)> {
        let heard = std::mem::take(&mut self.heard);
        heard
            .iter()
            .map(|p| {
                assert_eq!(p.ssrc, OUT);
                (
                    p.at_ms,
                    p.sequence,
                    p.timestamp,
                    p.marker,
                    p.payload_type,
                    p.payload.len(),
                )
            })
            .collect()
    }
}

/// The samples of A's clock.
fn samples(timestamp: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| ((timestamp + n) / 3) as u8).collect()
}

const REFRAMED: Result<(), DropReason> = Err(DropReason::Reframed);

#[test]
fn two_packets_become_one_and_one_becomes_three() {
    let mut call = Call::new(40);
    for n in 0..4u32 {
        assert_eq!(call.next(8, 160 * n, &samples(160 * n, 160)), REFRAMED);
        call.wait(20);
    }
    let heard = call.heard.clone();
    assert_eq!(heard[1].payload, samples(320, 320));
    assert_eq!(
        call.shape(),
        [
            (20, 1000, 50_000, false, 8, 320),
            (60, 1001, 50_320, false, 8, 320)
        ]
    );
    let mut call = Call::new(20);
    call.next(0, 0, &samples(0, 480)).unwrap_err();
    call.wait(60);
    call.next(0, 480, &samples(480, 480)).unwrap_err();
    call.wait(60);
    let shape: Vec<_> = call.shape().iter().map(|p| (p.0, p.1, p.2, p.5)).collect();
    let expected: Vec<_> = (0..6u32)
        .map(|n| (20 * u64::from(n), 1000 + n as u16, 50_000 + 160 * n, 160))
        .collect();
    assert_eq!(shape, expected);
    let counters = *call.session.relay.counters();
    assert_eq!(
        (counters.originated, counters.drops(DropReason::Reframed)),
        (6, 2)
    );
}

#[test]
fn what_fits_and_what_is_no_audio_passes_at_once() {
    let mut call = Call::new(20);
    assert_eq!(call.next(8, 0, &samples(0, 160)), Ok(()));
    call.wait(20);
    assert_eq!(call.next(13, 160, &[70]), Ok(()));
    call.wait(500);
    for n in 0..3u8 {
        assert_eq!(call.next(101, 4160, &[5, n, 0, 160]), Ok(()));
        call.wait(20);
    }
    assert_eq!(
        call.shape(),
        [
            (0, 1000, 50_000, false, 8, 160),
            (20, 1001, 50_160, false, 13, 1),
            (520, 1002, 54_160, false, 101, 4),
            (540, 1003, 54_160, false, 101, 4),
            (560, 1004, 54_160, false, 101, 4),
        ]
    );
    assert_eq!(call.session.relay.counters().originated, 0);
}

#[test]
fn keys_on_both_sides_and_two_laws() {
    let mut session = Session::flowing();
    let mut formats = Formats::PASS;
    formats.0[8] = Action::AlawToUlaw(0);
    session.relay.set_formats(A, Some(&formats));
    let a = Peer::of(&mut session, A, SUITE, 10);
    let b = Peer::of(&mut session, B, SUITE, 20);
    let mut call = Call::of(session, 30);
    call.peers = [Some(a), Some(b)];
    let mut audio = Vec::new();
    for n in 0..600u32 {
        let payload = samples(160 * n, 160);
        audio.extend_from_slice(&payload);
        assert_eq!(call.next(8, 160 * n, &payload), REFRAMED);
        call.wait(20);
    }
    call.wait(100);
    g711::alaw_to_ulaw(&mut audio);
    let heard: Vec<u8> = call.heard.iter().flat_map(|p| p.payload.clone()).collect();
    assert!(heard == audio, "every octet, once, in order");
    assert_eq!(call.heard.len(), 400);
    for (n, p) in call.heard.iter().enumerate() {
        let (sequence, timestamp) = (1000 + n as u16, 50_000 + 240 * n as u32);
        assert_eq!(
            (p.sequence, p.timestamp, p.payload_type),
            (sequence, timestamp, 0)
        );
    }
    let stats = call.session.relay.stats(A);
    assert_eq!((stats.packets, stats.lost, stats.jitter_ms), (601, 0, 0.0));
}

#[test]
fn what_waits_when_the_peer_holds_is_gone_and_the_numbers_go_on() {
    let mut call = Call::new(60);
    for n in 0..4 {
        call.next(8, 160 * n, &samples(160 * n, 160)).unwrap_err();
        call.wait(20);
    }
    let mut on_hold = remote(B_RTP);
    on_hold.send = false;
    call.session.relay.set_remote(B, on_hold);
    assert_eq!(call.session.relay.poll_timeout(), None);
    for n in 4..50 {
        assert_eq!(
            call.next(8, 160 * n, &samples(160 * n, 160)),
            Err(DropReason::NoDestination)
        );
        call.wait(20);
    }
    call.session.remote(B, B_RTP);
    for n in 50..56 {
        call.next(8, 160 * n, &samples(160 * n, 160)).unwrap_err();
        call.wait(20);
    }
    let shape: Vec<_> = call.shape().iter().map(|p| (p.1, p.2, p.5)).collect();
    assert_eq!(
        shape,
        [(1000, 50_000, 480), (1001, 58_000, 480), (1002, 58_480, 480)]
    );
}

#[test]
fn a_sound_gives_way_to_the_first_piece_and_not_before() {
    let mut call = Call::new(40);
    let tone = Tone::of(Country::Gb, Meaning::Ringback);
    let sound = Sound::Tone(Player::new(tone, Law::A, -10.0));
    let voice = Voice {
        law: Law::A,
        payload_type: 8,
        ptime_ms: 40,
    };
    let now = Timestamp::from_millis(call.session.now_ms);
    assert!(
        call.session
            .relay
            .play(now, B, voice, sound.clone(), Yield::ToMedia)
    );
    call.wait(79);
    call.next(8, 0, &samples(0, 160)).unwrap_err();
    call.wait(20);
    assert_eq!(call.session.relay.poll_event(), None);
    call.next(8, 160, &samples(160, 160)).unwrap_err();
    assert_eq!(call.session.relay.poll_event(), Some((B, MediaEvent::Yielded)));
    let shape: Vec<_> = call.shape().iter().map(|p| (p.0, p.1, p.2, p.3)).collect();
    let tone = [
        (0, 1000, 50_000, false),
        (40, 1001, 50_320, false),
        (80, 1002, 50_640, false),
    ];
    assert_eq!(shape[..3], tone);
    assert_eq!(shape[3..], [(99, 1003, 50_960, true)]);
    // One that does not yield is alone.
    let now = Timestamp::from_millis(call.session.now_ms);
    call.next(8, 320, &samples(320, 160)).unwrap_err();
    assert!(call.session.relay.play(now, B, voice, sound, Yield::Never));
    assert_eq!(call.next(8, 480, &samples(480, 160)), Err(DropReason::Displaced));
    call.wait(200);
    assert!(call.heard.iter().all(|p| p.payload.len() == 320));
}

#[test]
fn events_of_ours_stand_among_the_pieces() {
    let mut call = Call::new(60);
    call.session
        .relay
        .set_digits(A, Some(Listen::Events { payload_type: 101 }));
    let mut sender = event::Sender::new(Timing::default(), 10);
    sender.send(Digit::from_char('5').unwrap(), 800).unwrap();
    let voice = Voice {
        law: Law::A,
        payload_type: 8,
        ptime_ms: 20,
    };
    for n in 0..30u32 {
        if n == 6 {
            let now = Timestamp::from_millis(call.session.now_ms);
            let sound = Sound::Events(sender.clone(), 96);
            assert!(call.session.relay.play(now, B, voice, sound, Yield::Never));
        }
        let (law, event) = ((8, samples(160 * n, 160)), (101, vec![5, 0, 0, 160]));
        let (payload_type, payload) = if n == 15 { event } else { law };
        let expected = if n == 15 { Err(DropReason::Digit) } else { REFRAMED };
        assert_eq!(call.next(payload_type, 160 * n, &payload), expected);
        call.wait(20);
    }
    call.wait(200);
    let numbers: Vec<u16> = call.heard.iter().map(|p| p.sequence).collect();
    let expected: Vec<u16> = (1000..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "no gap, nothing twice");
    let audio = call.heard.iter().filter(|p| p.payload_type == 8);
    let audio: Vec<u8> = audio.flat_map(|p| p.payload.clone()).collect();
    assert_eq!(audio.len(), 29 * 160);
    assert!(call.heard.iter().any(|p| p.payload_type == 96));
}

#[test]
fn another_length_and_none_at_all_go_on_as_one_stream() {
    let mut call = Call::new(40);
    let mut at = 0;
    let mut talk = |call: &mut Call, packets: u32| {
        for _ in 0..packets {
            let _ = call.next(8, at, &samples(at, 160));
            at += 160;
            call.wait(20);
        }
    };
    talk(&mut call, 4);
    framing(&mut call.session, 60);
    talk(&mut call, 6);
    call.session.relay.set_framing(B, None);
    assert_eq!(call.session.relay.framing(B), None);
    talk(&mut call, 3);
    // A sender that begins anew, with the same SSRC.
    framing(&mut call.session, 40);
    talk(&mut call, 4);
    call.sequence = 40_000;
    talk(&mut call, 5);
    let shape = call.shape();
    let numbers: Vec<u16> = shape.iter().map(|p| p.1).collect();
    let expected: Vec<u16> = (1000..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    let lengths: Vec<usize> = shape.iter().map(|p| p.5).collect();
    assert_eq!(lengths, [320, 320, 480, 480, 160, 160, 160, 320, 320, 320, 320]);
    for pair in shape.windows(2) {
        let (clock, passed) = (
            pair[1].2.wrapping_sub(pair[0].2),
            (pair[1].0 - pair[0].0) as u32 * 8,
        );
        assert!(clock > 0 && clock.abs_diff(passed) <= 480, "{clock} for {passed}");
    }
}

#[test]
fn reports_cross_with_what_each_side_knows() {
    let mut call = Call::new(40);
    for n in 0..100u32 {
        let _ = call.next(8, 160 * n, &samples(160 * n, 160));
        call.wait(20);
    }
    // A's sender report: the stream's clock, and what left for B.
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
    report.extend([0; 8]);
    for word in [160 * 100u32, 100, 16_000] {
        report.extend(word.to_be_bytes());
    }
    let (_, bytes) = call.session.through(A.rtcp(), A_RTCP, &report);
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(&bytes, 4), word(&bytes, 16)), (OUT, 50_000 + 16_000));
    assert_eq!((word(&bytes, 20), word(&bytes, 24)), (50, 16_000));
    // B's report block: A's source, and A's own count.
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 2];
    for word in [OUT, 0, 1049, 0, 0, 0] {
        report.extend(word.to_be_bytes());
    }
    let (_, bytes) = call.session.through(B.rtcp(), B_RTCP, &report);
    assert_eq!((word(&bytes, 8), word(&bytes, 16)), (7, 100));
}

#[test]
fn the_rating_counts_what_joining_takes() {
    let r = |ptime_ms: Option<u32>| {
        let mut session = Session::flowing();
        if let Some(ptime_ms) = ptime_ms {
            framing(&mut session, ptime_ms);
        }
        for n in 2..200 {
            session.wait_ms(20);
            session.send(A.rtp(), A_RTP, &mut rtp(n));
        }
        session.relay.stats(A).rating.unwrap().r
    };
    assert!(r(Some(60)) < r(Some(20)), "later");
    assert_eq!(r(Some(20)), r(None));
}
