//! A checked [`Config`] as the call core uses it.

use super::{
    check,
    error::{ConfigError, Problem},
    guard::trunk_rate,
    interfaces::Interface,
    limits::compile as compile_scoped,
    options::{Config, Limit, Listener, Trunk, TrunkTls},
    succession::{Seats, Succession, Successor},
    value::{Destination, FilePath, Latch, TrunkTransport},
};
use crate::{
    admission::{Admission, LimitSpec, burst_default},
    guard,
    id::ListenerId,
    resolve::Query,
    snapshot::{self, Service, Snapshot},
    transport::Transport,
    trunk::{HostMatch, SourceTable, TrunkId},
};
use sbc_media::latch::{Hosts, LatchMode};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

impl Config {
    /// The snapshot for the shards and the limits it refers to, for a daemon that starts.
    ///
    /// Limits are named `global`, and `NAME.inbound`, `NAME.outbound` and `NAME.both` for each
    /// trunk. A configuration that came out of [`super::parse`] or [`super::load`] always
    /// compiles; one built or changed by hand is checked here in the same way.
    pub fn compile(&self) -> Result<(Snapshot, Admission), ConfigError> {
        let first = self.compile_after(None)?;
        let admission = first.limits.into_admission();
        admission.set_reserve(first.snapshot.limits, first.reserve);
        Ok((first.snapshot, admission))
    }

    /// What follows the configuration that runs: what both have keeps its ids, so that calls never notice.
    pub fn succeed(&self, before: &Succession<'_>) -> Result<Successor, ConfigError> {
        self.compile_after(Some(before))
    }

    fn compile_after(&self, before: Option<&Succession<'_>>) -> Result<Successor, ConfigError> {
        let mut problems = Vec::new();
        check::check(self, &mut |path, message| problems.push(unplaced(path, message)));
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(problems));
        }
        let refuse =
            |path: &str, message: &str| ConfigError::Invalid(vec![unplaced(path, message.to_owned())]);

        let mut seats = Seats::of(self, before).map_err(|message| refuse("trunk", message))?;
        let global = seats.limits.place(LimitSpec {
            name: "global".to_owned(),
            cps: self.limits.cps,
            burst: self.limits.burst.unwrap_or(burst_default(self.limits.cps)),
            channels: self.limits.channels,
        });
        let routes = self.route_table(&seats.ids).map_err(ConfigError::Invalid)?;

        let mut hosts = Vec::new();
        for trunk in &self.trunks {
            let Some(&id) = seats.ids.get(trunk.name.as_str()) else {
                continue;
            };
            let limits = &mut seats.limits;
            let mut limit = |direction: &str, limit: &Limit| {
                limits.place(LimitSpec {
                    name: format!("{}.{direction}", trunk.name),
                    cps: limit.cps,
                    burst: limit.burst.unwrap_or(burst_default(limit.cps)),
                    channels: limit.channels,
                })
            };
            let account = trunk.account.as_ref().map(|account| account.named().compile());
            let login = self.compile_login(trunk);
            let (interface, ipv6) = self
                .interface_of(trunk)
                .ok_or_else(|| refuse("trunk.media", "there is none"))?;
            hosts.extend(trunk.hosts.iter().map(|host| (id, *host)));
            let compiled = snapshot::Trunk {
                name: trunk.name.clone(),
                service: if trunk.enabled {
                    Service::Enabled
                } else {
                    Service::Disabled
                },
                target: match trunk.destination() {
                    _ if trunk.is_registered_with() => snapshot::Target::Registered,
                    Some(destination) => self.compile_target(trunk, &destination),
                    None => return Err(refuse("trunk.target", "missing")),
                },
                listener: self
                    .listener_of(trunk)
                    .ok_or_else(|| refuse("trunk.listener", "there is none"))?,
                pass_display_name: trunk.pass_display_name,
                inbound: limit("inbound", &trunk.limits.inbound),
                outbound: limit("outbound", &trunk.limits.outbound),
                both: limit("both", &trunk.limits.both),
                wait_max: ms(trunk.limits.outbound.max_wait_ms),
                reject: snapshot::Reject {
                    status: trunk.limits.reject_code,
                    retry_after_s: trunk.limits.retry_after_s,
                },
                packets: trunk_rate(trunk.packets_per_s),
                peer: snapshot::Peer {
                    kind: trunk.kind(),
                    login: login.map_err(|(key, what)| refuse(&format!("trunk.login.{key}"), &what))?,
                    registration: trunk.register.as_ref().map(|register| register.compile(trunk)),
                    account: account
                        .transpose()
                        .map_err(|(key, what)| refuse(&format!("trunk.account.{key}"), &what))?,
                    ..trunk.tls.compile(self.peer_of(trunk, &seats.ids))
                },
                media: snapshot::TrunkMedia {
                    srtp: trunk.srtp,
                    srtp_suites: trunk.srtp_suites.clone(),
                    srtp_offer: trunk.srtp_offer,
                    srtp_roc: trunk.srtp_roc,
                    rtcp_mux: trunk.rtcp_mux,
                    ptime_ms: trunk.ptime.map(|ptime| ptime.0),
                    codecs: trunk
                        .codecs
                        .as_ref()
                        .map(|names| names.iter().map(|name| name.0.as_str().into()).collect()),
                    latch: self.latch_of(trunk),
                    hosts: (!trunk.hosts.is_empty()).then(|| Arc::new(media_hosts(&trunk.hosts))),
                    dtmf: trunk.dtmf,
                    ringback: trunk.ringback,
                    ringback_tone: trunk.ringback_tone,
                    hold: trunk.hold,
                    interface,
                    ipv6,
                },
                numbers: trunk.numbers.as_ref().map(|numbers| Box::new(numbers.compile())),
                identity: trunk
                    .identity
                    .as_ref()
                    .map(|identity| Box::new(identity.compile(trunk))),
                headers: trunk.headers.as_ref().map(|headers| Box::new(headers.compile())),
                proofs: trunk
                    .proof
                    .as_ref()
                    .map(|proof| proof.compile().map(Box::new))
                    .transpose()
                    .map_err(|(key, what)| refuse(&format!("trunk.proof.{key}"), &what))?,
            };
            seats.take(id, compiled);
        }
        let scoped = self.scoped_limits.iter();
        let scoped: Vec<_> = scoped.map(|limit| seats.limits.place(limit.spec())).collect();
        let scoped = compile_scoped(&self.scoped_limits, &scoped, &seats.ids);
        let former = seats.former(self, &hosts);
        let by_id: HashMap<TrunkId, &Trunk> = self
            .trunks
            .iter()
            .filter_map(|trunk| Some((*seats.ids.get(trunk.name.as_str())?, trunk)))
            .collect();
        let may_share = |a: TrunkId, b: TrunkId| {
            let trunks = by_id.get(&a).zip(by_id.get(&b));
            trunks.is_some_and(|(a, b)| a.may_share_with(b))
        };
        let snapshot = Snapshot {
            listeners: self.listeners.iter().map(Listener::compile).collect(),
            domains: domains_of(&seats.trunks),
            aliases: self.aliases(),
            routes: Arc::new(routes),
            health: seats.health(),
            logins: self.logins.compile(&seats.trunks),
            siblings: self.siblings(&seats.ids),
            trunks: seats.trunks,
            former: former.former,
            sources: SourceTable::build_shared(&hosts, may_share)
                .map_err(|c| refuse("trunk.hosts", &c.to_string()))?,
            media: snapshot::Media {
                interfaces: self.interfaces().iter().map(Interface::compile).collect(),
                quarantine: ms(self.media.quarantine_ms),
                timeout: s(self.media.timeout_s),
                unlatched_timeout: s(self.media.unlatched_timeout_s),
                rtcp_interval: s(self.media.rtcp_interval_s),
            },
            sip: snapshot::Sip {
                t1: ms(self.sip.t1_ms),
                t2: ms(self.sip.t2_ms),
                t4: ms(self.sip.t4_ms),
                failover: ms(self.sip.failover_ms),
                no_answer: s(self.sip.no_answer_s),
                calls_max: count(self.sip.calls_max),
                transactions_max: count(self.sip.transactions_max),
                server_name: self.sip.server_name.clone(),
            },
            streams: self.streams.compile(),
            overload: self.overload.compile(),
            guard: guard::Rules {
                // Who is banned stays so.
                bans: before.map_or_else(Arc::default, |before| Arc::clone(&before.snapshot.guard.bans)),
                proven: before.map_or_else(Arc::default, |before| Arc::clone(&before.snapshot.guard.proven)),
                ..self.guard.compile(&self.acl)
            },
            scoped,
            limits: global,
            reject_code: self.limits.reject_code,
        };
        Ok(Successor {
            snapshot,
            limits: seats.limits,
            reserve: self.reserve(),
            given_anew: seats.given_anew,
            forgotten: former.forgotten,
        })
    }

    /// What is allowed and yet probably not meant, in words for the operator.
    pub fn warnings(&self) -> Vec<String> {
        let in_the_clear = |trunk: &&Trunk| {
            let listener = self
                .listener_of(trunk)
                .and_then(|id| self.listeners.get(usize::from(id.0)));
            trunk.srtp != snapshot::Srtp::Disabled
                && listener.is_some_and(|listener| listener.transport != Transport::Tls)
        };
        let trunks = self.trunks.iter().filter(in_the_clear);
        let warning = |trunk: &Trunk| {
            format!(
                "trunk \"{}\" uses SRTP, whose keys travel in SIP messages that are not encrypted: whoever sees them can \
                 decrypt the calls; set transport = \"tls\"",
                trunk.name
            )
        };
        trunks.map(warning).collect()
    }

    /// Who may become the media peer of `trunk`: as it says, or as `[media]` does.
    fn latch_of(&self, trunk: &Trunk) -> LatchMode {
        match trunk.latch.unwrap_or(self.media.latch) {
            Latch::Strict => LatchMode::Strict,
            Latch::Once => LatchMode::Once,
            Latch::Relearn => {
                LatchMode::Relearn(ms(trunk.latch_window_ms.unwrap_or(self.media.latch_window_ms)))
            }
        }
    }

    /// The listener that talks to `trunk`: the one it names, or the first that suits the place
    /// where its requests are sent.
    pub(super) fn listener_of(&self, trunk: &Trunk) -> Option<ListenerId> {
        let next_hop = match trunk.next_hop() {
            Some(next_hop) => next_hop,
            // Whatever its users use; this one says the family of their media.
            None if trunk.is_registered_with() => {
                let named =
                    |listener: &Listener| trunk.listener.as_ref().is_none_or(|name| listener.name == *name);
                let index = self.listeners.iter().position(named);
                return index.and_then(|n| u8::try_from(n).ok()).map(ListenerId);
            }
            None => return None,
        };
        let suits = |listener: &Listener| {
            let transport = match trunk.transport {
                Some(TrunkTransport::Fixed(transport)) => listener.transport == transport,
                _ => true,
            };
            let family = next_hop
                .address()
                .is_none_or(|address| listener.address.is_ipv4() == address.is_ipv4());
            transport && family
        };
        let index = match &trunk.listener {
            Some(name) => self.listeners.iter().position(|l| l.name == *name),
            None => self.listeners.iter().position(suits),
        };
        index.and_then(|n| u8::try_from(n).ok()).map(ListenerId)
    }

    fn compile_target(&self, trunk: &Trunk, destination: &Destination) -> snapshot::Target {
        match destination {
            Destination::Address(address) => snapshot::Target::Address(*address),
            Destination::Name(host, port) => snapshot::Target::Name(Query {
                host: host.as_str().into(),
                port: *port,
                transport: match (trunk.transport, &trunk.listener) {
                    (Some(TrunkTransport::Fixed(transport)), _) => Some(transport),
                    (None, Some(name)) => self
                        .listeners
                        .iter()
                        .find(|l| l.name == *name)
                        .map(|l| l.transport),
                    _ => None,
                },
                secure: false,
            }),
        }
    }

    fn peer_of(&self, trunk: &Trunk, ids: &HashMap<&str, TrunkId>) -> snapshot::Peer {
        // An address that is not the next hop must be told, and a name always is.
        let told = trunk
            .destination()
            .filter(|d| d.address().is_none() || trunk.outbound_proxy.is_some());
        let domain = match &trunk.domain {
            Some(domain) => Some(domain.0.as_str().into()),
            // Not the address of whoever has registered.
            None if trunk.is_registered_with() => trunk.realm_as_domain(),
            None => told.map(|destination| destination.to_string().into()),
        };
        snapshot::Peer {
            domain,
            outbound_proxy: trunk
                .outbound_proxy
                .as_ref()
                .map(|proxy| self.compile_target(trunk, proxy)),
            domains: trunk.domains.iter().map(|d| d.0.as_str().into()).collect(),
            domains_from: trunk
                .domains_from
                .iter()
                .filter_map(|name| ids.get(name.as_str()).copied())
                .collect(),
            options_interval: s(trunk.options_interval_s),
            large_over_tcp: trunk.large_over_tcp,
            compact: trunk.compact_headers,
            refer: trunk.refer,
            reliable: trunk.reliable,
            session_timer: snapshot::SessionTimer {
                expires: s(trunk.session_timer.expires_s),
                min: s(trunk.session_timer.min_s),
            },
            ..snapshot::Peer::default()
        }
    }
}

impl Trunk {
    /// What requests to the trunk are for: `target`, or the first host that is not a network.
    pub fn destination(&self) -> Option<Destination> {
        self.target.clone().or_else(|| {
            if self.login.is_some() {
                return None;
            }
            let first = self.hosts.iter().find_map(|host| match *host {
                HostMatch::Addr(ip) => Some(SocketAddr::new(ip, self.default_port())),
                HostMatch::AddrPort(at) => Some(at),
                HostMatch::Cidr(..) => None,
            });
            first.map(Destination::Address)
        })
    }

    /// Where requests to the trunk are sent: its outbound proxy, or what they are for.
    pub fn next_hop(&self) -> Option<Destination> {
        self.outbound_proxy.clone().or_else(|| self.destination())
    }

    fn default_port(&self) -> u16 {
        match self.transport {
            Some(TrunkTransport::Fixed(transport)) => transport.default_port(),
            _ => Transport::Udp.default_port(),
        }
    }
}

impl Listener {
    fn compile(&self) -> snapshot::Listener {
        snapshot::Listener {
            name: self.name.clone(),
            bind: self.address,
            advertised: self.advertise.unwrap_or(self.address),
            transport: self.transport,
            dscp: u8::try_from(self.dscp).unwrap_or_default(),
            tls: self.tls.as_ref().map(|tls| snapshot::ListenerTls {
                certificate: tls.certificate.0.clone(),
                key: tls.key.0.clone(),
                client_ca: tls.client_ca.as_ref().map(|file| file.0.clone()),
                client_auth: tls.client_auth,
            }),
        }
    }
}

impl TrunkTls {
    /// Its part of `peer`.
    fn compile(&self, peer: snapshot::Peer) -> snapshot::Peer {
        let path = |file: &Option<FilePath>| file.as_ref().map(|file| file.0.clone());
        snapshot::Peer {
            tls_name: self
                .server_name
                .as_ref()
                .map(|name| name.to_ascii_lowercase().into()),
            tls_client_names: self
                .client_names
                .iter()
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
            tls: snapshot::TrunkTls {
                ca: path(&self.ca),
                certificate: path(&self.certificate),
                key: path(&self.key),
            },
            ..peer
        }
    }
}

impl super::options::Streams {
    fn compile(&self) -> snapshot::Streams {
        snapshot::Streams {
            connections_max: count(self.connections_max),
            per_source_max: count(self.per_source_max),
            connect_timeout: s(self.connect_timeout_s),
            message_timeout: s(self.message_timeout_s),
            idle_timeout: s(self.idle_timeout_s),
            keepalive: s(self.keepalive_s),
            message_bytes_max: count(self.message_bytes_max),
            send_bytes_max: count(self.send_bytes_max),
            send_timeout: s(self.send_timeout_s),
        }
    }
}

/// Where media of a trunk with these `hosts` may come from: the port of one is that of its signalling.
fn media_hosts(hosts: &[HostMatch]) -> Hosts {
    Hosts::new(hosts.iter().map(|host| match *host {
        HostMatch::Addr(address) => (address, u8::MAX),
        HostMatch::AddrPort(address) => (address.ip(), u8::MAX),
        HostMatch::Cidr(network, prefix) => (network, prefix),
    }))
}

/// Which trunk a host in a Request-URI means.
fn domains_of(trunks: &[snapshot::Trunk]) -> HashMap<Box<str>, TrunkId> {
    let each = (0..).zip(trunks);
    each.flat_map(|(n, trunk)| {
        let domains = trunk.peer.domains.iter();
        domains.map(move |domain| (domain.clone(), TrunkId(n)))
    })
    .collect()
}

fn unplaced(path: &str, message: String) -> Problem {
    Problem {
        source: "configuration".to_owned(),
        line: 0,
        column: 0,
        key: path.to_owned(),
        message,
    }
}

fn ms(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

fn s(n: u32) -> Duration {
    Duration::from_secs(n.into())
}

fn count(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
