//! A real `sbcd` whose users register, and where they are found again after it was killed.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test waits for a process and talks to it over sockets"
)]

use sbc_core::{
    admin::{
        client::{request, response},
        method::Method,
        protocol::*,
        registrations::*,
    },
    digest::{Account, Challenge, Question},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Where it runs, and whatever of it runs there.
struct Place {
    directory: PathBuf,
    sip: SocketAddr,
}

struct Sbcd {
    process: Child,
    socket: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sbcd-login-{}-{n}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let probe = UdpSocket::bind("127.77.9.1:0").unwrap();
        let sip = probe.local_addr().unwrap();
        let first = 62_000 + n * 16;
        let text = format!(
            r#"
            [shards]
            count = 2
            [[listener]]
            name = "main"
            address = "{sip}"
            [media]
            address = "127.77.9.1"
            ports = "{first}-{last}"
            [login]
            store = "{directory}/registrations"
            [[trunk]]
            name = "phones"
            [trunk.login]
            realm = "r"
            user = [{{ username = "alice", password = "s3cret" }}, {{ username = "bob", password = "b0b" }}]
            [[trunk]]
            name = "platform"
            hosts = ["127.77.9.3"]
            [[route]]
            from = "platform"
            to = "phones"
            [admin]
            socket = "{directory}/admin.sock"
            "#,
            last = first + 15,
            directory = directory.display(),
        );
        fs::write(directory.join("sbcd.toml"), text).unwrap();
        Self { directory, sip }
    }

    fn start(&self) -> Sbcd {
        let socket = self.directory.join("admin.sock");
        let mut process = Command::new(env!("CARGO_BIN_EXE_sbcd"))
            .arg("--config")
            .arg(self.directory.join("sbcd.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("sbcd ended with {status}");
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "sbcd does not answer"
            );
            thread::sleep(Duration::from_millis(20));
        }
        // The socket is there before the daemon serves.
        let sbcd = Sbcd { process, socket };
        sbcd.ask(&GetStatus {});
        sbcd
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Sbcd {
    fn ask<M: Method>(&self, params: &M) -> M::Answer {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).unwrap());
        stream
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.get_mut().write_all(&request(1, params)).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let result = response(1, line.as_bytes()).unwrap().unwrap();
        serde_json::from_str(result.get()).unwrap()
    }
}

impl Drop for Sbcd {
    /// As hard as can be.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (len, _) = socket.recv_from(&mut buffer).expect("an answer");
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(found, _)| *found == name)
        .unwrap_or_else(|| panic!("no {name}: {text}"))
        .1
}

/// A REGISTER of Alice's phone, its challenge, and the same with credentials: what comes then.
fn register(phone: &UdpSocket, sbcd: SocketAddr, call_id: &str) -> String {
    let own = phone.local_addr().unwrap();
    let text = |cseq: u32, authorization: &str| {
        format!(
            "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{call_id}{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@r>;tag=t\r\nTo: <sip:alice@r>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:al@{own}>;expires=600\r\nUser-Agent: phone\r\n{authorization}Content-Length: 0\r\n\r\n"
        )
    };
    phone.send_to(text(1, "").as_bytes(), sbcd).unwrap();
    let refusal = receive(phone);
    assert!(refusal.starts_with("SIP/2.0 401 "), "{refusal}");
    let challenge = Challenge::parse(header(&refusal, "WWW-Authenticate").as_bytes()).unwrap();
    let question = Question {
        method: b"REGISTER",
        uri: b"sip:r",
        body: b"",
    };
    let mut value = b"Authorization: ".to_vec();
    Account::new(b"alice", b"s3cret").answer(&mut value, &challenge, &question, 1, b"c");
    value.extend_from_slice(b"\r\n");
    let value = String::from_utf8(value).unwrap();
    phone.send_to(text(2, &value).as_bytes(), sbcd).unwrap();
    receive(phone)
}

#[test]
fn who_has_registered_is_called_also_after_a_kill() {
    let place = Place::new();
    let sbcd = place.start();
    let phone = UdpSocket::bind("127.77.9.8:0").unwrap();
    let own = phone.local_addr().unwrap();
    // Over both shards: the kernel chooses by the source port, the registrar by the user.
    for n in 0..4 {
        let answer = register(&phone, place.sip, &format!("call{n}"));
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert_eq!(header(&answer, "Contact"), format!("<sip:al@{own}>;expires=600"));
    }
    let listed = |sbcd: &Sbcd| sbcd.ask(&ListRegistrations::default()).registrations;
    let before = listed(&sbcd);
    assert_eq!(before.len(), 1);
    assert_eq!(
        (before[0].trunk.as_str(), before[0].user.as_str()),
        ("phones", "alice")
    );
    let contact = &before[0].contacts[0];
    assert_eq!(
        (
            contact.address.as_str(),
            contact.transport.as_str(),
            contact.user_agent.as_str()
        ),
        (own.to_string().as_str(), "udp", "phone")
    );
    assert!((590..=600).contains(&contact.expires_s));
    let trunks = sbcd.ask(&ListTrunks {}).trunks;
    assert_eq!(
        (
            trunks[0].kind.as_str(),
            trunks[0].users,
            trunks[0].users_registered
        ),
        ("credentials", Some(2), Some(1))
    );
    drop(sbcd);
    let sbcd = place.start();
    let after = listed(&sbcd);
    assert_eq!(after[0].contacts[0].contact, contact.contact);
    let platform = UdpSocket::bind("127.77.9.3:0").unwrap();
    let platform_at = platform.local_addr().unwrap();
    // Calls of both shards.
    for n in 0..6 {
        let invite = format!(
            "INVITE sip:alice@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {platform_at};rport;branch=z9hG4bKi{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:1@p>;tag=t\r\nTo: <sip:alice@p>\r\nCall-ID: in{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:1@{platform_at}>\r\n\
             Content-Length: 0\r\n\r\n",
            sip = place.sip
        );
        platform.send_to(invite.as_bytes(), place.sip).unwrap();
        let received = receive(&phone);
        assert!(
            received.starts_with(&format!("INVITE sip:al@{own} SIP/2.0\r\n")),
            "{received}"
        );
        let busy = format!(
            "SIP/2.0 486 Busy Here\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=b\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
            header(&received, "Via"),
            header(&received, "From"),
            header(&received, "To"),
            header(&received, "Call-ID"),
            header(&received, "CSeq"),
        );
        phone.send_to(busy.as_bytes(), place.sip).unwrap();
        assert!(receive(&platform).starts_with("SIP/2.0 100 "));
        let refused = receive(&platform);
        assert!(refused.starts_with("SIP/2.0 486 "), "{refused}");
        let ack = invite
            .replace("INVITE", "ACK")
            .replace("To: <sip:alice@p>", &format!("To: {}", header(&refused, "To")));
        platform.send_to(ack.as_bytes(), place.sip).unwrap();
        assert!(receive(&phone).starts_with("ACK "));
    }
    let stats = sbcd.ask(&GetStats {});
    let text = serde_json::to_string(&stats).unwrap();
    assert!(text.contains("\"internal_errors\":0"), "{text}");
}
