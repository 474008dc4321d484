//! Good calls over TLS and TCP while other peers do to streams what can be done to them: a byte a
//! second, handshakes that never end, messages without end, connections cut in mid-message,
//! garbage instead of TLS and garbage under it, and thousands of connections that say nothing.
//! None of the good calls may fail, and everything taken must be given back.

use crate::{
    Error, Result,
    admin::Stats,
    bench::Bench,
    calls::{self, CallLoad, Over},
    flows::wire::Transport,
    report::Report,
    tls::Certificates,
};
use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// Options of `hostile-streams`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HostileStreams {
    /// Good calls a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Seconds of good calls and attack.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(5..=600))]
    pub(crate) seconds: u32,
    /// Connections that stay open and say nothing.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) idle: u32,
}

/// What is done, each by a number of tasks that do it again and again.
const CASES: [(&str, u32); 8] = [
    ("slow_message", 100),
    ("no_handshake", 100),
    ("half_handshake", 20),
    ("oversize", 4),
    ("cut_off", 8),
    ("garbage_for_tls", 8),
    ("garbage_under_tls", 4),
    ("garbage_for_sip", 8),
];

/// Addresses that the hostile connections come from, so that none of them meets the bound for one
/// address before the bound for all is tried.
const SOURCES: u8 = 8;

impl HostileStreams {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let over = Over {
            caller: Transport::Tls,
            callee: Transport::Tcp,
            connection_per_call: false,
        };
        let mut setup = bench.setup_over(over)?;
        let Some(certificates) = setup.certificates.clone() else {
            return Err(Error::Setup("no certificates".into()));
        };
        // Descriptors are needed for connections: few media ports.
        setup.media_ports = (20_000, 22_999);
        let hosts: Vec<String> = (0..SOURCES)
            .map(|n| format!("\"{}\"", bench.host(100 + n)))
            .collect();
        // Connections that wait a minute would outlast the test.
        let _ = write!(
            setup.more,
            "[streams]\nconnect_timeout_s = 3\nmessage_timeout_s = 3\nidle_timeout_s = {}\n\
             [[trunk]]\nname = \"crowd\"\nhosts = [{}]\ntarget = \"{}:5999\"\nlistener = \"tcp\"\n",
            self.seconds + 20,
            hosts.join(", "),
            bench.host(100)
        );
        let daemon = bench.daemon(&setup)?;
        let bridges = over.bridges(bench, setup.certificates.as_ref())?;
        let mut report = Report::new("hostile-streams");
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * self.seconds,
            hold_ms: 500,
            scenarios: ("uac", "uas"),
            message_log: true,
            over,
        };
        let before = (daemon.memory()?, daemon.admin.stats()?);
        let attack = Arc::new(Attack::new(self, bench, &certificates));
        let runner = Arc::clone(&attack);
        let attacker = std::thread::Builder::new()
            .name("attack".into())
            .spawn(move || runner.run())
            .map_err(|source| Error::Io {
                what: "starting the attack".into(),
                source,
            })?;
        let mut most: (u64, Stats) = (0, Stats::default());
        let outcome = calls::run(bench, &daemon, load, "", |_| {
            let stats = daemon.admin.stats()?;
            let open = stats.gauge("connections");
            if open >= most.0 {
                most = (open, stats);
            }
            Ok(())
        });
        attack.stop.store(true, Ordering::Relaxed);
        let _ = attacker.join();
        let outcome = outcome?;
        drop(bridges);
        calls::report(&mut report, &load, &outcome);
        for (index, (case, _)) in CASES.iter().enumerate() {
            let [done, ended] = attack.counts(index);
            report.figure("hostile connections", case, done);
            report.figure("ended by sbcd", case, ended);
        }
        let idle = attack.idle_open.load(Ordering::Relaxed);
        report.figure("hostile connections", "idle_open", idle);
        report.figure(
            "hostile connections",
            "idle_refused",
            attack.idle_refused.load(Ordering::Relaxed),
        );
        report.figure("hostile connections", "open_at_most", most.0);
        report.memory("daemon memory before", &before.0);
        report.gate(
            "the attack took place",
            (0..CASES.len()).all(|index| attack.counts(index)[0] > 0) && idle >= u64::from(self.idle) / 2,
            format!("{idle} idle connections"),
        );
        let waiters = ["slow_message", "no_handshake", "half_handshake", "oversize"];
        for (index, (case, _)) in CASES.iter().enumerate() {
            if waiters.contains(case) {
                let [_, ended] = attack.counts(index);
                report.gate(
                    &format!("{case} is ended by sbcd"),
                    ended > 0,
                    format!("{ended} times"),
                );
            }
        }
        let patience = Duration::from_millis(u64::from(70 * setup.t1_ms)) + Duration::from_secs(15);
        calls::report_leftovers(bench, &mut report, &daemon, patience)?;
        let after = daemon.memory()?;
        report.memory("daemon memory at the end", &after);
        Ok(report)
    }
}

/// The hostile peers.
struct Attack {
    stop: AtomicBool,
    idle: u32,
    tcp: SocketAddr,
    tls: SocketAddr,
    sources: Vec<IpAddr>,
    connector: TlsConnector,
    done: [AtomicU64; CASES.len()],
    ended: [AtomicU64; CASES.len()],
    idle_open: AtomicU64,
    idle_refused: AtomicU64,
}

impl Attack {
    fn new(options: &HostileStreams, bench: &Bench, certificates: &Certificates) -> Self {
        Self {
            stop: AtomicBool::new(false),
            idle: options.idle,
            tcp: bench.party(1, Transport::Tcp),
            tls: bench.party(1, Transport::Tls),
            sources: (0..SOURCES).map(|n| IpAddr::V4(bench.host(100 + n))).collect(),
            connector: TlsConnector::from(certificates.client()),
            done: Default::default(),
            ended: Default::default(),
            idle_open: AtomicU64::new(0),
            idle_refused: AtomicU64::new(0),
        }
    }

    /// Connections of a case, and how many of them sbcd ended.
    fn counts(&self, case: usize) -> [u64; 2] {
        [&self.done[case], &self.ended[case]].map(|count| count.load(Ordering::Relaxed))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(self: Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            for (case, (_, tasks)) in CASES.iter().enumerate() {
                for task in 0..*tasks {
                    let attack = Arc::clone(&self);
                    tokio::spawn(async move { attack.repeat(case, task as usize).await });
                }
            }
            let crowd = tokio::spawn(Arc::clone(&self).crowd());
            while !self.stopped() {
                sleep(Duration::from_millis(50)).await;
            }
            crowd.abort();
        });
        // With the runtime every socket is closed.
    }

    async fn repeat(&self, case: usize, task: usize) {
        while !self.stopped() {
            if let Ok(ended) = self.once(case, task).await {
                self.done[case].fetch_add(1, Ordering::Relaxed);
                self.ended[case].fetch_add(u64::from(ended), Ordering::Relaxed);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn connect(&self, to: SocketAddr, number: usize) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.sources[number % self.sources.len()], 0))?;
        socket.connect(to).await
    }

    /// One connection; whether sbcd ended it.
    async fn once(&self, case: usize, task: usize) -> std::io::Result<bool> {
        const MESSAGE: &str =
            "OPTIONS sip:x@sbc SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKslow\r\n";
        match CASES[case].0 {
            "slow_message" => {
                let mut stream = self.connect(self.tcp, task).await?;
                for byte in MESSAGE.bytes() {
                    if self.stopped() {
                        return Ok(false);
                    }
                    if stream.write_all(&[byte]).await.is_err() || over(&mut stream, 1000).await {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            "no_handshake" => {
                let mut stream = self.connect(self.tls, task).await?;
                Ok(over(&mut stream, 8000).await)
            }
            "half_handshake" => {
                let mut stream = self.connect(self.tls, task).await?;
                // A record of a handshake that is announced and never comes.
                stream
                    .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                    .await?;
                Ok(over(&mut stream, 8000).await)
            }
            "oversize" => {
                let mut stream = self.connect(self.tcp, task).await?;
                let head = format!("{MESSAGE}Content-Length: 10000000\r\n\r\n");
                let mut sent = stream.write_all(head.as_bytes()).await;
                let block = [b'x'; 4096];
                for _ in 0..200 {
                    if sent.is_err() {
                        return Ok(true);
                    }
                    sent = stream.write_all(&block).await;
                }
                Ok(over(&mut stream, 3000).await)
            }
            "cut_off" => {
                let mut stream = self.connect(self.tcp, task).await?;
                stream.write_all(MESSAGE.as_bytes()).await?;
                // A reset, not an orderly end.
                stream.set_zero_linger()?;
                Ok(false)
            }
            "garbage_for_tls" => {
                let mut stream = self.connect(self.tls, task).await?;
                stream.write_all(&[b'G'; 3000]).await?;
                Ok(over(&mut stream, 5000).await)
            }
            "garbage_under_tls" => {
                let stream = self.connect(self.tls, task).await?;
                let mut secure = self
                    .connector
                    .connect(ServerName::from(self.tls.ip()), stream)
                    .await?;
                secure.write_all(&[0xff; 3000]).await?;
                secure.flush().await?;
                let mut bytes = [0; 512];
                let read = timeout(Duration::from_secs(5), secure.read(&mut bytes)).await;
                Ok(matches!(read, Ok(Ok(0) | Err(_))))
            }
            _ => {
                let mut stream = self.connect(self.tcp, task).await?;
                stream.write_all(&[0xfe; 3000]).await?;
                Ok(over(&mut stream, 5000).await)
            }
        }
    }

    /// Connections that say nothing: half of them TCP, half TLS that has done its handshake once
    /// it got so far (the others end as `no_handshake` does, so that only TCP is counted on).
    async fn crowd(self: Arc<Self>) {
        let mut held = Vec::new();
        let started = Instant::now();
        for number in 0..self.idle as usize {
            if self.stopped() {
                break;
            }
            match timeout(Duration::from_secs(2), self.connect(self.tcp, number)).await {
                Ok(Ok(stream)) => {
                    held.push(stream);
                    self.idle_open.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    self.idle_refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            // A thousand a second.
            let due = Duration::from_millis(number as u64);
            if let Some(ahead) = due.checked_sub(started.elapsed()) {
                sleep(ahead).await;
            }
        }
        while !self.stopped() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether the other side ends `stream` within so many milliseconds; what it says is thrown away.
async fn over(stream: &mut TcpStream, ms: u64) -> bool {
    let mut bytes = [0; 1024];
    let end = async {
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    timeout(Duration::from_millis(ms), end).await.is_ok()
}
