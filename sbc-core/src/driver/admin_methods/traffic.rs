//! The calls of trunks, summed over shards.

use super::Methods;
use crate::{
    io::{Command, Reply},
    traffic::TrunkTraffic,
};

impl Methods {
    /// The calls of all trunks, in the order of their ids; `None`: not all shards answer.
    pub(super) async fn traffic(&self) -> Option<Vec<TrunkTraffic>> {
        let mut all: Vec<TrunkTraffic> = Vec::new();
        for reply in self.broadcast(Command::Traffic).await.ok()? {
            let Reply::Traffic(trunks) = reply else {
                return None;
            };
            // While a configuration is handed out, shards know different numbers of trunks.
            all.resize(all.len().max(trunks.len()), TrunkTraffic::default());
            for (sum, trunk) in all.iter_mut().zip(&trunks) {
                sum.add(trunk);
            }
        }
        Some(all)
    }
}
