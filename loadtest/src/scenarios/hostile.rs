//! Good calls while hostile datagrams pour in, at a bounded rate: random bytes, SIP that is
//! truncated or mutated, datagrams of 64 kB, floods from unknown sources, junk on media ports.
//! None of the good calls may fail.

use crate::{
    Error, Result,
    bench::Bench,
    calls,
    calls::CallLoad,
    report::{Report, round},
};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Options of `hostile`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Hostile {
    /// Good calls a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Seconds of good calls and attack.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Hostile datagrams a second.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pps: u32,
    /// More datagrams a second, all of them from addresses that no trunk lists.
    #[arg(long, default_value_t = 0)]
    pub(crate) flood: u32,
    /// Where every random choice comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

const CASES: [&str; 8] = [
    "random",
    "sip",
    "mutated",
    "truncated",
    "huge",
    "unknown_source",
    "wrong_port",
    "media",
];

impl Hostile {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut setup = bench.setup();
        setup.overload_control = true;
        setup.hostile = Some((bench.host(7), bench.at(8, bench.options.base_port)));
        let daemon = bench.daemon(&setup)?;
        let mut report = Report::new("hostile");
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * self.seconds,
            hold_ms: 500,
            scenarios: ("uac", "uas"),
            message_log: true,
            over: calls::Over::UDP,
        };
        let stop = AtomicBool::new(false);
        let sent: [AtomicU64; CASES.len()] = Default::default();
        let attack = Attack::new(self, bench, daemon.sip)?;
        let flood = Flood::new(self.flood, bench, daemon.sip)?;
        let flooded = AtomicU64::new(0);
        let outcome = std::thread::scope(|scope| {
            let attackers = [
                scope.spawn(|| attack.run(&stop, &sent)),
                scope.spawn(|| flood.run(&stop, &flooded)),
            ];
            let outcome = calls::run(bench, &daemon, load, "", |_| Ok(()));
            stop.store(true, Ordering::Relaxed);
            for attacker in attackers {
                let _ = attacker.join();
            }
            outcome
        })?;
        calls::report(&mut report, &load, &outcome);
        if self.flood > 0 {
            flood.report(&mut report, &daemon, &flooded, &outcome)?;
        }
        let total: u64 = sent.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        for (case, count) in CASES.iter().zip(&sent) {
            report.figure("hostile datagrams", case, count.load(Ordering::Relaxed));
        }
        report.figure(
            "hostile datagrams",
            "per_second",
            round(total as f64 / outcome.elapsed.as_secs_f64(), 0),
        );
        report.gate(
            "the attack took place",
            total > u64::from(self.pps * self.seconds) / 2,
            format!("{total} datagrams"),
        );
        // Calls of the hostile trunk go to a peer that never answers: timer B, then its tombstone.
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(120))?;
        Ok(report)
    }
}

/// Well-formed INVITEs from addresses that no trunk lists, as fast as wanted.
struct Flood {
    pps: u32,
    sbc: SocketAddr,
    sockets: Vec<UdpSocket>,
}

/// Addresses of the flood: the last ones of the network.
const FLOOD_HOSTS: std::ops::Range<u8> = 100..164;

impl Flood {
    fn new(pps: u32, bench: &Bench, sbc: SocketAddr) -> Result<Self> {
        let bind = |host: u8| {
            let at = bench.at(host, bench.options.base_port);
            UdpSocket::bind(at).map_err(|source| Error::Io {
                what: format!("binding {at}"),
                source,
            })
        };
        let hosts = if pps > 0 { FLOOD_HOSTS } else { 0..0 };
        Ok(Self {
            pps,
            sbc,
            sockets: hosts.map(bind).collect::<Result<_>>()?,
        })
    }

    fn run(&self, stop: &AtomicBool, sent: &AtomicU64) {
        let started = Instant::now();
        let mut count = 0u64;
        while !stop.load(Ordering::Relaxed) && !self.sockets.is_empty() {
            let due = (started.elapsed().as_secs_f64() * f64::from(self.pps)) as u64;
            // Never a burst beyond a tenth of a second: the rate is bounded, also after a stall.
            for n in (count..due).take(self.pps as usize / 10) {
                let socket = &self.sockets[n as usize % self.sockets.len()];
                let sbc = self.sbc;
                let message = format!(
                    "INVITE sip:{n}@{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKf{n}\r\nMax-Forwards: 70\r\n\
                     From: <sip:f@10.0.0.1>;tag=f{n}\r\nTo: <sip:{n}@{sbc}>\r\nCall-ID: f{n}\r\nCSeq: 1 INVITE\r\n\
                     Contact: <sip:f@10.0.0.1>\r\nContent-Length: 0\r\n\r\n"
                );
                if socket.send_to(message.as_bytes(), sbc).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            count = due;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn report(
        &self,
        report: &mut Report,
        daemon: &crate::sbcd::Daemon,
        sent: &AtomicU64,
        outcome: &calls::CallOutcome,
    ) -> Result<()> {
        let stats = daemon.admin.stats()?;
        let sent = sent.load(Ordering::Relaxed);
        let per_second = sent as f64 / outcome.elapsed.as_secs_f64();
        report.figure("flood", "sent_per_second", round(per_second, 0));
        for counter in ["guard_banned", "guard_rate", "sip_unknown_source", "guard_bans"] {
            report.figure("flood", counter, stats.counter(counter));
        }
        report.figure("flood", "dropped_by_the_kernel", outcome.drops.own_sockets);
        report.gate(
            "the flood took place",
            per_second > f64::from(self.pps) * 0.8,
            format!("{per_second:.0} datagrams a second"),
        );
        Ok(())
    }
}

/// The sockets and the random numbers.
struct Attack {
    pps: u32,
    seed: u64,
    sbc: SocketAddr,
    media_ports: (u16, u16),
    trunk: UdpSocket,
    unknown: UdpSocket,
    wrong_port: UdpSocket,
    silent: UdpSocket,
}

impl Attack {
    fn new(options: &Hostile, bench: &Bench, sbc: SocketAddr) -> Result<Self> {
        let bind = |at: SocketAddr| {
            let socket = UdpSocket::bind(at).map_err(|source| Error::Io {
                what: format!("binding {at}"),
                source,
            })?;
            socket.set_nonblocking(true).map_err(|source| Error::Io {
                what: format!("binding {at}"),
                source,
            })?;
            Ok(socket)
        };
        Ok(Self {
            pps: options.pps,
            seed: options.seed,
            sbc,
            media_ports: bench.options.media_ports,
            trunk: bind(bench.at(7, bench.options.base_port))?,
            unknown: bind(bench.at(9, bench.options.base_port))?,
            // The carrier's address, but not its port.
            wrong_port: bind(bench.at(2, bench.options.base_port + 1))?,
            silent: bind(bench.at(8, bench.options.base_port))?,
        })
    }

    fn run(&self, stop: &AtomicBool, sent: &[AtomicU64; CASES.len()]) {
        let mut random = Random(self.seed);
        let started = Instant::now();
        let mut count = 0u64;
        let mut swallowed = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            let due = (started.elapsed().as_secs_f64() * f64::from(self.pps)) as u64;
            // Never a burst beyond a tenth of a second: the rate is bounded, also after a stall.
            for _ in 0..due.saturating_sub(count).min(u64::from(self.pps / 10).max(1)) {
                let case = random.below(CASES.len() as u64) as usize;
                self.attack(CASES[case], count, &mut random);
                sent[case].fetch_add(1, Ordering::Relaxed);
            }
            count = due;
            for socket in [&self.trunk, &self.unknown, &self.wrong_port, &self.silent] {
                while socket.recv_from(&mut swallowed).is_ok() {}
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn attack(&self, case: &str, count: u64, random: &mut Random) {
        let sip = self.message(count, random);
        let (socket, to, bytes) = match case {
            "random" => (&self.trunk, self.sbc, random.bytes(1500)),
            "sip" => (&self.trunk, self.sbc, sip),
            "mutated" => (&self.trunk, self.sbc, mutate(sip, random)),
            "truncated" => {
                let length = random.below(sip.len() as u64) as usize;
                (&self.trunk, self.sbc, sip[..length].to_vec())
            }
            // The most a UDP datagram carries.
            "huge" => {
                let mut bytes = sip;
                let filler = if random.below(2) == 0 { b'a' } else { b'\r' };
                bytes.resize(65_507, filler);
                (&self.trunk, self.sbc, bytes)
            }
            "unknown_source" => (&self.unknown, self.sbc, sip),
            "wrong_port" => (&self.wrong_port, self.sbc, sip),
            _ => {
                let (first, last) = self.media_ports;
                let port = first + random.below(u64::from(last - first) + 1) as u16;
                (
                    &self.unknown,
                    SocketAddr::new(self.sbc.ip(), port),
                    random.bytes(200),
                )
            }
        };
        // Refused sends (closed ports answer with ICMP) are part of the game.
        let _ = socket.send_to(&bytes, to);
    }

    /// A message of SIP that is well formed, from the hostile trunk, mostly not part of any call.
    fn message(&self, count: u64, random: &mut Random) -> Vec<u8> {
        const METHODS: [&str; 9] = [
            "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "NONSENSE",
        ];
        let method = METHODS[random.below(METHODS.len() as u64) as usize];
        let from = self.trunk.local_addr().unwrap_or(self.sbc);
        let sbc = self.sbc;
        let start = if random.below(5) == 0 {
            format!("SIP/2.0 {} Whatever", 100 + random.below(600))
        } else {
            format!("{method} sip:200{count}@{sbc} SIP/2.0")
        };
        let to_tag = if random.below(3) == 0 {
            format!(";tag=t{}", random.below(1000))
        } else {
            String::new()
        };
        let body = "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        format!(
            "{start}\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKh{count}\r\nMax-Forwards: {}\r\n\
             From: <sip:h@{from}>;tag=h{count}\r\nTo: <sip:200{count}@{sbc}>{to_tag}\r\nCall-ID: h{count}@{from}\r\n\
             CSeq: {} {method}\r\nContact: <sip:h@{from}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            random.below(80),
            1 + random.below(3),
            body.len(),
        )
        .into_bytes()
    }
}

/// One to eight changes at random places.
fn mutate(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..1 + random.below(8) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len() as u64) as usize;
        let end = (at + 1 + random.below(40) as usize).min(bytes.len());
        match random.below(6) {
            0 => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => drop(bytes.splice(at..at, *b"99999999999999999999")),
            4 => drop(bytes.splice(at..at, *b"\r\n")),
            _ => drop(bytes.splice(
                at..at,
                std::iter::repeat_n(b"\0\"<>;,=:@%"[random.below(10) as usize], 50),
            )),
        }
    }
    bytes
}

/// SplitMix64: a seed gives the same attack again.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}
