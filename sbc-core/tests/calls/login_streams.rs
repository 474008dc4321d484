//! Trunks of type credentials over TCP: they connect from anywhere, and are known once they have logged in.

use crate::{
    desk::*,
    lines::*,
    login::{alice, proof, with},
};
use sbc_core::config;

const PHONE: &str = "10.9.8.7:40000";

fn desk(more: &str) -> Desk {
    let text = format!(
        "{more}\n\
         [[listener]]\nname = \"udp\"\naddress = \"127.0.0.1:5060\"\n\
         [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n\
         [media]\naddress = \"127.0.0.1\"\n\
         [[trunk]]\nname = \"carrier\"\ntarget = \"127.0.0.2:5060\"\nlistener = \"tcp\"\n\
         login = {{ realm = \"r\", user = [{{ username = \"alice\", password = \"s3cret\" }}] }}\n\
         [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\nlistener = \"udp\"\n\
         [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n"
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn call(n: u32) -> String {
    request("INVITE", "sip:1000@127.0.0.1", n, &format!("i{n}"), "", OFFER)
}

#[test]
fn a_call_over_a_connection_from_anywhere_goes_back_over_it() {
    let mut desk = desk("");
    let line = desk.accept(PHONE);
    let sent = desk.write(line, tcp(&call(1)));
    let refusal = only(&sent, "401").clone();
    assert_eq!(refusal.over, Some(line));
    let again = call(2);
    let sent = desk.write(line, tcp(&with(&again, &proof(&alice(), &refusal, &again, 1))));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let answer = only(&sent, "200").clone();
    assert_eq!(answer.over, Some(line));
    let tag = tag_of(answer.header("To"));
    let contact = answer.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.write(line, tcp(&request("ACK", &contact, 2, "ack", &tag, "")));
    let sent = desk.callee(&callee_request(&out, "BYE", 1, "bye", ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.over, Some(line));
    desk.write(line, tcp(&response(&bye, 200, "", "", "")));
    // Who has logged in may be silent for as long as anybody.
    desk.pass(seconds(300));
    assert_eq!(desk.line(line).closed, None);
}

#[test]
fn whoever_connects_and_does_not_log_in_is_gone_soon() {
    let mut desk = desk("");
    let line = desk.accept(PHONE);
    for _ in 0..14 {
        desk.write(line, "\r\n\r\n");
        desk.pass(seconds(2));
    }
    assert_eq!(desk.line(line).closed, None);
    desk.pass(seconds(3));
    assert!(desk.line(line).closed.is_some());
    assert_eq!(desk.shard.counters().streams_login_timeouts, 1);
    // The other listener takes log-ins of nobody.
    assert_eq!(desk.shard.counters().streams_unknown_source, 0);
    assert_eq!(desk.try_accept(sbc_core::shard::ListenerId(0), PHONE), None);
    assert_eq!(desk.shard.counters().streams_unknown_source, 1);
}

#[test]
fn those_who_have_not_logged_in_leave_room_for_others() {
    let mut desk = desk("[streams]\nconnections_max = 4\n");
    let first = desk.accept(PHONE);
    desk.accept("10.9.8.7:40001");
    assert_eq!(desk.try_accept(TCP, "10.9.8.7:40002"), None);
    assert_eq!(desk.shard.counters().streams_refused_strangers, 1);
    let sent = desk.write(first, tcp(&call(1)));
    let refusal = only(&sent, "401").clone();
    let again = call(2);
    desk.write(first, tcp(&with(&again, &proof(&alice(), &refusal, &again, 1))));
    desk.accept("10.9.8.7:40002");
    // And they are counted exactly, however they go.
    desk.end(first, sbc_core::io::Closed::End);
    assert_eq!(desk.try_accept(TCP, "10.9.8.7:40003"), None);
    desk.pass(seconds(40));
    desk.accept("10.9.8.7:40003");
    desk.accept("10.9.8.7:40004");
    assert_eq!(desk.shard.counters().streams_refused_strangers, 2);
}
