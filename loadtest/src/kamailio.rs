//! Debian's Kamailio as a registrar that is not ours, with `loadtest/kamailio/registrar.cfg`.

use crate::{
    Error, Result,
    sbcd::{end_with_us, ended_within},
};
use std::{
    fs::{self, File},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const CONFIGURATION: &str = include_str!("../kamailio/registrar.cfg");

/// A running Kamailio. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Kamailio {
    child: Child,
    log: PathBuf,
}

/// What it has done with a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Seconds of the wall clock.
    pub(crate) at_s: f64,
    /// `lost`, `busy` (503), `brief` (423), `challenge` (401), `saved`, or `gone` with an expiry of 0.
    pub(crate) what: String,
    /// The number of the REGISTER.
    pub(crate) cseq: u32,
    /// What it found of the credentials; negative: no, and why.
    pub(crate) proof: i32,
}

impl Kamailio {
    /// Start it at `at`, with these `defines` of its configuration, and wait until it answers.
    pub(crate) fn start(at: SocketAddr, defines: &[(&str, &str)], dir: &Path) -> Result<Self> {
        let io = |what: &'static str| {
            move |source| Error::Io {
                what: what.into(),
                source,
            }
        };
        let (file, log) = (dir.join("registrar.cfg"), dir.join("registrar.log"));
        fs::write(&file, CONFIGURATION).map_err(io("writing Kamailio's configuration"))?;
        let output = File::create(&log).map_err(io("creating Kamailio's log"))?;
        let mut command = Command::new("kamailio");
        end_with_us(&mut command);
        // In the foreground, its log to standard error, with little memory.
        command.args(["-DD", "-E", "-m", "32", "-M", "8", "-w"]).arg(dir);
        command.arg("-f").arg(&file).arg("-l").arg(format!("udp:{at}"));
        for (name, value) in defines {
            command.arg("-A").arg(format!("{name}={value}"));
        }
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(io("creating Kamailio's log"))?)
            .stderr(output);
        let child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing {
                program: "kamailio",
                remedy: "apt install kamailio",
            },
            _ => Error::Io {
                what: "starting Kamailio".into(),
                source,
            },
        })?;
        let mut registrar = Self { child, log };
        registrar.wait_ready(at)?;
        Ok(registrar)
    }

    fn wait_ready(&mut self, at: SocketAddr) -> Result<()> {
        let io = |source| Error::Io {
            what: "asking Kamailio".into(),
            source,
        };
        let socket = UdpSocket::bind((at.ip(), 0)).map_err(io)?;
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .map_err(io)?;
        let own = socket.local_addr().map_err(io)?;
        let mut answer = [0; 2048];
        for n in 0..50 {
            let options = format!(
                "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready{n}\r\nMax-Forwards: 1\r\n\
                 From: <sip:ready@{own}>;tag=r\r\nTo: <sip:{at}>\r\nCall-ID: ready\r\nCSeq: {n} OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            // While nobody listens there, even sending may fail.
            let _ = socket.send_to(options.as_bytes(), at);
            if socket.recv(&mut answer).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(Error::Process(format!("Kamailio ended with {status}:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(Error::Process("Kamailio does not answer".into()))
    }

    /// What it has done so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter_map(|line| {
                let mut words = line.split_once("SEEN ")?.1.split(' ');
                Some(Seen {
                    at_s: words.next()?.parse().ok()?,
                    what: words.next()?.to_owned(),
                    cseq: words.next()?.parse().ok()?,
                    proof: words.next()?.trim().parse().ok()?,
                })
            })
            .collect()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        crate::measure::signal(self.child.id(), libc::SIGTERM);
        if !ended_within(&mut self.child, Duration::from_secs(3)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
