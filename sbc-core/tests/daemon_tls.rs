//! A real `sbcd` shows its certificates, reads them again when asked, and keeps the old ones when
//! the new ones are bad.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the test waits for a process and talks to it over a blocking socket"
)]

use rcgen::{CertificateParams, KeyPair, SanType};
use sbc_core::admin::{
    client::{request, response},
    failure::{Failure, Reason},
    method::Method,
    protocol::{Certificates, ReloadTls, ShowTls},
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

struct Sbcd {
    process: Child,
    directory: PathBuf,
}

impl Drop for Sbcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A certificate for `name` that it has signed itself.
fn issue(directory: &Path, name: &str) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(directory.join("sip.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("sip.key"), key.serialize_pem()).unwrap();
}

impl Sbcd {
    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("sbcd-tls-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        issue(&directory, "one.test");
        let config = r#"
            [shards]
            count = 1
            [[listener]]
            name = "secure"
            transport = "tls"
            address = "127.79.50.1:5061"
            [listener.tls]
            certificate = "DIR/sip.pem"
            key = "DIR/sip.key"
            [media]
            address = "127.79.50.1"
            ports = "20000-20099"
            [[trunk]]
            name = "carrier"
            hosts = ["127.79.50.2"]
            [admin]
            socket = "DIR/admin.sock"
            "#;
        let config = config.replace("DIR", directory.to_str().unwrap());
        fs::write(directory.join("sbc.toml"), config).unwrap();
        let mut process = sbcd(&directory).stdout(Stdio::piped()).spawn().unwrap();
        let mut greeting = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while greeting.read_line(&mut line).unwrap() > 0 && !line.contains("Try") {}
        assert!(line.contains("TLS 127.79.50.1:5061 (secure)"), "{line}");
        // Read on, so that it is never stopped by a full pipe.
        thread::spawn(move || greeting.read_to_end(&mut Vec::new()));
        Self { process, directory }
    }

    fn ask<M: Method>(&self, params: &M) -> Result<M::Answer, Failure> {
        let mut socket = UnixStream::connect(self.directory.join("admin.sock")).unwrap();
        socket.write_all(&request(1, params)).unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        let result = response(1, line.as_bytes()).unwrap()?;
        Ok(serde_json::from_str(result.get()).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let shown = self.ask(&ShowTls {}).unwrap();
        shown.certificates[0].names.clone()
    }
}

fn sbcd(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbcd"));
    command.arg("--config").arg(directory.join("sbc.toml"));
    command
}

#[test]
fn certificates_are_shown_and_replaced_while_it_runs() {
    let daemon = Sbcd::start();
    let Certificates {
        certificates,
        warnings,
    } = daemon.ask(&ShowTls {}).unwrap();
    assert_eq!(certificates[0].owner, "listener \"secure\"");
    assert_eq!(certificates[0].names, ["one.test"]);
    assert!(certificates[0].expires_in_s > 0);
    // rcgen's keys are written with the usual permissions of a file.
    assert!(warnings[0].contains("may be read by other users"), "{warnings:?}");

    issue(&daemon.directory, "two.test");
    assert_eq!(daemon.names(), ["one.test"], "not before it is asked to");
    let reloaded = daemon.ask(&ReloadTls {}).unwrap();
    assert_eq!(reloaded.certificates[0].names, ["two.test"]);

    fs::write(daemon.directory.join("sip.pem"), "no certificate").unwrap();
    let failure = daemon.ask(&ReloadTls {}).unwrap_err();
    assert_eq!(failure.reason(), Some(Reason::BadCertificate));
    for part in [
        "listener \"secure\"",
        "tls.certificate",
        "sip.pem",
        "stay as they are",
    ] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    assert_eq!(daemon.names(), ["two.test"]);
    let check = sbcd(&daemon.directory).arg("--check").output().unwrap();
    assert_eq!(check.status.code(), Some(2));
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(said.contains("there is no certificate in it"), "{said}");

    issue(&daemon.directory, "three.test");
    let hangup = Command::new("kill")
        .args(["-HUP", &daemon.process.id().to_string()])
        .status();
    assert!(hangup.unwrap().success());
    for _ in 0..100 {
        if daemon.names() == ["three.test"] {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("SIGHUP changed nothing");
}
