//! Bans, listed, made and lifted by operators.

use super::Methods;
use crate::{
    admin::{
        bans::{AddBan, BanList, BanStatus, LiftBan},
        failure::{Failure, Reason},
    },
    guard::{Ban, BanError, Bans, Offence, key_of},
    time::Timestamp,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

impl Methods {
    /// Everybody who is banned.
    pub(super) fn bans(&self) -> BanList {
        let now = self.daemon.clock.now();
        let bans = self.shared_bans();
        answer(&bans, now, &bans.list(now))
    }

    pub(super) fn ban(&self, add: &AddBan) -> Result<BanList, Failure> {
        let address = key_of(add.check()?);
        let snapshot = self.daemon.running.snapshot();
        if let Some(trunk) = snapshot.sources.lookup_stream(SocketAddr::new(address, 0)) {
            let name = snapshot
                .trunks
                .get(usize::from(trunk.0))
                .map_or("", |trunk| &trunk.name);
            let what = format!(
                "{address} is a host of trunk \"{name}\", and trunks are never banned: remove it from the trunk's hosts, or deny it by [[acl]]"
            );
            return Err(Failure::new(Reason::InvalidParams, what));
        }
        let now = self.daemon.clock.now();
        let ban = Ban {
            address,
            since: now,
            until: now + Duration::from_secs(add.for_s),
            offence: Offence::Operator,
            count: 1,
            evidence: add.reason.as_deref().unwrap_or_default().as_bytes().into(),
        };
        let bans = self.shared_bans();
        bans.add(&ban).map_err(|error| {
            let reason = match error {
                BanError::Full => Reason::InvalidParams,
                BanError::Busy => Reason::Unavailable,
            };
            Failure::new(reason, error.to_string())
        })?;
        tracing::info!(%address, seconds = add.for_s, "banned by an operator");
        Ok(answer(&bans, now, &[ban]))
    }

    pub(super) fn lift_ban(&self, lift: &LiftBan) -> Result<BanList, Failure> {
        let address = key_of(lift.check()?);
        let (now, bans) = (self.daemon.clock.now(), self.shared_bans());
        let lifted: Vec<Ban> = bans
            .list(now)
            .into_iter()
            .filter(|ban| ban.address == address)
            .collect();
        if !bans.lift(now, address) {
            let what = format!("{address} is not banned; `sbc-ctl bans` lists who is");
            return Err(Failure::new(Reason::NoSuchBan, what));
        }
        tracing::info!(%address, "ban lifted by an operator");
        Ok(answer(&bans, now, &lifted))
    }

    fn shared_bans(&self) -> Arc<Bans> {
        Arc::clone(&self.daemon.running.snapshot().guard.bans)
    }
}

fn answer(bans: &Bans, now: Timestamp, list: &[Ban]) -> BanList {
    let ms = |later: Timestamp, earlier: Timestamp| later.as_millis().saturating_sub(earlier.as_millis());
    let status = |ban: &Ban| BanStatus {
        address: match ban.address.is_ipv4() {
            true => ban.address.to_string(),
            false => format!("{}/64", ban.address),
        },
        offence: ban.offence.name().to_owned(),
        count: ban.count,
        evidence: ban.evidence.escape_ascii().to_string(),
        age_ms: ms(now, ban.since),
        expires_in_ms: ms(ban.until, now),
    };
    BanList {
        bans: list.iter().map(status).collect(),
        capacity: bans.capacity() as u64,
        evicted: bans.evicted(),
    }
}
