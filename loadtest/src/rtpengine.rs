//! Debian's rtpengine in user space, driven over its control protocol: what operators run today.

use crate::{
    Error, Result,
    bencode::{self, Item},
    sbcd::{ended_within, on_cpus},
    shape::{self, Side},
};
use sbc_media::srtp::MasterKey;
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

    /// Offer the audio of `from`, which speaks as `sides[0]`, to a side that speaks as `sides[1]`.
    pub(crate) fn offer(&mut self, call: usize, sides: [Side; 2], from: &Spoken) -> Result<Told> {
        let [a, b] = sides;
        let (transcode, mask) = (
            format!("codec-transcode-{}", b.codec()),
            format!("codec-mask-{}", a.codec()),
        );
        let mut flags = vec!["trust-address"];
        if a.law != b.law {
            flags.extend([transcode.as_str(), mask.as_str()]);
        }
        let entries = [
            ("flags", Item::List(&flags)),
            ("transport-protocol", Item::Text(b.profile())),
        ];
        let sdp = a.sdp(from.at, from.tag, from.key.as_ref());
        self.exchange("offer", call, &entries, &sdp, b)
    }

    /// The answer to that: what `sides[0]` is told.
    pub(crate) fn answer(&mut self, call: usize, sides: [Side; 2], from: &Spoken) -> Result<Told> {
        let entries = [
            ("flags", Item::List(&["trust-address"])),
            ("to-tag", Item::Text("b")),
        ];
        let sdp = sides[1].sdp(from.at, from.tag, from.key.as_ref());
        self.exchange("answer", call, &entries, &sdp, sides[0])
    }

    fn exchange(
        &mut self,
        command: &str,
        call: usize,
        more: &[(&'static str, Item<'_>)],
        sdp: &str,
        to: Side,
    ) -> Result<Told> {
        let call = format!("load-{call}");
        let mut entries = vec![
            ("DTLS", Item::Text("off")),
            ("ICE", Item::Text("remove")),
            ("call-id", Item::Text(&call)),
            ("command", Item::Text(command)),
            ("from-tag", Item::Text("a")),
            ("replace", Item::List(&["origin", "session-connection"])),
            ("sdp", Item::Text(sdp)),
        ];
        entries.extend_from_slice(more);
        entries.sort_by_key(|(name, _)| *name);
        let answer = self.ask(&entries)?;
        let sdp = bencode::lookup(&answer, "sdp").map(String::from_utf8_lossy);
        let told = sdp.as_deref().and_then(|sdp| Told::read(sdp, to));
        told.ok_or_else(|| {
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

/// What a side says of its audio.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    /// Where it wants packets.
    pub(crate) at: SocketAddr,
    /// The number of its key.
    pub(crate) tag: u32,
    /// What it sends with.
    pub(crate) key: Option<MasterKey>,
}

/// What a side is told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Where it is to send.
    pub(crate) at: SocketAddr,
    /// The number of the key.
    pub(crate) tag: u32,
    /// What is sent to it with.
    pub(crate) key: Option<MasterKey>,
}

impl Told {
    /// What `sdp` tells `side`; `None` when it lacks the address, the profile, the codec or the key.
    fn read(sdp: &str, side: Side) -> Option<Self> {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name));
        let ip = value("c=IN IP4 ")?.trim().parse().ok()?;
        let mut audio = value("m=audio ")?.split_whitespace();
        let port = audio.next()?.parse().ok()?;
        if audio.next()? != side.profile() || audio.next()? != side.payload_type().to_string() {
            return None;
        }
        let at = SocketAddr::new(ip, port);
        let Some(suite) = side.suite else {
            let (tag, key) = (0, None);
            return Some(Self { at, tag, key });
        };
        // Several suites are offered; this side wants one.
        let mut lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
        lines.find_map(|line| {
            let mut words = line.split_whitespace();
            let (tag, name, key) = (words.next()?, words.next()?, words.next()?);
            let key = key.strip_prefix("inline:").filter(|_| name == suite.name())?;
            Some(Self {
                at,
                tag: tag.parse().ok()?,
                key: Some(shape::key_of(suite, key.split('|').next()?).ok()?),
            })
        })
    }
}
