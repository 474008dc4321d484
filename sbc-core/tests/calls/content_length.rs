//! Where the body of a datagram ends (RFC 3261 §18.3). Correctness 13.

use crate::desk::*;

fn length_of(text: &str, length: &str) -> String {
    let header = format!("Content-Length: {}\r\n", OFFER.len());
    assert!(text.contains(&header));
    text.replace(&header, length)
}

#[test]
fn without_a_length_the_body_goes_to_the_end() {
    let sent = Desk::new().caller(&length_of(&invite(), ""));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    assert!(only(&sent, "INVITE").media_port() > 0);
}

#[test]
fn what_is_behind_the_body_is_not_read() {
    // A second description behind the first would name another address.
    let text = format!("{}{}", invite(), OFFER.replace("4000", "4444"));
    let mut desk = Desk::new();
    let sent = desk.caller(&text);
    assert_eq!(only(&sent, "INVITE").body().matches("m=audio").count(), 1);
}

#[test]
fn a_length_of_zero_is_no_body() {
    let sent = Desk::new().caller(&length_of(&invite(), "Content-Length: 0\r\n"));
    assert_eq!(only(&sent, "INVITE").body(), "", "a late offer");
}

#[test]
fn lengths_that_are_no_numbers_or_disagree_are_400() {
    for length in [
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: ten\r\n".to_owned(),
        format!("Content-Length: {0}\r\nl: {0}\r\n", OFFER.len()),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
    ] {
        let sent = Desk::new().caller(&length_of(&invite(), &length));
        assert_eq!(kinds(&sent), ["A<400"], "{length}");
    }
}

#[test]
fn everything_we_send_has_a_true_length() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let mut sent = vec![up.invite, up.ok];
    sent.extend(desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, "")));
    for message in &sent {
        assert_eq!(
            message.header("Content-Length"),
            message.body().len().to_string(),
            "{}",
            message.text
        );
    }
}
