//! Who a TLS peer is: its address, and the names in its certificate where the trunk wants them.

use crate::{desk::*, lines::*};

fn desk_that_wants(name: &str) -> Desk {
    let (mut snapshot, admission) = compiled("tls", "tls", "");
    snapshot.trunks[0].peer.tls_client_names = vec![name.into()];
    snapshot.trunks[1].peer.tls_client_names = vec!["platform.example".into()];
    Desk::of(snapshot, admission)
}

fn tls(text: &str) -> String {
    text.replace("SIP/2.0/UDP", "SIP/2.0/TLS")
        .replace(":5060>", ":5061;transport=tls>")
}

#[test]
fn a_peer_with_the_name_may_call() {
    let mut desk = desk_that_wants("carrier.example");
    let line = desk.try_accept(TLS, "127.0.0.2:40000").unwrap();
    desk.prove(line, &["other.example", "carrier.example"]);
    assert_eq!(kinds(&desk.write(line, tls(&invite()))), ["A<100", "B<INVITE"]);
}

#[test]
fn a_peer_without_the_name_is_refused() {
    for names in [&["other.example"][..], &[]] {
        let mut desk = desk_that_wants("carrier.example");
        let line = desk.try_accept(TLS, "127.0.0.2:40000").unwrap();
        desk.prove(line, names);
        assert_eq!(kinds(&desk.write(line, tls(&invite()))), ["A<403"]);
        assert_eq!(desk.shard.counters().streams_identity_refused, 1);
        assert_eq!(desk.shard.counters().calls_attempted, 0);
        // Neither do its ACK and responses get anywhere.
        let ack = tls(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
        assert!(desk.write(line, ack).is_empty());
    }
}

#[test]
fn nothing_is_read_before_the_handshake_has_ended() {
    let mut desk = desk_that_wants("carrier.example");
    let line = desk.try_accept(TLS, "127.0.0.2:40000").unwrap();
    assert!(desk.write(line, tls(&invite())).is_empty());
    assert_eq!(desk.shard.counters().sip_received, 0);
}

#[test]
fn a_peer_that_we_connected_to_is_proved_by_the_name_that_we_asked_for() {
    let mut desk = desk_that_wants("carrier.example");
    let line = desk.try_accept(TLS, "127.0.0.2:40000").unwrap();
    desk.prove(line, &["carrier.example"]);
    let sent = desk.write(line, tls(&invite()));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.write(out.over.unwrap(), tls(&ok(&out)));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}
