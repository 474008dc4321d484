//! Who is looked at, and who is banned for what (L5). The source of a datagram can be forged: whatever is sent in a
//! trunk's name, its calls go on.

use crate::desk::*;
use crate::login::{self, PHONE, alice, call, challenged, proof, with};
use crate::registrar::register;
use sbc_core::{
    admission::Admission,
    bindings::Record,
    config,
    digest::Account,
    guard::Ban,
    shard::{Command, ListenerId},
    snapshot::Snapshot,
};
use std::sync::Arc;

const STRANGER: &str = "192.0.2.66:5060";

struct Guarded {
    desk: Desk,
    bans: Arc<sbc_core::guard::Bans>,
}

impl Guarded {
    fn new(options: &str) -> Self {
        let text = format!(
            "{options}\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
            [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n\
            [media]\naddress = \"127.0.0.1\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n\
            packets_per_s = 100\n\
            [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n"
        );
        let (snapshot, admission): (Snapshot, Admission) =
            config::parse(&text, "test").unwrap().compile().unwrap();
        let bans = Arc::clone(&snapshot.guard.bans);
        let desk = Desk::of(snapshot, admission);
        Self { desk, bans }
    }

    fn banned(&self) -> Vec<Ban> {
        self.bans.list(self.desk.now)
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.desk.shard.counters();
        let found = counters.iter().find(|(found, _)| *found == name);
        found.expect("a counter").1
    }
}

fn scan() -> String {
    invite().replace("Max-Forwards", "User-Agent: friendly-scanner\r\nMax-Forwards")
}

#[test]
fn a_scanner_is_banned_at_once_with_evidence_and_expiry() {
    let mut g = Guarded::new("[guard]\nban_s = 60");
    assert_eq!(kinds(&g.desk.deliver(STRANGER, &scan())), Vec::<String>::new());
    let banned = g.banned();
    assert_eq!(banned.len(), 1);
    assert_eq!(banned[0].address.to_string(), "192.0.2.66");
    assert_eq!(&*banned[0].evidence, b"friendly-scanner");
    assert_eq!(banned[0].until, g.desk.now + seconds(60));
    g.desk.deliver("192.0.2.66:40000", &invite());
    assert_eq!(g.counter("guard_banned"), 1, "from any port");
    assert_eq!(
        g.counter("sip_unknown_source"),
        1,
        "what is banned is not looked at"
    );
    g.desk.pass(seconds(60));
    g.desk.deliver(STRANGER, &invite());
    assert_eq!(g.counter("sip_unknown_source"), 2);
    assert!(
        g.desk
            .events
            .iter()
            .any(|event| event.text.contains("friendly-scanner"))
    );
}

#[test]
fn a_stranger_that_goes_on_knocking_is_banned() {
    let mut g = Guarded::new("[guard]\nstranger_max = 5");
    for _ in 0..4 {
        g.desk
            .deliver(STRANGER, "OPTIONS sip:100@127.0.0.1 SIP/2.0\r\n\r\n");
    }
    assert_eq!(g.banned(), []);
    g.desk
        .deliver(STRANGER, "OPTIONS sip:104@127.0.0.1 SIP/2.0\r\n\r\n");
    assert_eq!(&*g.banned()[0].evidence, b"OPTIONS sip:104@127.0.0.1 SIP/2.");
    assert_eq!(g.banned()[0].count, 5);
}

#[test]
fn forged_datagrams_never_ban_a_trunk() {
    let mut g = Guarded::new("[guard]\nmalformed_max = 1\nstranger_max = 1\nscanner_max = 1");
    let up = establish(&mut g.desk);
    for n in 0..200 {
        g.desk
            .deliver(CALLER, &scan().replace("caller-call-id", &format!("forged-{n}")));
        g.desk.deliver(CALLER, "nonsense\r\n\r\n");
        g.desk.deliver("127.0.0.2:9999", "nonsense\r\n\r\n");
        g.desk.pass(std::time::Duration::from_millis(50));
    }
    assert_eq!(g.banned(), []);
    assert!(g.counter("guard_offences_trunk") >= 400);
    assert_eq!(g.counter("guard_offences"), 0);
    let sent = g
        .desk
        .caller(&request("BYE", &up.contact, 2, "bye1", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
}

#[test]
fn rules_are_tried_in_order_and_hold_for_trunks_too() {
    let mut g = Guarded::new(
        "[guard]\nacl_default = \"deny\"\n[[acl]]\naction = \"allow\"\nnetworks = [\"192.0.2.66\"]\n\
         [[acl]]\naction = \"deny\"\nnetworks = [\"192.0.2.0/24\", \"127.0.0.3\"]",
    );
    g.desk.deliver(STRANGER, &invite());
    assert_eq!(g.counter("sip_unknown_source"), 1, "allowed before it is denied");
    g.desk.deliver("192.0.2.67:5060", &invite());
    g.desk.deliver("198.51.100.1:5060", &invite());
    assert_eq!(g.counter("guard_denied"), 2, "by a rule, and by default");
    assert_eq!(
        kinds(&g.desk.caller(&invite())),
        ["A<100", "B<INVITE"],
        "a trunk needs no rule"
    );
    g.desk.callee(&invite());
    assert_eq!(g.counter("guard_denied"), 3, "a rule that names a trunk holds");
}

#[test]
fn rates_hold_for_each_stranger_for_all_and_for_a_trunk() {
    let mut g = Guarded::new(
        "[guard]\npackets_per_s = 10\npackets_burst = 3\nstrangers_per_s = 100\nstranger_max = 0",
    );
    for _ in 0..10 {
        g.desk.deliver(STRANGER, &invite());
    }
    assert_eq!((g.counter("sip_unknown_source"), g.counter("guard_rate")), (3, 7));
    for n in 1..=100 {
        g.desk.deliver(&format!("198.51.100.{n}:5060"), &invite());
    }
    assert_eq!(g.counter("sip_unknown_source"), 6, "100 a second, 6 at once");
    for _ in 0..50 {
        g.desk.caller("\r\n\r\n");
    }
    assert_eq!(
        (g.counter("sip_keepalives"), g.counter("guard_rate_trunk")),
        (21, 29)
    );
    assert_eq!(g.banned(), [], "nobody is banned for sending fast");
}

#[test]
fn a_ban_holds_for_connections() {
    let mut g = Guarded::new("");
    let connect = |g: &mut Guarded, peer: &str| {
        let now = g.desk.now;
        g.desk
            .shard
            .handle_accept(now, ListenerId(1), peer.parse().unwrap())
    };
    assert_eq!(connect(&mut g, STRANGER), None);
    assert_eq!(g.counter("streams_unknown_source"), 1);
    g.desk.deliver(STRANGER, &scan());
    assert_eq!(connect(&mut g, STRANGER), None);
    assert_eq!(
        (g.counter("streams_unknown_source"), g.counter("guard_banned")),
        (1, 1)
    );
    g.desk.deliver(CALLER, &scan());
    assert!(connect(&mut g, "127.0.0.2:40000").is_some());
}

/// A trunk that logs in from its hosts, one that may log in from anywhere, and who is banned.
fn with_logins(options: &str) -> Guarded {
    let user = |name: &str| format!("user = [{{ username = \"{name}\", password = \"s3cret\" }}]");
    let text = format!(
        "{options}\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n[media]\naddress = \"127.0.0.1\"\n\
        [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\nlogin = {{ realm = \"c\", {} }}\n\
        [[trunk]]\nname = \"phones\"\ntarget = \"127.0.0.9:5060\"\nlogin = {{ realm = \"r\", {} }}\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\nproof.inbound = {{ tech_prefix = \"99#\" }}\n\
        [[route]]\nto = \"platform\"\nfrom = [\"carrier\", \"phones\"]\n[[route]]\nfrom = \"platform\"\nto = \"carrier\"\n",
        user("carrier"),
        user("alice"),
    );
    guarded(&text)
}

fn guarded(text: &str) -> Guarded {
    let (snapshot, admission) = config::parse(text, "test").unwrap().compile().unwrap();
    let bans = Arc::clone(&snapshot.guard.bans);
    let desk = Desk::of(snapshot, admission);
    Guarded { desk, bans }
}

/// `account` tries to call from `from`, with credentials for the challenge that it got.
fn try_login(g: &mut Guarded, from: &str, id: &str, account: &Account) -> Vec<Sent> {
    let refusal = g.desk.deliver(from, &call(id, 1));
    let again = call(id, 2);
    let again = with(&again, &proof(account, &refusal[0], &again, 1));
    g.desk.deliver(from, &again)
}

#[test]
fn who_guesses_passwords_is_banned_and_a_trunk_in_whose_name_it_is_done_is_not() {
    let mut g = with_logins("[guard]\nbad_credentials_max = 3");
    let wrong = Account::new(b"alice", b"guess");
    for n in 0..3 {
        assert_eq!(g.banned(), []);
        let sent = try_login(&mut g, PHONE, &format!("g{n}"), &wrong);
        assert_eq!(kinds(&sent), ["B<403"]);
    }
    assert_eq!(
        g.banned()[0].address,
        "10.9.8.7".parse::<std::net::IpAddr>().unwrap()
    );
    assert_eq!(&*g.banned()[0].evidence, b"wrong name or password");
    assert_eq!(
        g.desk.deliver(PHONE, &call("more", 1)).len(),
        0,
        "nobody listens any more"
    );
    for n in 0..20 {
        let sent = try_login(&mut g, CALLER, &format!("f{n}"), &wrong);
        assert_eq!(kinds(&sent), ["A<403"]);
        g.desk.callee(&numbered_call(n)); // without its proof
    }
    assert_eq!(g.counter("refused_proof"), 20);
    assert_eq!(g.counter("guard_offences_trunk"), 40);
    assert_eq!(g.banned().len(), 1, "no trunk is banned");
    let right = Account::new(b"carrier", b"s3cret");
    let sent = try_login(&mut g, CALLER, "right", &right);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
}

fn numbered_call(n: u32) -> String {
    invite()
        .replace("caller-call-id", &format!("unproven-{n}"))
        .replace("inv1", &format!("unproven{n}"))
}

#[test]
fn who_has_logged_in_is_not_banned_for_what_others_send_in_its_name() {
    let mut g = with_logins("[guard]\nbad_credentials_max = 2\nmalformed_max = 2\nscanner_max = 1");
    let right = Account::new(b"alice", b"s3cret");
    let forged = |g: &mut Guarded, n: u32| {
        try_login(g, PHONE, &format!("f{n}"), &Account::new(b"alice", b"guess"));
        g.desk.deliver(PHONE, "nonsense\r\n\r\n");
        g.desk.deliver(PHONE, &scan());
    };
    let sent = try_login(&mut g, PHONE, "first", &right);
    assert!(sent.iter().any(|sent| sent.kind() == "INVITE"));
    (0..10).for_each(|n| forged(&mut g, n));
    assert_eq!(g.banned(), []);
    g.desk.pass(seconds(3600));
    forged(&mut g, 10);
    assert_eq!(g.banned(), [], "for an hour at least");
    g.desk.pass(seconds(61));
    forged(&mut g, 11);
    assert_eq!(g.banned().len(), 1, "then it is a stranger again");
}

/// Alice is registered at PHONE for half a day; what is stored of it.
fn registered() -> (Guarded, Arc<Record>) {
    let text = login::text("", ", expires_max_s = 86400");
    let mut g = guarded(&text);
    g.desk.holds_changes = true;
    let contact = format!("Contact: <sip:a@{PHONE}>;expires=43200\r\n");
    let first = register("alice", "c", 1, PHONE, &contact);
    let refusal = challenged(&mut g.desk, PHONE, &first);
    let again = register("alice", "c", 2, PHONE, &contact);
    g.desk
        .deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    g.desk.holds_changes = false;
    let change = g.desk.changes.remove(0);
    g.desk.command(Command::Bindings {
        records: Arc::new([Arc::clone(&change.record)]),
        stored: Arc::new([change.ticket]),
        unsaved: false,
    });
    (g, change.record)
}

#[test]
fn who_is_registered_is_not_banned_for_as_long_as_that() {
    let (mut g, record) = registered();
    g.desk.pass(seconds(43_199));
    g.desk.deliver(PHONE, &scan());
    assert_eq!(g.banned(), []);
    g.desk.pass(seconds(62));
    g.desk.deliver(PHONE, &scan());
    assert_eq!(g.banned().len(), 1, "then it is a stranger again");
    // Nor after a restart.
    let mut g = guarded(&login::text("", ""));
    g.desk.command(Command::Bindings {
        records: Arc::new([record]),
        stored: Arc::default(),
        unsaved: false,
    });
    g.desk.deliver(PHONE, &scan());
    assert_eq!(g.banned(), []);
}

/// Datagrams of a thousand, all at once in the name of PHONE, that were looked at.
fn admitted_of_a_thousand(g: &mut Guarded) -> u64 {
    let before = g.counter("guard_rate_logged_in");
    for _ in 0..1000 {
        g.desk.deliver(PHONE, "nonsense\r\n\r\n");
    }
    1000 - (g.counter("guard_rate_logged_in") - before)
}

#[test]
fn who_is_registered_or_sends_in_its_name_has_a_rate_of_its_own() {
    let (mut g, record) = registered();
    assert_eq!(admitted_of_a_thousand(&mut g), 401, "a fifth of a second of 2000");
    g.desk.pass(seconds(1));
    assert_eq!(admitted_of_a_thousand(&mut g), 401);
    assert_eq!(g.banned(), []);
    // The phone's trunk says another.
    let text = login::text("packets_per_s = 100", "");
    let mut g = guarded(&text);
    g.desk.command(Command::Bindings {
        records: Arc::new([record]),
        stored: Arc::default(),
        unsaved: false,
    });
    assert_eq!(admitted_of_a_thousand(&mut g), 21);
}

#[test]
fn who_asks_for_all_and_never_logs_in_is_banned_and_learns_nothing() {
    let mut g = with_logins("[guard]\nunproven_max = 30");
    let mut answers = std::collections::BTreeSet::new();
    for n in 0..30 {
        assert_eq!(g.banned(), []);
        // Alice is the third.
        let user = if n == 2 { "alice".to_owned() } else { n.to_string() };
        let method = ["REGISTER", "INVITE", "OPTIONS"][n % 3];
        let uri = format!("sip:{user}@127.0.0.1");
        let text = request(method, &uri, 1, &format!("s{n}"), "", "")
            .replace("sip:1000@127.0.0.1", &uri)
            .replace("caller-call-id", &format!("s{n}"));
        let sent = g.desk.deliver(PHONE, &text);
        let varies = ["Via", "From", "To", "Call-ID", "CSeq", "WWW-Authenticate"];
        let constant = sent[0]
            .text
            .lines()
            .filter(|line| !varies.iter().any(|name| line.starts_with(name)));
        answers.insert(constant.map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(
        answers.len(),
        1,
        "the same for every user and method: {answers:?}"
    );
    assert_eq!(&*g.banned()[0].evidence, b"OPTIONS");
}
