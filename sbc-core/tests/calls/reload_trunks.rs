//! What becomes of trunks from one configuration to the next: their ids, sources and switch (T8, T10).

use crate::{desk::*, reload::*};
use sbc_core::{health::Health, snapshot::Service, trunk::TrunkId};

const NEW: &str = "[[trunk]]\nname = \"new\"\nhosts = [\"127.0.0.7\"]\n";

fn without(name: &str) -> String {
    let parts = first()
        .split("[[")
        .map(|part| format!("[[{part}"))
        .collect::<Vec<_>>();
    let parts = parts.iter().filter(|part| !part.contains(&format!("\"{name}\"")));
    parts
        .map(String::as_str)
        .collect::<String>()
        .replacen("[[[[", "[[", 1)
}

fn off(name: &str) -> String {
    first().replace(
        &format!("name = \"{name}\"\n"),
        &format!("name = \"{name}\"\nenabled = false\n"),
    )
}

fn id(world: &Reloading, name: &str) -> Option<u16> {
    world.snapshot.trunk_named(name).map(|(id, _)| id.0)
}

fn another_call(n: u32) -> String {
    invite()
        .replace("caller-call-id", &format!("call-{n}"))
        .replace("inv1", &format!("inv-{n}"))
}

#[test]
fn an_id_belongs_to_a_name_until_no_call_holds_it() {
    let mut world = Reloading::of(&first());
    let up = establish(&mut world.desk);
    assert_eq!(
        [id(&world, "carrier"), id(&world, "platform"), id(&world, "other")],
        [Some(0), Some(1), Some(2)]
    );
    world.reload(&without("platform"));
    assert_eq!(
        [id(&world, "carrier"), id(&world, "platform"), id(&world, "other")],
        [Some(0), None, Some(2)]
    );
    assert_eq!(world.snapshot.service_of(TrunkId(1)), Service::Removed);
    // A call holds it: a new trunk has an id of its own.
    world.reload(&format!("{}{NEW}", without("platform")));
    assert_eq!(id(&world, "new"), Some(3));
    // It comes back to its own.
    world.reload(&first());
    assert_eq!([id(&world, "platform"), id(&world, "new")], [Some(1), None]);
    world.reload(&without("platform"));
    let sent = world
        .desk
        .caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    world.desk.callee(&response(&sent[1], 200, "", "", ""));
    // Nothing holds it any more.
    world.reload(&format!("{}{NEW}", without("platform")));
    assert_eq!(id(&world, "new"), Some(1));
    assert_eq!(world.snapshot.trunks.len(), 4);
    world.desk.assert_quiet();
}

#[test]
fn a_source_that_is_gone_begins_nothing() {
    let mut world = Reloading::of(&first());
    let up = establish(&mut world.desk);
    for text in [without("carrier"), first().replace("127.0.0.2", "127.0.0.22")] {
        world.reload(&text);
        let before = world.desk.shard.counters().sip_unknown_source;
        for text in [
            another_call(1),
            request("OPTIONS", "sip:127.0.0.1", 1, "o1", "", ""),
            request("MESSAGE", "sip:1@127.0.0.1", 1, "m1", "", ""),
        ] {
            assert!(world.desk.caller(&text).is_empty());
        }
        assert_eq!(world.desk.shard.counters().sip_unknown_source, before + 3);
    }
    assert_eq!(world.snapshot.former.hosts.len(), 1);
    let sent = world
        .desk
        .caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
    world.desk.callee(&response(&sent[1], 200, "", "", ""));
    world.desk.pass(seconds(60));
    // Nobody needs it any more.
    world.reload(&without("other").replace("127.0.0.2", "127.0.0.22"));
    world.desk.pass(seconds(1));
    world.reload(&without("other").replace("127.0.0.2", "127.0.0.22"));
    assert!(
        world.snapshot.former.hosts.is_empty(),
        "{:?}",
        world.snapshot.former
    );
    world.desk.assert_quiet();
}

#[test]
fn a_trunk_that_is_off_takes_no_part_in_new_calls() {
    let mut world = Reloading::of(&first());
    let up = establish(&mut world.desk);
    world.reload(&off("carrier"));
    let sent = world.desk.caller(&another_call(1));
    assert_eq!(kinds(&sent), ["A<100", "A<503"]);
    assert!(only(&sent, "503").has("Retry-After"));
    let sent = world
        .desk
        .caller(&request("OPTIONS", "sip:127.0.0.1", 1, "o1", "", ""));
    assert_eq!(kinds(&sent), ["A<503"]);
    // With the status that the configuration has for it.
    world.reload(&format!("{}[limits]\nreject_code = 480\n", off("carrier")));
    assert_eq!(kinds(&world.desk.caller(&another_call(2))), ["A<100", "A<480"]);
    // The one that is called is off.
    world.reload(&off("platform"));
    assert_eq!(kinds(&world.desk.caller(&another_call(3))), ["A<100", "A<500"]);
    assert_eq!(world.desk.shard.counters().refused_disabled, 3);
    world.reload(&first());
    let sent = world.desk.caller(&another_call(4));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    world.desk.callee(&response(&sent[1], 486, "t", "", ""));
    // All the time, the call was up.
    let sent = world
        .desk
        .callee(&callee_request(&up.invite, "BYE", 1, "byeb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
    world.desk.caller(&response(&sent[1], 200, "", "", ""));
    world.desk.assert_quiet();
}

#[test]
fn what_is_known_of_a_trunk_stays_as_long_as_it_is_the_same() {
    let platform = "name = \"platform\"\n";
    let text = first().replace(platform, &format!("{platform}options_interval_s = 30\n"));
    let watched = |more: &str| format!("{text}{more}");
    let mut world = Reloading::of(&watched(""));
    let options = |world: &mut Reloading| {
        for _ in 0..400 {
            let sent = world.desk.pass(std::time::Duration::from_millis(100));
            if let Some(options) = sent.iter().find(|sent| sent.kind() == "OPTIONS") {
                return options.clone();
            }
        }
        panic!("no OPTIONS");
    };
    let platform = TrunkId(1);
    let asked = options(&mut world);
    // While an answer is awaited.
    world.reload(&watched("[limits]\ncps = 1000\n"));
    world.desk.callee(&response(&asked, 200, "t", "", ""));
    assert_eq!(world.snapshot.health.view(platform).0, Health::Up);
    for _ in 0..2 {
        options(&mut world);
        world.desk.pass(seconds(9));
        world.reload(&watched(""));
    }
    assert_eq!(
        world.snapshot.health.view(platform).0,
        Health::Down,
        "failures are counted on"
    );
    assert_eq!(kinds(&world.desk.caller(&another_call(1))), ["A<100", "A<500"]);
    // Nobody would see it come back.
    world.reload(&watched("").replace("options_interval_s = 30", ""));
    assert_eq!(world.snapshot.health.view(platform).0, Health::Untested);
    let sent = world.desk.caller(&another_call(2));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    world.desk.callee(&response(&sent[1], 486, "t", "", ""));
}
