//! A real `sbcd` whose configuration changes: through the socket, by SIGHUP, and when it is killed in the middle.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test waits for a process and talks to it over a blocking socket"
)]

use sbc_core::{
    admin::{
        client::{request, response},
        failure::{Failure, Reason},
        method::Method,
        protocol::{ListTrunks, ShowLimits},
        provision::*,
    },
    config,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::UdpSocket,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

struct Sbcd {
    process: Child,
    directory: PathBuf,
}

impl Sbcd {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sbcd-provision-{}-{n}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let text = format!(
            r#"# Ours, by hand.
[shards]
count = 2
pin = false
[[listener]]
name = "main"
address = "127.79.60.{n}:5060"
[media]
address = "127.79.60.{n}"
ports = "20000-20031"
# The carrier.
[[trunk]]
name = "carrier"
hosts = ["127.79.61.2"] # its SBC
limits.inbound = {{ cps = 10 }}
[[trunk]]
name = "platform"
hosts = ["127.79.61.3"]
[[route]]
from = "carrier"
to = "platform"
[admin]
socket = "{}/admin.sock"
"#,
            directory.display(),
        );
        fs::write(directory.join("sbcd.toml"), text).unwrap();
        let process = Self::spawn(&directory);
        Self { process, directory }
    }

    fn spawn(directory: &std::path::Path) -> Child {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sbcd"))
            .arg("--config")
            .arg(directory.join("sbcd.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while UnixStream::connect(directory.join("admin.sock")).is_err() {
            if let Some(status) = process.try_wait().unwrap() {
                let mut log = String::new();
                process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                panic!("sbcd ended with {status}: {log}");
            }
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "sbcd does not answer"
            );
            thread::sleep(Duration::from_millis(10));
        }
        let mut log = process.stderr.take().unwrap();
        thread::spawn(move || log.read_to_end(&mut Vec::new()));
        process
    }

    /// Killed, and started again.
    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = Self::spawn(&self.directory);
    }

    fn file(&self) -> PathBuf {
        self.directory.join("sbcd.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn ask<M: Method>(&self, params: &M) -> Result<M::Answer, Failure> {
        let mut stream = BufReader::new(UnixStream::connect(self.directory.join("admin.sock")).unwrap());
        stream
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.get_mut().write_all(&request(1, params)).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let result = response(1, line.as_bytes()).unwrap()?;
        Ok(serde_json::from_str(result.get()).unwrap())
    }

    fn change(
        &self,
        action: Action,
        kind: &str,
        which: &str,
        values: &[(&str, &str)],
    ) -> Result<Applied, Failure> {
        self.ask(&wanted(action, kind, which, values))
    }

    /// The file is what runs.
    fn assert_same(&self) {
        let difference = self.ask(&DiffConfig { file: None }).unwrap();
        assert_eq!(
            difference.revision, difference.candidate,
            "{:?}",
            difference.changes
        );
    }

    fn audit(&self) -> String {
        fs::read_to_string(self.directory.join("sbcd.toml.audit")).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Sbcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn wanted(action: Action, kind: &str, which: &str, values: &[(&str, &str)]) -> EditConfig {
    let value = |(key, value): &(&str, &str)| Assignment {
        key: (*key).to_owned(),
        value: (!value.is_empty()).then(|| (*value).to_owned()),
    };
    EditConfig {
        edits: vec![Edit {
            action,
            kind: kind.to_owned(),
            which: (!which.is_empty()).then(|| which.to_owned()),
            values: values.iter().map(value).collect(),
        }],
        revision: None,
    }
}

#[test]
fn the_socket_changes_file_and_daemon() {
    let sbcd = Sbcd::start();
    let before = sbcd.text();
    let mode = fs::metadata(sbcd.file()).unwrap().mode();
    let applied = sbcd
        .change(Action::Set, "trunk", "carrier", &[("limits.inbound.cps", "20")])
        .unwrap();
    assert_eq!(
        sbcd.text(),
        before.replace("cps = 10", "cps = 20"),
        "nothing else has changed"
    );
    assert_eq!(applied.revision, config::revision(&sbcd.text()));
    assert_eq!(
        applied.changes[0].to_string(),
        "trunk \"carrier\": limits.inbound.cps: 10 -> 20"
    );
    assert_eq!(fs::metadata(sbcd.file()).unwrap().mode(), mode);
    let trunk = Some("carrier".to_owned());
    assert_eq!(sbcd.ask(&ShowLimits { trunk }).unwrap().limits[0].cps, 20);
    sbcd.assert_same();

    let values = [
        ("hosts", "[\"127.79.61.9\"]"),
        ("account.username", "me"),
        ("account.password", "s3cret"),
        ("fallback", "platform"),
    ];
    sbcd.change(Action::Add, "trunk", "backup", &values).unwrap();
    let names: Vec<String> = sbcd
        .ask(&ListTrunks {})
        .unwrap()
        .trunks
        .into_iter()
        .map(|trunk| trunk.name)
        .collect();
    assert_eq!(names, ["carrier", "platform", "backup"]);
    sbcd.change(Action::Set, "trunk", "backup", &[("enabled", "false")])
        .unwrap();
    assert!(!sbcd.ask(&ListTrunks {}).unwrap().trunks[2].enabled);
    let sheet = sbcd
        .ask(&ShowSheet {
            trunk: "carrier".to_owned(),
        })
        .unwrap();
    assert_eq!(
        (sheet.signalling[0].transport.as_str(), sheet.media.ports),
        ("udp", (20_000, 20_031))
    );

    for (refused, reason, says) in [
        (
            sbcd.change(Action::Delete, "trunk", "platform", &[]),
            Reason::BadConfig,
            "trunk \"platform\" is used by route 1 (line 28), route 2 (line 32)",
        ),
        (
            sbcd.change(Action::Set, "trunk", "carrier", &[("hots", "1")]),
            Reason::BadConfig,
            "trunk.hots: unknown key",
        ),
        (
            sbcd.change(Action::Set, "shards", "", &[("count", "1")]),
            Reason::BadConfig,
            "sbcd.toml:3:9: shards.count: cannot change while sbcd runs",
        ),
        (
            sbcd.change(Action::Delete, "trunk", "nobody", &[]),
            Reason::BadConfig,
            "no trunk \"nobody\"",
        ),
        (
            sbcd.ask(&EditConfig {
                revision: Some("0".to_owned()),
                ..wanted(Action::Delete, "trunk", "backup", &[])
            }),
            Reason::Conflict,
            "revision",
        ),
    ] {
        let text = sbcd.text();
        let failure = refused.unwrap_err();
        assert_eq!(failure.reason(), Some(reason), "{failure}");
        assert!(failure.message.contains(says), "{failure}");
        assert_eq!(sbcd.text(), text);
        sbcd.assert_same();
    }
    sbcd.change(Action::Delete, "trunk", "backup", &[]).unwrap();
    assert_eq!(
        sbcd.text().trim_end(),
        before.replace("cps = 10", "cps = 20").trim_end()
    );

    let audit = sbcd.audit();
    let records: Vec<serde_json::Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 4, "{audit}");
    assert!(
        records
            .iter()
            .all(|record| record["pid"] == std::process::id() && record["time"].as_u64() > Some(0))
    );
    assert_eq!(records[0]["changes"][0]["after"], "20");
    assert_eq!(records[3]["after"], config::revision(&sbcd.text()));
    assert!(!audit.contains("s3cret") && audit.contains("***"), "{audit}");
}

#[test]
fn a_file_is_compared_and_applied() {
    let sbcd = Sbcd::start();
    let candidate = sbcd.directory.join("new.toml");
    let file = candidate.display().to_string();
    fs::write(&candidate, sbcd.text().replace("cps = 10", "cps = \"x\"")).unwrap();
    let failure = sbcd
        .ask(&DiffConfig {
            file: Some(file.clone()),
        })
        .unwrap_err();
    assert!(
        failure.message.contains("new.toml:15:") && failure.message.contains("trunk.limits.inbound.cps"),
        "{failure}"
    );
    let apply = ApplyConfig {
        file: file.clone(),
        revision: None,
    };
    assert_eq!(sbcd.ask(&apply).unwrap_err().reason(), Some(Reason::BadConfig));
    fs::write(&candidate, sbcd.text().replace("cps = 10", "cps = 30")).unwrap();
    let difference = sbcd
        .ask(&DiffConfig {
            file: Some(file.clone()),
        })
        .unwrap();
    assert_eq!(difference.changes.len(), 1);
    sbcd.assert_same();
    let stale = ApplyConfig {
        revision: Some(difference.candidate.clone()),
        ..apply.clone()
    };
    assert_eq!(sbcd.ask(&stale).unwrap_err().reason(), Some(Reason::Conflict));
    let applied = sbcd
        .ask(&ApplyConfig {
            revision: Some(difference.revision),
            ..apply
        })
        .unwrap();
    assert_eq!(applied.revision, difference.candidate);
    assert_eq!(sbcd.text(), fs::read_to_string(&candidate).unwrap());
    sbcd.assert_same();

    // Somebody edits the file by hand: that is neither lost nor taken for ours.
    fs::write(sbcd.file(), sbcd.text().replace("cps = 30", "cps = 40")).unwrap();
    let failure = sbcd
        .change(Action::Set, "trunk", "carrier", &[("enabled", "false")])
        .unwrap_err();
    assert_eq!(failure.reason(), Some(Reason::Conflict));
    assert!(failure.message.contains("sbc-ctl reload"), "{failure}");
    let reloaded = sbcd.ask(&ReloadConfig {}).unwrap();
    assert_eq!(
        reloaded.changes[0].to_string(),
        "trunk \"carrier\": limits.inbound.cps: 30 -> 40"
    );
    sbcd.change(Action::Set, "trunk", "carrier", &[("enabled", "false")])
        .unwrap();
    sbcd.assert_same();

    // A wrong file changes nothing, whoever asks.
    let good = sbcd.text();
    fs::write(
        sbcd.file(),
        good.replace("hosts = [\"127.79.61.3\"]", "hosts = [\"carrier.test\"]"),
    )
    .unwrap();
    let failure = sbcd.ask(&ReloadConfig {}).unwrap_err();
    assert_eq!(failure.reason(), Some(Reason::BadConfig));
    assert!(
        failure.message.contains("sbcd.toml:19:10: trunk.hosts:"),
        "{failure}"
    );
    fs::write(sbcd.file(), good.replace("cps = 40", "cps = 41")).unwrap();
    sbcd.signal("-HUP");
    let cps = || {
        let trunk = Some("carrier".to_owned());
        sbcd.ask(&ShowLimits { trunk }).unwrap().limits[0].cps
    };
    let begin = Instant::now();
    while cps() != 41 {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "SIGHUP changed nothing"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A call from the carrier to the platform that is up, and the sockets of both.
struct Call {
    carrier: UdpSocket,
    platform: UdpSocket,
    ours: String,
    number: u32,
}

impl Call {
    fn up(sbcd: &Sbcd) -> Self {
        let n = sbcd
            .text()
            .split("127.79.60.")
            .nth(1)
            .unwrap()
            .split(':')
            .next()
            .unwrap()
            .to_owned();
        // Each test has ports of its own.
        let socket = |host: &str| {
            let socket = UdpSocket::bind(format!("{host}:{}", 5070 + n.parse::<u16>().unwrap())).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket
        };
        let (carrier, platform) = (socket("127.79.61.2"), socket("127.79.61.3"));
        let target = platform.local_addr().unwrap().to_string();
        sbcd.change(Action::Set, "trunk", "platform", &[("target", &target)])
            .unwrap();
        let mut call = Self {
            carrier,
            platform,
            ours: format!("127.79.60.{n}:5060"),
            number: 1,
        };
        call.carrier
            .send_to(call.request("INVITE", "").as_bytes(), &call.ours)
            .unwrap();
        let invite = receive(&call.platform, "INVITE ");
        call.answer(&invite);
        let ok = receive(&call.carrier, "SIP/2.0 200");
        let tag = field(&ok, "To").split(";tag=").nth(1).unwrap().to_owned();
        call.carrier
            .send_to(call.request("ACK", &tag).as_bytes(), &call.ours)
            .unwrap();
        receive(&call.platform, "ACK ");
        call.number += 1;
        // It ends as it began.
        call.ours = format!("{} {tag}", call.ours);
        call
    }

    fn request(&self, method: &str, tag: &str) -> String {
        let at = self.carrier.local_addr().unwrap();
        let (tag, body) = match tag {
            "" => (String::new(), description("127.79.61.2")),
            tag => (format!(";tag={tag}"), String::new()),
        };
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:1000@127.79.60.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:1@{at}>;tag=a\r\nTo: <sip:1000@127.79.60.1>{tag}\r\nCall-ID: one@{at}\r\n\
             CSeq: {} {method}\r\nContact: <sip:1@{at}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            self.number,
            body.len()
        )
    }

    fn answer(&self, request: &str) {
        let at = self.platform.local_addr().unwrap();
        let sdp = description("127.79.61.3");
        let to = field(request, "To");
        let to = if to.contains(";tag=") {
            to.to_owned()
        } else {
            format!("{to};tag=b")
        };
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:2@{at}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            field(request, "Via"),
            field(request, "From"),
            field(request, "Call-ID"),
            field(request, "CSeq"),
            sdp.len()
        );
        let (ours, _) = field(request, "Via").split_once(';').unwrap();
        let ours = ours.rsplit(' ').next().unwrap();
        self.platform.send_to(text.as_bytes(), ours).unwrap();
    }

    /// The caller hangs up, and the callee hears of it.
    fn ends(&self) {
        let (ours, tag) = self.ours.split_once(' ').unwrap();
        self.carrier
            .send_to(self.request("BYE", tag).as_bytes(), ours)
            .unwrap();
        receive(&self.carrier, "SIP/2.0 200");
        let bye = receive(&self.platform, "BYE ");
        self.answer(&bye);
    }
}

fn description(host: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 8\r\n")
}

/// The next message that begins so.
fn receive(socket: &UdpSocket, start: &str) -> String {
    loop {
        let mut buffer = [0; 65_535];
        let (len, _) = socket
            .recv_from(&mut buffer)
            .unwrap_or_else(|error| panic!("no {start}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        if text.starts_with(start) {
            return text;
        }
    }
}

fn field<'t>(message: &'t str, name: &str) -> &'t str {
    let line = message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
}

/// Whichever way it comes (T1).
#[test]
fn a_trunk_keeps_its_type_while_sbcd_runs() {
    let sbcd = Sbcd::start();
    let call = Call::up(&sbcd);
    let calls = || sbcd.ask(&ListTrunks {}).unwrap().trunks[0].calls_in;
    assert_eq!(calls(), 1);
    let before = sbcd.text();
    let audit = sbcd.audit();
    let told = |failure: &Failure, becomes: &str| {
        assert_eq!(failure.reason(), Some(Reason::BadConfig), "{failure}");
        for says in [
            &format!(
                "this makes \"carrier\" a trunk of type \"{becomes}\", and it is of type \"ip\", which it keeps"
            )[..],
            "undo that; or add a trunk with another name, have the rules name that one, and delete this one",
            "nothing has changed",
        ] {
            assert!(failure.message.contains(says), "{failure}");
        }
    };
    // By command.
    let user = "[{ username = \"u\", password = \"s3cret\" }]";
    for (becomes, values) in [
        ("fqdn", &[("target", "carrier.test:5060")][..]),
        ("fqdn", &[("outbound_proxy", "proxy.test")]),
        (
            "fqdn",
            &[("type", "fqdn"), ("target", "carrier.test"), ("hosts", "[]")],
        ),
        ("credentials", &[("login.user", user)]),
        ("credentials", &[("type", "credentials"), ("login.user", user)]),
    ] {
        let failure = sbcd.change(Action::Set, "trunk", "carrier", values).unwrap_err();
        told(&failure, becomes);
        assert_eq!(sbcd.text(), before);
    }
    // As a whole file.
    let other = before.replace("limits.inbound = { cps = 10 }", "target = \"carrier.test\"");
    let candidate = sbcd.directory.join("new.toml");
    fs::write(&candidate, &other).unwrap();
    let apply = ApplyConfig {
        file: candidate.display().to_string(),
        revision: None,
    };
    told(&sbcd.ask(&apply).unwrap_err(), "fqdn");
    assert_eq!((sbcd.text(), sbcd.audit()), (before.clone(), audit));
    // From the file, by hand.
    fs::write(sbcd.file(), &other).unwrap();
    told(&sbcd.ask(&ReloadConfig {}).unwrap_err(), "fqdn");
    sbcd.signal("-HUP");
    thread::sleep(Duration::from_millis(300));
    fs::write(sbcd.file(), &before).unwrap();
    sbcd.assert_same();
    let sheet = sbcd
        .ask(&ShowSheet {
            trunk: "carrier".to_owned(),
        })
        .unwrap();
    assert_eq!((sheet.target.as_str(), sheet.cps), ("127.79.61.2:5060", 10));
    // Everything else may change, also of a trunk that has a call.
    let values = [
        ("target", "127.79.61.99:5060"),
        ("hosts", "[\"127.79.61.99\"]"),
        ("domain", "carrier.test"),
        ("codecs", "[\"PCMA\"]"),
        ("type", "ip"),
        ("account.username", "me"),
        ("account.password", "s3cret"),
    ];
    sbcd.change(Action::Set, "trunk", "carrier", &values).unwrap();
    let trunk = sbcd.ask(&ListTrunks {}).unwrap().trunks.swap_remove(0);
    assert_eq!((trunk.kind.as_str(), trunk.calls_in), ("ip", 1));
    call.ends();
}

/// Killed at any moment, the file is the one before a change or the one after it, and the daemon starts with it. So many
/// times: `PROVISION_KILLS`.
#[test]
fn killed_in_the_middle_the_file_is_whole() {
    let kills: Option<u32> = std::env::var("PROVISION_KILLS").ok().and_then(|n| n.parse().ok());
    let kills = kills.unwrap_or(10);
    let mut sbcd = Sbcd::start();
    for round in 0..kills {
        let socket = sbcd.directory.join("admin.sock");
        let base = config::revision(&sbcd.text());
        let changes = thread::spawn(move || {
            let mut confirmed = Vec::new();
            let Ok(stream) = UnixStream::connect(socket) else {
                return confirmed;
            };
            let mut stream = BufReader::new(stream);
            for n in 0..100_000_u32 {
                let value = (n % 1000 + 1).to_string();
                let wanted = wanted(Action::Set, "trunk", "carrier", &[("limits.inbound.cps", &value)]);
                let mut line = String::new();
                let sent = stream.get_mut().write_all(&request(1, &wanted));
                if sent.is_err() || stream.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                let Ok(Ok(result)) = response(1, line.as_bytes()) else {
                    break;
                };
                let applied: Applied = serde_json::from_str(result.get()).unwrap();
                confirmed.push(applied.revision);
            }
            confirmed
        });
        // A few changes later, at a moment of its own each time.
        thread::sleep(Duration::from_micros(30_000 + u64::from(round) * 7_919 % 40_000));
        sbcd.restart();
        let confirmed = changes.join().unwrap();
        let text = sbcd.text();
        config::parse(&text, "sbcd.toml").unwrap();
        let known = sbcd.audit();
        let now = config::revision(&text);
        // Confirmed is on the disk; what came after was being made.
        let last = confirmed.last().unwrap_or(&base);
        let follows = known
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .any(|record| record["after"] == now.as_str() && record["before"] == last.as_str());
        assert!(
            now == *last || follows,
            "round {round}: {now} is neither {last} nor what follows"
        );
        sbcd.assert_same();
    }
}
