//! Torture messages: one at a time through a whole shard, and the table of verdicts as it stands in the
//! documentation.

use crate::{
    desk::{CALLER, Desk, Sent, kinds},
    sip_support::Verdict,
};
use sbc_core::sdp::Sdp;
use std::{fmt::Write as _, fs, path::Path};

/// Name of the message, what the RFC asks, the parser's verdict, what the shard does, and why where the RFC
/// leaves a choice.
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Verdict,
    pub(crate) Outcome,
    pub(crate) &'static str,
);

/// What a shard does with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "RFC 5118 has nothing to drop")]
pub(crate) enum Outcome {
    /// 100, and an INVITE to the callee.
    Call,
    /// This final response, and nothing to anybody else.
    Status(u16),
    /// Not a byte.
    Nothing,
}

/// Whether the audio that `message` describes has an IPv6 address.
pub(crate) fn audio_is_ipv6(message: &[u8]) -> bool {
    let body = message
        .split_at(
            message
                .windows(4)
                .position(|end| end == b"\r\n\r\n")
                .map_or(0, |end| end + 4),
        )
        .1;
    let remote = |sdp: Sdp<'_>| sdp.remote_of(sdp.first_audio()?).ok();
    let remote = Sdp::parse(body).ok().and_then(remote);
    remote.is_some_and(|remote| remote.rtp.is_ipv6())
}

/// Delivers `bytes` to a fresh shard and checks what it does; what it sent last.
pub(crate) fn outcome(bytes: &[u8], expected: Outcome, name: &str) -> Sent {
    let mut desk = if audio_is_ipv6(bytes) {
        Desk::with_ipv6_media()
    } else {
        Desk::new()
    };
    let sent = desk.deliver_bytes(CALLER, bytes);
    let finals: Vec<_> = sent.iter().filter(|s| s.kind() != "100").collect();
    match (expected, &finals[..]) {
        (Outcome::Nothing, []) => {}
        (Outcome::Call, [invite]) => assert_eq!(invite.kind(), "INVITE", "{name}"),
        (Outcome::Status(status), [reply]) => {
            assert_eq!(reply.kind(), status.to_string(), "{name}");
            let ip = CALLER.parse::<std::net::SocketAddr>().unwrap().ip();
            assert_eq!(reply.to.ip(), ip, "{name}: answered to where it came from");
        }
        _ => panic!("{name}: expected {expected:?}, sent {:?}", kinds(&sent)),
    }
    assert_eq!(desk.shard.counters().internal_errors, 0, "{name}");
    if expected != Outcome::Call {
        assert_eq!(desk.shard.gauges().calls, 0, "{name}");
        desk.assert_quiet();
    }
    sent.last().cloned().unwrap_or_else(|| Sent {
        to: CALLER.parse().unwrap(),
        text: String::new(),
        over: None,
    })
}

/// The table of verdicts in Markdown.
pub(crate) fn table(rows: &[Row], section: impl Fn(&str) -> &'static str) -> String {
    let mut text = String::from("| message | § | the RFC asks | here | why |\n|---|---|---|---|---|\n");
    for &Row(name, demand, _, outcome, why) in rows {
        let here = match outcome {
            Outcome::Call => "call".to_owned(),
            Outcome::Status(status) => status.to_string(),
            Outcome::Nothing => "dropped, counted".to_owned(),
        };
        let section = section(name);
        writeln!(text, "| `{name}` | {section} | {demand} | {here} | {why} |").unwrap();
    }
    text
}

/// The part of `docs/CONFORMANCE.md` between the marks for `title` is `table`; `UPDATE_DOCS=1` makes it so.
pub(crate) fn documented(title: &str, table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFORMANCE.md");
    let text = fs::read_to_string(&page).unwrap();
    let (open, close) = (format!("<!-- {title} -->\n"), format!("<!-- end of {title} -->"));
    let start = text.find(&open).expect("the opening mark") + open.len();
    let end = text.find(&close).expect("the closing mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, format!("{}{table}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    assert_eq!(
        &text[start..end],
        table,
        "run UPDATE_DOCS=1 cargo test -p sbc-core --test rfc4475 --test rfc5118"
    );
}
