//! Two sides that differ in transport or address family.

use crate::{desk::*, lines::*};
use sbc_core::{config, shard::ListenerId};

#[test]
fn a_caller_over_tcp_and_a_callee_over_udp() {
    let mut desk = desk_on("tcp", "udp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = sent[1].clone();
    assert_eq!(out.over, None);
    assert!(out.header("Via").starts_with("SIP/2.0/UDP 127.0.0.1:5060"));
    assert!(!out.header("Contact").contains("transport"));
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!((sent[0].over, sent[1].over), (None, Some(caller)));
    assert!(sent[1].header("Contact").contains(";transport=tcp"));
}

#[test]
fn a_caller_over_udp_and_a_callee_over_tcp() {
    let mut desk = desk_on("udp", "tcp", "");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let callee = out.over.unwrap();
    let sent = desk.write(callee, tcp(&ok(&out)));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!((sent[0].over, sent[1].over), (Some(callee), None));
}

#[test]
fn a_contact_may_change_the_transport() {
    let mut desk = desk_on("udp", "tcp", "");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    // Over TCP it says that it wants UDP from now on.
    let contact = "Contact: <sip:bob@127.0.0.3:5062;transport=udp>";
    let text = ok(&out).replace("Contact: <sip:bob@127.0.0.3:5060>", contact);
    let sent = desk.write(out.over.unwrap(), text);
    let ack = only(&sent, "ACK");
    assert_eq!((ack.over, ack.to), (None, "127.0.0.3:5062".parse().unwrap()));
    assert!(ack.header("Via").starts_with("SIP/2.0/UDP"));
}

#[test]
fn a_contact_without_port_has_the_transports_port() {
    let mut desk = desk_on("udp", "tls", "");
    desk.lines.dial = Dial::Wait;
    let sent = desk.caller(&invite());
    assert_eq!(kinds(&sent), ["A<100"]);
    let line = desk.lines.all[0].id;
    let out = desk.prove(line, &[])[0].clone();
    assert!(out.header("Via").starts_with("SIP/2.0/TLS 127.0.0.1:5061"));
    assert!(
        out.header("Contact").starts_with("<sip:"),
        "{}",
        out.header("Contact")
    );
    assert!(out.header("Contact").ends_with("@127.0.0.1:5061;transport=tls>"));
    let text = ok(&out).replace("127.0.0.3:5060>", "127.0.0.3;transport=tls>");
    let sent = desk.write(line, text);
    let (tag, contact) = {
        let ok = only(&sent, "200");
        (
            tag_of(ok.header("To")),
            ok.header("Contact").trim_matches(['<', '>']).to_owned(),
        )
    };
    desk.caller(&request("ACK", &contact, 1, "a1", &tag, ""));
    desk.end(line, sbc_core::io::Closed::Reset);
    desk.caller(&request("BYE", &contact, 2, "b1", &tag, ""));
    assert_eq!(
        desk.lines.all.last().unwrap().peer,
        "127.0.0.3:5061".parse().unwrap()
    );
}

/// Listeners 0 and 1 over IPv4, 2 and 3 over IPv6; each UDP, then TCP.
fn dual(callee: &str, listener: &str) -> Desk {
    let text = format!(
        "[[listener]]\nname = \"udp\"\naddress = \"127.0.0.1:5060\"\n\
        [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n\
        [[listener]]\nname = \"udp6\"\naddress = \"[::1]:5060\"\n\
        [[listener]]\nname = \"tcp6\"\ntransport = \"tcp\"\naddress = \"[::1]:5060\"\n\
        [media]\naddress = \"127.0.0.1\"\n\
        [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"{callee}\"]\nlistener = \"{listener}\"\nmedia = \"default\"\n\
        [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n"
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

#[test]
fn a_callee_over_ipv6_and_tcp() {
    let mut desk = dual("2001:db8::3", "tcp6");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, "[2001:db8::3]:5060".parse().unwrap());
    assert!(
        out.header("Via").starts_with("SIP/2.0/TCP [::1]:5060;"),
        "{}",
        out.header("Via")
    );
    assert!(out.header("Contact").ends_with("@[::1]:5060;transport=tcp>"));
    let text = ok(&out).replace("127.0.0.3:5060>", "[2001:db8::3]:5062;transport=tcp>");
    let line = out.over.unwrap();
    let sent = desk.write(line, text);
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(sent[0].over, Some(line), "the connection it answered on");
    assert_eq!(
        sent[0].start(),
        "ACK sip:bob@[2001:db8::3]:5062;transport=tcp SIP/2.0"
    );
}

#[test]
fn a_contact_may_change_the_address_family() {
    let mut desk = dual("127.0.0.3", "udp");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let text = ok(&out).replace("bob@127.0.0.3:5060>", "bob@[2001:db8::3]>");
    desk.shard
        .handle_datagram(desk.now, ListenerId(0), CALLEE.parse().unwrap(), text.as_bytes());
    let sent = desk.drain();
    let ack = only(&sent, "ACK");
    assert_eq!(ack.to, "[2001:db8::3]:5060".parse().unwrap());
    assert!(ack.header("Via").starts_with("SIP/2.0/UDP [::1]:5060;"));
}
