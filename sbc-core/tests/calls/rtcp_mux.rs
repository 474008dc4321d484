//! RTCP on the RTP port (RFC 5761), agreed with each side by itself. Correctness 37.

use crate::desk::*;
use sbc_core::config;
use sbc_media::relay::{MediaSocket, PairIndex, Verdict};

const A: PairIndex = PairIndex(0);
const B: PairIndex = PairIndex(1);
const MUX: &str = "a=rtcp-mux\r\n";
const NEVER: &str = "rtcp_mux = \"never\"";
const OFFERING: &str = "rtcp_mux = \"offer\"";

/// The shard with a line of configuration for the caller's trunk and for the callee's.
fn desk(caller: &str, callee: &str) -> Desk {
    let text = config::DEFAULT_TOML
        .replace("name = \"carrier\"", &format!("name = \"carrier\"\n{caller}"))
        .replace("name = \"platform\"", &format!("name = \"platform\"\n{callee}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// The offer to the callee, the answer to the caller, the caller's tag, and our contact towards it.
struct Told {
    offer: Sent,
    answer: Sent,
    tag: String,
    contact: String,
}

fn establish(desk: &mut Desk, offer: &str, answer: &str) -> Told {
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", offer));
    let offer = only(&sent, "INVITE").clone();
    let ok = response(&offer, 200, "calleetag", "sip:bob@127.0.0.3:5060", answer);
    let answer = only(&desk.callee(&ok), "200").clone();
    let tag = tag_of(answer.header("To"));
    let contact = answer.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    Told {
        offer,
        answer,
        tag,
        contact,
    }
}

/// An offer of the caller in the call, and the callee's answer: what each is told.
fn reinvite(desk: &mut Desk, told: &Told, cseq: u32, offer: &str, answer: &str) -> [Sent; 2] {
    let branch = format!("re{cseq}");
    let sent = desk.caller(&request("INVITE", &told.contact, cseq, &branch, &told.tag, offer));
    let crossed = only(&sent, "INVITE").clone();
    let ok = response(&crossed, 200, "", "sip:bob@127.0.0.3:5060", answer);
    let answered = only(&desk.callee(&ok), "200").clone();
    desk.caller(&request(
        "ACK",
        &told.contact,
        cseq,
        &format!("ack{cseq}"),
        &told.tag,
        "",
    ));
    [crossed, answered]
}

fn has_mux(sent: &Sent) -> bool {
    let lines = sent.body().split_inclusive('\n').filter(|line| *line == MUX);
    match lines.count() {
        0 => false,
        1 => true,
        n => panic!("{n} lines in\n{}", sent.body()),
    }
}

/// Where a report of the peer of `from` leaves that arrives on its RTP port or on the next.
fn report(desk: &mut Desk, from: PairIndex, muxed: bool) -> (MediaSocket, String) {
    let (host, port) = if from == A {
        ("127.0.0.2", 4000)
    } else {
        ("127.0.0.3", 6000)
    };
    let (socket, port) = if muxed {
        (from.rtp(), port)
    } else {
        (from.rtcp(), port + 1)
    };
    let mut packet = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let at = format!("{host}:{port}").parse().unwrap();
    let verdict = desk.shard.relay.forward(desk.now, socket, at, &mut packet, 8);
    let Verdict::Forward { socket, to, .. } = verdict else {
        panic!("{verdict:?}");
    };
    (socket, to.expect("not connected").to_string())
}

/// RTCP reaches both sides as agreed, from the port that was agreed, and also from the RTP port where none was.
fn assert_reports(desk: &mut Desk, caller_muxes: bool, callee_muxes: bool) {
    let to_caller = match caller_muxes {
        true => (A.rtp(), "127.0.0.2:4000".to_owned()),
        false => (A.rtcp(), "127.0.0.2:4001".to_owned()),
    };
    let to_callee = match callee_muxes {
        true => (B.rtp(), "127.0.0.3:6000".to_owned()),
        false => (B.rtcp(), "127.0.0.3:6001".to_owned()),
    };
    for muxed in [callee_muxes, true] {
        assert_eq!(report(desk, B, muxed), to_caller, "{muxed}");
    }
    for muxed in [caller_muxes, true] {
        assert_eq!(report(desk, A, muxed), to_callee, "{muxed}");
    }
}

fn mux(sdp: &str) -> String {
    format!("{sdp}{MUX}")
}

#[test]
fn a_caller_that_offers_it_is_answered_and_the_callee_hears_nothing_of_it() {
    let mut desk = desk("", "");
    let told = establish(&mut desk, &mux(OFFER), ANSWER);
    assert!(!has_mux(&told.offer) && has_mux(&told.answer));
    assert_eq!(told.offer.media_port() % 2, 0, "RTCP is on the next port");
    assert_reports(&mut desk, true, false);
}

#[test]
fn nobody_is_answered_what_was_not_asked() {
    // The callee says it on its own: that is no agreement (RFC 5761 §5.1.1).
    let mut desk = desk("", "");
    let told = establish(&mut desk, OFFER, &mux(ANSWER));
    assert!(!has_mux(&told.offer) && !has_mux(&told.answer));
    assert_reports(&mut desk, false, false);
}

#[test]
fn never_is_never() {
    let mut desk = desk(NEVER, NEVER);
    let told = establish(&mut desk, &mux(OFFER), &mux(ANSWER));
    assert!(!has_mux(&told.offer) && !has_mux(&told.answer));
    assert_reports(&mut desk, false, false);
}

#[test]
fn a_callee_is_offered_it_and_agrees_or_has_the_next_port() {
    for (answer, agreed) in [(mux(ANSWER), true), (ANSWER.to_owned(), false)] {
        let mut desk = desk("", OFFERING);
        let told = establish(&mut desk, OFFER, &answer);
        assert!(has_mux(&told.offer) && !has_mux(&told.answer));
        assert_reports(&mut desk, false, agreed);
    }
}

#[test]
fn a_caller_without_an_offer_is_offered_it_in_the_answer() {
    let mut desk = desk(OFFERING, "");
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let invite = only(&sent, "INVITE").clone();
    let ok = response(&invite, 200, "calleetag", "sip:bob@127.0.0.3:5060", &mux(ANSWER));
    let offer = only(&desk.callee(&ok), "200").clone();
    assert!(has_mux(&offer));
    let contact = offer.header("Contact").trim_matches(['<', '>']).to_owned();
    let tag = tag_of(offer.header("To"));
    let sent = desk.caller(&request("ACK", &contact, 1, "ack1", &tag, &mux(OFFER)));
    assert!(has_mux(only(&sent, "ACK")), "the callee's own offer is answered");
    assert_reports(&mut desk, true, true);
}

#[test]
fn it_is_agreed_anew_with_every_offer() {
    let mut desk = desk("", OFFERING);
    let told = establish(&mut desk, &mux(OFFER), &mux(ANSWER));
    assert_reports(&mut desk, true, true);
    // The caller gives it up, and the callee keeps it.
    let changed = next_version(OFFER);
    let [crossed, answered] = reinvite(&mut desk, &told, 2, &changed, &mux(ANSWER));
    assert!(has_mux(&crossed) && !has_mux(&answered));
    assert_reports(&mut desk, false, true);
    // And the other way round.
    let again = mux(&OFFER.replace("caller 1 1 ", "caller 1 3 "));
    let [crossed, answered] = reinvite(&mut desk, &told, 3, &again, &next_version(ANSWER));
    assert!(has_mux(&crossed) && has_mux(&answered));
    assert_reports(&mut desk, true, false);
}

#[test]
fn what_is_in_use_is_offered_again_to_who_asked_for_it() {
    let mut desk = desk("", "");
    let told = establish(&mut desk, &mux(OFFER), ANSWER);
    // The callee offers anew: the caller, which is only accepted from, would lose what is not in the offer.
    let changed = next_version(ANSWER);
    let sent = desk.callee(&callee_request(&told.offer, "INVITE", 1, "re1", &changed));
    let crossed = only(&sent, "INVITE").clone();
    assert!(has_mux(&crossed));
    desk.caller(&response(&crossed, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    assert_reports(&mut desk, false, false);
}

#[test]
fn payload_types_that_look_like_rtcp_are_kept_apart() {
    let odd = |sdp: &str, number: u8| {
        let map = format!(" {number}\r\na=rtpmap:{number} iLBC/8000\r\n");
        sdp.replacen("RTP/AVP 0 8\r\n", &format!("RTP/AVP 0 8{map}"), 1)
    };
    for (number, agreed) in [(63, true), (64, false), (72, false), (95, false), (96, true)] {
        let mut desk = desk("", OFFERING);
        let told = establish(&mut desk, &mux(&odd(OFFER, number)), &mux(ANSWER));
        assert_eq!(
            (has_mux(&told.offer), has_mux(&told.answer)),
            (agreed, agreed),
            "{number}"
        );
        assert_reports(&mut desk, agreed, agreed);
    }
    // A list of codecs leaves it behind on the way.
    let mut desk = desk("", &format!("{OFFERING}\ncodecs = [\"PCMU\"]"));
    let told = establish(&mut desk, &mux(&odd(OFFER, 72)), &mux(ANSWER));
    assert!(has_mux(&told.offer) && !has_mux(&told.answer));
    assert_reports(&mut desk, false, true);
}

#[test]
fn a_refused_offer_of_it_is_not_repeated_as_an_answer() {
    let mut desk = desk("", OFFERING);
    let told = establish(&mut desk, OFFER, ANSWER);
    assert!(has_mux(&told.offer));
    // The callee sends what we know of it already, to refresh the session: it is answered here.
    for cseq in [1, 2] {
        let sent = desk.callee(&callee_request(
            &told.offer,
            "INVITE",
            cseq,
            &format!("re{cseq}"),
            ANSWER,
        ));
        let ok = only(&sent, "200").clone();
        assert!(!has_mux(&ok), "{}", ok.body());
        desk.callee(&callee_request(
            &told.offer,
            "ACK",
            cseq,
            &format!("ack{cseq}"),
            "",
        ));
    }
    assert_reports(&mut desk, false, false);
    // One that has agreed hears it again.
    let mut desk = self::desk("", OFFERING);
    let told = establish(&mut desk, OFFER, &mux(ANSWER));
    let again = callee_request(&told.offer, "INVITE", 1, "re1", &mux(ANSWER));
    assert!(has_mux(only(&desk.callee(&again), "200")));
    assert_reports(&mut desk, false, true);
}
