//! The admin methods of a real `sbcd`: what it answers fits what the client expects.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test waits for a process and talks to it over a blocking socket"
)]

use sbc_core::admin::{
    client::{request, response},
    failure::{Failure, Reason},
    method::Method,
    protocol::*,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
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
    /// Two shards on ports the system chooses.
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sbcd-admin-{}-{n}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let config = format!(
            r#"
            [shards]
            count = 2
            [[listener]]
            name = "main"
            address = "127.0.0.1:{port}"
            [media]
            address = "127.0.0.1"
            ports = "{}-{}"
            [[trunk]]
            name = "carrier"
            hosts = ["127.0.0.2"]
            limits.inbound = {{ cps = 10 }}
            [[trunk]]
            name = "platform"
            hosts = ["127.0.0.3"]
            [admin]
            socket = "{}/admin.sock"
            mode = "0640"
            "#,
            61_000 + n * 16,
            61_007 + n * 16,
            directory.display(),
        );
        let file = directory.join("sbcd.toml");
        fs::write(&file, config).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_sbcd"))
            .arg("--config")
            .arg(&file)
            .env_remove("NOTIFY_SOCKET")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sbcd = Self { process, directory };
        let started = Instant::now();
        while UnixStream::connect(sbcd.socket()).is_err() {
            if let Some(status) = sbcd.process.try_wait().unwrap() {
                panic!("sbcd ended with {status}: {}", sbcd.log());
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "sbcd does not answer"
            );
            thread::sleep(Duration::from_millis(20));
        }
        sbcd
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("admin.sock")
    }

    /// What it has logged, once it has ended.
    fn log(&mut self) -> String {
        let mut log = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        log
    }

    fn ask<M: Method>(&self, params: &M) -> Result<M::Answer, Failure> {
        let mut stream = BufReader::new(UnixStream::connect(self.socket()).unwrap());
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

    /// SIGTERM, and what it has logged until its end.
    fn stop(mut self) -> String {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        assert!(!self.socket().exists(), "the socket goes with the process");
        self.log()
    }
}

impl Drop for Sbcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_real_daemon_answers_every_method() {
    let sbcd = Sbcd::start();
    assert_eq!(fs::metadata(sbcd.socket()).unwrap().mode() & 0o777, 0o640);

    let hello = Hello {
        protocol: PROTOCOL,
        client: None,
    };
    assert_eq!(sbcd.ask(&hello).unwrap().protocol, PROTOCOL);
    let status = sbcd.ask(&GetStatus {}).unwrap();
    assert_eq!(
        (status.pid, status.shards, status.calls),
        (sbcd.process.id(), 2, 0)
    );
    assert_eq!(status.state, State::Running);
    assert!(status.config.unwrap().ends_with("sbcd.toml"));
    assert!(!status.backend_reason.is_empty());

    assert_eq!(sbcd.ask(&ListCalls::default()).unwrap(), Calls::default());
    let id = "0-0-0000".to_owned();
    let no_call = sbcd.ask(&ShowCall { id: id.clone() }).unwrap_err();
    assert_eq!(no_call.reason(), Some(Reason::NoSuchCall));
    let no_call = sbcd.ask(&HangupCall { id }).unwrap_err();
    assert_eq!(no_call.reason(), Some(Reason::NoSuchCall));

    let trunks = sbcd.ask(&ListTrunks {}).unwrap().trunks;
    assert_eq!(trunks.len(), 2);
    assert_eq!((trunks[0].limits[0].cps, trunks[0].limits[0].burst), (10, 1));
    assert_eq!(trunks[1].traffic, Some(TrafficStatus::default()));
    let change = LimitChange {
        trunk: Some("carrier".into()),
        direction: Some(Direction::Inbound),
        cps: Some(77),
        ..LimitChange::default()
    };
    sbcd.ask(&SetLimits {
        changes: vec![change],
    })
    .unwrap();
    let trunk = Some("carrier".to_owned());
    assert_eq!(sbcd.ask(&ShowLimits { trunk }).unwrap().limits[0].cps, 77);

    let stats = sbcd.ask(&GetStats {}).unwrap();
    assert_eq!(stats.shards.len(), 2);
    assert_eq!(stats.gauges.value("calls"), Some(0));
    let shards = sbcd.ask(&ListShards {}).unwrap().shards;
    assert_eq!(shards.len(), 2);
    assert!(
        shards.iter().all(|s| s.core.is_some()),
        "pinned threads are found by name: {shards:?}"
    );

    assert!(sbcd.ask(&Drain { on: Some(true) }).unwrap().draining);
    assert_eq!(sbcd.ask(&GetStatus {}).unwrap().state, State::Draining);
    assert!(!sbcd.ask(&Drain { on: Some(false) }).unwrap().draining);
    let level = sbcd
        .ask(&SetLogLevel {
            level: Some(LogLevel::Debug),
        })
        .unwrap();
    assert_eq!((level.previous, level.level), (LogLevel::Info, LogLevel::Debug));

    let log = sbcd.stop();
    for change in ["limits.set", "drain", "log.level"] {
        let line = log.lines().find(|l| l.contains("admin") && l.contains(change));
        let line = line.unwrap_or_else(|| panic!("{change} is not logged:\n{log}"));
        assert!(line.contains("uid") && line.contains("pid"), "{line}");
    }
}

#[test]
fn a_second_daemon_on_the_same_socket_does_not_start() {
    let first = Sbcd::start();
    let second = Command::new(env!("CARGO_BIN_EXE_sbcd"))
        .arg("--config")
        .arg(first.directory.join("sbcd.toml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(3));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("another sbcd"), "{text}");
    first.ask(&GetStatus {}).unwrap();
    first.stop();
}
