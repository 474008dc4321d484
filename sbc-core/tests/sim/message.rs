//! A reader of SIP messages for the peers of the tests: short, forgiving and written without a
//! look at the parser under test, so that both must be wrong in the same way to agree on an error.

use std::net::SocketAddr;

/// A message, copied apart.
#[derive(Clone, Debug, Default)]
pub struct Msg {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Msg {
    /// `None` for what is no SIP message at all.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..split]);
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        if !start.ends_with("SIP/2.0") && !start.starts_with("SIP/2.0 ") {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::with_capacity(16);
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let last = headers.last_mut()?;
                last.1.push(' ');
                last.1.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((long_name(name.trim()).to_owned(), value.trim().to_owned()));
        }
        Some(Self {
            start,
            headers,
            body: bytes[split + 4..].to_vec(),
        })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let found: Vec<&'a str> = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect();
        found.into_iter()
    }

    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Method of the request, or of the request that this answers.
    pub fn method(&self) -> &str {
        if self.status().is_some() {
            return self
                .get("CSeq")
                .and_then(|c| c.split_whitespace().nth(1))
                .unwrap_or("");
        }
        self.start.split(' ').next().unwrap_or("")
    }

    pub fn request_uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    pub fn cseq(&self) -> u32 {
        self.get("CSeq")
            .and_then(|c| c.split_whitespace().next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    pub fn branch(&self) -> &str {
        self.get("Via").and_then(|via| param(via, "branch")).unwrap_or("")
    }

    pub fn call_id(&self) -> &str {
        self.get("Call-ID").unwrap_or("")
    }

    pub fn tag_of_from(&self) -> &str {
        self.get("From").and_then(|v| param(v, "tag")).unwrap_or("")
    }

    pub fn tag_of_to(&self) -> &str {
        self.get("To").and_then(|v| param(v, "tag")).unwrap_or("")
    }

    /// Address and port of the first audio line, with the direction attribute in force.
    pub fn media(&self) -> Option<Media> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let mut media = Media::default();
        let mut seen_m = false;
        for line in text.lines() {
            match line.split_once('=') {
                Some(("c", value)) => {
                    let ip = value.split(' ').nth(2)?.parse().ok()?;
                    media.at = Some(SocketAddr::new(ip, media.port));
                }
                Some(("m", value)) if !seen_m => {
                    seen_m = true;
                    media.port = value.split(' ').nth(1)?.parse().ok()?;
                    if let Some(at) = &mut media.at {
                        at.set_port(media.port);
                    }
                }
                Some(("a", dir @ ("sendrecv" | "sendonly" | "recvonly" | "inactive"))) => {
                    media.direction = dir.to_owned()
                }
                _ => {}
            }
        }
        seen_m.then_some(media)
    }
}

/// What a session description says about its audio.
#[derive(Clone, Debug, Default)]
pub struct Media {
    pub at: Option<SocketAddr>,
    pub port: u16,
    pub direction: String,
}

fn long_name(name: &str) -> &str {
    match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "k" => "Supported",
        "s" => "Subject",
        "e" => "Content-Encoding",
        other => other,
    }
}

/// A header parameter after the name-addr (or in a Via).
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let rest = value.rsplit_once('>').map_or(value, |(_, after)| after);
    rest.split(';').skip(1).find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then_some(v.trim())
    })
}

/// The URI inside `<…>`, or the bare one.
pub fn uri(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(from), Some(to)) if from < to => &value[from + 1..to],
        _ => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// User part of a SIP URI.
pub fn user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}
