//! Another configuration takes the place of the one that runs: calls in every phase go on and end as if nothing had
//! been (T8, T10).

use crate::{desk::*, names::*};
use sbc_core::{
    admission::Admission,
    config::{self, Config, Succession},
    shard::{Command, Reply, ShardId},
    snapshot::Snapshot,
};
use std::sync::Arc;

/// A desk whose configuration changes.
pub(crate) struct Reloading {
    pub(crate) desk: Desk,
    pub(crate) config: Config,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) admission: Arc<Admission>,
}

impl Reloading {
    pub(crate) fn of(text: &str) -> Self {
        let config = config::parse(text, "test").unwrap();
        let (snapshot, admission) = config.compile().unwrap();
        let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
        Self {
            desk: Desk::of_shard(ShardId(0), 1, Arc::clone(&snapshot), Arc::clone(&admission)),
            config,
            snapshot,
            admission,
        }
    }

    /// As the control thread does it.
    pub(crate) fn reload(&mut self, text: &str) -> Vec<Sent> {
        let config = config::parse_after(text, "test", Some(&self.config)).unwrap();
        let mut sent = self.desk.command(Command::Held);
        let Some(Reply::Held(held)) = self.desk.replies.pop() else {
            panic!("no answer");
        };
        let successor = config
            .succeed(&Succession {
                config: &self.config,
                snapshot: &self.snapshot,
                admission: &self.admission,
                held: Some(&held),
                now: self.desk.now,
            })
            .unwrap();
        assert_eq!(successor.forgotten, 0);
        self.config = config;
        self.snapshot = successor.adopt(&self.admission);
        sent.extend(self.desk.command(Command::Configure(Arc::clone(&self.snapshot))));
        sent
    }

    pub(crate) fn used(&self, name: &str) -> u32 {
        let limit = self.admission.iter().find(|limit| limit.name == name);
        limit.map_or(0, |limit| limit.channels_used)
    }
}

const HEAD: &str = "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
    [media]\naddress = \"127.0.0.1\"\nports = \"20000-20999\"\n";
const CARRIER: &str = "[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\nrefer = \"local\"\n";
const PLATFORM: &str = "[[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n";
const OTHER: &str = "[[trunk]]\nname = \"other\"\nhosts = [\"127.0.0.4\"]\n";
const OUT: &str = "[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n";
const BACK: &str = "[[route]]\nfrom = \"platform\"\nto = \"carrier\"\n";

pub(crate) fn text(parts: &[&str]) -> String {
    [HEAD].iter().chain(parts).copied().collect()
}

pub(crate) fn first() -> String {
    text(&[CARRIER, PLATFORM, OTHER, OUT, BACK])
}

/// What may become of the configuration while a call is up.
fn changes() -> Vec<(&'static str, String)> {
    let off = |trunk: &str| format!("{trunk}enabled = false\n");
    let moved = CARRIER.replace("127.0.0.2", "127.0.0.22");
    let away = PLATFORM.replace("127.0.0.3", "127.0.0.33");
    let strict = format!("{CARRIER}latch = \"strict\"\nreliable = \"off\"\ncodecs = [\"PCMU\"]\n");
    vec![
        ("nothing", first()),
        ("another order", text(&[OTHER, PLATFORM, CARRIER, BACK, OUT])),
        (
            "one more before it",
            text(&[
                "[[trunk]]\nname = \"new\"\nhosts = [\"127.0.0.9\"]\n",
                CARRIER,
                PLATFORM,
                OUT,
            ]),
        ),
        ("no route", text(&[CARRIER, PLATFORM])),
        ("other options", text(&[&strict, PLATFORM, OUT])),
        ("the caller's trunk off", text(&[&off(CARRIER), PLATFORM, OUT])),
        ("the callee's trunk off", text(&[CARRIER, &off(PLATFORM), OUT])),
        ("the caller elsewhere", text(&[&moved, PLATFORM, OUT])),
        ("the callee elsewhere", text(&[CARRIER, &away, OUT])),
        ("no caller's trunk", text(&[PLATFORM, OTHER])),
        ("no callee's trunk", text(&[CARRIER, OTHER])),
        ("neither trunk", text(&[OTHER])),
        (
            "its addresses are another's",
            text(&[
                &CARRIER.replace("carrier", "x"),
                &PLATFORM.replace("platform", "y"),
                OTHER,
            ]),
        ),
    ]
}

/// Runs `story` once for every change; it is given the moment at which that is made.
fn each(story: impl Fn(&mut Reloading, &str)) {
    for (what, text) in changes() {
        println!("{what}");
        let mut world = Reloading::of(&first());
        story(&mut world, &text);
        world.desk.assert_quiet();
        for limit in world.admission.iter() {
            assert_eq!(limit.channels_used, 0, "{what}: {}", limit.name);
        }
    }
}

fn bye(up: &Up, cseq: u32) -> String {
    request("BYE", &up.contact, cseq, "bye", &up.tag, "")
}

/// The caller hangs up, and the callee agrees.
fn hang_up(desk: &mut Desk, up: &Up) {
    let sent = desk.caller(&bye(up, 9));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
    assert!(desk.callee(&response(&sent[1], 200, "", "", "")).is_empty());
    assert_eq!(desk.records.last().unwrap().cause, "caller_hung_up");
}

#[test]
fn before_the_callee_has_said_anything() {
    each(|world, text| {
        let sent = world.desk.caller(&invite());
        let out = only(&sent, "INVITE").clone();
        assert!(world.reload(text).is_empty());
        // The caller repeats itself: its transaction knows it.
        assert_eq!(kinds(&world.desk.caller(&invite())), ["A<100"]);
        let sent = world.desk.callee(&ok(&out));
        assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
        let (tag, contact) = (
            tag_of(sent[1].header("To")),
            sent[1].header("Contact").trim_matches(['<', '>']).to_owned(),
        );
        assert!(
            world
                .desk
                .caller(&request("ACK", &contact, 1, "ack1", &tag, ""))
                .is_empty()
        );
        let sent = world.desk.caller(&request("BYE", &contact, 2, "bye", &tag, ""));
        assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
        world.desk.callee(&response(&sent[1], 200, "", "", ""));
    });
}

#[test]
fn while_it_rings() {
    each(|world, text| {
        let sent = world.desk.caller(&invite());
        let out = only(&sent, "INVITE").clone();
        world
            .desk
            .callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060", ""));
        assert!(world.reload(text).is_empty());
        // The caller gives up.
        let sent = world.desk.caller(&cancel());
        assert_eq!(kinds(&sent), ["A<200", "A<487", "B<CANCEL"]);
        world.desk.caller(&request(
            "ACK",
            "sip:1000@127.0.0.1",
            1,
            "inv1",
            &tag_of(sent[1].header("To")),
            "",
        ));
        world.desk.callee(&response(&sent[2], 200, "calleetag", "", ""));
        let sent = world.desk.callee(&response(&out, 487, "calleetag", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK"]);
        assert_eq!(world.desk.records[0].cause, "caller_cancelled");
    });
}

#[test]
fn between_the_answer_and_its_ack() {
    each(|world, text| {
        let sent = world.desk.caller(&invite());
        let out = only(&sent, "INVITE").clone();
        let sent = world.desk.callee(&ok(&out));
        let answer = only(&sent, "200").clone();
        assert!(world.reload(text).is_empty());
        // It is repeated until it is acknowledged.
        let sent = world.desk.pass(std::time::Duration::from_millis(600));
        assert_eq!(kinds(&sent), ["A<200"]);
        let (tag, contact) = (
            tag_of(answer.header("To")),
            answer.header("Contact").trim_matches(['<', '>']).to_owned(),
        );
        world.desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
        assert!(world.desk.pass(seconds(10)).is_empty());
        let sent = world.desk.callee(&callee_request(&out, "BYE", 1, "byeb", ""));
        assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
        world.desk.caller(&response(&sent[1], 200, "", "", ""));
        assert_eq!(world.desk.records[0].cause, "callee_hung_up");
    });
}

#[test]
fn while_they_talk() {
    each(|world, text| {
        let up = establish(&mut world.desk);
        assert!(world.reload(text).is_empty());
        // Each side changes the session, and the other hears of it.
        let sent = world.desk.caller(&request(
            "INVITE",
            &up.contact,
            2,
            "re1",
            &up.tag,
            &next_version(OFFER),
        ));
        assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
        let sent = world.desk.callee(&response(
            &sent[1],
            200,
            "",
            "sip:bob@127.0.0.3:5060",
            &next_version(ANSWER),
        ));
        assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
        world
            .desk
            .caller(&request("ACK", &up.contact, 2, "re1a", &up.tag, ""));
        let sent = world
            .desk
            .callee(&callee_request(&up.invite, "INFO", 1, "info", ""));
        assert_eq!(kinds(&sent), ["A<INFO"]);
        let sent = world.desk.caller(&response(&sent[0], 200, "", "", ""));
        assert_eq!(kinds(&sent), ["B<200"]);
        hang_up(&mut world.desk, &up);
    });
}

#[test]
fn while_the_caller_hangs_up() {
    each(|world, text| {
        let up = establish(&mut world.desk);
        let sent = world.desk.caller(&bye(&up, 2));
        assert!(world.reload(text).is_empty());
        assert_eq!(
            kinds(&world.desk.caller(&bye(&up, 2))),
            ["A<200"],
            "a retransmission"
        );
        world.desk.callee(&response(&sent[1], 200, "", "", ""));
    });
}

#[test]
fn while_it_is_transferred() {
    each(|world, text| {
        let up = establish(&mut world.desk);
        let refer = request("REFER", &up.contact, 2, "r2", &up.tag, "").replace(
            "Content-Length",
            "Refer-To: <sip:2000@127.0.0.2>\r\nContent-Length",
        );
        let sent = world.desk.caller(&refer);
        assert_eq!(kinds(&sent), ["A<202", "A<NOTIFY", "B<INVITE"]);
        let (notify, out) = (sent[1].clone(), sent[2].clone());
        world.desk.caller(&response(&notify, 200, "", "", ""));
        assert!(world.reload(text).is_empty());
        // The target is busy: the referrer hears of it, and the call is as it was.
        let sent = world.desk.callee(&response(&out, 486, "targettag", "", ""));
        let notify = only(&sent, "NOTIFY").clone();
        assert!(notify.body().starts_with("SIP/2.0 486"), "{}", notify.body());
        world.desk.caller(&response(&notify, 200, "", "", ""));
        hang_up(&mut world.desk, &up);
    });
}

#[test]
fn a_channel_is_given_back_to_the_limit_it_was_taken_from() {
    let mut world = Reloading::of(&first());
    let up = establish(&mut world.desk);
    assert_eq!(
        (world.used("carrier.inbound"), world.used("platform.both")),
        (1, 1)
    );
    world.reload(&text(&[OTHER]));
    assert_eq!(world.used("carrier.inbound"), 1);
    // It comes back: the same limit, with the call in it.
    let limited = format!("{CARRIER}limits = {{ inbound = {{ channels = 1 }} }}\n");
    world.reload(&text(&[OTHER, PLATFORM, &limited, OUT]));
    assert_eq!(world.used("carrier.inbound"), 1);
    let more = invite().replace("caller-call-id", "more").replace("inv1", "inv2");
    assert_eq!(kinds(&world.desk.caller(&more)), ["A<100", "A<503"]);
    hang_up(&mut world.desk, &up);
    assert_eq!(world.used("carrier.inbound"), 0);
    world.desk.assert_quiet();
}

#[test]
fn in_failover_the_next_address_is_tried() {
    let text = |more: &str| {
        format!(
            "{HEAD}{CARRIER}[[trunk]]\nname = \"platform\"\nhosts = []\ntarget = \"sip.platform.test\"\n{more}{OUT}"
        )
    };
    for (more, named) in [("", true), ("options_interval_s = 60\n", true)] {
        let mut world = Reloading::of(&text(""));
        world.desk.pass(seconds(0));
        answer(
            &mut world.desk,
            &[("127.0.0.9:5060", 0), ("127.0.0.10:5060", 1)],
            600,
        );
        let sent = world.desk.caller(&invite());
        let out = only(&sent, "INVITE").clone();
        assert!(world.reload(&text(more)).is_empty());
        assert!(world.desk.questions.is_empty() == named, "the name is known");
        let sent = world
            .desk
            .deliver("127.0.0.9:5060", &response(&out, 503, "t", "", ""));
        assert_eq!(invited(&sent), Some(at("127.0.0.10:5060")));
    }
    // The trunk is gone, or reached elsewhere: an attempt that is under way is brought to its end all the same.
    for gone in [
        format!("{HEAD}{CARRIER}{OTHER}"),
        text("").replace("sip.platform.test", "sip.elsewhere.test"),
    ] {
        let mut world = Reloading::of(&text(""));
        world.desk.pass(seconds(0));
        answer(
            &mut world.desk,
            &[("127.0.0.9:5060", 0), ("127.0.0.10:5060", 1)],
            600,
        );
        let sent = world.desk.caller(&invite());
        let out = only(&sent, "INVITE").clone();
        world.reload(&gone);
        let sent = world
            .desk
            .deliver("127.0.0.9:5060", &response(&out, 503, "t", "", ""));
        let second = only(&sent, "INVITE").clone();
        let contact = "sip:bob@127.0.0.10:5060";
        let sent = world
            .desk
            .deliver("127.0.0.10:5060", &response(&second, 200, "t2", contact, ANSWER));
        assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
        let (tag, contact) = (
            tag_of(sent[1].header("To")),
            sent[1].header("Contact").trim_matches(['<', '>']).to_owned(),
        );
        world.desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
        // From an address that only the old name stood for.
        let bye = callee_request(&second, "BYE", 1, "byeb", "").replace("calleetag", "t2");
        let sent = world.desk.deliver("127.0.0.10:5060", &bye);
        assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
        world.desk.caller(&response(&sent[1], 200, "", "", ""));
        assert_eq!(world.desk.records.len(), 1);
    }
}
