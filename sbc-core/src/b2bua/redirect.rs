//! Redirections (3xx) of the callee's side: followed here, never told to the caller.
//!
//! In: a 3xx to our INVITE. Out: its contacts as the targets of further attempts, best first. Only
//! contacts at addresses or names of the very trunk that the call went to are followed: any other
//! would let a peer send our calls, and their cost, wherever it likes, past the limits of the trunks
//! there. No URI is tried twice, and no call follows more than a few (§8.1.3.4). Where none can be followed, the 3xx is a
//! refusal as any other, and the call may go on to the next trunk of its route.

use super::{AttemptFailure, AttemptTarget, Phase};
use crate::{
    bindings::wish,
    resolve::host_name,
    shard::Shard,
    sip::{HeaderName, Message, NameAddr, Scheme, Uri},
    snapshot::{Snapshot, Target, Trunk},
    time::Timestamp,
    topology::{self, Host},
    transaction::Hop,
    transport::Transport,
    trunk::TrunkId,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Most contacts that one call follows.
const REDIRECTED_MAX: usize = 5;
/// Most contacts of one response that are looked at.
const CONTACTS_MAX: usize = 16;

impl Shard {
    /// A final response to our first INVITE: when it is a redirection that can be followed, begin
    /// the next attempt. `false`: it is not.
    pub(crate) fn redirected(&mut self, now: Timestamp, slot: u32, response: &Message<'_>) -> bool {
        if !(300..400).contains(&response.status()) {
            return false;
        }
        self.io.counters.redirections += 1;
        let snapshot = Arc::clone(&self.snapshot);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let id = call.b.trunk;
        let from = call.b.hop;
        let Some(trunk) = snapshot.trunks.get(usize::from(id.0)) else {
            return false;
        };
        // A call that is over must not come to life again.
        if call.phase != Phase::Proceeding {
            return false;
        }
        let Some(mut plan) = call.plan.take() else {
            return false;
        };
        let asked = call.b.dialog.remote_target.clone();
        // The addresses left were for the URI that has just been given up.
        plan.targets.clear();
        if !plan.redirected.contains(&asked) {
            plan.redirected.push(asked);
        }
        for uri in contacts(response) {
            let way = self.way_to(now, &snapshot, (id, trunk), from, &uri);
            let Some((uri, hop)) = way else {
                self.io.counters.redirections_refused += 1;
                continue;
            };
            // The first of them is what the caller asked for.
            if plan.redirected.len() > REDIRECTED_MAX || plan.redirected.contains(&uri) {
                continue;
            }
            plan.redirected.push(uri.clone());
            plan.targets.push(AttemptTarget { hop, uri: Some(uri) });
        }
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.plan = Some(plan);
        }
        self.try_next(now, slot, AttemptFailure::Redirected(response.status()))
    }

    /// The Request-URI and the way for a contact, when both lead to the same trunk.
    fn way_to(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        (id, trunk): (TrunkId, &Trunk),
        from: Hop,
        contact: &Uri<'_>,
    ) -> Option<(Box<[u8]>, Hop)> {
        let user = topology::user_of(contact)?;
        let host = std::str::from_utf8(contact.host).ok()?;
        let phone = contact
            .param(b"user")
            .is_some_and(|v| v.eq_ignore_ascii_case(b"phone"));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let (host, hop) = match (bare.parse::<IpAddr>(), host_name(host)) {
            (Ok(ip), _) => {
                let transport = transport_of(snapshot, from, contact)?;
                let peer = SocketAddr::new(ip, contact.port.unwrap_or(transport.default_port()));
                let listener = snapshot.listener_for(transport, peer, from.listener)?;
                let hop = Hop {
                    listener,
                    peer,
                    trunk: id,
                    flow: None,
                };
                let same = self.trunk_of(peer) == Some(id) && peer.port() != 0;
                (peer.to_string(), same.then_some(hop)?)
            }
            (Err(_), Some(name)) => {
                let port = contact.port.map_or(String::new(), |port| format!(":{port}"));
                let same = is_name_of(trunk, &name);
                let hop = same.then(|| self.hops_to(now, snapshot, id).first().copied());
                (format!("{name}{port}"), hop??)
            }
            (Err(_), None) => return None,
        };
        // A proxy of ours stays in between.
        let hop = match trunk.peer.outbound_proxy {
            Some(_) => self.hops_to(now, snapshot, id).first().copied()?,
            None => hop,
        };
        Some((topology::uri(&user, Host::Domain(&host), phone).into(), hop))
    }
}

/// The SIP URIs among the contacts of a redirection, the most wanted first.
fn contacts<'m>(response: &Message<'m>) -> Vec<Uri<'m>> {
    let mut contacts: Vec<(u16, Uri<'m>)> = response
        .list(HeaderName::Contact)
        .take(CONTACTS_MAX)
        .filter_map(|value| {
            let contact = NameAddr::parse(value).ok()?;
            let uri = Uri::parse(contact.uri).ok()?;
            let sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
            // Header fields in a URI would become ours.
            (sip && uri.headers.is_empty()).then_some((wish(contact.param(b"q")), uri))
        })
        .collect();
    contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    contacts.into_iter().map(|(_, uri)| uri).collect()
}

/// The transport that a contact asks for, or that the redirection came by.
fn transport_of(snapshot: &Snapshot, from: Hop, contact: &Uri<'_>) -> Option<Transport> {
    if contact.scheme == Scheme::Sips {
        return Some(Transport::Tls);
    }
    match contact.param(b"transport") {
        Some(name) => Transport::from_name(name),
        None => snapshot
            .listeners
            .get(usize::from(from.listener.0))
            .map(|listener| listener.transport),
    }
}

fn is_name_of(trunk: &Trunk, name: &str) -> bool {
    let host = |domain: &str| domain.split(':').next() == Some(name);
    let target = [Some(&trunk.target), trunk.peer.outbound_proxy.as_ref()];
    let queried = target.into_iter().flatten().any(|target| match target {
        Target::Name(query) => &*query.host == name,
        Target::Address(_) | Target::Registered => false,
    });
    queried
        || trunk.peer.domain.as_deref().is_some_and(host)
        || trunk.peer.domains.iter().any(|domain| host(domain))
}
