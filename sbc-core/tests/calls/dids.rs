//! Blocks of numbers and emergency numbers with several trunks: they have the time-outs, final statuses and dates that
//! routes have (R3, R4, R7, R9, T9).

use crate::{
    desk::*,
    routes::{SECOND, THIRD, TRUNKS, attempts, desk_of, invited, numbered},
};
use sbc_core::{
    admin::{protocol::TestRoute, route::report},
    config,
};
use std::time::Duration;

const NUMBER: &str = "+493012345";

/// Calls to a number of a block, and emergency calls, go to the platform, then to the second trunk.
fn two(section: &str, more: &str) -> Desk {
    desk_of(&format!(
        "[[route]]\nfrom = \"carrier\"\nto = \"third\"\n{section}\nto = [\"platform\", \"second\"]\n{more}"
    ))
}

const DID: &str = "[[did]]\nnumbers = [\"+493012300-99\"]";
const EMERGENCY: &str = "[emergency]\nnumbers = [\"112\"]";
const BOTH: [(&str, &str); 2] = [(DID, NUMBER), (EMERGENCY, "112")];

#[test]
fn who_does_not_ring_in_time_is_left() {
    for (section, number) in BOTH {
        let mut desk = two(section, "ringback_timeout_s = 5\n");
        let sent = desk.caller(&numbered(1, number));
        let first = invited(&sent, CALLEE);
        desk.callee(&response(&first, 100, "", "", ""));
        assert!(desk.pass(Duration::from_millis(4_990)).is_empty(), "{section}");
        let second = invited(&desk.pass(Duration::from_millis(20)), SECOND);
        desk.callee(&response(&first, 487, "t1", "", ""));
        desk.deliver(SECOND, &response(&second, 486, "t2", "", ""));
        assert_eq!(
            attempts(&desk),
            [
                ("platform", None, "no_ringback"),
                ("second", Some(486), "refused")
            ],
            "{section}"
        );
    }
}

#[test]
fn who_does_not_answer_in_time_is_left() {
    for (section, number) in BOTH {
        let mut desk = two(section, "no_answer_s = 20\n");
        let sent = desk.caller(&numbered(1, number));
        let first = invited(&sent, CALLEE);
        desk.callee(&response(&first, 180, "t1", "", ""));
        assert!(desk.pass(Duration::from_millis(19_990)).is_empty(), "{section}");
        let second = invited(&desk.pass(Duration::from_millis(20)), SECOND);
        desk.callee(&response(&first, 487, "t1", "", ""));
        desk.deliver(SECOND, &response(&second, 486, "t2", "", ""));
        assert_eq!(attempts(&desk)[0], ("platform", None, "no_answer"), "{section}");
    }
}

#[test]
fn final_statuses_and_the_number_of_invites_are_the_operators() {
    for (section, number) in BOTH {
        let mut desk = two(section, "stop_on = [480]\n");
        let sent = desk.caller(&numbered(1, number));
        let sent = desk.callee(&response(&invited(&sent, CALLEE), 486, "t1", "", ""));
        let sent = desk.deliver(SECOND, &response(&invited(&sent, SECOND), 480, "t2", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK", "A<480"], "{section}");

        let mut desk = two(section, "attempts_max = 1\n");
        let sent = desk.caller(&numbered(1, number));
        let sent = desk.callee(&response(&invited(&sent, CALLEE), 500, "t1", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK", "A<500"], "{section}");
    }
}

#[test]
fn a_number_moves_to_another_trunk_for_a_time() {
    let mut desk = desk_of(
        "[[did]]\nname = \"ours\"\nnumbers = [\"+4930123-45\"]\nto = \"platform\"\n\
         [[did]]\nname = \"ported\"\nnumbers = [\"+4930123-45\"]\nto = \"second\"\n\
         starts = 2026-12-01T00:00:00Z\nends = \"2026-12-01T01:00:00Z\"\n\
         [[did]]\nname = \"single\"\nnumbers = [\"+4930130\"]\nto = \"third\"\n",
    );
    desk.shard.set_epoch(1_796_083_200 - 60);
    invited(&desk.caller(&numbered(1, "+4930130")), THIRD);
    invited(&desk.caller(&numbered(2, "+4930144")), CALLEE);
    desk.pass(seconds(60));
    invited(&desk.caller(&numbered(3, "+4930144")), SECOND);
    invited(&desk.caller(&numbered(4, "+4930130")), THIRD);
    desk.pass(seconds(3_600));
    invited(&desk.caller(&numbered(5, "+4930144")), CALLEE);
}

#[test]
fn a_route_test_says_when_the_next_trunk_is_tried() {
    let rules = format!(
        "{DID}\nto = [\"platform\", \"second\"]\nname = \"office\"\nstop_on = [480]\nringback_timeout_s = 5\n\
         no_answer_s = 20\nattempts_max = 3\nstarts = 2026-12-01T00:00:00Z\n"
    );
    let config = config::parse(&format!("{TRUNKS}{rules}"), "test").unwrap();
    let (snapshot, _) = config.compile().unwrap();
    let test = TestRoute {
        number: NUMBER.to_owned(),
        from: Some("carrier".to_owned()),
    };
    let said = report(&snapshot, &test, 1_796_083_200).unwrap();
    assert_eq!(
        said.failover,
        "after any failure but 480 and 6xx, 5 s without 18x, 20 s without an answer; at most 3 INVITEs"
    );
    let before = report(&snapshot, &test, 1_796_083_199).unwrap();
    assert_eq!(
        before.rules[0].verdict.as_deref(),
        Some("it begins to hold at 2026-12-01T00:00:00Z")
    );
}

#[test]
fn each_region_has_emergency_numbers_of_its_own() {
    let sections = "[[emergency]]\nnumbers = [\"112\"]\nto = \"second\"\n\
                    [[emergency]]\nfrom = \"carrier\"\nnumbers = [\"911\"]\nto = \"third\"\n\
                    [[route]]\nto = \"platform\"\n";
    let mut desk = desk_of(sections);
    invited(&desk.caller(&numbered(1, "911")), THIRD);
    invited(&desk.caller(&numbered(2, "112")), SECOND);
    // An extension of the other trunk's platform, which is in another country.
    let sent = desk.deliver(SECOND, &numbered(3, "911").replace("127.0.0.2", "127.0.0.4"));
    invited(&sent, CALLEE);
    assert_eq!(desk.shard.counters().emergency_calls, 2);
}
