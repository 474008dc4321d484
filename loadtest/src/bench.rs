//! The test bench: addresses, cores, the work directory and the pieces that scenarios share.

use crate::{
    Error, Result,
    calls::Over,
    flows::wire::Transport,
    sbcd::{self, Daemon, Setup},
    sipp,
    tls::Certificates,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Options of every scenario.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Network of the test, a loopback /24: the SBC is .1, the carrier .2, the platform .3.
    #[arg(long, default_value = "127.0.0.0", global = true)]
    pub(crate) net: Ipv4Addr,
    /// SIP port on all three addresses.
    #[arg(long, default_value_t = 5060, global = true)]
    pub(crate) base_port: u16,
    /// Media ports of the daemon.
    #[arg(long, default_value = "20000-59999", value_parser = port_range, global = true)]
    pub(crate) media_ports: (u16, u16),
    /// Shards of the daemon.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..), global = true)]
    pub(crate) shards: u8,
    /// Cores of the daemon, one per shard, as in `0,1` [default: core 0 for one shard of several
    /// cores, else any].
    #[arg(long, value_delimiter = ',', global = true)]
    pub(crate) cpu_sbc: Vec<u16>,
    /// Core of the load [default: the last one for one shard of several cores, else any].
    #[arg(long, global = true)]
    pub(crate) cpu_load: Option<u16>,
    /// I/O engine of the daemon: auto, io_uring or syscall.
    #[arg(long, default_value = "auto", global = true)]
    pub(crate) backend: String,
    /// Wake-up coalescing of the daemon and of the bare relay, in microseconds.
    #[arg(long, default_value_t = 500, global = true)]
    pub(crate) coalesce_us: u32,
    /// RFC 3261's T1 in the daemon. Finished transactions linger for 64 T1: less is a shorter
    /// wait for quiet at the end [default: 500; smoke: 50].
    #[arg(long, global = true)]
    pub(crate) t1_ms: Option<u32>,
    /// How long media ports rest after a call [default: the daemon's]. Where few files may be open, less rest
    /// is more calls a second.
    #[arg(long, global = true)]
    pub(crate) quarantine_ms: Option<u32>,
    /// Use the SBC that runs at this address. Its trunks must be what this test would configure.
    #[arg(long, value_name = "ADDR", requires = "admin_socket", global = true)]
    pub(crate) target: Option<SocketAddr>,
    /// Admin socket of the SBC given with --target.
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) admin_socket: Option<PathBuf>,
    /// The daemon's binary [default: next to this program].
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) sbcd: Option<PathBuf>,
    /// Write the report as JSON; `-`: to standard output, the table then to standard error.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) json: Option<PathBuf>,
    /// Keep the directory with logs, statistics and configuration.
    #[arg(long, global = true)]
    pub(crate) keep: bool,
}

fn port_range(text: &str) -> std::result::Result<(u16, u16), String> {
    let parts = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    parts
        .filter(|(first, last)| first < last)
        .ok_or_else(|| "expected FIRST-LAST, as in 20000-59999".to_owned())
}

/// Everything a scenario needs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// As given.
    pub(crate) options: Options,
    /// Cores of the daemon, empty for any.
    pub(crate) cpus_sbc: Vec<u16>,
    /// Cores of the load, empty for any.
    pub(crate) cpus_load: Vec<usize>,
    dir: PathBuf,
    keep: AtomicBool,
}

impl Bench {
    /// Check that the tools are there and make the work directory.
    pub(crate) fn new(options: Options) -> Result<Self> {
        sipp::check()?;
        if !options.net.is_loopback() || options.net.octets()[3] != 0 {
            return Err(Error::Setup(format!(
                "--net {}: expected a loopback network that ends in .0",
                options.net
            )));
        }
        let dir = std::env::temp_dir().join(format!("loadtest-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|source| Error::Io {
            what: format!("making {}", dir.display()),
            source,
        })?;
        let cores = crate::measure::cpus();
        let apart = options.shards == 1 && cores > 1;
        let cpus_sbc = if options.cpu_sbc.is_empty() && apart {
            vec![0]
        } else {
            options.cpu_sbc.clone()
        };
        let cpus_load = match options.cpu_load {
            Some(cpu) => vec![usize::from(cpu)],
            None if apart => vec![cores - 1],
            None => Vec::new(),
        };
        Ok(Self {
            keep: AtomicBool::new(options.keep),
            options,
            cpus_sbc,
            cpus_load,
            dir,
        })
    }

    /// Where files go.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Do not delete the files: something needs looking at.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Host `host` of the test network.
    pub(crate) fn host(&self, host: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.options.net.octets();
        Ipv4Addr::new(a, b, c, host)
    }

    /// `port` on host `host`.
    pub(crate) fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.host(host)), port)
    }

    /// SIP address of the SBC.
    pub(crate) fn sbc(&self) -> SocketAddr {
        self.options
            .target
            .unwrap_or_else(|| self.at(1, self.options.base_port))
    }

    /// SIP address of the caller's side.
    pub(crate) fn carrier(&self) -> SocketAddr {
        self.at(2, self.options.base_port)
    }

    /// SIP address of the answering side.
    pub(crate) fn platform(&self) -> SocketAddr {
        self.at(3, self.options.base_port)
    }

    /// The address of host `host` for `transport`: TLS has the port after the others'.
    pub(crate) fn party(&self, host: u8, transport: Transport) -> SocketAddr {
        self.at(
            host,
            self.options.base_port + u16::from(transport == Transport::Tls),
        )
    }

    /// The configuration most scenarios use, with other transports.
    pub(crate) fn setup_over(&self, over: Over) -> Result<Setup> {
        let mut setup = self.setup();
        setup.sip = self.party(1, over.caller);
        setup.carrier = self.party(2, over.caller);
        setup.platform = self.party(3, over.callee);
        setup.over = over;
        if over.caller == Transport::Tls || over.callee == Transport::Tls {
            let peers = [2, 3].map(|host| IpAddr::V4(self.host(host)));
            setup.certificates = Some(Certificates::make(&self.dir, IpAddr::V4(self.host(1)), &peers)?);
        }
        Ok(setup)
    }

    /// The configuration most scenarios use.
    pub(crate) fn setup(&self) -> Setup {
        Setup {
            sip: self.sbc(),
            carrier: self.carrier(),
            platform: self.platform(),
            hostile: None,
            media_ports: self.options.media_ports,
            shards: self.options.shards,
            cpus: self.cpus_sbc.clone(),
            backend: self.options.backend.clone(),
            coalesce_us: Some(self.options.coalesce_us),
            limits: (0, 0, 0),
            t1_ms: self.options.t1_ms.unwrap_or(500),
            quarantine_ms: self.options.quarantine_ms,
            strict_latch: false,
            over: Over::UDP,
            certificates: None,
            trunks: Default::default(),
            overload_control: false,
            more: String::new(),
        }
    }

    /// Start the daemon with `setup`, or take the running one.
    pub(crate) fn daemon(&self, setup: &Setup) -> Result<Daemon> {
        if let (Some(sip), Some(socket)) = (self.options.target, &self.options.admin_socket) {
            return Daemon::running(sip, socket.clone());
        }
        Daemon::start(&sbcd::binary(self.options.sbcd.as_deref())?, setup, &self.dir)
    }

    /// A progress bar over `length` of something.
    pub(crate) fn progress(&self, what: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length)
            .with_style(style)
            .with_message(what.to_owned())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.keep.load(Ordering::Relaxed) {
            eprintln!("files: {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
