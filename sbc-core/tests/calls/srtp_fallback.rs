//! What is offered to a peer that refuses `RTP/SAVP` where SRTP is optional.

use crate::desk::*;
use sbc_core::config;
use sbc_media::relay::{PairIndex, Verdict};

/// The default configuration with lines for the callee's trunk.
fn desk(callee: &str) -> Desk {
    let text = config::DEFAULT_TOML.replace("name = \"platform\"", &format!("name = \"platform\"\n{callee}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

const SAVP: &str = "srtp = \"optional\"\nsrtp_offer = \"savp\"";

fn refuse(desk: &mut Desk, invite: &Sent, status: u16) -> Vec<Sent> {
    desk.callee(&response(invite, status, "refusal", "sip:bob@127.0.0.3:5060", ""))
}

#[test]
fn plain_rtp_is_offered_once_after_488() {
    let mut desk = desk(SAVP);
    let first = only(&desk.caller(&invite()), "INVITE").clone();
    assert!(first.body().contains(" RTP/SAVP ") && first.body().contains("a=crypto:"));
    let sent = refuse(&mut desk, &first, 488);
    let second = only(&sent, "INVITE").clone();
    assert!(
        second.body().contains(" RTP/AVP ") && !second.body().contains("a=crypto:"),
        "{}",
        second.body()
    );
    assert_eq!(second.header("Call-ID"), first.header("Call-ID"));
    assert_eq!(second.header("From"), first.header("From"));
    assert_eq!(
        (first.header("CSeq"), second.header("CSeq")),
        ("1 INVITE", "2 INVITE")
    );
    assert_eq!(desk.shard.counters().srtp_fallbacks, 1);

    let sent = desk.callee(&response(
        &second,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        ANSWER,
    ));
    only(&sent, "200");
    let mut packet = [0xff; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1]);
    let len = packet.len();
    let verdict = desk.shard.relay.forward(
        desk.now,
        PairIndex(1).rtp(),
        "127.0.0.3:6000".parse().unwrap(),
        &mut packet,
        len,
    );
    assert!(
        matches!(verdict, Verdict::Forward { len: 172, .. }),
        "{verdict:?}"
    );
}

#[test]
fn a_second_488_is_the_answer() {
    let mut desk = desk(SAVP);
    let first = only(&desk.caller(&invite()), "INVITE").clone();
    let second = only(&refuse(&mut desk, &first, 488), "INVITE").clone();
    let sent = refuse(&mut desk, &second, 488);
    assert_eq!(kinds(&sent), ["B<ACK", "A<488"]);
}

#[test]
fn what_is_not_refused_for_srtp_or_must_have_it_is_not_asked_again() {
    for (options, status) in [
        (SAVP, 486),
        ("srtp = \"required\"", 488),
        ("srtp = \"optional\"", 488),
        ("", 488),
    ] {
        let mut desk = desk(options);
        let first = only(&desk.caller(&invite()), "INVITE").clone();
        let sent = refuse(&mut desk, &first, status);
        assert_eq!(
            kinds(&sent),
            ["B<ACK".to_owned(), format!("A<{status}")],
            "{options}"
        );
        assert_eq!(desk.shard.counters().srtp_fallbacks, 0);
    }
}
