//! How the daemon of one seed is configured.

use super::{
    plan::{Side, T1},
    rng::Rng,
};
use sbc_core::{
    admission::{Admission, LimitId, LimitSpec, ScopedLimit, ScopedLimits},
    resolve::Query,
    routing::{Digits, Entry, Failover, RouteTable, Rule, Strategy, Weighted},
    shard::ListenerId,
    snapshot::{
        Dtmf, Former, Hold, Listener, Media, MediaInterface, Peer, Reliable, Ringback, RtcpMux, SessionTimer,
        Sip, Snapshot, Streams, Target, Trunk, TrunkMedia,
    },
    transport::Transport,
    trunk::{SourceTable, TrunkId},
};
use sbc_media::{latch::LatchMode, tone::Country};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub const MEDIA_PORTS: u16 = 10_000;
/// Seeds in a thousand in which a side speaks TCP.
const STREAMS: u64 = 350;

/// Ways to exchange digits.
const METHODS: [Option<Dtmf>; 6] = [
    Some(Dtmf::Pass),
    Some(Dtmf::Auto),
    Some(Dtmf::Events),
    Some(Dtmf::InfoRelay),
    Some(Dtmf::InfoPlain),
    Some(Dtmf::Inband),
];

/// Seeds in a thousand in which a certain limit is low.
const LIMITED: u64 = 80;
/// The same for calls to a side, which may wait.
const PACED: u64 = 300;

/// A limit that is low in so many of a thousand seeds.
fn limit(rng: &mut Rng, name: &str, seeds: u64) -> LimitSpec {
    let low = rng.chance(seeds);
    LimitSpec {
        name: name.to_owned(),
        cps: if low { rng.range(1, 8) as u32 } else { 0 },
        burst: rng.range(1, 5) as u32,
        channels: if low { rng.pick(&[0, 3, 12]) } else { 0 },
    }
}

/// The same, with a rate that calls have to wait for.
fn paced(rng: &mut Rng, name: &str) -> LimitSpec {
    let mut spec = limit(rng, name, PACED);
    if spec.cps > 0 && rng.chance(700) {
        (spec.cps, spec.burst) = (rng.range(1, 2) as u32, 1);
    }
    spec
}

/// How the daemon of this seed is set up.
#[derive(Debug)]
pub struct Setup {
    pub shards: usize,
    pub two_listeners: bool,
    /// All datagrams of a side arrive on one shard, as with one socket; else on any.
    pub one_socket: bool,
    pub strict_source: bool,
    pub media_timeout: u64,
    pub no_answer: u64,
    pub pairs_per_shard: u32,
    pub limit: LimitSpec,
    pub hostile: bool,
    /// Which sides speak TCP.
    pub streams: [bool; 2],
    /// Which trunks may use 100rel.
    pub reliable: [bool; 2],
    /// Session-Expires of each trunk in seconds; 0: only when the peer asks.
    pub expires: [u64; 2],
    /// Which trunks are reached by name, and whether an address where nobody is comes first.
    pub named: [bool; 2],
    pub nobody: bool,
    /// Connections break.
    pub breaks: bool,
    /// Seconds after which a silent connection is closed.
    pub idle: u64,
    /// Calls to each side go to the spare trunk there first.
    pub spare: [bool; 2],
    pub strategy: Strategy,
    /// Seconds in which a callee must ring.
    pub ringback_timeout: u64,
    /// The spare trunks have so few channels that they are passed over now and then.
    pub spare_channels: u32,
    /// Limits of calls of a source, by a route, and to a trunk; then of calls to each side.
    pub scoped: [LimitSpec; 3],
    pub towards: [LimitSpec; 2],
    /// Milliseconds that a call to each side may wait for its place in the rate there.
    pub wait_max: [u64; 2],
    /// How each trunk exchanges digits.
    pub dtmf: [Option<Dtmf>; 2],
    /// What callers of each side hear before the answer, and who is held afterwards.
    pub ringback: [Ringback; 2],
    pub hold: [Hold; 2],
}

impl Setup {
    pub fn draw(rng: &mut Rng, calls: u32) -> Self {
        let limited = rng.chance(150);
        Self {
            shards: rng.range(1, 4) as usize,
            two_listeners: rng.chance(500),
            one_socket: rng.chance(300),
            strict_source: rng.chance(300),
            media_timeout: if rng.chance(200) { rng.range(5, 25) } else { 0 },
            no_answer: rng.range(10, 30),
            pairs_per_shard: if rng.chance(100) { 6 } else { 2 * calls + 8 },
            limit: LimitSpec {
                name: "all".to_owned(),
                cps: if limited { rng.range(1, 5) as u32 } else { 0 },
                burst: rng.range(1, 5) as u32,
                channels: if limited { rng.range(3, 20) as u32 } else { 0 },
            },
            hostile: rng.chance(300),
            streams: [rng.chance(STREAMS), rng.chance(STREAMS)],
            reliable: [rng.chance(800), rng.chance(800)],
            expires: [0, 1].map(|_| if rng.chance(500) { rng.range(3, 20) } else { 0 }),
            named: [rng.chance(250), rng.chance(250)],
            nobody: rng.chance(500),
            breaks: rng.chance(400),
            idle: rng.range(3, 40),
            dtmf: [0, 1].map(|_| if rng.chance(400) { rng.pick(&METHODS) } else { None }),
            ringback: [0, 1].map(|_| {
                rng.pick(&[
                    Ringback::Pass,
                    Ringback::Pass,
                    Ringback::Ringing,
                    Ringback::Tone,
                    Ringback::InstantTone,
                ])
            }),
            hold: [0, 1].map(|_| rng.pick(&[Hold::Pass, Hold::Noise])),
            spare: [rng.chance(250), rng.chance(250)],
            strategy: rng.pick(&[Strategy::Sequential, Strategy::RoundRobin, Strategy::Weighted]),
            ringback_timeout: if rng.chance(500) { rng.range(2, 8) } else { 0 },
            spare_channels: rng.pick(&[0, 0, 2]),
            scoped: ["source", "route", "way"].map(|name| limit(rng, name, LIMITED)),
            towards: ["to a", "to b"].map(|name| paced(rng, name)),
            wait_max: [0, 1].map(|_| rng.pick(&[0, 300, 3_000, 8_000])),
        }
    }

    /// Packets may leave with numbers of our own.
    pub fn renumbers(&self) -> bool {
        let plays = |ringback| matches!(ringback, Ringback::Tone | Ringback::InstantTone);
        self.dtmf != [None; 2] || self.ringback.into_iter().any(plays) || self.hold.contains(&Hold::Noise)
    }

    pub fn listener(&self, side: Side) -> ListenerId {
        let own = u8::from(self.two_listeners && side == Side::B);
        ListenerId(2 * own + u8::from(self.is_stream(side)))
    }

    pub fn is_stream(&self, side: Side) -> bool {
        self.streams[side as usize]
    }

    pub fn transport(&self, side: Side) -> Transport {
        match self.is_stream(side) {
            true => Transport::Tcp,
            false => Transport::Udp,
        }
    }

    pub fn sip(&self, side: Side) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + self.listener(side).0 / 2], 5060))
    }

    pub fn snapshot(&self) -> Snapshot {
        let trunk = |side: Side, limit: u32| Trunk {
            inbound: LimitId(limit),
            outbound: LimitId(8 + u32::from(side == Side::B)),
            wait_max: Duration::from_millis(match self.towards[side as usize].cps {
                0 => 0,
                _ => self.wait_max[side as usize],
            }),
            both: LimitId(3),
            peer: Peer {
                reliable: if self.reliable[side as usize] {
                    Reliable::Supported
                } else {
                    Reliable::Off
                },
                session_timer: SessionTimer {
                    expires: Duration::from_secs(self.expires[side as usize]),
                    min: Duration::from_secs(2),
                },
                ..Peer::default()
            },
            target: match self.named[side as usize] {
                true => Target::Name(Query {
                    host: format!("{side:?}.test").to_lowercase().into(),
                    port: None,
                    transport: Some(self.transport(side)),
                    secure: false,
                }),
                false => Target::Address(side.sip()),
            },
            media: TrunkMedia {
                latch: if self.strict_source {
                    LatchMode::Strict
                } else {
                    LatchMode::default()
                },
                dtmf: self.dtmf[side as usize],
                ringback: self.ringback[side as usize],
                ringback_tone: Some(Country::De),
                hold: self.hold[side as usize],
                rtcp_mux: RtcpMux::Offer,
                ..TrunkMedia::PLAIN
            },
            ..Trunk::new(&format!("{side:?}"), side.sip(), self.listener(side))
        };
        let spare = |side: Side| Trunk {
            outbound: LimitId(4),
            both: LimitId(3),
            ..Trunk::new(
                &format!("spare {side:?}"),
                side.spare(),
                ListenerId(self.listener(side).0 & !1),
            )
        };
        let listeners = |side: Side| {
            [Transport::Udp, Transport::Tcp].map(|transport| Listener {
                name: format!("{side:?} {}", transport.name()),
                bind: self.sip(side),
                advertised: self.sip(side),
                transport,
                dscp: 0,
                tls: None,
            })
        };
        let hosts: Vec<_> = Side::BOTH
            .into_iter()
            .flat_map(|side| [(side as u16, side.sip()), (2 + side as u16, side.spare())])
            .map(|(trunk, at)| (TrunkId(trunk), at.ip().to_string().parse().unwrap()))
            .collect();
        Snapshot {
            listeners: if self.two_listeners {
                Side::BOTH.map(listeners).concat()
            } else {
                listeners(Side::A).to_vec()
            },
            trunks: vec![
                trunk(Side::A, 2),
                trunk(Side::B, 1),
                spare(Side::A),
                spare(Side::B),
            ],
            routes: Arc::new(self.routes()),
            sources: SourceTable::build(&hosts).unwrap(),
            former: Former::default(),
            domains: HashMap::new(),
            aliases: sbc_core::numbers::Aliases::default(),
            siblings: Default::default(),
            logins: Default::default(),
            health: Arc::default(),
            media: Media {
                interfaces: vec![MediaInterface {
                    name: "media".to_owned(),
                    bind: media_ip(),
                    advertised: media_ip(),
                    ports: (MEDIA_PORTS, MEDIA_PORTS + 20_001),
                    dscp: 0,
                }],
                // Longer than the slowest packet of `network` is under way.
                quarantine: Duration::from_secs(4),
                timeout: Duration::from_secs(self.media_timeout),
                unlatched_timeout: Duration::ZERO,
                rtcp_interval: Duration::from_secs(1),
            },
            sip: Sip {
                t1: Duration::from_nanos(T1),
                t2: Duration::from_secs(4),
                t4: Duration::from_secs(5),
                failover: Duration::from_secs(4),
                no_answer: Duration::from_secs(self.no_answer),
                calls_max: 10_000,
                transactions_max: 100_000,
                server_name: "sbcd".to_owned(),
            },
            streams: Streams {
                idle_timeout: Duration::from_secs(self.idle),
                keepalive: Duration::from_secs(self.idle / 3),
                ..Streams::default()
            },
            guard: sbc_core::guard::Rules::default(),
            scoped: ScopedLimits::new([
                ScopedLimit {
                    id: LimitId(5),
                    sources: vec![(Side::A.sip().ip(), 32)],
                    ..ScopedLimit::default()
                },
                ScopedLimit {
                    id: LimitId(6),
                    route: Some(Rule::straight(TrunkId(0), TrunkId(1)).name.into()),
                    ..ScopedLimit::default()
                },
                ScopedLimit {
                    id: LimitId(7),
                    from: Some(TrunkId(1)),
                    to: Some(TrunkId(0)),
                    ..ScopedLimit::default()
                },
            ]),
            overload: Default::default(),
            limits: LimitId(0),
            reject_code: 503,
        }
    }

    /// Calls to a side go to its peer, or first to its spare trunk.
    fn routes(&self) -> RouteTable {
        let rule = |to: Side| {
            let peer = Weighted {
                trunk: TrunkId(to as u16),
                weight: 1,
            };
            let spare = Weighted {
                trunk: TrunkId(2 + to as u16),
                weight: 3,
            };
            let targets = match self.spare[to as usize] {
                true => vec![spare, peer],
                false => vec![peer],
            };
            Rule {
                targets: targets.into(),
                strategy: self.strategy,
                failover: Failover {
                    ringback_timeout: Duration::from_secs(self.ringback_timeout),
                    ..Failover::default()
                },
                ..Rule::straight(TrunkId(to.other() as u16), TrunkId(to as u16))
            }
        };
        let entry = |rule| Entry {
            prefix: Digits::NONE,
            digits: 0,
            block: u32::MAX,
            rule,
        };
        RouteTable::build(vec![rule(Side::A), rule(Side::B)], vec![entry(0), entry(1)]).unwrap()
    }

    pub fn admission(&self) -> Admission {
        let free = |name: &str| LimitSpec {
            name: name.to_owned(),
            burst: 1,
            ..LimitSpec::default()
        };
        let spare = LimitSpec {
            channels: self.spare_channels,
            ..free("spare")
        };
        Admission::new(vec![
            self.limit.clone(),
            free("a"),
            free("b"),
            free("both"),
            spare,
            self.scoped[0].clone(),
            self.scoped[1].clone(),
            self.scoped[2].clone(),
            self.towards[0].clone(),
            self.towards[1].clone(),
        ])
    }
}

pub fn media_ip() -> IpAddr {
    IpAddr::from([192, 0, 2, 9])
}
