//! Messages outside of calls and inside.

use super::*;

#[test]
fn messages_outside_and_inside_a_call() {
    for from in [A, B] {
        let to = from.other();
        let mut stage = Stage::new();
        let talk = answered(&mut stage);
        let m = from.marker();
        let branch = stage.branch(from);
        let bytes = request(
            from,
            "MESSAGE",
            &format!("sip:+1555@{}", from.sbc()),
            &branch,
            &format!("\"{m}\" <sip:+4412345@h{m}.example>;tag=m{m}"),
            &format!("<sip:+1555@h{m}.example;x={m}>"),
            &format!("msg{m}@h{m}.example"),
            1,
            "Hello",
        );
        // Only 1300 bytes pass, but what is dropped on the way does not count.
        stage.say(from, &dressed(&bytes, "", "text/plain"));
        let message = stage.last(to, "MESSAGE");
        stage.say(to, &response(to, &message, 480, ""));
        assert_eq!(stage.last(from, "480").method(), "MESSAGE");
        talk.say_dressed(&mut stage, from, "MESSAGE", 40, "", "text/plain", "Hello");
        let message = stage.last(to, "MESSAGE");
        assert!(!message.tag_of_to().is_empty());
        stage.say(to, &response(to, &message, 200, ""));
        talk.say(&mut stage, from, "BYE", 41, "");
        let bye = stage.last(to, "BYE");
        stage.say(to, &response(to, &bye, 200, ""));
        stage.end();
    }
}
