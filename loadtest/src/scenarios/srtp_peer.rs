//! Another implementation as the peer with SRTP: RTP from our source goes through `sbcd`, which encrypts it for
//! rtpengine, which decrypts it for our sink; and back. Once under every suite, octet by octet.

use crate::{
    Result,
    bench::Bench,
    calls,
    media::{self, Hold, MediaCalls, Party},
    report::Report,
    rtp::{
        End, Plan, RtpLoad, Streams,
        packet::{Conversion, Headers},
    },
    rtpengine::Spoken,
    shape::{PTIME_MS, Side},
};
use sbc_media::{g711::Law, srtp::Suite};
use std::{net::SocketAddr, time::Duration};

/// Options of `srtp-peer`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SrtpPeer {
    /// Calls under each suite.
    #[arg(long, default_value_t = 10)]
    pub(crate) calls: u16,
    /// Seconds of media in each call: sequence numbers wrap in the second one.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Only these suites, by their names in SDP [default: all].
    #[arg(long, value_delimiter = ',', value_parser = suite)]
    pub(crate) suite: Vec<Suite>,
}

const SETUP_CPS: u32 = 50;

fn suite(name: &str) -> std::result::Result<Suite, String> {
    Suite::from_name(name.as_bytes()).ok_or_else(|| {
        let names: Vec<&str> = Suite::ALL.into_iter().map(Suite::name).collect();
        format!("{name}: expected one of {}", names.join(", "))
    })
}

impl SrtpPeer {
    /// Run it with a daemon and an rtpengine for each suite.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("srtp-peer");
        let all = Suite::ALL;
        for suite in if self.suite.is_empty() {
            &all
        } else {
            &self.suite[..]
        } {
            self.under(bench, *suite, &mut report)?;
        }
        Ok(report)
    }

    fn under(&self, bench: &Bench, suite: Suite, report: &mut Report) -> Result<()> {
        let plain = Side {
            law: Law::Mu,
            suite: None,
            ptime_ms: PTIME_MS,
        };
        let encrypted = Side {
            suite: Some(suite),
            ..plain
        };
        let mut engine = media::start_rtpengine(bench)?;
        let daemon = bench.daemon(&media::setup(bench, [plain, encrypted]))?;
        // The sink offers to rtpengine first; what that offers on, with SRTP, is what sbcd is answered with.
        let spoken = |at, tag, key| Spoken { at, tag, key };
        let caller = Party::new(plain, bench.at(2, media::PORTS_SBCD), self.calls);
        let sinks = Party::new(plain, bench.at(3, media::PORTS_SBCD), self.calls);
        let mut tags = Vec::new();
        let mut audio = Vec::new();
        for (call, (at, _)) in sinks.audio.iter().enumerate() {
            let told = engine.offer(call, [plain, encrypted], &spoken(*at, 0, None))?;
            tags.push(told.tag);
            audio.push((told.at, told.key));
        }
        let parties = [
            caller,
            Party {
                side: encrypted,
                audio,
            },
        ];
        let set_up = Duration::from_secs_f64(f64::from(self.calls) / f64::from(SETUP_CPS));
        let hold = Hold {
            calls: self.calls,
            cps: SETUP_CPS,
            hold: set_up + Duration::from_secs(self.seconds + 4),
        };
        let (mut sipp, told) = MediaCalls::between(bench, &daemon, &parties, hold)?;
        let mut ends = Vec::new();
        for [a, b] in &told {
            let answer = spoken(b.sbc, tags[b.index], b.key.clone());
            let back = engine.answer(b.index, [plain, encrypted], &answer)?;
            let sink: SocketAddr = sinks.audio[b.index].0;
            ends.push((parties[0].end(a), End::plain(sink, back.at)));
        }
        let mut streams = Streams::bind(&ends, Conversion::Tables, Headers::Moved)?;
        let plan = Plan {
            warm_up: Duration::from_millis(500),
            measured: Duration::from_secs(self.seconds),
            tick: Duration::from_micros(200),
        };
        let window = RtpLoad::new()?.run(&mut streams, plan, |_| {})?;
        let name = suite.name();
        report.packets(name, &window.counts);
        report.gate(
            &format!("{name}: audio arrives once, intact, in order"),
            window.counts.perfect() && window.counts.sent > 0,
            format!("{:?}", window.counts),
        );
        drop(streams);
        let (ok, failed, errors) = sipp.finish(bench, hold.hold + Duration::from_secs(10));
        report.gate(
            &format!("{name}: every call succeeds"),
            ok == u64::from(self.calls) && failed == 0,
            format!("{ok} of {} ok {errors}", self.calls),
        );
        let mut left = Report::new(name);
        calls::report_leftovers(bench, &mut left, &daemon, Duration::from_secs(40))?;
        report.absorb(left);
        Ok(())
    }
}
