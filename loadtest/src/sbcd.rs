//! The daemon under test: our own child, or one that runs already.

use crate::{
    Error, Result,
    admin::{Admin, Stats},
    calls::Over,
    flows::wire::Transport,
    measure,
    measure::{CpuTimes, Memory},
    tls::Certificates,
};
use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Admin socket, in the work directory.
pub(crate) const SOCKET: &str = "sbcd.sock";
/// What the daemon writes, in the work directory.
pub(crate) const LOG: &str = "sbcd.log";

/// What the configuration file of our own daemon says.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// SIP address.
    pub(crate) sip: SocketAddr,
    /// Carrier, platform: one address and port each.
    pub(crate) carrier: SocketAddr,
    /// The other side.
    pub(crate) platform: SocketAddr,
    /// A third trunk, known by address alone, whose calls go to an address that never answers.
    pub(crate) hostile: Option<(Ipv4Addr, SocketAddr)>,
    /// First and last media port.
    pub(crate) media_ports: (u16, u16),
    /// Number of shards.
    pub(crate) shards: u8,
    /// Cores for the shards; empty: the daemon's choice.
    pub(crate) cpus: Vec<u16>,
    /// `auto`, `io_uring` or `syscall`.
    pub(crate) backend: String,
    /// Wake-up coalescing; `None`: the daemon's default.
    pub(crate) coalesce_us: Option<u32>,
    /// Global limits: CPS, burst, channels; 0: none.
    pub(crate) limits: (u32, u32, u32),
    /// RFC 3261's T1; the other timers follow it in proportion.
    pub(crate) t1_ms: u32,
    /// How long media ports rest after a call; `None`: the daemon's default.
    pub(crate) quarantine_ms: Option<u32>,
    /// Media from the addresses in SDP alone.
    pub(crate) strict_latch: bool,
    /// What carrier and platform speak.
    pub(crate) over: Over,
    /// For TLS.
    pub(crate) certificates: Option<Certificates>,
    /// Whether a shard whose core is full refuses calls. Not where the question is what it can do at most, beside
    /// other programs on its cores.
    pub(crate) overload_control: bool,
    /// More lines for the trunks of carrier and platform.
    pub(crate) trunks: [String; 2],
    /// More sections.
    pub(crate) more: String,
}

impl Setup {
    fn toml(&self, socket: &Path) -> String {
        let mut text = String::new();
        let (cps, burst, channels) = self.limits;
        let cpus: Vec<String> = self.cpus.iter().map(u16::to_string).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[shards]\ncount = {}\nbackend = \"{}\"",
            self.shards, self.backend
        );
        if !cpus.is_empty() {
            let _ = writeln!(text, "cpus = [{}]", cpus.join(", "));
        }
        if let Some(coalesce) = self.coalesce_us {
            let _ = writeln!(text, "coalesce_us = {coalesce}");
        }
        let mut transports = vec![self.over.caller];
        if self.over.callee != self.over.caller {
            transports.push(self.over.callee);
        }
        for transport in transports {
            let port = self.sip.port() - u16::from(self.over.caller == Transport::Tls);
            let at = SocketAddr::new(self.sip.ip(), port + u16::from(transport == Transport::Tls));
            let _ = writeln!(
                text,
                "[[listener]]\nname = \"{0}\"\ntransport = \"{0}\"\naddress = \"{at}\"",
                transport.name()
            );
            if let (Transport::Tls, Some(certificates)) = (transport, &self.certificates) {
                text.push_str(&certificates.listener_toml());
            }
        }
        // No time-out: calls without media and idle windows are part of the tests.
        let _ = writeln!(
            text,
            "[media]\naddress = \"{}\"\nports = \"{}-{}\"\ntimeout_s = 0\nlatch = \"{}\"",
            self.sip.ip(),
            self.media_ports.0,
            self.media_ports.1,
            if self.strict_latch { "strict" } else { "relearn" }
        );
        if let Some(rest) = self.quarantine_ms {
            let _ = writeln!(text, "quarantine_ms = {rest}");
        }
        let _ = writeln!(text, "[sip]\ncalls_max = 200000\ntransactions_max = 4000000");
        let _ = writeln!(
            text,
            "t1_ms = {}\nt2_ms = {}\nt4_ms = {}",
            self.t1_ms,
            8 * self.t1_ms,
            10 * self.t1_ms
        );
        let _ = writeln!(text, "[limits]\ncps = {cps}\nchannels = {channels}");
        if burst != 0 {
            let _ = writeln!(text, "burst = {burst}");
        }
        for (name, at, transport, more) in [
            ("carrier", self.carrier, self.over.caller, &self.trunks[0]),
            ("platform", self.platform, self.over.callee, &self.trunks[1]),
        ] {
            // The port that a connection comes from is any.
            let host = match transport {
                Transport::Udp => at.to_string(),
                Transport::Tcp | Transport::Tls => at.ip().to_string(),
            };
            let _ = writeln!(
                text,
                "[[trunk]]\nname = \"{name}\"\nhosts = [\"{host}\"]\ntarget = \"{at}\"\nlistener = \"{}\"\n{more}",
                transport.name()
            );
            if let (Transport::Tls, Some(certificates)) = (transport, &self.certificates) {
                text.push_str(&certificates.trunk_toml());
            }
        }
        let mut routes = vec![("carrier", "platform"), ("platform", "carrier")];
        if let Some((from, to)) = &self.hostile {
            let _ = writeln!(
                text,
                "[[trunk]]\nname = \"hostile\"\nhosts = [\"{from}\"]\ntarget = \"{from}:{}\"",
                to.port()
            );
            // Each of its calls holds four media ports for 64 T1.
            let _ = writeln!(text, "[trunk.limits]\ninbound = {{ channels = 100 }}");
            let _ = writeln!(
                text,
                "[[trunk]]\nname = \"silent\"\nhosts = [\"{to}\"]\ntarget = \"{to}\""
            );
            routes.push(("hostile", "silent"));
        }
        for (from, to) in routes {
            let _ = writeln!(text, "[[route]]\nfrom = \"{from}\"\nto = \"{to}\"");
        }
        if !self.overload_control {
            text.push_str("[overload]\nbusy_max = 0\n");
        }
        let _ = writeln!(
            text,
            "[admin]\nsocket = \"{}\"\n[log]\nlevel = \"warn\"\n{}",
            socket.display(),
            self.more
        );
        text
    }
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Option<Child>,
    /// Where calls are sent.
    pub(crate) sip: SocketAddr,
    /// Its admin socket.
    pub(crate) admin: Admin,
    /// Its process.
    pub(crate) pid: u32,
}

impl Daemon {
    /// Start `binary` with `setup`, files in `dir`, on `cpus` alone when given, and wait until
    /// it answers on its admin socket.
    pub(crate) fn start(binary: &Path, setup: &Setup, dir: &Path) -> Result<Self> {
        let text = setup.toml(&dir.join(SOCKET));
        Self::start_with(binary, &text, setup.sip, &setup.cpus, dir)
    }

    /// Start `binary` with the configuration `text`, whose admin socket is [`SOCKET`] in `dir`.
    pub(crate) fn start_with(
        binary: &Path,
        text: &str,
        sip: SocketAddr,
        cpus: &[u16],
        dir: &Path,
    ) -> Result<Self> {
        let (config, socket, log) = (dir.join("sbcd.toml"), dir.join(SOCKET), dir.join(LOG));
        let io = |what: &Path| {
            let what = format!("writing {}", what.display());
            move |source| Error::Io { what, source }
        };
        std::fs::write(&config, text).map_err(io(&config))?;
        let output = std::fs::File::create(&log).map_err(io(&log))?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config).stdin(Stdio::null());
        command
            .stdout(output.try_clone().map_err(io(&log))?)
            .stderr(output);
        on_cpus(
            &mut command,
            &cpus.iter().map(|cpu| usize::from(*cpu)).collect::<Vec<_>>(),
        );
        end_with_us(&mut command);
        let child = command.spawn().map_err(|source| Error::Io {
            what: format!("starting {}", binary.display()),
            source,
        })?;
        let mut daemon = Self {
            pid: child.id(),
            child: Some(child),
            sip,
            admin: Admin::new(socket),
        };
        daemon.wait_ready(&log)?;
        Ok(daemon)
    }

    /// A daemon that somebody else started.
    pub(crate) fn running(sip: SocketAddr, socket: PathBuf) -> Result<Self> {
        let admin = Admin::new(socket);
        Ok(Self {
            child: None,
            sip,
            pid: admin.pid()?,
            admin,
        })
    }

    fn wait_ready(&mut self, log: &Path) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        let tail = || std::fs::read_to_string(log).unwrap_or_default();
        loop {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(Error::Process(format!("sbcd ended with {status}:\n{}", tail())));
            }
            match self.admin.stats() {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    return Err(Error::Process(format!(
                        "sbcd does not answer after 20 s ({error}):\n{}",
                        tail()
                    )));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// CPU time by thread.
    pub(crate) fn cpu(&self) -> Result<CpuTimes> {
        CpuTimes::of(self.pid)
    }

    /// Memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid)
    }

    /// Ask for the gauges until all are 0, at most `patience`; the last answer.
    pub(crate) fn wait_quiet(&self, patience: Duration, mut tick: impl FnMut(&Stats)) -> Result<Stats> {
        let until = Instant::now() + patience;
        loop {
            let stats = self.admin.stats()?;
            tick(&stats);
            if stats.left().is_empty() || Instant::now() > until {
                return Ok(stats);
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // The first SIGTERM drains, the second ends at once.
        for patience in [Duration::from_millis(300), Duration::from_secs(3)] {
            measure::signal(child.id(), libc::SIGTERM);
            if ended_within(child, patience) {
                return;
            }
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether `child` ends within `patience`.
pub(crate) fn ended_within(child: &mut Child, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Have the kernel end `command`'s process when the thread that starts it ends, however that
/// happens: a killed test leaves no daemon and no SIPp behind.
pub(crate) fn end_with_us(command: &mut Command) {
    let parent = std::process::id();
    let die = move || {
        // SAFETY: both only read and set numbers of the calling process.
        let orphaned = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() as u32 != parent
        };
        if orphaned {
            Err(std::io::Error::from_raw_os_error(libc::ESRCH))
        } else {
            Ok(())
        }
    };
    // SAFETY: between fork and exec only async-signal-safe system calls are made.
    unsafe { command.pre_exec(die) };
}

/// Have `command` run on `cpus` alone; an empty list means anywhere.
pub(crate) fn on_cpus(command: &mut Command, cpus: &[usize]) {
    if cpus.is_empty() {
        return;
    }
    let cpus = cpus.to_vec();
    // SAFETY: between fork and exec only an async-signal-safe system call is made; the vector
    // was allocated before the fork.
    unsafe { command.pre_exec(move || measure::pin(&cpus)) };
}

/// The daemon's binary: the given one, or the one next to our own executable. Under `cargo run`
/// that one is built first, so that a stale daemon is never measured.
pub(crate) fn binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().map_err(|source| Error::Io {
        what: "finding our own executable".into(),
        source,
    })?;
    let path = own.with_file_name("sbcd");
    if let (Some(cargo), Some(directory)) =
        (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR"))
    {
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--package", "sbc-core", "--bin", "sbcd"])
            .current_dir(directory);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().map_err(|source| Error::Io {
            what: "building sbcd".into(),
            source,
        })?;
        if !status.success() {
            return Err(Error::Process(format!("building sbcd ended with {status}")));
        }
    }
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Missing {
        program: "sbcd",
        remedy: "build it first: cargo build --release -p sbc-core (or give --sbcd PATH)",
    })
}
