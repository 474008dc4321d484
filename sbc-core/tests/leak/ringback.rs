//! What we tell a caller by ourselves before its callee has, and a side that is held.

use super::*;
use sbc_core::snapshot::{Hold, Ringback};
use sbc_media::tone::Country;

fn stage(ringback: Ringback) -> Stage {
    Stage::of(|trunk| {
        trunk.media.ringback = ringback;
        trunk.media.ringback_tone = Some(Country::De);
        trunk.media.hold = Hold::Noise;
    })
}

fn body(msg: &Msg) -> String {
    String::from_utf8(msg.body.clone()).unwrap()
}

#[test]
fn a_183_of_ours_tells_of_us_alone() {
    for ringback in [Ringback::Tone, Ringback::InstantTone] {
        let mut stage = stage(ringback);
        let bytes = invite(&mut stage);
        stage.say(A, &bytes);
        let at_b = stage.last(B, "INVITE");
        stage.say(B, &response(B, &at_b, 180, ""));
        let early = stage.last(A, "183");
        let told = body(&early);
        assert!(told.contains("203.0.113.9") && told.contains("inline:"), "{told}");
        // Made from the caller's own offer, and yet nothing of it comes back but what it means.
        for secret in [A.marker(), A.network()] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
        stage.say(B, &response(B, &at_b, 183, &sdp(B, 1, "sendrecv")));
        let ok = response(B, &at_b, 200, &sdp(B, 1, "sendrecv"));
        stage.say(B, &ok);
        let at_a = stage.last(A, "200");
        assert_eq!(body(&at_a), told);
        let talk = Talk {
            a_to: at_a.get("To").unwrap().to_owned(),
            a_target: uri(at_a.get("Contact").unwrap()).to_owned(),
            b_from: Msg::parse(&ok).unwrap().get("To").unwrap().to_owned(),
            b_to: at_b.get("From").unwrap().to_owned(),
            b_call_id: at_b.call_id().to_owned(),
            b_target: uri(at_b.get("Contact").unwrap()).to_owned(),
        };
        talk.say(&mut stage, A, "ACK", 1, "");
        // A hold, and what the callee is told of it and hears.
        talk.say(&mut stage, A, "INVITE", 2, &sdp(A, 2, "inactive"));
        let again = stage.last(B, "INVITE");
        assert!(body(&again).contains("a=sendonly\r\n"), "{}", body(&again));
        stage.say(B, &response(B, &again, 200, &sdp(B, 2, "recvonly")));
        assert!(body(&stage.last(A, "200")).contains("a=inactive\r\n"));
        talk.say(&mut stage, A, "ACK", 2, "");
        talk.say(&mut stage, A, "BYE", 3, "");
        let bye = stage.last(B, "BYE");
        stage.say(B, &response(B, &bye, 200, ""));
        stage.end();
    }
}

#[test]
fn a_180_of_ours_tells_of_us_alone() {
    let mut stage = stage(Ringback::Ringing);
    let bytes = invite(&mut stage);
    stage.say(A, &bytes);
    assert!(stage.last(A, "180").body.is_empty());
    let at_b = stage.last(B, "INVITE");
    stage.say(B, &response(B, &at_b, 486, ""));
    let busy = stage.last(A, "486");
    let ack = with_invite("ACK", &Msg::parse(&bytes).unwrap(), busy.get("To").unwrap());
    stage.say(A, &ack);
    stage.end();
}
