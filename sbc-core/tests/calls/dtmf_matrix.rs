//! Digits from every method to every method, through a whole shard, in both directions at once (M6, correctness 40).
//!
//! `cargo test --release -p sbc-core --test calls dtmf_matrix -- --ignored --nocapture` sends a thousand strings each way through
//! each of the sixteen.

use crate::dtmf_phone::{Line, Method, Random};

/// Strings on one call: it is over before its session timer wants to be answered.
const STRINGS_PER_CALL: u32 = 50;

/// Send so many strings each way; the result is what was sent and what was heard where they differ.
fn send(methods: [Method; 2], strings: u32, lost: u32, seed: u64) -> (u32, Vec<(String, String)>) {
    let options = methods.map(Method::option);
    let mut random = Random(seed);
    let (mut digits, mut wrong) = (0, Vec::new());
    for call in 0..strings.div_ceil(STRINGS_PER_CALL) {
        let mut line = Line::new(methods, options, lost, seed + 1000 + u64::from(call));
        for _ in 0..STRINGS_PER_CALL.min(strings - call * STRINGS_PER_CALL) {
            let pressed = [random.digits(12), random.digits(12)];
            let duration_ms = 50 + random.below(150);
            for (phone, pressed) in line.phones.iter_mut().zip(&pressed) {
                phone.press(pressed, duration_ms);
            }
            line.settle();
            for (at, pressed) in pressed.into_iter().enumerate() {
                digits += pressed.len() as u32;
                let heard = std::mem::take(&mut line.phones[1 - at].heard);
                if heard != pressed {
                    wrong.push((pressed, heard));
                }
            }
        }
        if lost == 0 {
            let breaks = [line.phones[0].breaks, line.phones[1].breaks];
            assert_eq!(breaks, [0, 0], "{methods:?}: each hears one stream without a gap");
        }
        line.end();
    }
    (digits, wrong)
}

fn pairs() -> impl Iterator<Item = [Method; 2]> {
    Method::ALL
        .into_iter()
        .flat_map(|from| Method::ALL.map(|to| [from, to]))
}

fn matrix(strings: u32, lost: u32) {
    let mut failed = Vec::new();
    for (n, methods) in pairs().enumerate() {
        let (digits, wrong) = send(methods, strings, lost, 7 + n as u64);
        println!(
            "{methods:?}: {strings} strings each way, {digits} digits, {lost} % of events lost: {} wrong",
            wrong.len()
        );
        if !wrong.is_empty() {
            failed.push((methods, wrong));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn digits_reach_the_other_side_by_its_method() {
    matrix(3, 0);
}

#[test]
fn digits_reach_the_other_side_though_events_are_lost() {
    matrix(2, 5);
}

#[test]
#[ignore = "minutes: the command is in the head of this file"]
fn a_thousand_strings_each_way() {
    matrix(1000, 0);
}

#[test]
#[ignore = "minutes: the command is in the head of this file"]
fn a_thousand_strings_each_way_with_five_percent_of_events_lost() {
    matrix(1000, 5);
}
