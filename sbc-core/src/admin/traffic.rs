//! The calls of a trunk in the answer to `trunks.list`: how many a second, and how many are answered.

use crate::traffic::{CPS_SECONDS, Count, TrunkTraffic, WayTraffic};
use serde::{Deserialize, Serialize};

/// The calls of one trunk, of all shards together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// From it.
    pub inbound: WayStatus,
    /// To it.
    pub outbound: WayStatus,
}

/// The calls of one trunk in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WayStatus {
    /// Calls a second, as in the last five whole seconds.
    pub cps: f64,
    /// Calls of the last five minutes and the one under way.
    pub minutes_5: CallCount,
    /// Calls of the last 60 minutes and the one under way.
    pub minutes_60: CallCount,
    /// Calls since the start, or since the trunk is there.
    pub total: CallCount,
}

/// Calls, and those of them that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallCount {
    /// Calls: admitted from the trunk, or sent to it.
    pub seizures: u64,
    /// Those of them that were answered by now.
    pub answers: u64,
    /// Answer-seizure ratio in percent, to a tenth; `None`: there was no call.
    pub asr: Option<f64>,
}

impl From<TrunkTraffic> for TrafficStatus {
    fn from(traffic: TrunkTraffic) -> Self {
        Self {
            inbound: traffic.inbound.into(),
            outbound: traffic.outbound.into(),
        }
    }
}

impl From<WayTraffic> for WayStatus {
    fn from(way: WayTraffic) -> Self {
        Self {
            cps: way.last_seconds as f64 / CPS_SECONDS as f64,
            minutes_5: way.short.into(),
            minutes_60: way.long.into(),
            total: way.total.into(),
        }
    }
}

impl From<Count> for CallCount {
    fn from(count: Count) -> Self {
        let ratio = || (count.answers as f64 * 1000.0 / count.seizures as f64).round() / 10.0;
        Self {
            seizures: count.seizures,
            answers: count.answers,
            asr: (count.seizures > 0).then(ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_in_percent_and_that_of_nothing_is_none() {
        let asr = |seizures, answers| CallCount::from(Count { seizures, answers }).asr;
        assert_eq!(
            [asr(3, 2), asr(7, 0), asr(9, 9)],
            [Some(66.7), Some(0.0), Some(100.0)]
        );
        assert_eq!(asr(0, 0), None);
    }
}
