//! Packets that name their key (RFC 3711 §3.1): a transform around others, one for each MKI.
//!
//! ```text
//! AES-CM   RTP    header | encrypted | MKI | tag
//!          RTCP   8 octets | encrypted | E, index | MKI | tag
//! AES-GCM  RTP    header | encrypted | tag | MKI                   RFC 7714 §8.2
//!          RTCP   8 octets | encrypted | tag | E, index | MKI      RFC 7714 §9.2
//! ```
//!
//! No tag covers the MKI: without it a packet is what its key alone makes of it. So it is put in where a packet is ready,
//! and taken out, and the key with it chosen, before one is looked at.

use super::{
    gcm::BadTag,
    mki::Mki,
    transform::{RtcpWord, Transform},
};
use crate::srtp::Refused;

/// Transforms of one kind, by their MKIs, all of one length.
pub(super) struct Identified {
    /// What leaves has the first.
    mki: Mki,
    transform: Transform,
    further: Vec<(Mki, Transform)>,
    /// Octets of a packet behind its MKI.
    behind: usize,
}

impl Identified {
    pub(super) fn new(mki: Mki, transform: Transform) -> Self {
        Self {
            mki,
            behind: transform.behind_mki(),
            transform,
            further: Vec::new(),
        }
    }

    /// Packets that come may have this one, too.
    pub(super) fn add(&mut self, mki: Mki, transform: Transform) {
        self.further.push((mki, transform));
    }

    fn mki_len(&self) -> usize {
        self.mki.octets().len()
    }

    /// Octets by which protecting makes an RTP packet longer.
    pub(super) fn rtp_overhead(&self) -> usize {
        self.transform.rtp_overhead() + self.mki_len()
    }

    /// Have `seal` protect a packet, whose room ends with that for the MKI, and put that in its place.
    pub(super) fn seal(&self, packet: &mut [u8], seal: impl FnOnce(&Transform, &mut [u8])) {
        let len = packet.len() - self.mki_len();
        seal(&self.transform, &mut packet[..len]);
        let place = len - self.behind;
        packet.copy_within(place..len, place + self.mki_len());
        packet[place..place + self.mki_len()].copy_from_slice(self.mki.octets());
    }

    /// The transform that a packet names, and the packet without its MKI. An MKI that nobody has told us of is as
    /// good as a wrong tag.
    pub(super) fn named<'p>(&self, packet: &'p mut [u8]) -> Result<(&Transform, &'p mut [u8]), BadTag> {
        let end = packet.len().checked_sub(self.behind).ok_or(BadTag)?;
        let place = end.checked_sub(self.mki_len()).ok_or(BadTag)?;
        let mki = packet.get(place..end).ok_or(BadTag)?;
        let transform = if mki == self.mki.octets() {
            &self.transform
        } else {
            let known = self.further.iter().find(|(known, _)| known.octets() == mki);
            known.map(|(_, transform)| transform).ok_or(BadTag)?
        };
        packet.copy_within(end.., place);
        let len = place + self.behind;
        Ok((transform, packet.get_mut(..len).ok_or(BadTag)?))
    }

    /// The word of E bit and index of an RTCP packet: right before the MKI in all suites.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> Result<RtcpWord, Refused> {
        let place = packet.len().checked_sub(self.behind + self.mki_len());
        place
            .and_then(|place| packet.get(..place)?.last_chunk())
            .map(|word| RtcpWord::new(*word))
            .ok_or(Refused::Malformed)
    }
}
