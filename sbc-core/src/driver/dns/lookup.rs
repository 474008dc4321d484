//! From a name to addresses (RFC 3263 §4.1 and §4.2).
//!
//! | the query has | is asked |
//! |---|---|
//! | a port | A and AAAA |
//! | a transport | SRV of that transport; without any, A and AAAA |
//! | neither | NAPTR, and SRV of what it names; without any, SRV of every transport; without any, A and AAAA |
//!
//! Only transports and address families that a listener has count. A service that is named with the
//! target "." is not offered (RFC 2782): then A and AAAA are not asked instead.

use crate::{
    resolve::{CANDIDATES_MAX, Candidate, Query, ResolveError, Resolved},
    snapshot::Snapshot,
    transport::Transport,
};
use hickory_resolver::{
    TokioResolver,
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{
            Name, RData, RecordType,
            rdata::{NAPTR, SRV},
        },
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Most services of a name, and most hosts of a service, that are looked at.
const RECORDS_MAX: usize = 32;
/// The negative TTL when the servers do not say.
const NEGATIVE_TTL_S: u32 = 60;

/// What our listeners can reach.
pub(super) struct Reach {
    pairs: Vec<(Transport, bool)>,
}

impl Reach {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let pairs = snapshot.listeners.iter();
        Self {
            pairs: pairs.map(|l| (l.transport, l.bind.is_ipv4())).collect(),
        }
    }

    fn any(&self, transport: Transport) -> bool {
        self.pairs.iter().any(|(t, _)| *t == transport)
    }

    fn family(&self, transport: Transport, v4: bool) -> bool {
        self.pairs.contains(&(transport, v4))
    }
}

/// A look-up on its way.
struct Lookup<'a> {
    dns: &'a TokioResolver,
    reach: &'a Reach,
    /// Shortest TTL of the records used.
    ttl: u32,
    /// Shortest TTL of what was not there.
    negative_ttl: Option<u32>,
    candidates: Vec<Candidate>,
}

/// A service was looked for.
#[derive(PartialEq, Eq)]
enum Service {
    /// There is one, or there is decidedly none.
    Said,
    /// Nothing is said about it.
    Unsaid,
}

pub(super) async fn look_up(
    dns: &TokioResolver,
    reach: &Reach,
    query: &Query,
) -> Result<Resolved, ResolveError> {
    let mut lookup = Lookup {
        dns,
        reach,
        ttl: u32::MAX,
        negative_ttl: None,
        candidates: Vec::new(),
    };
    let walked = lookup.walk(query).await;
    if lookup.candidates.is_empty() {
        walked?;
        let ttl = lookup.negative_ttl.unwrap_or(NEGATIVE_TTL_S);
        return Err(ResolveError::Absent {
            ttl: Duration::from_secs(ttl.into()),
        });
    }
    // In an order of our own: servers rotate their answers, which is no change.
    let mut candidates = lookup.candidates;
    candidates.sort_by_key(|c| (c.priority, c.transport, c.address));
    candidates.truncate(CANDIDATES_MAX);
    Ok(Resolved {
        candidates,
        ttl: Duration::from_secs(lookup.ttl.into()),
    })
}

impl Lookup<'_> {
    async fn walk(&mut self, query: &Query) -> Result<(), ResolveError> {
        let Some(host) = absolute(&query.host) else {
            return Ok(());
        };
        let usual = self.usual_transport(query);
        if let Some(port) = query.port {
            let Some(transport) = usual else { return Ok(()) };
            return self.hosts(&host, transport, port).await;
        }
        let said = match query.transport {
            Some(transport) => {
                self.services(&[(service_of(&host, transport), transport)])
                    .await?
            }
            None => self.any_transport(&host, query.secure).await?,
        };
        match (said, usual) {
            (Service::Unsaid, Some(transport)) => {
                self.hosts(&host, transport, transport.default_port()).await
            }
            _ => Ok(()),
        }
    }

    /// The transport when DNS says nothing of any: TLS when it must be, else UDP, or what we have.
    fn usual_transport(&self, query: &Query) -> Option<Transport> {
        let wanted: &[Transport] = match query.transport {
            Some(Transport::Udp | Transport::Tcp) if query.secure => &[],
            Some(Transport::Udp) => &[Transport::Udp],
            Some(Transport::Tcp) => &[Transport::Tcp],
            Some(Transport::Tls) => &[Transport::Tls],
            None if query.secure => &[Transport::Tls],
            None => &Transport::ALL,
        };
        wanted.iter().copied().find(|&t| self.reach.any(t))
    }

    /// §4.1 without a transport: NAPTR says which there are and which is best; else SRV of each.
    async fn any_transport(&mut self, host: &Name, secure: bool) -> Result<Service, ResolveError> {
        let mut records: Vec<NAPTR> = self
            .records(host, RecordType::NAPTR)
            .await?
            .into_iter()
            .filter_map(|data| match data {
                RData::NAPTR(naptr) => Some(naptr),
                _ => None,
            })
            .collect();
        records.sort_by_key(|r| (r.order, r.preference));
        let wanted =
            |transport: Transport| self.reach.any(transport) && (!secure || transport == Transport::Tls);
        let mut services: Vec<(Name, Transport)> = records
            .iter()
            .filter_map(|r| Some((r.replacement.clone(), transport_of(r)?)))
            .filter(|(_, transport)| wanted(*transport))
            .take(RECORDS_MAX)
            .collect();
        if services.is_empty() {
            let each = Transport::ALL.into_iter().filter(|t| wanted(*t));
            services = each.map(|t| (service_of(host, t), t)).collect();
        }
        self.services(&services).await
    }

    /// SRV of `services`, the better ones first.
    async fn services(&mut self, services: &[(Name, Transport)]) -> Result<Service, ResolveError> {
        let mut said = Service::Unsaid;
        let mut outcome = Ok(());
        for (rank, (name, transport)) in (0..).zip(services) {
            if !self.reach.any(*transport) {
                continue;
            }
            match self.service(name, *transport, rank).await {
                Ok(Service::Said) => said = Service::Said,
                Ok(Service::Unsaid) => {}
                Err(error) => outcome = Err(error),
            }
        }
        // A service that could not be asked for may be the better one, but one that is known serves.
        match (said, outcome) {
            (Service::Unsaid, Err(error)) => Err(error),
            (Service::Said, Err(error)) if self.candidates.is_empty() => Err(error),
            (said, _) => Ok(said),
        }
    }

    async fn service(
        &mut self,
        name: &Name,
        transport: Transport,
        rank: u32,
    ) -> Result<Service, ResolveError> {
        let records: Vec<SRV> = self
            .records(name, RecordType::SRV)
            .await?
            .into_iter()
            .filter_map(|data| match data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Ok(Service::Unsaid);
        }
        let (mut outcome, mut found) = (Ok(()), Vec::new());
        for srv in records.iter().take(RECORDS_MAX) {
            if srv.target.is_root() || srv.port == 0 {
                continue;
            }
            match self.addresses(&srv.target, transport).await {
                Ok(addresses) => found.push((srv, addresses)),
                Err(error) => outcome = Err(error),
            }
        }
        if found.iter().all(|(_, addresses)| addresses.is_empty()) {
            outcome?;
        }
        // A host's weight is shared by its addresses; in a finer measure when one has several.
        let measure = match found.iter().map(|(_, addresses)| addresses.len()).max() {
            Some(2..) => 64,
            _ => 1,
        };
        let heaviest = found.iter().map(|(srv, _)| u32::from(srv.weight) * measure).max();
        let too_heavy = heaviest.unwrap_or(0).div_ceil(u16::MAX.into()).max(1);
        for (srv, addresses) in found {
            let weight = u32::from(srv.weight) * measure / too_heavy;
            let share = match weight / u32::try_from(addresses.len()).unwrap_or(1).max(1) {
                0 if srv.weight > 0 => 1,
                share => u16::try_from(share).unwrap_or(u16::MAX),
            };
            for ip in addresses {
                self.add(Candidate {
                    transport,
                    address: SocketAddr::new(ip, srv.port),
                    priority: rank << 16 | u32::from(srv.priority),
                    weight: share,
                });
            }
        }
        Ok(Service::Said)
    }

    /// A and AAAA of `host` itself.
    async fn hosts(&mut self, host: &Name, transport: Transport, port: u16) -> Result<(), ResolveError> {
        for ip in self.addresses(host, transport).await? {
            self.add(Candidate {
                transport,
                address: SocketAddr::new(ip, port),
                priority: 0,
                weight: 0,
            });
        }
        Ok(())
    }

    /// The addresses of `host` in the families that our listeners of `transport` have. One family
    /// that could not be asked for does not matter when the other has addresses.
    async fn addresses(&mut self, host: &Name, transport: Transport) -> Result<Vec<IpAddr>, ResolveError> {
        let (mut addresses, mut outcome) = (Vec::new(), Ok(()));
        for (v4, kind) in [(true, RecordType::A), (false, RecordType::AAAA)] {
            if !self.reach.family(transport, v4) {
                continue;
            }
            match self.records(host, kind).await {
                Ok(records) => addresses.extend(records.iter().filter_map(|data| match data {
                    RData::A(a) => Some(IpAddr::from(a.0)),
                    RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
                    _ => None,
                })),
                Err(error) => outcome = Err(error),
            }
        }
        addresses.retain(|ip| !ip.is_unspecified() && !ip.is_multicast());
        if addresses.is_empty() {
            outcome?;
        }
        Ok(addresses)
    }

    fn add(&mut self, candidate: Candidate) {
        let same = |c: &Candidate| (c.transport, c.address) == (candidate.transport, candidate.address);
        if !self.candidates.iter().any(same) {
            self.candidates.push(candidate);
        }
    }

    /// The records of `name`; empty when there are none.
    async fn records(&mut self, name: &Name, kind: RecordType) -> Result<Vec<RData>, ResolveError> {
        match self.dns.lookup(name.clone(), kind).await {
            Ok(answer) => {
                let shortest = answer.answers().iter().map(|record| record.ttl).min();
                self.ttl = self.ttl.min(shortest.unwrap_or(0));
                Ok(answer
                    .answers()
                    .iter()
                    .map(|record| record.data.clone())
                    .collect())
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                let ttl = none.negative_ttl.unwrap_or(NEGATIVE_TTL_S);
                self.negative_ttl = Some(self.negative_ttl.map_or(ttl, |shortest| shortest.min(ttl)));
                Ok(Vec::new())
            }
            // A server that does not know this kind of record will not know it later either.
            Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::NotImp | ResponseCode::FormErr)))
                if matches!(kind, RecordType::NAPTR | RecordType::SRV) =>
            {
                Ok(Vec::new())
            }
            Err(error) => {
                tracing::debug!("{kind} of {name}: {error}");
                Err(ResolveError::Failed)
            }
        }
    }
}

/// `text` as a name that no search list is applied to.
fn absolute(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The owner of the SRV records of `transport` at `host`.
fn service_of(host: &Name, transport: Transport) -> Name {
    let labels = match transport {
        Transport::Udp => ["_sip", "_udp"],
        Transport::Tcp => ["_sip", "_tcp"],
        Transport::Tls => ["_sips", "_tcp"],
    };
    // A name that is too long for labels in front has no services; itself it has no SRV records.
    let name = Name::from_labels(labels.map(str::as_bytes)).and_then(|service| service.append_name(host));
    let mut name = name.unwrap_or_else(|_| host.clone());
    name.set_fqdn(true);
    name
}

/// The transport that a NAPTR record is about, when it is one of RFC 3263 and leads to SRV.
fn transport_of(record: &NAPTR) -> Option<Transport> {
    let leads_to_srv =
        record.flags.eq_ignore_ascii_case(b"s") && record.regexp.is_empty() && !record.replacement.is_root();
    let known: [(&[u8], Transport); 3] = [
        (b"SIP+D2U", Transport::Udp),
        (b"SIP+D2T", Transport::Tcp),
        (b"SIPS+D2T", Transport::Tls),
    ];
    known
        .into_iter()
        .find(|(service, _)| leads_to_srv && record.services.eq_ignore_ascii_case(service))
        .map(|(_, transport)| transport)
}
