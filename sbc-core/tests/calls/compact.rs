//! Compact header field names towards trunks that want them (RFC 3261 §7.3.3, S9).

use crate::{desk::*, lines::*};
use sbc_core::sip::{HeaderName, Message};

/// What the two desks are compared by: every message that one sent, as it was and with long names.
#[derive(Default)]
struct Log(Vec<(Sent, Sent)>);

impl Log {
    /// Take what was sent; gives it back with long names, for the peers' answers.
    fn note(&mut self, sent: Vec<Sent>) -> Vec<Sent> {
        let long = |sent: &Sent| Sent {
            text: expanded(&sent.text),
            ..sent.clone()
        };
        let all: Vec<Sent> = sent.iter().map(long).collect();
        self.0.extend(sent.into_iter().zip(all.clone()));
        all
    }
}

fn expanded(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut long = lines.next().unwrap().to_owned();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let known = HeaderName::from_bytes(name.as_bytes());
        let name = if name.len() == 1 { known.as_str() } else { name };
        long += &format!("\r\n{name}: {value}");
    }
    long + "\r\n\r\n" + body
}

/// The names in `text` of which there is a shorter form.
fn long_names(text: &str) -> Vec<String> {
    const COMPACT: &str = "Via From To Call-ID Contact Content-Type Content-Length Supported Session-Expires \
        Subject Refer-To Referred-By Event Allow-Events Content-Encoding";
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let names = head
        .split("\r\n")
        .skip(1)
        .map(|line| line.split(':').next().unwrap());
    let long = names.filter(|name| COMPACT.split(' ').any(|long| long.eq_ignore_ascii_case(name)));
    long.map(str::to_owned).collect()
}

fn desk(compact: [bool; 2]) -> Desk {
    let (mut snapshot, admission) = compiled("udp", "udp", "");
    for (trunk, compact) in snapshot.trunks.iter_mut().zip(compact) {
        trunk.peer.compact = compact;
    }
    Desk::of(snapshot, admission)
}

/// A call that is answered, changed, passes an INFO, and is ended.
fn whole_call(desk: &mut Desk) -> Log {
    let mut log = Log::default();
    let sent = log.note(desk.caller(&invite()));
    let out = only(&sent, "INVITE").clone();
    log.note(desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060", "")));
    let sent = log.note(desk.callee(&ok(&out)));
    let answer = only(&sent, "200");
    let tag = tag_of(answer.header("To"));
    let contact = answer.header("Contact").trim_matches(['<', '>']).to_owned();
    log.note(desk.caller(&request("ACK", &contact, 1, "ack1", &tag, "")));
    let offer = next_version(OFFER);
    let sent = log.note(desk.caller(&request("INVITE", &contact, 2, "inv2", &tag, &offer)));
    let change = only(&sent, "INVITE").clone();
    let answer = next_version(ANSWER);
    log.note(desk.callee(&response(&change, 200, "", "sip:bob@127.0.0.3:5060", &answer)));
    log.note(desk.caller(&request("ACK", &contact, 2, "ack2", &tag, "")));
    let info = request("INFO", &contact, 3, "info1", &tag, "x=1\r\n");
    let info = info.replace("application/sdp", "text/plain");
    let sent = log.note(desk.caller(&info));
    log.note(desk.callee(&response(only(&sent, "INFO"), 200, "", "", "")));
    let sent = log.note(desk.callee(&callee_request(&out, "BYE", 9, "bye1", "")));
    let bye = sent.iter().find(|sent| sent.kind() == "BYE").unwrap();
    log.note(desk.caller(&response(bye, 200, "", "", "")));
    log
}

/// A call that is refused, one that is given up, and requests that are answered at once.
fn failures(desk: &mut Desk) -> Log {
    let mut log = Log::default();
    let sent = log.note(desk.caller(&invite()));
    let out = only(&sent, "INVITE");
    log.note(desk.callee(&response(out, 486, "busy", "", "")));
    log.note(desk.callee(&response(out, 486, "busy", "", "")));
    desk.pass(seconds(60));
    let sent = log.note(desk.caller(&invite()));
    let out = only(&sent, "INVITE");
    log.note(desk.callee(&response(out, 180, "calleetag", "sip:bob@127.0.0.3:5060", "")));
    let sent = log.note(desk.caller(&cancel()));
    log.note(desk.callee(&response(only(&sent, "CANCEL"), 200, "", "", "")));
    log.note(desk.callee(&response(out, 487, "calleetag", "", "")));
    for method in ["OPTIONS", "SUBSCRIBE", "PUBLISH", "BYE"] {
        log.note(desk.caller(&request(method, "sip:127.0.0.1", 1, method, "", "")));
    }
    log
}

fn compare(run: fn(&mut Desk) -> Log, at_least: usize) {
    let plain = run(&mut desk([false, false]));
    assert!(plain.0.len() >= at_least, "{}", plain.0.len());
    assert!(plain.0.iter().all(|(raw, long)| raw.text == long.text));
    for compact in [[true, false], [false, true], [true, true]] {
        let mut desk = desk(compact);
        let log = run(&mut desk);
        assert_eq!(log.0.len(), plain.0.len());
        for ((raw, long), (expected, _)) in log.0.iter().zip(&plain.0) {
            assert_eq!(long.text, expected.text);
            assert!(Message::parse(raw.text.as_bytes()).is_ok());
            if compact[usize::from(!raw.to_caller())] {
                assert_eq!(long_names(&raw.text), Vec::<String>::new(), "{}", raw.text);
                assert!(raw.text.len() + 25 <= long.text.len());
            } else {
                assert_eq!(raw.text, expected.text, "somebody else pays");
            }
        }
        desk.assert_quiet();
    }
}

#[test]
fn a_whole_call_differs_in_nothing_but_the_length_of_names() {
    compare(whole_call, 13);
}

#[test]
fn so_do_refusals_cancels_and_answers_of_ours() {
    compare(failures, 15);
}

#[test]
fn a_large_request_with_compact_names_goes_over_tcp() {
    let mut desk = desk([false, true]);
    let offer = format!("{OFFER}{}", "a=rtpmap:0 PCMU/8000\r\n".repeat(60));
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer));
    let out = only(&sent, "INVITE");
    assert!(out.over.is_some());
    assert!(
        out.text.contains("\r\nv: SIP/2.0/TCP 127.0.0.1:5060;branch="),
        "{}",
        out.text
    );
}

#[test]
fn a_trunk_is_configured_so() {
    let mut desk = desk([false, false]);
    assert!(only(&desk.caller(&invite()), "INVITE").has("Via"));
    let mut config = sbc_core::config::default_config();
    config.trunks[1].compact_headers = true;
    let (snapshot, _) = config.compile().unwrap();
    desk.command(sbc_core::shard::Command::Configure(std::sync::Arc::new(snapshot)));
    let second = invite()
        .replace("caller-call-id", "second")
        .replace("inv1", "inv2");
    let sent = desk.caller(&second);
    assert!(only(&sent, "INVITE").has("v"));
    assert!(only(&sent, "100").has("Via"));
}
