//! The guard at the shard's door: who is looked at, and what follows from what strangers do (L5).

use super::Shard;
use crate::{
    guard::{Dropped, Offence, Rate},
    io::{Event, Level, Output},
    time::Timestamp,
    trunk::TrunkId,
};
use std::{net::SocketAddr, sync::Arc};

impl Shard {
    /// Whether anything from `peer`, whose trunk is `trunk` when one lists it, is looked at. Counted when not.
    #[inline]
    pub(super) fn lets_in(&mut self, now: Timestamp, peer: SocketAddr, trunk: Option<TrunkId>) -> bool {
        let rules = &self.snapshot.guard;
        let trunks = &self.snapshot.trunks;
        let rate_of = |at: usize| trunks.get(at).map_or(Rate::UNLIMITED, |trunk| trunk.packets);
        let verdict = match trunk {
            Some(id) => {
                let at = usize::from(id.0);
                self.guard.admits_trunk(now, rules, peer.ip(), (at, rate_of(at)))
            }
            None => match self.guard.admits_proven(now, rules, peer.ip(), rate_of) {
                Some(verdict) => verdict,
                None => self.guard.admits_stranger(now, rules, peer.ip()),
            },
        };
        let Err(dropped) = verdict else { return true };
        let counters = &mut self.io.counters;
        *match (dropped, trunk) {
            (Dropped::Denied, _) => &mut counters.guard_denied,
            (Dropped::Banned, _) => &mut counters.guard_banned,
            (Dropped::Rate, None) => &mut counters.guard_rate,
            (Dropped::Rate, Some(_)) => &mut counters.guard_rate_trunk,
            (Dropped::LoggedIn, _) => &mut counters.guard_rate_logged_in,
        } += 1;
        false
    }

    /// Whether a datagram of a source that nobody lists bears the mark of a scanner. It is not answered then.
    pub(super) fn is_scanner(&mut self, now: Timestamp, peer: SocketAddr, bytes: &[u8]) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(word) = snapshot.guard.scanners.find(bytes) else {
            return false;
        };
        self.io.counters.sip_unknown_source += 1;
        self.blame(now, peer, Offence::Scanner, word);
        true
    }

    /// `peer` has logged in as `trunk`, and is registered until `until`: for an hour and until then, no ban holds for it, and
    /// no rate but its own. Anybody may do something wrong in its name.
    pub(super) fn proven(&mut self, now: Timestamp, peer: SocketAddr, trunk: TrunkId, until: Timestamp) {
        if self.trunk_of_stream(peer).is_none() {
            let displaced = self.snapshot.guard.prove(now, peer.ip(), trunk.0, until);
            self.io.counters.guard_logged_in_displaced += u64::from(displaced);
        }
    }

    /// `peer` did something that only an attacker does, or what is broken. A trunk is not banned for it, because
    /// anybody can send in its name; a stranger is, once it has done so too often.
    pub(crate) fn blame(&mut self, now: Timestamp, peer: SocketAddr, offence: Offence, evidence: &[u8]) {
        if self.trunk_of_stream(peer).is_some() || self.former_trunk_of(peer).is_some() {
            self.io.counters.guard_offences_trunk += 1;
            return;
        }
        self.io.counters.guard_offences += 1;
        let rules = &self.snapshot.guard;
        let Some(ban) = self.guard.blame(now, rules, peer.ip(), offence, evidence) else {
            return;
        };
        self.io.counters.guard_bans += 1;
        if self.guard.logs(now) {
            let text = format!(
                "{} is banned for {} s: {} {} time(s), last \"{}\"; `sbc-ctl bans` lists all",
                ban.address,
                rules.ban.as_secs(),
                ban.offence,
                ban.count,
                ban.evidence.escape_ascii(),
            );
            let call = String::new();
            let level = Level::Info;
            self.io
                .outputs
                .push_back(Output::Event(Event { level, call, text }));
        }
    }
}
