//! What is counted of the calls of a trunk: how many there are, and how many are answered (T8).

use crate::desk::*;
use crate::reload::{Reloading, first};
use crate::routes::{SECOND, desk_of, invited, numbered};
use crate::{pacing, replaces, transfer_local};
use sbc_core::{
    shard::{Command, Reply},
    traffic::{TrunkTraffic, WayTraffic},
    trunk::TrunkId,
};

const CARRIER: TrunkId = TrunkId(0);
const PLATFORM: TrunkId = TrunkId(1);
const OTHER: TrunkId = TrunkId(2);

fn traffic(desk: &mut Desk, trunk: TrunkId) -> TrunkTraffic {
    desk.command(Command::Traffic);
    match desk.replies.pop() {
        Some(Reply::Traffic(traffic)) => traffic[usize::from(trunk.0)],
        other => panic!("{other:?}"),
    }
}

/// Calls and answers of the last hour; ever, there are as many.
fn hour(way: WayTraffic) -> (u64, u64) {
    assert_eq!(way.long, way.total);
    (way.long.seizures, way.long.answers)
}

fn from(desk: &mut Desk, trunk: TrunkId) -> (u64, u64) {
    hour(traffic(desk, trunk).inbound)
}

fn to(desk: &mut Desk, trunk: TrunkId) -> (u64, u64) {
    hour(traffic(desk, trunk).outbound)
}

#[test]
fn a_call_counts_where_it_comes_from_and_where_it_goes() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 0), (1, 0))
    );
    let mut desk = Desk::new();
    establish(&mut desk);
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 1), (1, 1))
    );
    assert_eq!(
        (to(&mut desk, CARRIER), from(&mut desk, PLATFORM)),
        ((0, 0), (0, 0))
    );
    // A repeated answer, or INVITE, is none.
    desk.caller(&invite());
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 1), (1, 1))
    );
}

#[test]
fn calls_a_second_are_those_of_the_last_whole_ones() {
    let mut desk = desk_of("[[route]]\nto = \"platform\"");
    for n in 0..3 {
        desk.caller(&numbered(n, "1000"));
    }
    assert_eq!(
        traffic(&mut desk, CARRIER).inbound.last_seconds,
        0,
        "the second under way"
    );
    desk.pass(seconds(1));
    assert_eq!(traffic(&mut desk, CARRIER).inbound.last_seconds, 3);
    assert_eq!(traffic(&mut desk, PLATFORM).outbound.last_seconds, 3);
    desk.pass(seconds(5));
    assert_eq!(traffic(&mut desk, CARRIER).inbound.last_seconds, 0);
}

#[test]
fn a_caller_that_gives_up_has_called() {
    let mut desk = Desk::new();
    let out = only(&desk.caller(&invite()), "INVITE").clone();
    desk.callee(&response(&out, 180, "t", "sip:bob@127.0.0.3", ""));
    desk.caller(&cancel());
    // Its answer has crossed our CANCEL.
    desk.callee(&ok(&out));
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 0), (1, 0))
    );
}

#[test]
fn what_we_refuse_is_no_call() {
    let mut desk = desk_of("[limits]\nchannels = 1\n[[route]]\nto = \"platform\"");
    desk.caller(&numbered(1, "1000"));
    assert_eq!(kinds(&desk.caller(&numbered(2, "1000"))), ["A<100", "A<503"]);
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 0), (1, 0))
    );
}

#[test]
fn each_trunk_that_is_asked_is_seized_once() {
    let mut desk = desk_of("[[route]]\nto = [\"platform\", \"second\"]");
    let out = invited(&desk.caller(&invite()), CALLEE);
    // The caller's side wants longer sessions: the same call asked again.
    let sent = desk.callee(
        &response(&out, 422, "t1", "", "")
            .replace("\r\nContent-Length", "\r\nMin-SE: 3000\r\nContent-Length"),
    );
    let again = invited(&sent, CALLEE);
    let second = invited(&desk.callee(&response(&again, 500, "t2", "", "")), SECOND);
    desk.deliver(SECOND, &response(&second, 200, "t3", "sip:bob@127.0.0.4", ANSWER));
    assert_eq!(from(&mut desk, CARRIER), (1, 1));
    assert_eq!((to(&mut desk, PLATFORM), to(&mut desk, OTHER)), ((1, 0), (1, 1)));
}

#[test]
fn a_call_that_waits_seizes_its_trunk_when_it_leaves() {
    let mut desk = pacing::paced();
    desk.caller(&numbered(1, "1000"));
    desk.caller(&numbered(2, "1000"));
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((2, 0), (1, 0))
    );
    desk.pass(seconds(1));
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((2, 0), (2, 0))
    );
}

#[test]
fn who_takes_a_place_in_a_call_is_a_call_of_its_own_trunk() {
    // A phone of the platform takes the place of the caller.
    let mut desk = Desk::new();
    let (_, out) = replaces::asked(&mut desk);
    assert_eq!(
        (from(&mut desk, PLATFORM), to(&mut desk, PLATFORM)),
        ((1, 0), (1, 1))
    );
    desk.callee(&response(&out, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(
        (from(&mut desk, PLATFORM), to(&mut desk, PLATFORM)),
        ((1, 1), (1, 1))
    );
    assert_eq!(from(&mut desk, CARRIER), (1, 1));
    // We call the target of a transfer at the platform.
    let mut desk = transfer_local::desk();
    let (_, _, asked) = transfer_local::put(&mut desk);
    assert_eq!(to(&mut desk, PLATFORM), (2, 2));
    desk.callee(&transfer_local::accepted(&asked));
    assert_eq!(
        (from(&mut desk, CARRIER), to(&mut desk, PLATFORM)),
        ((1, 1), (2, 2))
    );
    assert_eq!(
        (from(&mut desk, PLATFORM), to(&mut desk, CARRIER)),
        ((0, 0), (0, 0))
    );
}

#[test]
fn counts_go_with_the_name_of_the_trunk() {
    let mut world = Reloading::of(&first());
    let sent = world.desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    world.reload(&first().replace(
        "hosts = [\"127.0.0.3\"]",
        "hosts = [\"127.0.0.3\", \"127.0.0.9\"]",
    ));
    assert_eq!(
        to(&mut world.desk, PLATFORM),
        (1, 0),
        "it has changed, and is the same one"
    );
    // Its name is another: it is another trunk. The call goes on, and is none of the new one's.
    let renamed = first().replace("\"platform\"", "\"renamed\"");
    world.reload(&renamed);
    let (id, _) = world.snapshot.trunk_named("renamed").unwrap();
    assert_eq!(to(&mut world.desk, id), (0, 0));
    // The old name comes back while its call is up: to its id, and to nothing that was counted.
    world.reload(&first());
    assert_eq!(world.snapshot.trunk_named("platform").unwrap().0, PLATFORM);
    world.desk.pass(seconds(1));
    world.desk.callee(&ok(&out));
    assert_eq!(to(&mut world.desk, PLATFORM), (0, 0));
    assert_eq!(from(&mut world.desk, CARRIER), (1, 1));
}
