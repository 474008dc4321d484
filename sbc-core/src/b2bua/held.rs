//! What calls hold of the configuration: the trunks that must not be given to others while they last.

use super::Call;
use crate::{io::Held, shard::Shard, trunk::TrunkId};

impl Shard {
    /// What the calls of this shard hold.
    pub(crate) fn held(&self) -> Held {
        let mut held = Held::default();
        for (_, call) in &self.calls {
            call.each_trunk(|trunk| {
                held.trunks.insert(trunk);
            });
            held.oldest = Some(
                held.oldest
                    .map_or(call.started, |oldest| oldest.min(call.started)),
            );
        }
        held
    }
}

impl Call {
    /// The trunks of both legs, of who would take the place of one, and of those it may yet be sent to.
    fn each_trunk(&self, mut each: impl FnMut(TrunkId)) {
        each(self.a.trunk);
        each(self.b.trunk);
        if let Some(plan) = &self.plan {
            plan.targets.iter().for_each(|target| each(target.hop.trunk));
            plan.hunt.trunks().for_each(&mut each);
        }
        self.history.iter().for_each(|attempt| each(attempt.trunk));
        let exchanged = self
            .exchange
            .as_ref()
            .and_then(|exchange| exchange.takeover.as_deref());
        let transferred = self.transfer.as_ref().map(|transfer| &*transfer.takeover);
        for takeover in exchanged.into_iter().chain(transferred) {
            each(takeover.leg.trunk);
            each(takeover.to);
        }
    }
}
