//! Numbers in transfers: who is called and who is said to call are written for the trunk that is told of them.

use crate::desk::*;
use crate::two_trunks::desk;

fn refer(up: &Up, to: &str) -> String {
    request("REFER", &up.contact, 2, "r1", &up.tag, "").replace(
        "Content-Length",
        &format!("Refer-To: <{to}>\r\nReferred-By: <sip:089-1234567@127.0.0.2>\r\nContent-Length"),
    )
}

#[test]
fn a_refer_that_passes_names_numbers_as_the_transferee_dials_them() {
    for (platform, refer_to, referred_by) in [
        ("", "030123456", "089-1234567"),
        (
            "numbers = { destination = \"e164\", originator = \"plain\" }",
            "+4930123456",
            "49891234567",
        ),
    ] {
        let mut desk = desk("numbers = { country = \"DE\" }", platform);
        let up = establish(&mut desk);
        let sent = desk.caller(&refer(&up, "sip:030123456@127.0.0.2"));
        let out = only(&sent, "REFER");
        assert_eq!(out.header("Refer-To"), format!("<sip:{refer_to}@127.0.0.1:5060>"));
        assert_eq!(
            out.header("Referred-By"),
            format!("<sip:{referred_by}@127.0.0.1:5060>")
        );
    }
}

#[test]
fn a_transfer_of_ours_is_a_call_like_any_other() {
    let mut desk = desk(
        "numbers = { country = \"DE\" }\nrefer = \"local\"",
        "numbers = { destination = \"e164\", originator = \"e164\" }",
    );
    let up = establish(&mut desk);
    let sent = desk.caller(&refer(&up, "tel:030-123456"));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.start(), "INVITE sip:+4930123456@127.0.0.3 SIP/2.0");
    assert_eq!(out.header("To"), "<sip:+4930123456@127.0.0.3>");
    // The transferee was called 1000, which is no number.
    assert!(
        out.header("From").contains("<sip:1000@127.0.0.1>"),
        "{}",
        out.text
    );
    desk.callee(&response(&out, 486, "t", "", ""));
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}
