//! m-lines of offers and answers (RFC 3264): the same number in the same order. Correctness 32 to 37.

use crate::desk::*;

const VIDEO: &str = "m=video 5000 RTP/AVP 31\r\n";

fn m_lines(sent: &Sent) -> Vec<String> {
    sent.body()
        .lines()
        .filter_map(|line| line.strip_prefix("m="))
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect()
}

fn offer(desk: &mut Desk, body: &str) -> Sent {
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", body));
    only(&sent, "INVITE").clone()
}

fn answer(desk: &mut Desk, invite: &Sent, body: &str) -> Vec<Sent> {
    desk.callee(&response(
        invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        body,
    ))
}

#[test]
fn a_stream_we_do_not_carry_is_rejected_in_its_place() {
    let session = OFFER.split_once("m=audio").unwrap().0;
    for (body, place) in [
        (format!("{OFFER}{VIDEO}"), 1),
        (format!("{session}{VIDEO}m=audio 4000 RTP/AVP 0\r\n"), 0),
    ] {
        let mut desk = Desk::new();
        let out = offer(&mut desk, &body);
        let lines = m_lines(&out);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[place], "video 0");
        let (video, audio) = ("m=video 0 RTP/AVP 31\r\n", "m=audio 6000 RTP/AVP 0\r\n");
        let session = ANSWER.split_once("m=audio").unwrap().0;
        let theirs = if place == 0 {
            format!("{session}{video}{audio}")
        } else {
            format!("{session}{audio}{video}")
        };
        let sent = answer(&mut desk, &out, &theirs);
        let lines = m_lines(only(&sent, "200"));
        assert_eq!(lines.len(), 2, "as many as the caller offered");
        assert_eq!(lines[place], "video 0");
        assert!(lines[1 - place].starts_with("audio ") && lines[1 - place] != "audio 0");
    }
}

#[test]
fn lines_that_an_answer_swallows_are_rejected_in_its_place() {
    // RFC 3264 §6: the caller offered three, so it must see three.
    let image = "m=image 5002 udptl t38\r\n";
    let mut desk = Desk::new();
    let out = offer(&mut desk, &format!("{OFFER}{VIDEO}{image}"));
    let sent = answer(&mut desk, &out, ANSWER);
    let ok = only(&sent, "200").clone();
    assert_eq!(m_lines(&ok)[1..], ["video 0", "image 0"], "{}", ok.body());
    assert!(
        ok.body()
            .ends_with("m=video 0 RTP/AVP 0\r\nm=image 0 udptl t38\r\n")
    );
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    // §8: nor may a later offer have fewer. This callee's has.
    let sent = desk.callee(&callee_request(&out, "INVITE", 1, "cre", &next_version(ANSWER)));
    let re = only(&sent, "INVITE");
    assert_eq!(re.body(), ok.body(), "not even the version changes");
}

#[test]
fn each_leg_has_a_session_of_its_own() {
    // Correctness 33; RFC 3264 §5: one o= line per agent.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let origin = |sent: &Sent| {
        let line = sent.body().lines().nth(1).unwrap().to_owned();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    assert_ne!(origin(&up.invite), origin(&up.ok));
    assert!(!up.invite.body().contains("o=caller") && !up.ok.body().contains("o=callee"));
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        2,
        "re",
        &up.tag,
        &next_version(OFFER),
    ));
    assert_eq!(
        origin(only(&sent, "INVITE")),
        origin(&up.invite),
        "for as long as the call lasts"
    );
}

#[test]
fn payload_numbers_pass_as_they_are() {
    // Correctness 34: media is relayed as it is, so each side must know the other's numbers.
    let codecs = "m=audio 4000 RTP/AVP 97 8 101\r\na=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=30\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:30\r\na=maxptime:60\r\n";
    let session = OFFER.split_once("m=audio").unwrap().0;
    let mut desk = Desk::new();
    let out = offer(&mut desk, &format!("{session}{codecs}"));
    for line in codecs.lines().skip(1) {
        assert!(
            out.body().contains(&format!("{line}\r\n")),
            "{line} in\n{}",
            out.body()
        );
    }
    assert!(out.body().contains(" RTP/AVP 97 8 101\r\n"), "{}", out.body());
    let theirs = ANSWER.replace(
        "6000 RTP/AVP 0\r\n",
        "6000 RTP/AVP 97 101\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    let sent = answer(&mut desk, &out, &theirs);
    assert!(only(&sent, "200").body().contains(" RTP/AVP 97 101\r\n"));
}

#[test]
fn fax_or_video_alone_is_488_and_a_call_goes_on() {
    let image = "m=image 5002 udptl t38\r\n";
    let session = |sdp: &str| sdp.split_once("m=audio").unwrap().0.to_owned();
    for line in [image, VIDEO] {
        let mut desk = Desk::new();
        let body = format!("{}{line}", session(OFFER));
        let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &body));
        assert_eq!(kinds(&sent), ["A<100", "A<488"]);
        // A callee that wants to go over to fax, with the audio refused or left out: its sender goes on in audio.
        let mut desk = Desk::new();
        let up = establish(&mut desk);
        for (cseq, audio) in [(1, ""), (2, "m=audio 0 RTP/AVP 0\r\n")] {
            let body = next_version(&format!("{}{audio}{line}", session(ANSWER)));
            let sent = desk.callee(&callee_request(
                &up.invite,
                "INVITE",
                cseq,
                &format!("re{cseq}"),
                &body,
            ));
            assert_eq!(kinds(&sent), ["B<100", "B<488"]);
            desk.callee(&callee_request(&up.invite, "ACK", cseq, &format!("re{cseq}"), ""));
        }
        // Beside the audio it is refused alone.
        let body = next_version(&format!("{ANSWER}{line}"));
        let sent = desk.callee(&callee_request(&up.invite, "INVITE", 3, "re3", &body));
        let re = only(&sent, "INVITE").clone();
        assert!(m_lines(&re)[1].ends_with(" 0"));
        let sent = desk.caller(&response(&re, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
        let lines = m_lines(only(&sent, "200"));
        assert!(lines.len() == 2 && lines[1].ends_with(" 0"), "{lines:?}");
    }
}
