//! Which trunks a call goes to, and which of them can be asked at all.
//!
//! In: an INVITE, or what else is sent to where an INVITE would go. Out: a [`Hunt`], the trunks of the rule that wins, in the
//! order in which they are tried; and of one trunk the addresses, or why it is passed over.

use super::{
    AttemptTarget, Unfit,
    admit::{over_limit, reject, seconds},
    attempt::ATTEMPTS_MAX,
    setup::RETRY_AFTER_S,
};
use crate::{
    admission::Refused,
    counters::ShardCounters,
    routing::{Failover, Kind, Rule, Wanted},
    shard::Shard,
    sip::{Message, Uri},
    snapshot::{Service, Snapshot, Target},
    time::Timestamp,
    topology::{Callee, Parties},
    transaction::Reply,
    trunk::TrunkId,
};
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

/// Why a call has not gone to a trunk that is switched off or removed, in records.
pub(super) const TRUNK_DISABLED: &str = "trunk_disabled";

/// The trunks that are left for a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hunt {
    /// The first to be tried is the last here.
    trunks: SmallVec<[TrunkId; 4]>,
    /// The rule that they are from; `None`: the call goes to one certain trunk.
    rule: Option<Arc<Rule>>,
}

impl Hunt {
    /// To one trunk and no other.
    pub(super) fn straight(trunk: TrunkId) -> Self {
        Self {
            trunks: smallvec::smallvec![trunk],
            rule: None,
        }
    }

    /// The next trunk to be tried; it is not left any more.
    pub(super) fn take(&mut self) -> Option<TrunkId> {
        self.trunks.pop()
    }

    /// Those that are left.
    pub(super) fn trunks(&self) -> impl Iterator<Item = TrunkId> {
        self.trunks.iter().copied()
    }

    /// No trunk is left.
    pub(super) fn is_empty(&self) -> bool {
        self.trunks.is_empty()
    }

    /// When the next trunk is tried; `None`: there is never one.
    pub(super) fn failover(&self) -> Option<&Failover> {
        self.rule.as_ref().map(|rule| &rule.failover)
    }

    /// The name of the rule.
    pub(super) fn rule_name(&self) -> Option<&str> {
        self.rule.as_ref().map(|rule| &*rule.name)
    }

    /// Its calls pass all limits.
    pub(super) fn is_emergency(&self) -> bool {
        self.rule
            .as_ref()
            .is_some_and(|rule| rule.kind == Kind::Emergency)
    }
}

/// Why a trunk is passed over.
#[derive(Debug)]
pub(super) enum Skip {
    /// It is switched off.
    Disabled,
    /// It does not answer OPTIONS.
    Down,
    /// Nobody that could be called has registered there; the answer to the call, which is counted.
    NotRegistered(Reply),
    /// No address of its name is known.
    Unresolved,
    /// The call is over a limit.
    Limit(Refused),
    /// Its rate would have the call wait so long, and too many wait already.
    HeldMax(Duration),
    /// No media port of its interface is free.
    NoPort,
    /// The caller's offer is of no use there.
    Unfit(Unfit),
}

impl Skip {
    /// In the record of the attempt.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Disabled => TRUNK_DISABLED,
            Self::Down => "trunk_down",
            Self::NotRegistered(_) => "not_registered",
            Self::Unresolved => "unresolved",
            Self::Limit(Refused::Cps(..)) => "cps_limit",
            Self::Limit(Refused::Channels(_)) => "channel_limit",
            Self::HeldMax(_) => "held_max",
            Self::NoPort => "no_media_port",
            Self::Unfit(_) => "offer_unfit",
        }
    }

    /// The answer to a call of `from` that is refused for it, which is counted.
    pub(super) fn refuse(self, counters: &mut ShardCounters, snapshot: &Snapshot, from: TrunkId) -> Reply {
        match self {
            // Not 503: that would keep the caller from sending us calls to other trunks (§21.5.4).
            Self::Disabled => {
                counters.refused_disabled += 1;
                Reply::retry_after(500, RETRY_AFTER_S)
            }
            Self::Down => {
                counters.refused_trunk_down += 1;
                Reply::retry_after(500, RETRY_AFTER_S)
            }
            Self::NotRegistered(reply) => reply,
            Self::Unresolved => {
                counters.refused_unresolved += 1;
                Reply::retry_after(500, RETRY_AFTER_S)
            }
            Self::Limit(refused) => over_limit(counters, snapshot, from, refused),
            Self::HeldMax(wait) => {
                counters.refused_held_max += 1;
                reject(snapshot, from, seconds(wait))
            }
            Self::NoPort => {
                counters.refused_no_media_port += 1;
                Reply::retry_after(503, RETRY_AFTER_S)
            }
            Self::Unfit(unfit) => {
                counters.refused_request += 1;
                unfit.reply()
            }
        }
    }
}

impl Shard {
    /// Where a call from `from` goes.
    pub(super) fn route(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        from: TrunkId,
        request: &Message<'_>,
        parties: &Parties,
    ) -> Result<Hunt, Reply> {
        if self.draining {
            self.io.counters.refused_draining += 1;
            return Err(Reply::retry_after(503, RETRY_AFTER_S));
        }
        if snapshot.service_of(from) != Service::Enabled {
            self.io.counters.refused_disabled += 1;
            return Err(Reply::retry_after(snapshot.reject_code, RETRY_AFTER_S));
        }
        let wanted = Wanted::of(&parties.callee, parties.called.as_ref());
        let for_help = snapshot.routes.emergency_rule(from, wanted.dialled).is_some();
        if let Some(to) = domain_of(snapshot, request).filter(|_| !for_help) {
            let allowed = snapshot.trunks.get(usize::from(to.0));
            if allowed.is_some_and(|trunk| trunk.peer.domains_from.contains(&from)) {
                return Ok(Hunt::straight(to));
            }
            self.io.counters.refused_domain += 1;
            return Err(Reply::new(403));
        }
        let epoch_s = self.epoch_s;
        let unix_s = || epoch_s + now.as_millis() / 1000;
        let Some(found) = snapshot.routes.find_wanted(from, wanted, unix_s) else {
            self.io.counters.refused_no_route += 1;
            return Err(Reply::new(404));
        };
        let random = &mut self.random;
        let mut trunks = self
            .turns
            .order(&found, || rand_chacha::rand_core::RngCore::next_u64(random));
        trunks.retain(|trunk| usize::from(trunk.0) < snapshot.trunks.len());
        if found.rule.kind == Kind::Emergency {
            trunks.sort_by_key(|trunk| snapshot.health.is_down(*trunk));
        }
        trunks.reverse();
        Ok(Hunt {
            trunks,
            rule: Some(Arc::clone(found.rule)),
        })
    }

    /// The first trunk of `hunt` that can be asked, and where, for something that `from` asks for.
    pub(super) fn first_open(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        from: TrunkId,
        hunt: &mut Hunt,
        callee: Callee<'_>,
    ) -> Result<(TrunkId, SmallVec<[AttemptTarget; 2]>), Reply> {
        let mut skipped = None;
        while let Some(to) = hunt.take() {
            match self.targets_of(now, snapshot, to, callee) {
                Ok(targets) => return Ok((to, targets)),
                Err(skip) => skipped = Some(skip),
            }
        }
        Err(skipped.map_or(Reply::new(404), |skip| {
            skip.refuse(&mut self.io.counters, snapshot, from)
        }))
    }

    /// Where a call for `callee` at a trunk can be sent, best first; at least one.
    pub(super) fn targets_of(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        id: TrunkId,
        callee: Callee<'_>,
    ) -> Result<SmallVec<[AttemptTarget; 2]>, Skip> {
        if snapshot.health.is_down(id) && snapshot.service_of(id) == Service::Enabled {
            return Err(Skip::Down);
        }
        self.addresses_of(now, snapshot, id, callee)
    }

    /// The same, whether the trunk answers OPTIONS or not.
    pub(super) fn addresses_of(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        id: TrunkId,
        callee: Callee<'_>,
    ) -> Result<SmallVec<[AttemptTarget; 2]>, Skip> {
        if snapshot.service_of(id) != Service::Enabled {
            return Err(Skip::Disabled);
        }
        if let Some(trunk) = snapshot.trunks.get(usize::from(id.0))
            && *trunk.next_hop() == Target::Registered
        {
            let contacts = self
                .contacts_of(now, (id, trunk), callee)
                .map_err(Skip::NotRegistered)?;
            let targets = contacts
                .into_iter()
                .map(|(hop, uri)| AttemptTarget { hop, uri: Some(uri) });
            return Ok(targets.take(ATTEMPTS_MAX.into()).collect());
        }
        let hops = self.hops_to(now, snapshot, id);
        if hops.is_empty() {
            return Err(Skip::Unresolved);
        }
        let targets = hops.into_iter().take(ATTEMPTS_MAX.into());
        Ok(targets.map(|hop| AttemptTarget { hop, uri: None }).collect())
    }
}

/// The trunk that the host of the Request-URI means (S12).
fn domain_of(snapshot: &Snapshot, request: &Message<'_>) -> Option<TrunkId> {
    if snapshot.domains.is_empty() {
        return None;
    }
    let uri = Uri::parse(request.request_uri()).ok()?;
    let host = std::str::from_utf8(uri.host).ok()?.trim_end_matches('.');
    snapshot.domains.get(&*host.to_ascii_lowercase()).copied()
}
