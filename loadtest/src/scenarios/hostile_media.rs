//! Good calls while forged media pours in at many times their rate. One side of every call speaks RTP and the
//! other SRTP. No octet of the good audio may change, nothing forged may be heard by anybody, and
//! everything is accounted for.
//!
//! Strangers send from other addresses: RTP to every port of the range in turn ("RTPbleed"), packets with right
//! and wrong SSRC, payload type and sequence number, RTCP and what is none. Others forge the
//! address of the peer with SRTP: in the clear, with a wrong tag, under a wrong key, and again what has been there
//! before.

use super::hostile::Random;
use crate::{
    Error, Result,
    admin::Stats,
    bench::Bench,
    calls,
    measure::{no_ports, pin},
    media::{self, Hold, MediaCalls},
    report::{Report, round},
    rtp::{
        End, FIRST, PACKETS_PER_SECOND, Plan, RtpLoad, Streams,
        packet::{self, Conversion, Headers, PACKET_LEN, Stamp},
    },
    sbcd::Daemon,
    shape::Shape,
};
use sbc_core::admin::protocol::{ListCalls, MediaDetail, ShowCall};
use sbc_media::{
    g711::Law,
    srtp::{OVERHEAD_MAX, Sender},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Options of `hostile-media`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HostileMedia {
    /// Good calls, 100 packets a second each.
    #[arg(long, default_value_t = 40)]
    pub(crate) calls: u16,
    /// Seconds of good media and attack.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Forged packets for each good one.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) factor: u32,
    /// Where every random choice comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

const SHAPE: Shape = Shape::Srtp;
/// Long enough that every good stream has been heard before the first forged packet: until then the
/// source that is right is not known.
const WARM_UP: Duration = Duration::from_secs(1);
const SETUP_CPS: u32 = 50;
/// Part of the forged packets that may be lost before anybody sees them.
const UNSEEN_MAX: f64 = 0.01;

/// What is forged. The first eight come from strangers.
const CASES: [&str; 13] = [
    "probe_every_port",
    "right_ssrc",
    "wrong_ssrc",
    "wrong_payload_type",
    "sequence_ahead",
    "wrong_port",
    "rtcp_garbage",
    "rtcp_report",
    "peer_in_the_clear",
    "peer_bad_tag",
    "peer_wrong_key",
    "peer_replay",
    "peer_rtcp",
];

impl HostileMedia {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut setup = media::setup(bench, SHAPE.sides());
        // RTCP sockets have heard nobody yet, and would learn from whoever comes first.
        setup.strict_latch = true;
        let daemon = bench.daemon(&setup)?;
        let mut report = Report::new("hostile-media");
        let set_up = Duration::from_secs_f64(f64::from(self.calls) / f64::from(SETUP_CPS));
        let hold = Hold {
            calls: self.calls,
            cps: SETUP_CPS,
            hold: set_up + WARM_UP + Duration::from_secs(self.seconds + 5),
        };
        let (mut sipp, ends) = MediaCalls::establish(bench, &daemon, SHAPE, hold)?;
        let mut streams = Streams::bind(&ends, Conversion::Tables, Headers::Kept)?;
        let attack = Attack::new(self, bench, ends, &streams)?;
        self.attacked(bench, &daemon, &mut streams, attack, &mut report)?;
        drop(streams);
        let (ok, failed, errors) = sipp.finish(bench, hold.hold + Duration::from_secs(10));
        report.gate(
            "every good call succeeds",
            ok == u64::from(self.calls) && failed == 0,
            format!("{ok} of {} ok {errors}", self.calls),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }

    /// One window of good media under attack.
    fn attacked(
        &self,
        bench: &Bench,
        daemon: &Daemon,
        streams: &mut Streams,
        mut attack: Attack,
        report: &mut Report,
    ) -> Result<()> {
        if !bench.cpus_load.is_empty() {
            pin(&bench.cpus_load).map_err(|source| Error::Io {
                what: "pinning the load".into(),
                source,
            })?;
        }
        let plan = Plan {
            warm_up: WARM_UP,
            measured: Duration::from_secs(self.seconds),
            tick: Duration::from_micros(200),
        };
        let (before, refused_before) = (daemon.admin.stats()?, no_ports());
        let stop = AtomicBool::new(false);
        let (window, attack) = std::thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                attack.run(&stop);
                attack
            });
            let mut load = RtpLoad::new()?;
            let window = load.run(streams, plan, |_| {});
            stop.store(true, Ordering::Relaxed);
            let attack = attacker
                .join()
                .map_err(|_| Error::Process("the attacker panicked".into()))?;
            Ok::<_, Error>((window?, attack))
        })?;
        // What is still on its way.
        std::thread::sleep(Duration::from_millis(300));
        let (after, refused) = (daemon.admin.stats()?, no_ports().saturating_sub(refused_before));
        report.packets("good packets", &window.counts);
        report.delay("good packets: one-way delay", &window.delay);
        for (case, sent) in CASES.iter().zip(attack.sent) {
            report.figure("forged packets", case, sent);
        }
        report.gate(
            "good audio arrives once, intact, in order",
            window.counts.perfect(),
            format!("{:?}", window.counts),
        );
        report.gate(
            "nobody else hears anything",
            attack.heard == 0,
            format!("{} packets at the strangers' sockets", attack.heard),
        );
        self.judge(report, (&before, &after), window.counts.sent, refused, &attack);
        calls_show(daemon, &attack, self.calls, report)
    }

    /// Whether each packet, good and forged, was accounted for.
    fn judge(&self, report: &mut Report, stats: (&Stats, &Stats), good: u64, refused: u64, attack: &Attack) {
        let since = |name| stats.1.since(stats.0, name);
        let (received, forwarded) = (since("media_received"), since("media_forwarded"));
        report.gate(
            "only good packets leave",
            forwarded == good,
            format!("{forwarded} forwarded, {good} good ones sent"),
        );
        let total: u64 = attack.sent.iter().sum();
        let wanted = good * u64::from(self.factor) * self.seconds / (self.seconds + WARM_UP.as_secs());
        report.gate(
            "the attack took place",
            total > wanted / 2,
            format!("{total} forged packets for {good} good ones"),
        );
        // Packets of strangers reach the daemon only where its socket is not connected to a peer yet.
        let dropped = received.saturating_sub(forwarded);
        report.figure("forged packets", "refused_by_kernel", refused);
        report.figure("forged packets", "dropped_by_daemon", dropped);
        let unseen = total.saturating_sub(refused + dropped) as f64 / total.max(1) as f64;
        report.gate(
            "every forged packet is accounted for",
            unseen < UNSEEN_MAX,
            format!("{} % unseen", round(100.0 * unseen, 3)),
        );
    }
}

/// What `sbc-ctl call show` says of all calls, and whether it is what was sent.
fn calls_show(daemon: &Daemon, attack: &Attack, expected: u16, report: &mut Report) -> Result<()> {
    let mut sides: BTreeMap<&str, Shown> = BTreeMap::new();
    let mut list = ListCalls::default();
    let mut calls = 0;
    loop {
        let page = daemon.admin.ask(&list)?;
        for call in page.calls {
            calls += 1;
            for media in daemon.admin.ask(&ShowCall { id: call.id })?.media {
                sides
                    .entry(if media.leg == "A" { "A" } else { "B" })
                    .or_default()
                    .add(&media);
            }
        }
        let Some(next) = page.next else { break };
        list.after = Some(next);
    }
    report.gate(
        "calls are shown",
        calls == u64::from(expected),
        format!("{calls} calls"),
    );
    for (leg, shown) in &sides {
        let group = format!("shown of side {leg}");
        for (name, value) in shown.figures() {
            report.figure(&group, name, value);
        }
    }
    let wrong_source = sides.values().map(|shown| shown.wrong_source).sum();
    let shown = sides.get("B").copied().unwrap_or_default();
    let sent = |cases: &[&str]| {
        let of = CASES.iter().zip(attack.sent);
        of.filter(|(case, _)| cases.contains(case))
            .map(|(_, sent)| sent)
            .sum::<u64>()
    };
    let replays = sent(&["peer_replay"]);
    let forged = sent(&["peer_in_the_clear", "peer_bad_tag", "peer_wrong_key", "peer_rtcp"]);
    // What is forged with a number that has been there already may count as a replay.
    let tags = shown.bad_tag + shown.replayed.saturating_sub(replays);
    for (name, counted, at_least) in [
        ("bad tags", tags, forged),
        ("replays", shown.replayed, replays),
        ("strangers' reports", wrong_source, sent(&["rtcp_report"])),
    ] {
        report.gate(
            &format!("{name} are shown with the call"),
            counted as f64 >= at_least as f64 * (1.0 - UNSEEN_MAX) && at_least > 0,
            format!("{counted} shown, {at_least} sent"),
        );
    }
    Ok(())
}

/// Refusals of one side, over all calls.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    wrong_source: u64,
    malformed: u64,
    format: u64,
    bad_tag: u64,
    replayed: u64,
    failed: u64,
}

impl Shown {
    fn add(&mut self, media: &MediaDetail) {
        self.wrong_source += media.wrong_source;
        self.malformed += media.refused.malformed;
        self.format += media.refused.format;
        self.bad_tag += media.refused.srtp_bad_tag;
        self.replayed += media.refused.srtp_replayed;
        self.failed += media.refused.srtp_failed;
    }

    fn figures(&self) -> [(&'static str, u64); 6] {
        [
            ("wrong_source", self.wrong_source),
            ("malformed", self.malformed),
            ("format", self.format),
            ("srtp_bad_tag", self.bad_tag),
            ("srtp_replayed", self.replayed),
            ("srtp_failed", self.failed),
        ]
    }
}

/// The forgers' sockets and what they know.
struct Attack {
    pps: u64,
    random: Random,
    sbc: SocketAddr,
    ports: (u16, u16),
    next_port: u16,
    ends: Vec<(End, End)>,
    /// Of addresses that have no part in any call.
    strangers: Vec<UdpSocket>,
    /// Another port of the host that speaks RTP.
    wrong_port: UdpSocket,
    /// Those of the side with SRTP.
    peers: Vec<UdpSocket>,
    /// Authentic packets of theirs whose number was used long ago.
    replays: Vec<Vec<u8>>,
    wrong: Sender,
    wrong_sequence: u32,
    sent: [u64; CASES.len()],
    heard: u64,
}

impl Attack {
    fn new(options: &HostileMedia, bench: &Bench, ends: Vec<(End, End)>, streams: &Streams) -> Result<Self> {
        let bind = |host| {
            let at = bench.at(host, 9_000);
            let socket = UdpSocket::bind(at).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            socket.map_err(|source| Error::Io {
                what: format!("binding {at}"),
                source,
            })
        };
        let no_keys = || Error::Setup("a call without keys".into());
        let replay = |(stream, end): (u32, &End)| {
            let keys = end.keys.as_ref().ok_or_else(no_keys)?;
            let mut bytes = roomy(&forged(end.law, stream, FIRST));
            let len = Sender::new(&keys.ours).protect(&mut bytes, PACKET_LEN);
            let len = len.map_err(|error| Error::Setup(error.to_string()))?;
            Ok(bytes[..len].to_vec())
        };
        let Some((_, first)) = ends.first() else {
            return Err(Error::Setup("no calls".into()));
        };
        let keys = first.keys.as_ref();
        let wrong = keys.map(|keys| Sender::new(&keys.theirs));
        Ok(Self {
            pps: u64::from(options.factor) * 2 * ends.len() as u64 * PACKETS_PER_SECOND,
            random: Random(options.seed),
            sbc: first.remote,
            ports: bench.options.media_ports,
            next_port: bench.options.media_ports.0,
            strangers: [6, 7, 8, 9].into_iter().map(bind).collect::<Result<_>>()?,
            wrong_port: bind(2)?,
            peers: streams.sockets_b()?,
            replays: (0..)
                .zip(&ends)
                .map(|(call, (_, b))| replay((2 * call + 1, b)))
                .collect::<Result<_>>()?,
            wrong: wrong.ok_or_else(no_keys)?,
            wrong_sequence: 0,
            ends,
            sent: [0; CASES.len()],
            heard: 0,
        })
    }

    fn run(&mut self, stop: &AtomicBool) {
        let began = Instant::now();
        // Halfway through the warm-up: every good stream has been heard by then.
        std::thread::sleep(WARM_UP / 2);
        let started = Instant::now();
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = (started.elapsed().as_secs_f64() * self.pps as f64) as u64;
            // Never a burst beyond ten milliseconds' worth, also after a stall.
            for _ in 0..due.saturating_sub(count).min(self.pps / 100 + 1) {
                let case = self.random.below(CASES.len() as u64) as usize;
                let now = (began.elapsed().as_millis() as u64 * PACKETS_PER_SECOND / 1000) as u32;
                if self.attack(CASES[case], now).is_some() {
                    self.sent[case] += 1;
                }
            }
            count = due;
            self.listen();
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(Duration::from_millis(100));
        self.listen();
    }

    fn listen(&mut self) {
        let mut swallowed = [0; 2048];
        for socket in self.strangers.iter().chain([&self.wrong_port]) {
            while socket.recv_from(&mut swallowed).is_ok() {
                self.heard += 1;
            }
        }
    }

    /// Send one; `now` is about the number of the packet that the good streams are at. `None`: the kernel did not
    /// take it.
    fn attack(&mut self, case: &str, now: u32) -> Option<usize> {
        let call = self.random.below(self.ends.len() as u64) as usize;
        let (a, b) = &self.ends[call];
        let (to_a, to_b, law) = (a.remote, b.remote, a.law);
        let stranger = self.random.below(self.strangers.len() as u64) as usize;
        // The very packet that is due next, or soon; to the side without keys or the one with.
        let (to, stream) = match self.random.below(2) {
            0 => (to_a, 2 * call as u32),
            _ => (to_b, 2 * call as u32 + 1),
        };
        let mut packet = forged(law, stream, FIRST + now + self.random.below(4) as u32);
        let sent = match case {
            "probe_every_port" => {
                let port = self.next_port;
                self.next_port = if port >= self.ports.1 {
                    self.ports.0
                } else {
                    port + 1
                };
                packet[8..12].copy_from_slice(&(self.random.next() as u32).to_be_bytes());
                self.strangers[stranger].send_to(&packet, SocketAddr::new(self.sbc.ip(), port))
            }
            "right_ssrc" => self.strangers[stranger].send_to(&packet, to),
            "wrong_ssrc" => {
                packet[8..12].copy_from_slice(&(self.random.next() as u32).to_be_bytes());
                self.strangers[stranger].send_to(&packet, to)
            }
            "wrong_payload_type" => {
                packet[1] = 1 + self.random.below(63) as u8;
                self.strangers[stranger].send_to(&packet, to)
            }
            "sequence_ahead" => {
                packet[2] ^= 0x40;
                self.strangers[stranger].send_to(&packet, to)
            }
            "wrong_port" => self.wrong_port.send_to(&packet, to_a),
            "rtcp_garbage" => {
                let mut bytes = self.random.bytes(200);
                if let Some(first) = bytes.first_mut() {
                    *first = *first & 0x3f | 0x80;
                }
                self.strangers[stranger].send_to(&bytes, rtcp(to))
            }
            "rtcp_report" => self.strangers[stranger].send_to(&report_of(stream), rtcp(to)),
            "peer_in_the_clear" => self.peers[call].send(&packet),
            "peer_bad_tag" => {
                // Ten octets of tag.
                let len = PACKET_LEN + 10;
                let mut bytes = roomy(&packet);
                bytes[12..len].fill_with(|| self.random.next() as u8);
                self.peers[call].send(&bytes[..len])
            }
            "peer_wrong_key" => {
                self.wrong_sequence += 1;
                let mut bytes = roomy(&packet);
                // An SSRC of its own, so that the forger's sender goes on whatever was sent before.
                bytes[8..12].copy_from_slice(&0x0bad_0badu32.to_be_bytes());
                bytes[2..4].copy_from_slice(&(self.wrong_sequence as u16).to_be_bytes());
                let len = self.wrong.protect(&mut bytes, PACKET_LEN).ok()?;
                self.peers[call].send(&bytes[..len])
            }
            "peer_replay" => self.peers[call].send(&self.replays[call]),
            _ => self.peers[call].send(&report_of(2 * call as u32 + 1)),
        };
        sent.ok()
    }
}

/// The packet with number `sequence` of `stream`, as the peer sends it before it is protected.
fn forged(law: Law, stream: u32, sequence: u32) -> [u8; PACKET_LEN] {
    let mut bytes = [0; PACKET_LEN];
    let stamp = Stamp {
        stream,
        sequence,
        sent_ns: 0,
    };
    packet::write(&mut bytes, law, stamp);
    bytes
}

/// With room for a tag.
fn roomy(packet: &[u8; PACKET_LEN]) -> [u8; PACKET_LEN + OVERHEAD_MAX] {
    let mut bytes = [0; PACKET_LEN + OVERHEAD_MAX];
    bytes[..PACKET_LEN].copy_from_slice(packet);
    bytes
}

/// A sender report (RFC 3550 §6.4.1) that says goodbye, too (§6.6), long enough to be SRTCP by its length.
fn report_of(stream: u32) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&[0x80, 200, 0, 6]);
    bytes[28..32].copy_from_slice(&[0x81, 203, 0, 1]);
    for at in [4, 32] {
        bytes[at..at + 4].copy_from_slice(&packet::ssrc(stream).to_be_bytes());
    }
    bytes
}

/// Where RTCP goes that belongs to RTP at `at` (RFC 3550 §11).
fn rtcp(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip(), at.port() + 1)
}
