//! Digits from method to method and back: RFC 4733 → in-band → RFC 4733, over a network that loses and doubles.

mod audio;

use audio::Random;
use sbc_media::{
    dtmf::{
        Digit, Report, Timing,
        event::{Receiver, Sender},
        inband::{Detector, Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    rtp,
    splice::Numbers,
    time::Timestamp,
};

/// In percent of packets.
struct Network {
    random: Random,
    lost: u32,
    doubled: u32,
    sequence: u16,
}

impl Network {
    fn happens(&mut self, percent: u32) -> bool {
        self.random.below(100) < percent
    }

    /// Carry what the sender has for this packet time to the receiver.
    fn carry(&mut self, tick: u32, from: &mut Sender, to: &mut Receiver, report: &mut impl FnMut(Report)) {
        let now = Timestamp::from_millis(u64::from(tick) * 20);
        to.handle_timeout(now, report);
        self.sequence = self.sequence.wrapping_add(1);
        let Some(update) = from.tick(tick.wrapping_mul(160)) else {
            return;
        };
        let mut bytes = [0; 16];
        let numbers = Numbers {
            ssrc: 1,
            sequence: self.sequence,
            timestamp: update.timestamp,
            marker: update.marker,
        };
        numbers.write(101, &mut bytes).unwrap();
        bytes[12..].copy_from_slice(&update.event.to_bytes());
        let packet = rtp::Packet::new_checked(&bytes[..]).unwrap();
        if self.happens(self.lost) {
            return;
        }
        to.receive(now, &packet, report);
        if self.happens(self.doubled) {
            to.receive(now, &packet, report);
        }
    }
}

/// Everything between two users of RFC 4733 with an in-band stretch in the middle. Returns the digits that the first
/// receiver, the detector and the last receiver have told.
fn through(digits: &str, duration: u32, law: Law, network: &mut Network) -> [String; 3] {
    let timing = Timing::default();
    let mut sender = Sender::new(timing, 10);
    let mut receiver = Receiver::new();
    let mut generator = Generator::new(law, LOW_DBM0, HIGH_DBM0, timing);
    let mut detector = Detector::new(law);
    let mut last_sender = Sender::new(timing, 10);
    let mut last_receiver = Receiver::new();
    let mut told = [String::new(), String::new(), String::new()];
    for character in digits.chars() {
        sender
            .send(Digit::from_char(character).unwrap(), duration)
            .unwrap();
    }
    let mut quiet = 0;
    for tick in 0u32.. {
        let (first, rest) = told.split_at_mut(1);
        let (second, third) = rest.split_at_mut(1);
        network.carry(tick, &mut sender, &mut receiver, &mut |report| match report {
            Report::Began(digit) => {
                first[0].push(digit.as_char());
                generator.begin(digit).unwrap();
            }
            Report::Ended { duration, .. } => generator.end(duration),
        });
        let mut frame = [law.silence(); 160];
        generator.fill(&mut frame);
        detector.hear(&frame, &mut |report| match report {
            Report::Began(digit) => {
                second[0].push(digit.as_char());
                last_sender.begin(digit).unwrap();
            }
            Report::Ended { duration, .. } => last_sender.end(duration),
        });
        network.carry(tick, &mut last_sender, &mut last_receiver, &mut |report| {
            if let Report::Began(digit) = report {
                third[0].push(digit.as_char());
            }
        });
        let idle = sender.is_idle() && generator.is_idle() && last_sender.is_idle();
        quiet = if idle { quiet + 1 } else { 0 };
        if quiet == 20 {
            break;
        }
        assert!(tick < 20_000, "{digits} does not end");
    }
    told
}

fn thousand_strings(lost: u32, doubled: u32) {
    let mut random = Random(7);
    let mut network = Network {
        random: Random(8),
        lost,
        doubled,
        sequence: 65_000,
    };
    let mut wrong = Vec::new();
    for n in 0..1000 {
        let length = 1 + random.below(12);
        let digits: String = (0..length)
            .map(|_| Digit::from_code(random.below(16) as u8).unwrap().as_char())
            .collect();
        let duration = 400 + random.below(1200);
        let law = if n % 2 == 0 { Law::A } else { Law::Mu };
        let told = through(&digits, duration, law, &mut network);
        if told.iter().any(|told| *told != digits) {
            wrong.push((digits, duration, told));
        }
    }
    assert!(wrong.is_empty(), "{} of 1000: {wrong:?}", wrong.len());
}

#[test]
fn a_thousand_strings_through_both_conversions() {
    thousand_strings(0, 0);
}

#[test]
fn a_thousand_strings_with_five_percent_lost_and_five_doubled() {
    thousand_strings(5, 5);
}
