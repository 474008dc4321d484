//! A short round of everything, for continuous integration: judged on correctness, never on
//! time.

use super::{
    calls::Calls, hostile::Hostile, hostile_media::HostileMedia, limits::Limits, media::Media, tls::Tls,
};
use crate::{Result, bench::Bench, report::Report, shape::Shape};

/// Options of `smoke`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Smoke {}

impl Smoke {
    /// Run every scenario that judges correctness, small, with a daemon each.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("smoke");
        let calls = Calls {
            cps: 100,
            calls: 200,
            hold_ms: 300,
            balance_percent: 100.0,
            coarse: false,
        };
        report.absorb(calls.run(bench)?);
        for shape in [
            Shape::Plain,
            Shape::Srtp,
            Shape::Transcode,
            Shape::SrtpSrtp,
            Shape::Ptime,
        ] {
            let media = Media {
                calls: 20,
                seconds: 1,
                windows: 1,
                shape,
                against: Vec::new(),
                without_sbcd: false,
                setup_cps: 50,
                tick_us: 200,
                climb: false,
                added_p50_us: None,
                ratio_bare: None,
                ratio_rtpengine: None,
            };
            report.absorb(media.run(bench)?);
        }
        let hostile_media = HostileMedia {
            calls: 10,
            seconds: 2,
            factor: 10,
            seed: 1,
        };
        report.absorb(hostile_media.run(bench)?);
        let limits = Limits {
            cps: 25,
            burst: 5,
            offer_cps: 100,
            seconds: 4,
            channels: 20,
            offer_channels: 100,
        };
        report.absorb(limits.run(bench)?);
        let hostile = Hostile {
            cps: 50,
            seconds: 3,
            pps: 1000,
            seed: 1,
            flood: 0,
        };
        report.absorb(hostile.run(bench)?);
        let tls = Tls {
            cps: 20,
            calls: 20,
            hold_ms: 100,
            brief: true,
        };
        report.absorb(tls.run(bench)?);
        Ok(report)
    }
}
