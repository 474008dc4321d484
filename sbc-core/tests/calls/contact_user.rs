//! The user part of our Contact is ours alone (N7): it says which call a request belongs to, whatever NAT and ALGs have
//! made of the address beside it, and nothing of the other side.

use crate::desk::*;

#[test]
fn requests_find_their_call_by_the_user_part_of_our_contact() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let user = up
        .contact
        .strip_prefix("sip:")
        .unwrap()
        .split('@')
        .next()
        .unwrap();
    assert_eq!(user, up.tag, "it carries what the tag does");
    assert!(
        user.bytes().all(|c| c.is_ascii_alphanumeric()),
        "nothing that an ALG could rewrite: {user}"
    );
    // An ALG has put an address of its own behind it, and a parameter.
    let uri = format!("sip:{user}@10.9.8.7:1024;transport=udp;x=1");
    let sent = desk.caller(&request("INFO", &uri, 2, "info1", &up.tag, ""));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    let out = only(&sent, "INFO").clone();
    desk.callee(&response(&out, 200, "", "", ""));
    let sent = desk.caller(&request("BYE", &uri, 3, "bye1", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn each_side_has_a_contact_of_its_own_without_the_others_parts() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let (a, b) = (up.ok.header("Contact"), up.invite.header("Contact"));
    assert_ne!(a, b);
    for told in [a, b] {
        for part in ["alice", "bob", "127.0.0.2", "127.0.0.3", "4930123", "1000"] {
            assert!(!told.contains(part), "{told}");
        }
    }
}
