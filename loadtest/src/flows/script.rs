//! From a flow's scenario file to what SIPp runs.
//!
//! In goes SIPp's own XML with a few words of ours in it; out comes plain SIPp. Ours are the
//! messages (`<invite>`, `<ack>`, `<cancel>`, `<request>`, `<reply>`), so that a flow reads as a
//! ladder, and checks inside `<recv>` (`<has re="…"/>`, `<not re="…"/>`, `<take re="…" as="…"/>`).
//! Everything else passes unread. Whatever is received is checked without being asked: nothing of
//! the other side in it, one Via, the right transport, no Record-Route.
//!
//! | word | attributes (all optional) |
//! |---|---|
//! | `invite`, `ack`, `ack-failure`, `cancel` | `sdp`, `uri`, `cseq`, `branch`, `lost`, `retrans`, `txn`, `max-forwards`, `out-of-dialog="yes"` |
//! | `request method="…"` | the same |
//! | `reply code="…" text="…"` | `for` (method), `sdp`, `tag`, `contact="no"`, `allow="no"`, `lost`, `retrans` |
//! | `recv` | SIPp's, and `sdp` (`yes`, `no`, or a direction), `new="yes"`, `contact="yes"` or `"no"`, `own-route="yes"` |
//!
//! The text inside a message is more headers and, after an empty line, a body. `sdp="…"` of a
//! message is a direction, and a version of `o=` after a slash: `sendrecv/1`.

use super::xml::{Element, Piece, pieces};
use std::{collections::BTreeSet, fmt::Write as _};

/// What every party can do.
const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE\n";

/// Which side of the SBC a script plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Places calls.
    Caller,
    /// Takes calls.
    Callee,
}

/// What a script must know about this run.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its side.
    pub(crate) role: Role,
    /// Word that marks everything of this side.
    pub(crate) mark: &'static str,
    /// Own address as in Via and Contact.
    pub(crate) own: std::net::SocketAddr,
    /// The SBC's address towards it.
    pub(crate) sbc: std::net::SocketAddr,
    /// `UDP`, `TCP` or `TLS`.
    pub(crate) transport: &'static str,
    /// What must never be received: addresses and marks of the other sides.
    pub(crate) foreign: String,
    /// `{{NAME}}` in the script and its value.
    pub(crate) values: Vec<(&'static str, String)>,
}

impl Place {
    /// `;transport=` of a Contact; nothing for UDP.
    fn transport_param(&self) -> String {
        match self.transport {
            "UDP" => String::new(),
            other => format!(";transport={}", other.to_ascii_lowercase()),
        }
    }

    fn ip_version(&self) -> u8 {
        if self.own.is_ipv4() { 4 } else { 6 }
    }
}

/// `address` in the text of a message: SIPp takes a bracket for one of its keywords.
pub(crate) fn shown(address: std::net::SocketAddr) -> String {
    address.to_string().replace('[', "\\x5B")
}

/// A regular expression (POSIX) that matches `text` alone.
pub(crate) fn literal(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '.' | '[' | '*' | '+' | '?' | '(' | ')' | '|' | '$' | '{' => format!("[{c}]"),
            ']' => "[]]".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// Turn `source` into a scenario for SIPp. `Err` says what is wrong with it.
pub(crate) fn expand(source: &str, place: &Place) -> Result<String, String> {
    let mut source = source.to_owned();
    for (name, value) in &place.values {
        source = source.replace(&format!("{{{{{name}}}}}"), value);
    }
    if let Some(at) = source.find("{{") {
        let name: String = source[at..].chars().take(30).collect();
        return Err(format!("unknown value: {name}"));
    }
    let mut script = Script {
        place,
        out: String::with_capacity(4 * source.len()),
        variables: BTreeSet::new(),
        branches: 0,
        cseq: 0,
        invite_cseq: 0,
        invite_branch: String::new(),
        invite_in_dialog: false,
        untagged: BTreeSet::new(),
        last_request: None,
        met_invite: false,
        acknowledged: false,
    };
    for piece in pieces(&source)? {
        script.piece(&piece)?;
    }
    Ok(script.out)
}

struct Script<'a> {
    place: &'a Place,
    out: String,
    /// Every variable: SIPp refuses one that is never read.
    variables: BTreeSet<String>,
    branches: u32,
    /// Of the last request that this script sends.
    cseq: u32,
    invite_cseq: u32,
    invite_branch: String,
    /// Whether the last INVITE that this script sends is a re-INVITE.
    invite_in_dialog: bool,
    /// Methods whose last received request had no To tag.
    untagged: BTreeSet<String>,
    last_request: Option<String>,
    met_invite: bool,
    acknowledged: bool,
}

impl Script<'_> {
    fn piece(&mut self, piece: &Piece<'_>) -> Result<(), String> {
        match piece {
            Piece::Text(text) => {
                if let Some((before, after)) = text.split_once("</scenario>") {
                    self.out.push_str(before);
                    let names: Vec<&str> = self.variables.iter().map(String::as_str).collect();
                    if !names.is_empty() {
                        let _ = writeln!(self.out, "<Reference variables=\"{}\"/>", names.join(","));
                    }
                    self.out.push_str("</scenario>");
                    self.out.push_str(after);
                } else {
                    self.out.push_str(text);
                }
                Ok(())
            }
            Piece::Element(element) => match element.name {
                "invite" => self.invite(element),
                "ack" => self.ack(element),
                "ack-failure" => self.ack_failure(element),
                "cancel" => self.cancel(element),
                "request" => self.request(element),
                "reply" => self.reply(element),
                _ => self.recv(element),
            },
        }
    }

    fn branch(&mut self, element: &Element<'_>) -> String {
        self.branches += 1;
        let number = element
            .attribute("branch")
            .map_or_else(|| self.branches.to_string(), str::to_owned);
        format!("z9hG4bK-{}-[pid]-[call_number]-{number}", self.place.mark)
    }

    fn tag(&self) -> String {
        format!("{}[pid]t[call_number]", self.place.mark)
    }

    fn contact(&self) -> String {
        let place = self.place;
        format!(
            "Contact: <sip:{}@{}{}>\n",
            place.mark,
            shown(place.own),
            place.transport_param()
        )
    }

    /// From or To of this side.
    fn local(&self) -> String {
        match self.place.role {
            Role::Caller => format!("<sip:1001@{}>;tag={}", shown(self.place.own), self.tag()),
            Role::Callee => format!("[$to_first];tag={}", self.tag()),
        }
    }

    /// From or To of the SBC.
    fn remote(&self) -> String {
        match self.place.role {
            Role::Caller => format!("<sip:2001@{}>[peer_tag_param]", shown(self.place.sbc)),
            Role::Callee => "[$from_first]".to_owned(),
        }
    }

    fn invite(&mut self, element: &Element<'_>) -> Result<(), String> {
        let in_dialog = self.met_invite && element.attribute("out-of-dialog").is_none();
        self.met_invite = true;
        let branch = self.branch(element);
        let cseq = self.next_cseq(element)?;
        self.invite_cseq = cseq;
        self.invite_branch.clone_from(&branch);
        self.invite_in_dialog = in_dialog;
        self.send_request(element, "INVITE", &branch, cseq, in_dialog, "sendrecv/1")
    }

    fn next_cseq(&mut self, element: &Element<'_>) -> Result<u32, String> {
        self.cseq = match element.attribute("cseq") {
            Some(text) => text.parse().map_err(|_| format!("cseq={text}"))?,
            None => self.cseq + 1,
        };
        Ok(self.cseq)
    }

    /// The acknowledgement of a 2xx: a transaction of its own (§13.2.2.4).
    fn ack(&mut self, element: &Element<'_>) -> Result<(), String> {
        self.acknowledged = true;
        let branch = self.branch(element);
        let cseq = match element.attribute("cseq") {
            Some(text) => text.parse().map_err(|_| format!("cseq={text}"))?,
            None => self.invite_cseq,
        };
        self.send_request(element, "ACK", &branch, cseq, true, "none")
    }

    /// The acknowledgement of a failure: within the INVITE's transaction (§17.1.1.3).
    fn ack_failure(&mut self, element: &Element<'_>) -> Result<(), String> {
        let (branch, cseq) = (self.invite_branch.clone(), self.invite_cseq);
        self.send_request(element, "ACK", &branch, cseq, self.invite_in_dialog, "none")
    }

    /// CANCEL has the INVITE's branch, and To as the INVITE had it (§9.1).
    fn cancel(&mut self, element: &Element<'_>) -> Result<(), String> {
        let (branch, cseq) = (self.invite_branch.clone(), self.invite_cseq);
        self.send_request(element, "CANCEL", &branch, cseq, self.invite_in_dialog, "none")
    }

    fn request(&mut self, element: &Element<'_>) -> Result<(), String> {
        let method = element
            .attribute("method")
            .ok_or("<request> without method")?
            .to_owned();
        let branch = self.branch(element);
        let cseq = self.next_cseq(element)?;
        let in_dialog = element.attribute("out-of-dialog").is_none();
        self.send_request(element, &method, &branch, cseq, in_dialog, "none")
    }

    fn send_request(
        &mut self,
        element: &Element<'_>,
        method: &str,
        branch: &str,
        cseq: u32,
        in_dialog: bool,
        sdp: &str,
    ) -> Result<(), String> {
        let place = self.place;
        let acknowledges_failure = element.name == "ack-failure";
        let uri = match element.attribute("uri") {
            Some(uri) => uri.to_owned(),
            None if in_dialog => "[$next]".to_owned(),
            None => format!("sip:2001@{}{}", shown(place.sbc), place.transport_param()),
        };
        let remote = match element.attribute("to") {
            Some(to) => to.replace("&lt;", "<").replace("&gt;", ">"),
            None if in_dialog || acknowledges_failure => self.remote(),
            None => format!("<sip:2001@{}>", shown(place.sbc)),
        };
        let hops = element.attribute("max-forwards").unwrap_or("70");
        let mut text = format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/{} {};branch={branch}\nMax-Forwards: {hops}\nFrom: {}\nTo: {remote}\n\
             Call-ID: [call_id]\nCSeq: {cseq} {method}\n",
            place.transport,
            shown(place.own),
            self.local(),
        );
        if matches!(method, "INVITE" | "UPDATE" | "REFER" | "SUBSCRIBE" | "NOTIFY") {
            text.push_str(&self.contact());
        }
        if method == "INVITE" {
            let _ = writeln!(text, "User-Agent: {} phone", place.mark);
            text.push_str(
                "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE\n",
            );
        }
        self.finish_message(&mut text, element, sdp);
        let retrans = if method == "ACK" { None } else { Some("500") };
        self.send(element, &text, retrans)
    }

    /// An answer to the last request received, or to the last one of the method `for`.
    fn reply(&mut self, element: &Element<'_>) -> Result<(), String> {
        let method = element
            .attribute("for")
            .map(str::to_owned)
            .or_else(|| self.last_request.clone())
            .ok_or("<reply> before any request")?;
        let code: u16 = element
            .attribute("code")
            .and_then(|code| code.parse().ok())
            .ok_or("<reply> without code")?;
        let text = element.attribute("text").unwrap_or(match code {
            100 => "Trying",
            180 => "Ringing",
            183 => "Session Progress",
            200 => "OK",
            202 => "Accepted",
            487 => "Request Terminated",
            _ => "Because",
        });
        let tag = match element.attribute("tag") {
            _ if !self.untagged.contains(&method) || code == 100 => String::new(),
            Some(tag) => format!(";tag={tag}"),
            None => format!(";tag={}", self.tag()),
        };
        let mut message = format!(
            "SIP/2.0 {code} {text}\nVia: [$via_{method}]\nFrom: [$from_{method}]\nTo: [$to_{method}]{tag}\n\
             Call-ID: [call_id]\nCSeq: [$cseq_{method}]\n"
        );
        let with_contact = match element.attribute("contact") {
            Some(wanted) => wanted == "yes",
            None => matches!(method.as_str(), "INVITE" | "UPDATE" | "REFER") && (101..300).contains(&code),
        };
        if with_contact {
            message.push_str(&self.contact());
        }
        if method == "INVITE" && (101..300).contains(&code) && element.attribute("allow") != Some("no") {
            message.push_str(ALLOW);
        }
        if code >= 200 {
            let _ = writeln!(message, "Server: {} server", self.place.mark);
        }
        let sdp = match (method.as_str(), code) {
            ("INVITE", 200) => "sendrecv/1",
            _ => "none",
        };
        self.finish_message(&mut message, element, sdp);
        let retrans = (method == "INVITE" && code >= 200).then_some("500");
        self.send(element, &message, retrans)
    }

    /// More headers, and the body.
    fn finish_message(&self, message: &mut String, element: &Element<'_>, sdp: &str) {
        let inner = element.inner.trim().replace("\r\n", "\n");
        let inner: Vec<&str> = inner.lines().map(str::trim).collect();
        let (headers, body) = match inner.iter().position(|line| line.is_empty()) {
            Some(at) => (&inner[..at], &inner[at + 1..]),
            None => (&inner[..], &[][..]),
        };
        for header in headers {
            let _ = writeln!(message, "{header}");
        }
        let sdp = element.attribute("sdp").unwrap_or(sdp);
        if !body.is_empty() {
            let _ = write!(message, "Content-Length: [len]\n\n{}\n", body.join("\n"));
        } else if sdp == "none" {
            message.push_str("Content-Length: 0\n\n");
        } else {
            let _ = write!(
                message,
                "Content-Type: application/sdp\nContent-Length: [len]\n\n{}",
                self.sdp(sdp)
            );
        }
    }

    fn sdp(&self, wanted: &str) -> String {
        let place = self.place;
        let (direction, version) = wanted.split_once('/').unwrap_or((wanted, "1"));
        let (ip, v, mark) = (place.own.ip(), place.ip_version(), place.mark);
        let port = if place.role == Role::Caller {
            41_000
        } else {
            42_000
        };
        format!(
            "v=0\no={mark} 77 {version} IN IP{v} {ip}\ns={mark}\nc=IN IP{v} {ip}\nt=0 0\nm=audio {port} RTP/AVP 0 8 101\n\
             a=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n\
             a=ptime:20\na={direction}\n"
        )
    }

    fn send(&mut self, element: &Element<'_>, message: &str, retrans: Option<&str>) -> Result<(), String> {
        self.out.push_str("<send");
        match element.attribute("retrans").or(retrans) {
            Some("no") | None => {}
            Some(ms) => {
                let _ = write!(self.out, " retrans=\"{ms}\"");
            }
        }
        for (ours, theirs) in [
            ("lost", "lost"),
            ("txn", "start_txn"),
            ("ack-txn", "ack_txn"),
            ("next", "next"),
        ] {
            if let Some(value) = element.attribute(ours) {
                let _ = write!(self.out, " {theirs}=\"{value}\"");
            }
        }
        let _ = write!(self.out, "><![CDATA[\n{message}\n]]></send>");
        Ok(())
    }

    fn recv(&mut self, element: &Element<'_>) -> Result<(), String> {
        let place = self.place;
        let request = element.attribute("request").map(str::to_owned);
        self.out.push_str("<recv");
        for (name, value) in &element.attributes {
            if !matches!(*name, "sdp" | "new" | "contact" | "own-route") {
                let _ = write!(self.out, " {name}=\"{value}\"");
            }
        }
        self.out.push_str("><action>\n");
        self.check("msg", &place.foreign, false);
        if element.attribute("own-route").is_none() {
            self.check("hdr\" header=\"Record-Route:", ".", false);
        }
        if let Some(method) = &request {
            let via = format!(
                "^ *SIP/2.0/{} {};branch=z9hG4bK[^,]*$",
                place.transport,
                literal(&place.sbc.to_string())
            );
            self.check("hdr\" header=\"Via:", &via, true);
            if method != "ACK" || self.met_invite {
                self.check("hdr\" header=\"Max-Forwards:", "^ *[0-9]+", true);
            }
            let first = method == "INVITE" && !self.met_invite;
            let new = first || element.attribute("new") == Some("yes");
            if new {
                self.untagged.insert(method.clone());
            } else if !matches!(method.as_str(), "CANCEL" | "ACK") {
                self.untagged.remove(method);
            }
            let own_tag = format!(";tag={}", place.mark);
            match method.as_str() {
                "CANCEL" => self.check("hdr\" header=\"To:", ";tag=", false),
                _ if new => self.check("hdr\" header=\"To:", ";tag=", false),
                "ACK" => {}
                _ => self.check("hdr\" header=\"To:", &own_tag, true),
            }
            for header in ["Via", "From", "To", "CSeq"] {
                let variable = format!("{}_{method}", header.to_ascii_lowercase());
                self.take("hdr", Some(header), "[^ ].*", &variable);
                if new && (header == "From" || header == "To") {
                    self.take(
                        "hdr",
                        Some(header),
                        "[^ ].*",
                        &format!("{}_first", header.to_ascii_lowercase()),
                    );
                }
            }
            if method == "INVITE" {
                self.met_invite = true;
            }
            self.last_request = Some(method.clone());
        } else {
            self.check(
                "hdr\" header=\"Via:",
                &format!("{}[^,]*$", literal(&place.own.to_string())),
                true,
            );
            self.check("hdr\" header=\"From:", &format!(";tag={}", place.mark), true);
        }
        let code = element
            .attribute("response")
            .and_then(|code| code.parse::<u16>().ok());
        let with_contact = match element.attribute("contact") {
            Some(wanted) => wanted == "yes",
            None => match (&request, code) {
                (Some(method), _) => method == "INVITE",
                (None, Some(code)) => {
                    place.role == Role::Caller
                        && self.met_invite
                        && !self.acknowledged
                        && matches!(code, 180..=200)
                }
                _ => false,
            },
        };
        if with_contact {
            let uri = format!(
                "&lt;(sip:[^&gt;]*@{}[^&gt;]*)&gt;",
                literal(&place.sbc.to_string())
            );
            self.variables.insert("contact".into());
            self.variables.insert("next".into());
            let _ = writeln!(
                self.out,
                "<ereg regexp=\"{uri}\" search_in=\"hdr\" header=\"Contact:\" check_it=\"true\" assign_to=\"contact,next\"/>"
            );
        }
        match element.attribute("sdp") {
            Some("no") => self.check("hdr\" header=\"Content-Length:", "^ *0 *$", true),
            Some(direction) => {
                let ip = literal(&place.sbc.ip().to_string());
                self.check("hdr\" header=\"Content-Type:", "application/sdp", true);
                self.check(
                    "msg",
                    &format!("c=IN IP{} {ip}[^0-9a-f:.]", place.ip_version()),
                    true,
                );
                self.check("msg", "m=audio [1-9][0-9]* RTP/AVP [0-9]", true);
                if direction != "yes" {
                    self.check("msg", &format!("a={direction}[^a-z]"), true);
                }
            }
            None => {}
        }
        self.asked_checks(element)?;
        self.out.push_str("</action></recv>");
        Ok(())
    }

    /// What the flow itself wants to see.
    fn asked_checks(&mut self, element: &Element<'_>) -> Result<(), String> {
        for piece in pieces(element.inner)? {
            let Piece::Element(check) = piece else {
                let Piece::Text(text) = piece else { continue };
                self.out.push_str(text.trim());
                continue;
            };
            let re = check.attribute("re").unwrap_or(".");
            let place = match check.attribute("in") {
                Some(header) => format!("hdr\" header=\"{header}:"),
                None => "msg".to_owned(),
            };
            match check.name {
                "has" => self.check(&place, re, true),
                "not" => self.check(&place, re, false),
                "take" => {
                    let name = check.attribute("as").ok_or("<take> without as")?;
                    match check.attribute("in") {
                        Some(header) => self.take("hdr", Some(header), re, name),
                        None => self.take("msg", None, re, name),
                    }
                }
                other => return Err(format!("<{other}> inside <recv>")),
            }
        }
        Ok(())
    }

    fn check(&mut self, place: &str, re: &str, wanted: bool) {
        self.variables.insert("unread".into());
        let inverse = if wanted { "" } else { "_inverse" };
        let _ = writeln!(
            self.out,
            "<ereg regexp=\"{re}\" search_in=\"{place}\" check_it{inverse}=\"true\" assign_to=\"unread\"/>"
        );
    }

    /// Keep what the expression, or its first group, matches.
    fn take(&mut self, place: &str, header: Option<&str>, re: &str, name: &str) {
        self.variables.insert(name.to_owned());
        let header = header.map_or_else(String::new, |header| format!(" header=\"{header}:\""));
        let grouped = re.contains('(');
        let names = if grouped {
            self.variables.insert("whole".into());
            format!("whole,{name}")
        } else {
            name.to_owned()
        };
        let _ = writeln!(
            self.out,
            "<ereg regexp=\"{re}\" search_in=\"{place}\"{header} check_it=\"true\" assign_to=\"{names}\"/>"
        );
    }
}
