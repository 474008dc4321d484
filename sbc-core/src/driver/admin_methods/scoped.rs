//! Limits with names, for operators.

use super::Methods;
use crate::{
    admin::{
        failure::{Failure, Reason},
        method::shorten,
        protocol::{LimitStatus, Scope},
    },
    admission::LimitId,
};

impl Methods {
    /// Each `[[limit]]` as it stands.
    pub(super) fn scoped_limits(&self) -> Vec<LimitStatus> {
        let snapshot = self.daemon.running.snapshot();
        let status = |(name, id): (&str, LimitId)| {
            let scope = Scope {
                limit: Some(name.to_owned()),
                ..Scope::default()
            };
            self.limit(id, scope)
        };
        snapshot.scoped.iter().filter_map(status).collect()
    }

    /// The `[[limit]]` of this name.
    pub(super) fn scoped_limit(&self, wanted: &str) -> Result<LimitId, Failure> {
        let snapshot = self.daemon.running.snapshot();
        let found = snapshot.scoped.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, id)| id).ok_or_else(|| {
            let what = format!(
                "no [[limit]] is called {:?}; `sbc-ctl limits show` lists all",
                shorten(wanted)
            );
            Failure::new(Reason::NoSuchLimit, what)
        })
    }
}
