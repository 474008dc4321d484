//! Callees whose side forks: a dialog for every To tag (RFC 3261 §13.2.2.4). Correctness 6.

use crate::{
    desk::*,
    reliable::{prack, reliable, supporting},
};

const OTHER: &str = "v=0\r\no=carol 9 9 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\n\
    m=audio 6100 RTP/AVP 8\r\n";

fn invited(text: &str) -> (Desk, Sent) {
    let mut desk = Desk::new();
    let sent = desk.caller(text);
    let out = only(&sent, "INVITE").clone();
    (desk, out)
}

#[test]
fn every_fork_counts_its_reliable_responses_for_itself_and_has_its_own_target() {
    let (mut desk, out) = invited(&invite());
    let mut tags = std::collections::HashSet::new();
    for (tag, rseq, contact) in [("f1", 10, "one"), ("f2", 500, "two"), ("f1", 11, "one")] {
        let text = reliable(&out, 183, tag, rseq, ANSWER).replace("sip:bob@", &format!("sip:{contact}@"));
        let sent = desk.callee(&text);
        let prack = only(&sent, "PRACK");
        assert_eq!(
            prack.start(),
            format!("PRACK sip:{contact}@127.0.0.3:5060 SIP/2.0")
        );
        assert!(prack.header("To").ends_with(tag));
        assert_eq!(prack.header("RAck"), format!("{rseq} 1 INVITE"));
        tags.insert(tag_of(only(&sent, "183").header("To")));
    }
    assert_eq!(tags.len(), 1, "one dialog for the caller");
}

#[test]
fn the_2xx_decides_whose_description_holds() {
    let (mut desk, out) = invited(&invite());
    desk.callee(&response(&out, 183, "f1", "sip:one@127.0.0.3", ANSWER));
    desk.callee(&response(&out, 183, "f2", "sip:two@127.0.0.3", OTHER));
    let sent = desk.callee(&response(&out, 200, "f1", "sip:one@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert!(
        only(&sent, "200").body().contains("RTP/AVP 0\r\n"),
        "what f1 had said"
    );
    assert_eq!(only(&sent, "ACK").start(), "ACK sip:one@127.0.0.3 SIP/2.0");
}

#[test]
fn an_answer_that_the_caller_has_reliably_is_not_changed_by_another_fork() {
    let (mut desk, out) = invited(&supporting(&invite()));
    let sent = desk.callee(&response(&out, 183, "f1", "sip:one@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    desk.caller(&prack(&early, 2, "p1", ""));
    let sent = desk.callee(&response(&out, 183, "f2", "sip:two@127.0.0.3", OTHER));
    assert_eq!(only(&sent, "183").body(), "");
    let sent = desk.callee(&response(&out, 200, "f2", "sip:two@127.0.0.3", OTHER));
    assert_eq!(only(&sent, "200").body(), "");
}

#[test]
fn more_forks_than_the_bound_are_ignored_and_counted() {
    let (mut desk, out) = invited(&invite());
    for n in 0..8 {
        let text = reliable(&out, 183, &format!("f{n}"), 1, ANSWER);
        assert_eq!(kinds(&desk.callee(&text)), ["B<PRACK", "A<183"]);
    }
    assert!(desk.callee(&reliable(&out, 183, "f8", 1, ANSWER)).is_empty());
    assert_eq!(desk.shard.counters().early_forks_max, 1);
}

#[test]
fn a_surplus_fork_that_had_pracks_gets_a_bye_it_can_take() {
    // Correctness 20: the numbers of its PRACKs are behind the INVITE's.
    let (mut desk, out) = invited(&invite());
    for tag in ["f1", "f2"] {
        desk.callee(&reliable(&out, 183, tag, 1, ANSWER));
    }
    desk.callee(&response(&out, 200, "f1", "sip:one@127.0.0.3", ANSWER));
    let sent = desk.callee(&response(&out, 200, "f2", "sip:two@127.0.0.3", OTHER));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let number: u32 = only(&sent, "BYE")
        .header("CSeq")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(number > 3, "{number}");
}

#[test]
fn forks_count_their_requests_for_themselves() {
    // Correctness 20.
    let (mut desk, out) = invited(&invite());
    for tag in ["calleetag", "f2"] {
        desk.callee(&reliable(&out, 183, tag, 1, ANSWER));
    }
    let update = |cseq, tag: &str| {
        callee_request(&out, "UPDATE", cseq, &format!("{tag}{cseq}"), "").replace("calleetag", tag)
    };
    assert_eq!(kinds(&desk.callee(&update(50, "calleetag"))), ["B<200"]);
    assert_eq!(kinds(&desk.callee(&update(1, "f2"))), ["B<200"]);
    assert_eq!(kinds(&desk.callee(&update(49, "calleetag"))), ["B<500"]);
    desk.callee(&response(&out, 200, "f2", "sip:two@127.0.0.3", OTHER));
    assert_eq!(kinds(&desk.callee(&update(2, "f2"))), ["B<200"]);
}
