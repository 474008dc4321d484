//! Who may take a place in a call by Replaces, when three trunks have a part in it: A talks to B and,
//! in a second call, to C. A asks B by REFER to take its place at C.

use crate::desk::*;
use sbc_core::config::{self, Config};

pub(crate) const THIRD: &str = "127.0.0.9:5060";

/// The default configuration and a third trunk, whose calls go where A is.
pub(crate) fn three_trunks() -> Config {
    let mut config = config::default_config();
    let mut third = config.trunks[0].clone();
    third.name = "third".to_owned();
    third.hosts = vec!["127.0.0.9".parse().unwrap()];
    config.trunks.push(third);
    let mut route = config.routes[0].clone();
    route.from = Some(config::Names(vec!["third".to_owned()]));
    route.to = config::Names(vec!["carrier".to_owned()]);
    config.routes.push(route);
    config
}

/// A request of C's call to A.
pub(crate) fn of_third(method: &str, uri: &str, cseq: u32, branch: &str, to_tag: &str, body: &str) -> String {
    request(method, uri, cseq, branch, to_tag, body)
        .replace("127.0.0.2", "127.0.0.9")
        .replace("caller-call-id", "third-call-id")
        .replace("callertag", "thirdtag")
}

/// A's dialog with us in the call from C, as A names it to us in Refer-To.
pub(crate) fn named_by_a(out: &Sent) -> String {
    format!(
        "{}%3Bto-tag%3D{}%3Bfrom-tag%3Dcarriertag",
        out.header("Call-ID"),
        tag_of(out.header("From"))
    )
}

/// The Replaces in a Refer-To that we have written.
pub(crate) fn replaces_of(refer: &Sent) -> String {
    let refer_to = refer.header("Refer-To");
    let value = refer_to.split("Replaces=").nth(1).unwrap().trim_end_matches('>');
    value.replace("%3B", ";").replace("%3D", "=")
}

/// A new call of B's to us, with Replaces.
pub(crate) fn taking(method: &str, to_tag: &str, cseq: u32, branch: &str, replaces: &str) -> String {
    let (fields, body) = match method {
        "INVITE" => (format!("Replaces: {replaces}\r\nRequire: replaces\r\n"), OFFER),
        _ => (String::new(), ""),
    };
    request(method, "sip:2000@127.0.0.1", cseq, branch, to_tag, body)
        .replace("127.0.0.2", "127.0.0.3")
        .replace("caller-call-id", &format!("new-call-{branch}"))
        .replace("callertag", "newtag")
        .replace("Content-Length", &format!("{fields}Content-Length"))
}

fn refer_to(request: String, replaces: &str) -> String {
    request.replace(
        "Content-Length",
        &format!("Refer-To: <sip:2000@127.0.0.2?Replaces={replaces}>\r\nContent-Length"),
    )
}

/// Both calls.
struct Two {
    desk: Desk,
    up: Up,
    /// Our INVITE to A in the call from C.
    out: Sent,
    /// Our tag towards C.
    tag: String,
}

impl Two {
    fn new() -> Self {
        let (snapshot, admission) = three_trunks().compile().unwrap();
        let mut desk = Desk::of(snapshot, admission);
        let up = establish(&mut desk);
        let sent = desk.deliver(
            THIRD,
            &of_third("INVITE", "sip:1000@127.0.0.1", 1, "t1", "", OFFER),
        );
        let out = only(&sent, "INVITE").clone();
        assert!(out.to_caller());
        let sent = desk.caller(&response(
            &out,
            200,
            "carriertag",
            "sip:alice@127.0.0.2:5060",
            ANSWER,
        ));
        let tag = tag_of(only(&sent, "200").header("To"));
        desk.deliver(THIRD, &of_third("ACK", "sip:1000@127.0.0.1", 1, "t2", &tag, ""));
        Self { desk, up, out, tag }
    }

    /// What B learns when A asks it.
    fn told_b(&mut self) -> String {
        let refer = request("REFER", &self.up.contact, 2, "refer", &self.up.tag, "");
        let sent = self.desk.caller(&refer_to(refer, &named_by_a(&self.out)));
        let refer = only(&sent, "REFER").clone();
        self.desk
            .callee(&response(&refer, 202, "", "sip:bob@127.0.0.3", ""));
        replaces_of(&refer)
    }

    fn end(mut self) {
        assert_eq!(self.desk.shard.gauges().calls, 2);
        let bye = request("BYE", &self.up.contact, 90, "bye", &self.up.tag, "");
        self.desk.caller(&bye);
        let bye = of_third("BYE", "sip:1000@127.0.0.1", 90, "t90", &self.tag, "");
        self.desk.deliver(THIRD, &bye);
        self.desk.assert_quiet();
    }
}

#[test]
fn a_transfer_between_three_trunks_succeeds() {
    let mut two = Two::new();
    let replaces = two.told_b();
    assert!(!replaces.contains("carriertag") && !replaces.contains(two.out.header("Call-ID")));
    let desk = &mut two.desk;
    let sent = desk.callee(&taking("INVITE", "", 1, "n1", &replaces));
    let asked = only(&sent, "INVITE").clone();
    assert_eq!(asked.to, THIRD.parse().unwrap());
    assert_eq!(asked.header("Call-ID"), "third-call-id");
    let sent = desk.deliver(
        THIRD,
        &response(&asked, 200, "", "sip:carol@127.0.0.9:5060", ANSWER),
    );
    assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "B<200"]);
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&response(only(&sent, "BYE"), 200, "", "", ""));
    desk.callee(&taking("ACK", &tag, 1, "n1", ""));
    assert_eq!(desk.records.last().unwrap().cause, "replaced");
    two.end();
}

#[test]
fn the_true_names_are_not_enough_on_a_trunk_beside_the_call() {
    let mut two = Two::new();
    let names = named_by_a(&two.out).replace("%3B", ";").replace("%3D", "=");
    let sent = two.desk.callee(&taking("INVITE", "", 1, "n1", &names));
    assert_eq!(kinds(&sent), ["B<100", "B<403"]);
    // On a trunk of the call they are.
    let invite = taking("INVITE", "", 1, "n2", &names).replace("127.0.0.3", "127.0.0.9");
    let sent = two.desk.deliver(THIRD, &invite);
    assert_eq!(kinds(&sent), ["B<100", "B<INVITE"]);
    let sent = two
        .desk
        .deliver(THIRD, &response(only(&sent, "INVITE"), 488, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "B<488"]);
    two.end();
}

#[test]
fn a_name_disguised_by_a_referrer_of_another_trunk_is_refused() {
    let mut two = Two::new();
    // B has learned the names of A's dialog with C, and lets us disguise them.
    let refer = callee_request(&two.up.invite, "REFER", 5, "leak", "");
    let sent = two.desk.callee(&refer_to(refer, &named_by_a(&two.out)));
    let refer = only(&sent, "REFER").clone();
    two.desk
        .caller(&response(&refer, 202, "", "sip:alice@127.0.0.2", ""));
    let replaces = replaces_of(&refer);
    for (n, from) in [CALLEE, CALLER, THIRD].into_iter().enumerate() {
        let invite = taking("INVITE", "", 1, &format!("n{n}"), &replaces);
        let host = from.trim_end_matches(":5060");
        let sent = two.desk.deliver(from, &invite.replace("127.0.0.3", host));
        assert_eq!(sent.last().unwrap().kind(), "481", "{from}");
    }
    assert_ne!(replaces, two.told_b());
    two.end();
}

#[test]
fn a_guessed_name_is_refused() {
    let mut two = Two::new();
    let good = two.told_b();
    let changed = |at: usize| {
        let mut text = good.clone().into_bytes();
        text[at] = if text[at] == b'5' { b'6' } else { b'5' };
        String::from_utf8(text).unwrap()
    };
    let from_tag = good.find("from-tag=").unwrap() + 9;
    for (n, guess) in [changed(0), changed(23), changed(from_tag), changed(from_tag + 23)]
        .iter()
        .enumerate()
    {
        let sent = two.desk.callee(&taking("INVITE", "", 1, &format!("n{n}"), guess));
        assert_eq!(kinds(&sent), ["B<100", "B<481"], "{guess}");
    }
    two.end();
}
