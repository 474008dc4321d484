//! Debian's rtpengine in user space, driven over its control protocol: what operators run today.

use crate::{
    Error, Result,
    bencode::{self, Item},
    rtp::End,
    sbcd::{ended_within, on_cpus},
};
use std::{
    fs::File,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running rtpengine. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Rtpengine {
    child: Child,
    control: UdpSocket,
    cookie: u64,
}

impl Rtpengine {
    /// Start it with one media thread, its media and control at `ip`, on `cpus` alone.
    pub(crate) fn start(
        ip: IpAddr,
        ports: (u16, u16),
        control_port: u16,
        cpus: &[usize],
        dir: &Path,
    ) -> Result<Self> {
        let io = |what: &'static str| {
            move |source| Error::Io {
                what: what.into(),
                source,
            }
        };
        let log = File::create(dir.join("rtpengine.log")).map_err(io("creating rtpengine's log"))?;
        let listen = SocketAddr::new(ip, control_port);
        let mut command = Command::new("rtpengine");
        command.args([
            "--table=-1",
            "--foreground",
            "--log-stderr",
            "--log-level=4",
            "--num-threads=1",
            "--media-num-threads=1",
        ]);
        command.args([
            "--no-redis-required",
            "--config-file=none",
            "--timeout=3600",
            "--silent-timeout=3600",
        ]);
        command
            .arg(format!("--interface={ip}"))
            .arg(format!("--listen-ng={listen}"));
        command
            .arg(format!("--port-min={}", ports.0))
            .arg(format!("--port-max={}", ports.1));
        command.arg(format!("--pidfile={}", dir.join("rtpengine.pid").display()));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io("creating rtpengine's log"))?)
            .stderr(log);
        on_cpus(&mut command, cpus);
        let child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing {
                program: "rtpengine",
                remedy: "apt install rtpengine-daemon",
            },
            _ => Error::Io {
                what: "starting rtpengine".into(),
                source,
            },
        })?;
        let control = UdpSocket::bind((ip, 0)).map_err(io("binding a control socket"))?;
        control
            .connect(listen)
            .map_err(io("connecting the control socket"))?;
        control
            .set_read_timeout(Some(Duration::from_millis(500)))
            .map_err(io("setting a timeout"))?;
        let mut engine = Self {
            child,
            control,
            cookie: 0,
        };
        for _ in 0..40 {
            if let Ok(Some(status)) = engine.child.try_wait() {
                let log = std::fs::read_to_string(dir.join("rtpengine.log")).unwrap_or_default();
                return Err(Error::Process(format!("rtpengine ended with {status}:\n{log}")));
            }
            if engine.ask(&[("command", Item::Text("ping"))]).is_ok() {
                return Ok(engine);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Error::Process("rtpengine does not answer".into()))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Anchor a call between two of our sockets; the ends with rtpengine's addresses filled in.
    pub(crate) fn call(&mut self, index: usize, a: SocketAddr, b: SocketAddr) -> Result<(End, End)> {
        let call = format!("load-{index}");
        let towards_b = self.exchange("offer", &call, &sdp(a))?;
        let towards_a = self.exchange("answer", &call, &sdp(b))?;
        Ok((
            End {
                local: a,
                remote: towards_a,
            },
            End {
                local: b,
                remote: towards_b,
            },
        ))
    }

    fn exchange(&mut self, command: &str, call: &str, sdp: &str) -> Result<SocketAddr> {
        let mut entries = vec![
            ("ICE", Item::Text("remove")),
            ("call-id", Item::Text(call)),
            ("command", Item::Text(command)),
            ("flags", Item::List(&["trust-address"])),
            ("from-tag", Item::Text("a")),
            ("replace", Item::List(&["origin", "session-connection"])),
            ("sdp", Item::Text(sdp)),
        ];
        if command == "answer" {
            entries.push(("to-tag", Item::Text("b")));
        }
        let answer = self.ask(&entries)?;
        let sdp = bencode::lookup(&answer, "sdp").map(String::from_utf8_lossy);
        let address = sdp.as_deref().and_then(address_in);
        address.ok_or_else(|| {
            Error::Process(format!(
                "rtpengine's answer to {command}: {}",
                String::from_utf8_lossy(&answer)
            ))
        })
    }

    fn ask(&mut self, entries: &[(&str, Item<'_>)]) -> Result<Vec<u8>> {
        let io = |source| Error::Io {
            what: "talking to rtpengine".into(),
            source,
        };
        self.cookie += 1;
        let cookie = format!("{} ", self.cookie);
        self.control
            .send(&[cookie.as_bytes(), &bencode::dictionary(entries)].concat())
            .map_err(io)?;
        let mut buffer = [0; 8192];
        loop {
            let length = self.control.recv(&mut buffer).map_err(io)?;
            if let Some(answer) = buffer[..length].strip_prefix(cookie.as_bytes()) {
                return Ok(answer.to_vec());
            }
        }
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        crate::measure::signal(self.child.id(), libc::SIGTERM);
        if !ended_within(&mut self.child, Duration::from_secs(3)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn sdp(at: SocketAddr) -> String {
    let (ip, port) = (at.ip(), at.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )
}

fn address_in(sdp: &str) -> Option<SocketAddr> {
    let ip = sdp
        .lines()
        .find_map(|line| line.strip_prefix("c=IN IP4 "))?
        .trim()
        .parse()
        .ok()?;
    let port = sdp
        .lines()
        .find_map(|line| line.strip_prefix("m=audio "))?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    Some(SocketAddr::new(ip, port))
}
