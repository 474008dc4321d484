//! What may and may not happen before the answer (RFC 3261 §15, §12.3). Correctness 10.

use crate::desk::*;

#[test]
fn a_callee_cannot_hang_up_what_it_has_not_answered() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let sent = desk.callee(&callee_request(&out, "BYE", 1, "cb", ""));
    assert_eq!(kinds(&sent), ["B<481"]);
    assert_eq!(
        kinds(&desk.callee(&ok(&out))),
        ["B<ACK", "A<200"],
        "the call goes on"
    );
}

#[test]
fn an_early_dialog_is_left_with_cancel_and_never_with_bye() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let sent = desk.command(sbc_core::shard::Command::HangupAll);
    assert_eq!(kinds(&sent), ["A<480", "B<CANCEL"]);
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_refusal_ends_all_early_dialogs() {
    // §12.3.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    for tag in ["one", "two"] {
        desk.callee(&response(&out, 180, tag, "sip:bob@127.0.0.3", ""));
    }
    let sent = desk.callee(&response(&out, 486, "three", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<486"]);
    desk.assert_quiet();
}
