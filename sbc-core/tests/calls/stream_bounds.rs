//! Peers that are slow, silent, too many or hostile: every bound of a connection, and its counter.

use crate::{desk::*, lines::*};
use sbc_core::id::ConnectionId;

fn options() -> String {
    tcp(&request("OPTIONS", "sip:127.0.0.1", 1, "o1", "", ""))
}

/// Seconds until the shard closes the connection.
fn seconds_until_closed(desk: &mut Desk, line: ConnectionId) -> u64 {
    for second in 1..2000 {
        desk.pass(seconds(1));
        if desk.line(line).closed.is_some() {
            return second;
        }
    }
    panic!("it stays open");
}

#[test]
fn an_unknown_source_may_not_connect() {
    let mut desk = desk_on("tcp", "tcp", "");
    assert_eq!(desk.try_accept(TCP, "127.0.0.9:40000"), None);
    assert_eq!(desk.shard.counters().streams_unknown_source, 1);
    assert_eq!(desk.shard.gauges().connections, 0);
}

#[test]
fn one_source_may_not_take_all_connections() {
    let mut desk = desk_on(
        "tcp",
        "tcp",
        "[streams]\nper_source_max = 2\nconnections_max = 3\n",
    );
    let first = desk.accept("127.0.0.2:40000");
    desk.accept("127.0.0.2:40001");
    assert_eq!(desk.try_accept(TCP, "127.0.0.2:40002"), None);
    assert_eq!(desk.shard.counters().streams_refused_per_source, 1);
    desk.accept("127.0.0.3:40000");
    assert_eq!(desk.try_accept(TCP, "127.0.0.3:40001"), None);
    assert_eq!(desk.shard.counters().streams_refused_max, 1);
    desk.end(first, sbc_core::io::Closed::End);
    desk.accept("127.0.0.2:40002");
    assert_eq!(desk.shard.gauges().connections, 3);
}

#[test]
fn a_call_fails_when_no_more_connections_may_be_opened() {
    let mut desk = desk_on("tcp", "tcp", "[streams]\nconnections_max = 1\n");
    let caller = desk.accept("127.0.0.2:40000");
    assert_eq!(kinds(&desk.write(caller, tcp(&invite()))), ["A<100", "A<500"]);
    assert_eq!(desk.shard.counters().streams_refused_max, 1);
}

#[test]
fn a_message_must_be_whole_in_time() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    let text = options();
    // A byte now and then does not help.
    for (second, byte) in text.as_bytes().chunks(1).take(9).enumerate() {
        desk.write(line, byte);
        desk.pass(seconds(1));
        assert_eq!(desk.line(line).closed, None, "after {second} s");
    }
    desk.write(line, "x");
    assert_eq!(seconds_until_closed(&mut desk, line), 1);
    assert_eq!(desk.shard.counters().streams_message_timeouts, 1);
}

#[test]
fn messages_in_a_row_each_have_their_time() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    let text = options();
    let (head, tail) = text.split_at(50);
    desk.write(line, head);
    for _ in 0..5 {
        desk.pass(seconds(6));
        assert_eq!(kinds(&desk.write(line, format!("{tail}{head}"))), ["A<200"]);
    }
    assert_eq!(desk.line(line).closed, None);
}

#[test]
fn a_silent_connection_is_closed() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    desk.pass(seconds(300));
    desk.write(line, options());
    assert_eq!(seconds_until_closed(&mut desk, line), 600);
    assert_eq!(desk.line(line).closed, Some(false));
    assert_eq!(desk.shard.counters().streams_idle, 1);
    desk.assert_quiet();
}

#[test]
fn pings_keep_a_connection_and_are_answered() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    for _ in 0..20 {
        desk.pass(seconds(100));
        desk.write(line, "\r\n");
        desk.write(line, "\r\n");
    }
    assert_eq!(desk.line(line).closed, None);
    assert_eq!(desk.line(line).breaks, vec!["\r\n"; 20]);
}

#[test]
fn a_flood_of_pings_is_answered_once() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    desk.write(line, "\r\n".repeat(10_000));
    assert_eq!(desk.line(line).breaks, ["\r\n"]);
}

#[test]
fn connections_that_we_opened_are_kept_alive_until_they_are_idle() {
    let mut desk = desk_on("tcp", "tcp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let callee = only(&sent, "INVITE").over.unwrap();
    desk.write(callee, response(&sent[1], 486, "t", "", ""));
    desk.pass(seconds(59));
    assert!(desk.line(callee).breaks.is_empty());
    desk.pass(seconds(2));
    assert_eq!(desk.line(callee).breaks, ["\r\n\r\n"]);
    assert_eq!(seconds_until_closed(&mut desk, callee), 539);
    assert_eq!(desk.line(callee).breaks.len(), 9);
}

#[test]
fn a_tls_handshake_must_end_in_time() {
    let mut desk = desk_on("tls", "tls", "");
    let line = desk.try_accept(TLS, "127.0.0.2:40000").unwrap();
    assert_eq!(seconds_until_closed(&mut desk, line), 5);
    assert_eq!(desk.shard.counters().streams_connect_timeouts, 1);
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    desk.lines.slow = true;
    desk.write(line, options());
    assert_eq!(seconds_until_closed(&mut desk, line), 10);
    assert_eq!(desk.line(line).closed, Some(true));
    assert_eq!(desk.shard.counters().streams_send_timeouts, 1);
}

#[test]
fn what_waits_to_be_read_is_bounded() {
    let mut desk = desk_on("tcp", "tcp", "[streams]\nsend_bytes_max = 65536\n");
    let line = desk.accept("127.0.0.2:40000");
    desk.lines.slow = true;
    for n in 0..1000 {
        desk.write(line, options().replace("caller-call-id", &format!("o-{n}")));
        if desk.line(line).closed.is_some() {
            assert!(n > 100, "{n} answers fit");
            assert_eq!(desk.shard.counters().streams_send_overflow, 1);
            return;
        }
    }
    panic!("it stays open");
}

#[test]
fn a_message_that_is_too_large_is_refused() {
    let mut desk = desk_on("tcp", "tcp", "[streams]\nmessage_bytes_max = 2000\n");
    let line = desk.accept("127.0.0.2:40000");
    let sent = desk.write(
        line,
        options().replace("Content-Length: 0", "Content-Length: 1800"),
    );
    assert_eq!(kinds(&sent), ["A<513"]);
    assert_eq!(desk.line(line).closed, Some(false), "once the answer is written");
    assert_eq!(desk.shard.counters().streams_too_large, 1);
    // Without an end of the header section, too.
    let line = desk.accept("127.0.0.2:40000");
    let endless = options().replace("\r\n\r\n", &format!("\r\nSubject: {}\r\n", "x".repeat(2000)));
    assert_eq!(kinds(&desk.write(line, endless)), ["A<513"]);
    assert_eq!(desk.shard.gauges().connections, 0);
}

#[test]
fn without_content_length_the_end_is_unknown() {
    for bad in ["", "Content-Length: x\r\n", "Content-Length: 0\r\nl: 0\r\n"] {
        let mut desk = desk_on("tcp", "tcp", "");
        let line = desk.accept("127.0.0.2:40000");
        let sent = desk.write(line, options().replace("Content-Length: 0\r\n", bad));
        assert_eq!(kinds(&sent), ["A<400"], "{bad:?}");
        assert_eq!(desk.line(line).closed, Some(false));
        assert_eq!(desk.shard.counters().streams_no_length, 1);
    }
}

#[test]
fn what_is_not_sip_is_not_waited_for() {
    let mut desk = desk_on("tcp", "tcp", "");
    let line = desk.accept("127.0.0.2:40000");
    assert!(desk.write(line, b"\x16\x03\x01\x02\x00\x01").is_empty());
    assert!(desk.line(line).closed.is_some());
    assert_eq!(desk.shard.counters().streams_not_sip, 1);
}

#[test]
fn many_silent_connections_cost_little() {
    let mut desk = desk_on("tcp", "tcp", "[streams]\nper_source_max = 10000\n");
    for n in 0..10_000u32 {
        let peer = format!("127.0.0.2:{}", 20_000 + n);
        let line = desk.try_accept(TCP, &peer).unwrap();
        desk.lines.all.clear();
        let text = options();
        desk.shard.handle_stream(desk.now, line, &text.as_bytes()[..30]);
        assert!(desk.shard.poll_output().is_none());
    }
    assert_eq!(desk.shard.gauges().connections, 10_000);
    assert_eq!(desk.shard.gauges().timers, 10_000, "one each");
}
