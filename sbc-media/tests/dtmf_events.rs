//! RFC 4733 events: what the receiver makes of a network's doings, and what the sender sends.

use sbc_media::{
    dtmf::{
        Digit, Full, PENDING_MAX, Report, Timing,
        event::{Event, Receiver, Sender, Update},
    },
    rtp,
    splice::Numbers,
    time::Timestamp,
};

const SSRC: u32 = 0x1234_5678;

/// One packet on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ssrc: u32,
    sequence: u16,
    at_ms: u64,
    update: Update,
}

fn digit(character: char) -> Digit {
    Digit::from_char(character).unwrap()
}

/// The packets of a string of digits, each of `duration` units, from the sender under test, 20 ms apart.
fn packets(digits: &str, duration: u32, mut sequence: u16, mut timestamp: u32) -> Vec<Sent> {
    let mut sender = Sender::new(Timing::default(), 10);
    digits
        .chars()
        .for_each(|c| sender.send(digit(c), duration).unwrap());
    let mut sent = Vec::new();
    for tick in 0.. {
        if sender.is_idle() {
            return sent;
        }
        if let Some(update) = sender.tick(timestamp) {
            sent.push(Sent {
                ssrc: SSRC,
                sequence,
                at_ms: 20 * tick,
                update,
            });
        }
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(160);
    }
    unreachable!()
}

fn bytes(sent: &Sent) -> [u8; 16] {
    let mut bytes = [0; 16];
    let numbers = Numbers {
        ssrc: sent.ssrc,
        sequence: sent.sequence,
        timestamp: sent.update.timestamp,
        marker: sent.update.marker,
    };
    assert_eq!(numbers.write(101, &mut bytes), Some(12));
    bytes[12..].copy_from_slice(&sent.update.event.to_bytes());
    bytes
}

/// What the receiver tells of packets in the order given, time-outs included.
fn received(packets: &[Sent]) -> Vec<Report> {
    let mut receiver = Receiver::new();
    let mut reports = Vec::new();
    for packet in packets {
        let now = Timestamp::from_millis(packet.at_ms);
        receiver.handle_timeout(now, &mut |report| reports.push(report));
        let bytes = bytes(packet);
        let packet = rtp::Packet::new_checked(&bytes[..]).unwrap();
        receiver.receive(now, &packet, &mut |report| reports.push(report));
    }
    if let Some(due) = receiver.poll_timeout() {
        receiver.handle_timeout(due, &mut |report| reports.push(report));
    }
    assert_eq!(receiver.poll_timeout(), None);
    reports
}

/// `5:800 5:800`: every digit with its duration; also checks that beginnings and ends alternate.
fn told(packets: &[Sent]) -> String {
    let mut text = Vec::new();
    let mut active = None;
    for report in received(packets) {
        match report {
            Report::Began(digit) => assert_eq!(active.replace(digit), None),
            Report::Ended { digit, duration } => {
                assert_eq!(active.take(), Some(digit));
                text.push(format!("{}:{duration}", digit.as_char()));
            }
        }
    }
    assert_eq!(active, None);
    text.join(" ")
}

#[test]
fn the_payload_on_the_wire() {
    let event = Event {
        code: 11,
        end: true,
        volume: 10,
        duration: 0x0320,
    };
    assert_eq!(event.to_bytes(), [11, 0x8a, 0x03, 0x20]);
    assert_eq!(Event::read(&[11, 0x8a, 0x03, 0x20]), Some(event));
    // The reserved bit is ignored, and so is what follows.
    assert_eq!(Event::read(&[11, 0xca, 0x03, 0x20, 9, 9]), Some(event));
    assert_eq!(Event::read(&[11, 0x8a, 0x03]), None);
}

#[test]
fn the_sender_keeps_the_timestamp_marks_the_first_and_ends_three_times() {
    let sent = packets("5", 800, 7, 1000);
    let seen: Vec<_> = (sent.iter())
        .map(|sent| {
            (
                sent.update.marker,
                sent.update.event.end,
                sent.update.event.duration,
            )
        })
        .collect();
    let expected = [
        (true, false, 160),
        (false, false, 320),
        (false, false, 480),
        (false, false, 640),
        (false, true, 800),
        (false, true, 800),
        (false, true, 800),
    ];
    assert_eq!(seen, expected);
    for (n, sent) in sent.iter().enumerate() {
        assert_eq!(sent.update.timestamp, 1000);
        assert_eq!(sent.at_ms, 20 * n as u64);
        assert_eq!((sent.update.event.code, sent.update.event.volume), (5, 10));
    }
}

#[test]
fn the_sender_keeps_the_least_tone_and_the_least_gap() {
    for (gap_min, gap_ticks) in [(0, 3), (480, 3), (481, 4), (960, 6), (1600, 10)] {
        let timing = Timing {
            gap_min,
            tone_min: 600,
            ..Timing::default()
        };
        let mut sender = Sender::new(timing, 0);
        sender.send(digit('1'), 1).unwrap();
        sender.send(digit('2'), 1).unwrap();
        let (mut first_end, mut second) = (None, None);
        for tick in 0..40u32 {
            match sender.tick(tick * 160) {
                Some(update) if update.event.code == 1 && update.event.end => {
                    assert_eq!(update.event.duration, 600);
                    first_end.get_or_insert(tick);
                }
                Some(update) if update.event.code == 2 && second.is_none() => {
                    assert!(update.marker);
                    assert_eq!(update.timestamp, tick * 160);
                    second = Some(tick);
                }
                _ => {}
            }
        }
        assert_eq!(
            second.unwrap() - first_end.unwrap(),
            gap_ticks,
            "gap of {gap_min}"
        );
    }
}

#[test]
fn a_digit_lasts_until_it_is_released() {
    let mut sender = Sender::new(Timing::default(), 0);
    sender.begin(digit('7')).unwrap();
    for tick in 0..50u32 {
        let update = sender.tick(tick * 160).unwrap();
        assert_eq!(
            (update.event.end, u32::from(update.event.duration)),
            (false, (tick + 1) * 160)
        );
    }
    // Released after less than has been told: the event ends with what has been told.
    sender.end(1000);
    let update = sender.tick(50 * 160).unwrap();
    assert_eq!((update.event.end, update.event.duration), (true, 8000));
    // Nobody presses two keys at once: the second ends the first.
    let mut sender = Sender::new(Timing::default(), 0);
    sender.begin(digit('7')).unwrap();
    sender.tick(0);
    sender.begin(digit('8')).unwrap();
    let ends: Vec<_> = (1..20u32).filter_map(|tick| sender.tick(tick * 160)).collect();
    assert_eq!(
        ends.iter()
            .filter(|update| update.event.end && update.event.code == 7)
            .count(),
        3
    );
    assert!(
        ends.iter()
            .any(|update| update.event.code == 8 && !update.event.end)
    );
}

#[test]
fn digits_that_wait_are_bounded() {
    let mut sender = Sender::new(Timing::default(), 0);
    for _ in 0..PENDING_MAX {
        sender.send(digit('1'), 640).unwrap();
    }
    assert_eq!(sender.send(digit('1'), 640), Err(Full));
    assert_eq!(sender.begin(digit('1')), Err(Full));
}

#[test]
fn every_digit_once_with_its_duration() {
    let all = "0123456789*#ABCD";
    let expected: Vec<_> = all.chars().map(|c| format!("{c}:800")).collect();
    assert_eq!(
        told(&packets(all, 800, 65530, u32::MAX - 2000)),
        expected.join(" ")
    );
    assert_eq!(told(&packets("5555", 800, 0, 0)), "5:800 5:800 5:800 5:800");
}

#[test]
fn a_digit_begins_with_its_first_packet() {
    let sent = packets("5", 800, 0, 0);
    assert_eq!(received(&sent)[0], Report::Began(digit('5')));
    let mut receiver = Receiver::new();
    let mut reports = Vec::new();
    let bytes = bytes(&sent[0]);
    let packet = rtp::Packet::new_checked(&bytes[..]).unwrap();
    receiver.receive(Timestamp::ZERO, &packet, &mut |report| reports.push(report));
    assert_eq!(reports, [Report::Began(digit('5'))]);
}

/// Any one packet may be the only one that arrives: of two digits, every subset that leaves each at least one.
#[test]
fn lost_packets_cost_duration_but_no_digit() {
    let sent = packets("55", 640, 0, 0);
    assert_eq!(sent.len(), 12);
    for kept in 1u32..1 << 12 {
        let arrived: Vec<_> = (sent.iter().enumerate())
            .filter(|(n, _)| kept >> n & 1 == 1)
            .map(|(_, sent)| *sent)
            .collect();
        let expected: Vec<_> = [&arrived, &arrived]
            .iter()
            .zip([0, sent[6].update.timestamp])
            .filter_map(|(arrived, timestamp)| {
                let of = |sent: &&Sent| sent.update.timestamp == timestamp;
                let longest = arrived
                    .iter()
                    .filter(of)
                    .map(|sent| sent.update.event.duration)
                    .max()?;
                Some(format!("5:{longest}"))
            })
            .collect();
        assert_eq!(told(&arrived), expected.join(" "), "{kept:012b}");
    }
}

#[test]
fn doubled_and_reordered_packets_make_no_digit_more() {
    let sent = packets("1123", 640, 65533, u32::MAX - 400);
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for round in 0..500 {
        let mut arrived: Vec<Sent> = Vec::new();
        for packet in &sent {
            arrived.extend(std::iter::repeat_n(*packet, 1 + random(3)));
        }
        // Each up to 40 ms late, which is less than between the first packets of two digits.
        arrived
            .iter_mut()
            .for_each(|packet| packet.at_ms += random(3) as u64 * 20);
        arrived.sort_by_key(|packet| packet.at_ms);
        assert_eq!(told(&arrived), "1:640 1:640 2:640 3:640", "round {round}");
    }
}

#[test]
fn a_late_packet_of_an_older_digit_is_nothing_new() {
    let mut sent = packets("1234", 640, 0, 0);
    let mut late = sent[2];
    late.at_ms = sent[sent.len() - 1].at_ms;
    sent.push(late);
    assert_eq!(told(&sent), "1:640 2:640 3:640 4:640");
}

#[test]
fn the_end_overtakes_the_updates() {
    let mut sent = packets("9", 800, 0, 0);
    sent.rotate_right(3);
    let mut at = 0;
    sent.iter_mut().for_each(|packet| {
        packet.at_ms = at;
        at += 1;
    });
    assert_eq!(told(&sent), "9:800");
}

#[test]
fn a_key_held_for_longer_than_a_packet_can_say() {
    // 30 s: four segments, the last one short.
    let sent = packets("*1", 240_000, 0, u32::MAX - 100_000);
    let full = sent
        .iter()
        .filter(|sent| sent.update.event.duration == 0xffff)
        .count();
    assert_eq!(full, 6, "three segments of each digit are full, and told once");
    assert!(
        sent.iter()
            .all(|sent| sent.update.event.duration < 0xffff || !sent.update.event.end)
    );
    assert_eq!(sent.iter().filter(|sent| sent.update.marker).count(), 2);
    assert_eq!(told(&sent), "*:240000 1:240000");
    // Lost around a change of segment, and once a whole segment but for its last packets.
    for lost in [405..413, 408..411, 409..700, 409..815, 0..409] {
        let arrived: Vec<_> = (sent.iter().enumerate())
            .filter(|(n, _)| !lost.contains(n))
            .map(|(_, sent)| *sent)
            .collect();
        let told = told(&arrived);
        // With more than 200 ms lost, the digit was told as over when nothing came; once all the same.
        assert_eq!(told.split(' ').count(), 2, "{lost:?}: {told}");
        assert!(
            told.starts_with("*:") && told.ends_with(" 1:240000"),
            "{lost:?}: {told}"
        );
        if lost.len() < 10 {
            assert_eq!(told, "*:240000 1:240000");
        }
    }
}

#[test]
fn a_digit_without_an_end_ends_200_ms_after_its_last_packet() {
    let sent = packets("6", 800, 0, 0);
    let mut receiver = Receiver::new();
    let mut reports = Vec::new();
    let bytes = bytes(&sent[1]);
    let packet = rtp::Packet::new_checked(&bytes[..]).unwrap();
    receiver.receive(Timestamp::from_millis(20), &packet, &mut |report| {
        reports.push(report)
    });
    assert_eq!(receiver.poll_timeout(), Some(Timestamp::from_millis(220)));
    receiver.handle_timeout(Timestamp::from_millis(219), &mut |report| reports.push(report));
    assert_eq!(reports.len(), 1);
    receiver.handle_timeout(Timestamp::from_millis(220), &mut |report| reports.push(report));
    let ended = Report::Ended {
        digit: digit('6'),
        duration: 320,
    };
    assert_eq!(reports[1..], [ended]);
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn another_source_goes_on_with_digits_of_its_own() {
    let mut sent = packets("3", 800, 0, 0);
    sent.truncate(3);
    // The second source uses the very same numbers.
    let mut other = packets("33", 640, 0, 0);
    for packet in &mut other {
        packet.ssrc = !SSRC;
        packet.at_ms += 60;
    }
    // A packet of the first one arrives after the change.
    let mut late = sent[1];
    late.at_ms = 65;
    let mut arrived = [sent, other].concat();
    arrived.push(late);
    arrived.sort_by_key(|packet| packet.at_ms);
    assert_eq!(told(&arrived), "3:480 3:640 3:640");
}

#[test]
fn a_source_that_starts_its_clock_again_is_heard() {
    let mut sent = packets("12", 640, 100, 5_000_000);
    let mut again = packets("12", 640, 140, 0);
    let after = sent[sent.len() - 1].at_ms + 20;
    again.iter_mut().for_each(|packet| packet.at_ms += after);
    sent.append(&mut again);
    assert_eq!(told(&sent), "1:640 2:640 1:640 2:640");
}

/// Between two digits, so many audio packets may pass that the sequence number seems to go back; and some senders
/// give all their digits the same timestamp.
#[test]
fn a_digit_after_a_long_time_is_new() {
    for (sequence, timestamp) in [(40_000, 5_400_000), (7, 0), (40_000, 0)] {
        let mut sent = packets("8", 640, 0, 0);
        let mut again = packets("8", 640, sequence, timestamp);
        again.iter_mut().for_each(|packet| packet.at_ms += 675_000);
        sent.append(&mut again);
        assert_eq!(told(&sent), "8:640 8:640", "{sequence} {timestamp}");
    }
}

#[test]
fn what_is_no_digit_is_not_told() {
    let mut sent = packets("5", 800, 0, 0);
    sent.iter_mut().for_each(|packet| packet.update.event.code = 16);
    assert_eq!(received(&sent), []);
    let short = &bytes(&sent[0])[..15];
    let packet = rtp::Packet::new_checked(short).unwrap();
    Receiver::new().receive(Timestamp::ZERO, &packet, &mut |_| {
        panic!("three octets are no event")
    });
}
