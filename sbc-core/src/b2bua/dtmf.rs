//! How digits go between us and each side of a call, and what the relay does for that.
//!
//! In: what the trunks want (`dtmf`), what both sides have said of themselves. Out: a [`Way`] for each side; where the
//! two differ, the relay listens to each side that sends digits in its media, and has an outlet to each that hears
//! them there. Where they are the same, or one is unknown, nothing is touched: digits pass as they come.
//! `docs/DTMF.md` has the table.

use super::{
    digits::Digits,
    negotiate::{Codecs, dtmf_between, media_of},
};
use crate::{
    sdp::events_in, shard::Shard, sip::InfoForm, snapshot::Dtmf, time::Timestamp, transaction::Side,
};
use sbc_media::{
    g711::Law,
    relay::{Listen, OutletParams, PairIndex},
    source::Sound,
};

/// Milliseconds in a packet of ours: what every receiver takes (RFC 3551 §4.2).
pub(super) const PTIME_MS: u32 = 20;
/// Samples in it, at the clock of telephony.
const STEP: u32 = PTIME_MS * 8;
/// Clock of telephony, in Hz.
const CLOCK_RATE: u32 = 8000;

/// How digits go between us and the peer of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As RTP events, by these payload types.
    Events {
        /// The peer's packets have it.
        from: u8,
        /// The peer wants it.
        to: u8,
    },
    /// As INFO requests.
    Info(InfoForm),
    /// As tones.
    Inband {
        /// Payload types that the peer may send µ-law and A-law with.
        from: [Option<u8>; 2],
        /// The law that the peer wants, by its payload type.
        to: (Law, u8),
    },
}

impl Way {
    /// How it is called in the configuration, and so in `sbc-ctl`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Events { .. } => "rfc4733",
            Self::Info(InfoForm::Relay) => "info",
            Self::Info(InfoForm::Plain) => "info-dtmf",
            Self::Inband { .. } => "inband",
        }
    }

    /// Whether digits must be converted to go on by `other`.
    fn differs(self, other: Self) -> bool {
        self.name() != other.name()
    }

    /// What the relay listens for.
    fn listen(self) -> Option<Listen> {
        match self {
            Self::Events { from, .. } => Some(Listen::Events { payload_type: from }),
            Self::Info(_) => None,
            Self::Inband { from: [mu, a], .. } => Some(Listen::Tones { mu, a }),
        }
    }

    /// Whether digits for the peer are media of ours.
    fn is_played(self) -> bool {
        !matches!(self, Self::Info(_))
    }

    /// The way of a peer whose trunk has `dtmf`, who has said `codecs`, whose Allow has INFO or not (`info`), and
    /// who has sent digits by INFO itself or not (`learned`). `None`: there is none, or none is known yet.
    fn find(dtmf: Dtmf, codecs: Option<&Codecs>, info: bool, learned: Option<InfoForm>) -> Option<Self> {
        match dtmf {
            Dtmf::Pass => return None,
            Dtmf::InfoRelay => return Some(Self::Info(InfoForm::Relay)),
            Dtmf::InfoPlain => return Some(Self::Info(InfoForm::Plain)),
            Dtmf::Auto | Dtmf::Events | Dtmf::Inband => {}
        }
        let codecs = codecs.filter(|codecs| !codecs.heard.is_empty())?;
        let events = || {
            let (from, to) = (events_in(&codecs.told)?, events_in(&codecs.heard)?);
            Some(Self::Events { from, to })
        };
        let inband = || {
            let mut wanted = codecs.heard.iter();
            let to = wanted.find_map(|format| Some((format.codec.law()?, format.number)))?;
            let from = [Law::Mu, Law::A].map(|law| {
                let of_law = codecs.told.iter().find(|format| format.codec.law() == Some(law));
                of_law.map(|format| format.number)
            });
            Some(Self::Inband { from, to })
        };
        match dtmf {
            Dtmf::Events => events(),
            Dtmf::Inband => inband(),
            _ => events()
                .or(learned.map(Self::Info))
                .or_else(inband)
                .or(info.then_some(Self::Info(InfoForm::Relay))),
        }
    }
}

impl Shard {
    /// What is known of one of the sides has changed: find how digits go, and direct the relay by it.
    pub(super) fn arm_digits(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(media) = call.media else { return };
        let trunks = [call.a.trunk, call.b.trunk].map(|trunk| media_of(&self.snapshot, trunk));
        let dtmf = dtmf_between(trunks);
        if dtmf.is_none() && call.a.digits.is_none() && call.b.digits.is_none() {
            return;
        }
        let mut ways = [None; 2];
        for side in [Side::A, Side::B] {
            let leg = call.leg_mut(side);
            let digits = leg.digits.get_or_insert_default();
            digits.dtmf = dtmf.map_or(Dtmf::Pass, |dtmf| dtmf[side as usize]);
            let codecs = leg.session.codecs.as_deref();
            ways[side as usize] = Way::find(digits.dtmf, codecs, leg.can.info, digits.learned());
        }
        let converts = matches!(ways, [Some(a), Some(b)] if a.differs(b));
        let former = [Side::A, Side::B].map(|side| {
            let digits = call.leg_mut(side).digits.get_or_insert_default();
            digits.converts = converts;
            std::mem::replace(&mut digits.way, ways[side as usize])
        });
        for (at, pair) in media.pairs.into_iter().enumerate() {
            let (own, other) = (ways[at], ways[1 - at]);
            let listen = own.filter(|_| converts).and_then(Way::listen);
            let played = converts && own.is_some_and(Way::is_played);
            if converts && (played || matches!(other, Some(Way::Events { .. }))) {
                self.open_outlet(now, pair);
            }
            if listen.is_some() {
                self.ports.set_owner(pair, slot);
            }
            if listen.is_some() || former[at].is_some() {
                self.relay.set_digits(pair, listen);
            }
            // What waits for a peer that is on hold, or hears digits in another way now, would come late.
            if former[at] != own || !self.relay.can_send(pair) {
                self.stop_digits(slot, if at == 0 { Side::A } else { Side::B }, pair);
            }
        }
    }

    /// What leaves for the peer of `pair` is one stream of ours from now on.
    pub(super) fn open_outlet(&mut self, now: Timestamp, pair: PairIndex) {
        if self.relay.has_outlet(pair) {
            return;
        }
        let [first, second] = [self.random(), self.random()];
        let params = OutletParams {
            ssrc: first as u32,
            // The first bit is left, for a key of SRTP: nobody guesses a wrap wrong.
            sequence: (second as u16) >> 1,
            timestamp: (first >> 32) as u32,
            clock_rate: CLOCK_RATE,
            step: STEP,
        };
        self.relay.set_outlet(now, pair, Some(&params));
    }

    /// Play no more digits to the peer on `side`.
    fn stop_digits(&mut self, slot: u32, side: Side, pair: PairIndex) {
        let waiting = match self.relay.sound_mut(pair) {
            Some(Sound::Events(sender, _)) => sender.waiting(),
            Some(Sound::Digits(generator)) => generator.waiting(),
            _ => return,
        };
        self.relay.stop(pair);
        let digits =
            (self.calls.get_mut(slot as usize)).and_then(|call| call.leg_mut(side).digits.as_deref_mut());
        if let Some(digits) = digits {
            digits.told = digits.told.saturating_sub(waiting as u64);
            let told = &mut self.io.counters.digits_told;
            *told = told.saturating_sub(waiting as u64);
            digits.lost(waiting, &mut self.io.counters);
        }
    }
}

impl Digits {
    /// The form of INFO that the peer has sent digits by, where the trunk leaves the way open.
    fn learned(&self) -> Option<InfoForm> {
        self.by_info.filter(|_| self.dtmf == Dtmf::Auto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Sdp;

    fn codecs(told: &str, heard: &str) -> Codecs {
        let formats = |numbers: &str| {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP {numbers}\r\n\
                 a=rtpmap:96 telephone-event/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
            );
            Sdp::parse(text.as_bytes()).unwrap().formats_of(0)
        };
        Codecs {
            told: formats(told),
            heard: formats(heard),
            ptime_ms: None,
        }
    }

    fn auto(told: &str, heard: &str, info: bool, learned: Option<InfoForm>) -> Option<Way> {
        Way::find(Dtmf::Auto, Some(&codecs(told, heard)), info, learned)
    }

    #[test]
    fn auto_takes_the_best_that_both_have() {
        assert_eq!(
            auto("0 101", "0 96", true, None),
            Some(Way::Events { from: 101, to: 96 })
        );
        let inband = Some(Way::Inband {
            from: [Some(0), None],
            to: (Law::A, 8),
        });
        assert_eq!(auto("0 101", "8 0", true, None), inband);
        assert_eq!(auto("0", "8 0 101", true, None), inband);
        let (relay, plain) = (Way::Info(InfoForm::Relay), Way::Info(InfoForm::Plain));
        assert_eq!(auto("0", "0", true, Some(InfoForm::Plain)), Some(plain));
        assert_eq!(auto("9", "9", true, None), Some(relay));
        assert_eq!(auto("9", "9", false, None), None);
    }

    #[test]
    fn a_method_that_is_named_is_that_one_or_none() {
        let of = |dtmf, told, heard| Way::find(dtmf, Some(&codecs(told, heard)), true, None);
        assert_eq!(of(Dtmf::Events, "0 101", "0"), None);
        assert_eq!(of(Dtmf::Inband, "9 101", "9 101"), None);
        assert_eq!(of(Dtmf::Pass, "0 101", "0 101"), None);
        assert_eq!(
            Way::find(Dtmf::InfoPlain, None, false, None),
            Some(Way::Info(InfoForm::Plain))
        );
    }
}
