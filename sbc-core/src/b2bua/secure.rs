//! SRTP of a leg by keys in its descriptions (SDES, RFC 4568).
//!
//! In: the `a=crypto` lines of the peer, and what its trunk wants. Out: lines of ours, and the keys for the
//! relay once both sides' are known. The legs of a call know nothing of each other's keys.
//!
//! A key of ours is made when a description first needs one, and again when the peer's answer must be by
//! another tag, suite or MKI, or when the peer's address has changed: who is there now may not know how
//! far the packets have counted (§7.1.4). We name no key (MKI) unless the peer has named its own in an offer; then ours has
//! the same name, for what we send. Otherwise it stays, so that a description that changes
//! nothing is the same octets again; a trunk may want another with every negotiation (`srtp_roc`). What an offer changes holds when it is answered; of one that is
//! refused, [`super::Session::restore`] leaves nothing.

use super::Part;
use crate::{
    sdp::{CryptoLine, MediaRemote, Sdp},
    snapshot::{Srtp, SrtpOffer, TrunkMedia},
    transaction::{Extra, Reply},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};
use sbc_media::{
    relay::{Keys, OutletParams, Roc},
    srtp::{MasterKey, Suite},
    stream::CLOCK_RATE_DEFAULT,
};
use std::net::SocketAddr;
use zeroize::Zeroize;

/// Where keys come from: ChaCha20, whose stream cannot be told from random octets, nor one part of it from
/// another, by who does not know its seed.
///
/// The core reads no entropy of its own. The daemon seeds it with 256 bits of the operating system's
/// ([`crate::shard::Shard::seed_keys`]); until then, as in tests and the simulator, the shard's 64-bit seed
/// does, so that the same seed gives the same octets.
pub(crate) struct KeySource(ChaCha20Rng);

impl KeySource {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    pub(crate) fn of_entropy(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// A stream of our own begins: SSRC, sequence number and timestamp (RFC 3550 §5.1), the number in the lower
    /// half (RFC 3711 §3.3.1). The clock is that of G.711 until something is relayed.
    pub(crate) fn stream(&mut self) -> OutletParams {
        OutletParams {
            ssrc: self.0.next_u32(),
            sequence: (self.0.next_u32() & 0x7fff) as u16,
            timestamp: self.0.next_u32(),
            clock_rate: CLOCK_RATE_DEFAULT,
            step: CLOCK_RATE_DEFAULT / 50,
        }
    }

    fn line(&mut self, tag: u32, suite: Suite) -> Option<CryptoLine> {
        let mut bytes = [0; 64];
        let bytes = bytes.get_mut(..suite.key_bytes() + suite.salt_bytes())?;
        self.0.fill_bytes(bytes);
        let key = MasterKey::new(suite, bytes).ok();
        bytes.zeroize();
        Some(CryptoLine { tag, key: key? })
    }
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeySource")
    }
}

/// Why a description is of no use to the side it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No audio that can be anchored.
    Media,
    /// SRTP is wanted and not there, or the other way round.
    Security,
    /// The trunks have no codec in common.
    Codecs,
    /// Media wanted at an address of a family that the trunk's media interface is not of.
    Family,
}

impl Unfit {
    /// How an offer is refused (RFC 3261 §21.4.26, §20.43).
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Media => Reply::new(488),
            Self::Security => Reply::with(488, Extra::Warning(302, "Incompatible transport protocol")),
            Self::Family => Reply::with(488, Extra::Warning(301, "Incompatible network address formats")),
            Self::Codecs => Reply::with(488, Extra::Warning(305, "Incompatible media format")),
        }
    }
}

/// The m-line of a description that is anchored.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    /// Over `RTP/SAVP`.
    savp: bool,
    /// The peer's key; `None`: plain RTP.
    line: Option<CryptoLine>,
}

impl Chosen {
    fn plain(index: usize) -> Self {
        Self {
            index,
            savp: false,
            line: None,
        }
    }
}

/// What of an offer of a trunk with `media` is anchored: its first stream of audio that is as the trunk
/// wants it, with its first line that is.
pub(crate) fn choose(sdp: &Sdp<'_>, media: &TrunkMedia) -> Result<Chosen, Unfit> {
    let mut unfit = Unfit::Media;
    for (index, stream) in sdp.medias().iter().enumerate() {
        let Some(remote) = sdp.remote_of(index).ok().filter(|_| stream.is_audio()) else {
            continue;
        };
        if !reaches(media, &remote) {
            unfit = Unfit::Family;
            continue;
        }
        if media.srtp == Srtp::Disabled {
            if !stream.is_secure() {
                return Ok(Chosen::plain(index));
            }
            continue;
        }
        let line = stream
            .crypto()
            .find(|line| media.srtp_suites.contains(&line.key.suite()));
        if line.is_some() || (media.srtp == Srtp::Optional && !stream.is_secure()) {
            return Ok(Chosen {
                index,
                savp: stream.is_secure(),
                line,
            });
        }
        unfit = Unfit::Security;
    }
    Err(unfit)
}

/// Whether a trunk's interface can send to where its peer wants media. On hold that may be nowhere.
fn reaches(media: &TrunkMedia, remote: &MediaRemote) -> bool {
    remote.held || remote.rtp.is_ipv6() == media.ipv6
}

/// What of an answer to the offer that `told` says is anchored; `Ok(None)`: the audio was refused.
pub(crate) fn choose_answer(
    sdp: &Sdp<'_>,
    media: &TrunkMedia,
    told: Option<&Security>,
) -> Result<Option<Chosen>, Unfit> {
    let Some(told) = told.filter(|told| !told.ours.is_empty()) else {
        let first = sdp.first_audio();
        let remote = first.and_then(|index| sdp.remote_of(index).ok());
        return match remote.is_none_or(|remote| reaches(media, &remote)) {
            true => Ok(first.map(Chosen::plain)),
            false => Err(Unfit::Family),
        };
    };
    let usable = |&index: &usize| sdp.medias()[index].is_audio() && sdp.remote_of(index).is_ok();
    let Some(index) = (0..sdp.medias().len()).find(usable) else {
        return Ok(None);
    };
    if sdp.remote_of(index).is_ok_and(|remote| !reaches(media, &remote)) {
        return Err(Unfit::Family);
    }
    let stream = &sdp.medias()[index];
    let line = stream
        .crypto()
        .find(|line| told.ours.iter().any(|own| own.is_like(line)));
    if line.is_none() && (told.savp || stream.is_secure() || media.srtp == Srtp::Required) {
        return Err(Unfit::Security);
    }
    Ok(Some(Chosen {
        index,
        savp: stream.is_secure(),
        line,
    }))
}

/// What protects a leg of a trunk with SRTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    /// The m-line is `RTP/SAVP`.
    pub(super) savp: bool,
    /// The lines of our last description; an answer has one.
    ours: Vec<CryptoLine>,
    /// The line of the peer that holds.
    theirs: Option<CryptoLine>,
    /// Offer and answer have been exchanged, or an offer of the peer is being answered: what they
    /// came to, SRTP or not, stays.
    settled: bool,
    /// Where the peer wanted its packets when it last named a place.
    rtp: Option<SocketAddr>,
    /// The peer has another place and another key: what it counts begins anew with these keys (§7.1.4).
    fresh: bool,
    /// The peer has refused `RTP/SAVP`: it is offered plain RTP.
    refused: bool,
    /// What our rollover counters do when our key changes.
    roc: Roc,
}

/// What the relay shall do with a leg.
pub(super) enum Protection {
    /// Plain RTP.
    Plain,
    /// SRTP with these.
    Srtp(Keys),
    /// As before, until an offer is answered. Before the first answer the relay takes nothing from the
    /// peer.
    Unchanged,
}

impl Security {
    /// The security of a leg whose trunk has `media`.
    pub(super) fn of<'s>(state: &'s mut Option<Box<Self>>, media: &TrunkMedia) -> &'s mut Self {
        let state = state.get_or_insert_default();
        state.roc = media.srtp_roc;
        state
    }

    /// The peer has refused our offer of `RTP/SAVP`, and its trunk has `media`: whether it can be offered plain RTP
    /// now.
    pub(super) fn fall_back(&mut self, media: &TrunkMedia) -> bool {
        let possible = media.srtp == Srtp::Optional && self.savp && !self.settled && !self.ours.is_empty();
        if possible {
            *self = Self {
                refused: true,
                ..Self::default()
            };
        }
        possible
    }

    /// Get ready to describe an offer to the peer.
    pub(super) fn offer(state: &mut Option<Box<Self>>, media: &TrunkMedia, source: &mut KeySource) {
        if media.srtp == Srtp::Disabled {
            return;
        }
        let state = Self::of(state, media);
        if state.settled {
            state.renew();
            state.answer(source);
        } else if state.ours.is_empty() && !state.refused {
            state.savp = media.srtp == Srtp::Required || media.srtp_offer == SrtpOffer::Savp;
            let suites = (1..).zip(&media.srtp_suites);
            state.ours = suites
                .filter_map(|(tag, suite)| source.line(tag, *suite))
                .collect();
        }
    }

    /// What was agreed on is negotiated again. A peer that expects our counters to begin anew then gets another key:
    /// they must not under the same one (RFC 3711 §9.1).
    fn renew(&mut self) {
        if self.settled && self.roc == Roc::Reset {
            self.ours.clear();
        }
    }

    /// Get ready to describe the answer to the peer's offer, or what was agreed on once more.
    pub(super) fn answer(&mut self, source: &mut KeySource) {
        self.keep_settled();
        if let (Some(theirs), true) = (&self.theirs, self.ours.is_empty()) {
            let line = source.line(theirs.tag, theirs.key.suite());
            // A peer that names its keys has ours named, too, in as many octets: some expect that of an answer.
            let named = |line: CryptoLine| match theirs.key.mki() {
                Some(mki) => CryptoLine {
                    tag: line.tag,
                    key: line.key.identified(mki.clone()),
                },
                None => line,
            };
            self.ours.extend(line.map(named));
        }
    }

    /// Drop the lines that the peer did not choose.
    fn keep_settled(&mut self) {
        let theirs = self.theirs.as_ref();
        self.ours
            .retain(|own| theirs.is_some_and(|theirs| theirs.is_like(own)));
    }

    /// Our last description may be sent again: whether it still has lines that the peer did not choose,
    /// which are dropped. Of the rest the tag is given.
    pub(super) fn narrow(&mut self) -> Option<Option<u32>> {
        let before = self.ours.len();
        if self.settled {
            self.keep_settled();
        }
        (self.ours.len() < before).then(|| self.ours.first().map(|own| own.tag))
    }

    /// The peer's description is agreed, or about to be answered. `rtp`: where it wants packets.
    pub(super) fn hear(&mut self, chosen: &Chosen, part: Part, rtp: Option<SocketAddr>) {
        let moved = self.rtp.is_some() && rtp.is_some() && rtp != self.rtp;
        if part == Part::Offer && (moved || self.renames(chosen)) {
            self.ours.clear();
            self.fresh |= moved && self.theirs != chosen.line;
        } else if part == Part::Offer {
            self.renew();
        }
        self.rtp = rtp.or(self.rtp);
        self.savp = chosen.savp;
        self.theirs.clone_from(&chosen.line);
        self.settled = true;
    }

    /// The peer's offer names its keys otherwise than our line does ours, or no longer: ours is another one then.
    fn renames(&self, chosen: &Chosen) -> bool {
        let theirs = chosen.line.as_ref();
        let agreed = self.ours.first().filter(|_| self.settled);
        agreed
            .zip(theirs)
            .is_some_and(|(own, theirs)| own.key.mki() != theirs.key.mki())
    }

    pub(super) fn lines(&self) -> &[CryptoLine] {
        &self.ours
    }

    pub(super) fn protection(&self) -> Protection {
        if !self.settled {
            return Protection::Unchanged;
        }
        let Some(theirs) = &self.theirs else {
            return Protection::Plain;
        };
        match self.ours.iter().find(|own| own.is_like(theirs)) {
            Some(own) => Protection::Srtp(Keys {
                receive: theirs.key.clone(),
                send: own.key.clone(),
                roc: self.roc,
            }),
            None => Protection::Unchanged,
        }
    }

    /// Whether the relay must forget what it has counted under the keys of before; asked once.
    pub(super) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// The suite, once there is one.
    pub(super) fn suite(&self) -> Option<Suite> {
        self.theirs.as_ref().map(|line| line.key.suite())
    }
}
