//! The receiving side of one direction.

use super::{
    MasterKey, RTCP_HEADER_LEN, RTP_INDICES, Refused,
    gcm::BadTag,
    source::{Source, Sources, Window},
    transform::Session,
};
use crate::rtp::{self, be16, be32};
use core::fmt;

/// SSRCs that a receiver knows. A peer changes its own with every transfer and announcement behind
/// it, and comes back to an earlier one after a hold.
const SOURCES: usize = 16;

/// The longest packet that is tried more than once; no RTP packet of audio comes near it.
const RETRIED_LEN_MAX: usize = 2048;

/// Unprotects what one peer sends us under one key.
///
/// Nothing changes before a packet is authentic, and then the index of its SSRC advances and its own
/// is remembered, so that it passes once. A packet may be up to 127 numbers behind the newest.
///
/// Sixteen SSRCs are known, for RTP and for RTCP each. One more takes the place of the one that has
/// been silent the longest, if that was for 256 packets of others. So whoever has the key can make
/// us forget silent SSRCs, which harms only streams of its own, and never one that is being heard.
/// Whoever does not have it could replay packets of a forgotten SSRC, should that have been at
/// rollover counter 0; they are heard as a stream of its own, once.
pub struct Receiver {
    session: Session,
    rtp: Sources<SOURCES>,
    rtcp: Sources<SOURCES>,
}

impl Receiver {
    /// A receiver that has heard nothing.
    pub fn new(key: &MasterKey) -> Self {
        Self {
            session: Session::new(key),
            rtp: Sources::new(),
            rtcp: Sources::new(),
        }
    }

    /// Go on under another key. A peer is expected to keep its rollover counters, as RFC 3711 §3.3.1
    /// says, or to begin again at 0, as many do: the first packet of an SSRC shows which.
    pub fn rekey(&mut self, key: &MasterKey) {
        *self = self.rekeyed(key);
    }

    /// What [`Self::rekey`] makes of this one, for as long as packets under both keys may come.
    pub fn rekeyed(&self, key: &MasterKey) -> Self {
        let mut rtp = self.rtp.clone();
        rtp.unsettle();
        Self {
            session: Session::new(key),
            rtp,
            // RTCP carries its whole index, and nothing under the new key can be a repetition.
            rtcp: Sources::new(),
        }
    }

    /// Go on under the same key, which packets name in another way now, or which has others beside it. What has been
    /// heard under it stays known.
    pub fn reidentify(&mut self, key: &MasterKey) {
        self.session = Session::new(key);
    }

    /// Check and decrypt the SRTP packet that is `buffer[..len]`. Returns the length of the RTP
    /// packet that `buffer` begins with then. Its padding is yet to be checked.
    #[inline]
    pub fn unprotect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Refused> {
        let packet = buffer.get_mut(..len).ok_or(Refused::Malformed)?;
        let header_len = rtp::header_len(packet)?;
        if len < header_len + self.session.rtp.rtp_overhead() {
            return Err(Refused::Malformed);
        }
        let (sequence, ssrc) = (be16(&packet[2..4]), be32(&packet[8..12]));
        let Some(Source {
            window,
            settled: true,
            ..
        }) = self.rtp.find(ssrc)
        else {
            return self.first_of_source(packet, header_len, sequence, ssrc);
        };
        let index = likely_index(window, sequence);
        if index >= RTP_INDICES {
            return Err(Refused::Exhausted);
        }
        if !window.is_new(index) {
            return Err(Refused::Replayed);
        }
        let len = self.session.rtp.open_rtp(packet, header_len, ssrc, index)?;
        self.rtp.insert(index);
        Ok(len)
    }

    /// A packet of an SSRC of which none has passed under this key, where there is more than one
    /// likely index.
    #[cold]
    fn first_of_source(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        sequence: u16,
        ssrc: u32,
    ) -> Result<usize, Refused> {
        let kept = self.rtp.find(ssrc).map(|source| source.window);
        let begun = u64::from(sequence);
        let candidates = [
            // Indices that went on over a change of keys.
            kept.map(|window| likely_index(&window, sequence))
                .filter(|index| *index != begun && *index < RTP_INDICES),
            // A stream that has begun lately.
            Some(begun),
            // One that began shortly before a wrap while we did not listen, or had no key yet.
            // RFC 3711 §3.3.1 has receivers miss it for the rest of the call.
            (sequence < 0x8000).then_some(begun | 1 << 16),
        ];
        // A wrong guess may destroy the packet, so each one has a copy to itself.
        let mut copy = [0; RETRIED_LEN_MAX];
        let mut copy = copy.get_mut(..packet.len());
        if let Some(copy) = &mut copy {
            copy.copy_from_slice(packet);
        }
        for index in candidates.into_iter().flatten() {
            if let Ok(len) = self.session.rtp.open_rtp(packet, header_len, ssrc, index) {
                // Indices that went on keep the highest so far, if this packet is only a little late.
                let goes_on = self.rtp.find(ssrc).is_some_and(|source| {
                    source.settled = source.window.is_new(index);
                    source.settled
                });
                if goes_on {
                    self.rtp.insert(index);
                } else if !self.rtp.begin(ssrc, index, |_, silent| silent) {
                    return Err(Refused::TooManySources);
                }
                return Ok(len);
            }
            match &copy {
                Some(copy) => packet.copy_from_slice(copy),
                None => break,
            }
        }
        Err(Refused::BadTag)
    }

    /// Check the SRTCP packet that is `buffer[..len]`, and decrypt it unless its E bit says that it
    /// is plain. Returns the length of the RTCP packet that `buffer` begins with then.
    pub fn unprotect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Refused> {
        let packet = buffer.get_mut(..len).ok_or(Refused::Malformed)?;
        if len < RTCP_HEADER_LEN + self.session.rtcp.rtcp_overhead() || packet[0] >> 6 != 2 {
            return Err(Refused::Malformed);
        }
        let ssrc = be32(&packet[4..8]);
        let word = self.session.rtcp.rtcp_word(packet)?;
        let index = word.index().into();
        let known = match self.rtcp.find(ssrc) {
            Some(source) if !source.window.is_new(index) => return Err(Refused::Replayed),
            known => known.is_some(),
        };
        let len = self.session.rtcp.open_rtcp(packet, ssrc, word)?;
        if known {
            self.rtcp.insert(index);
        } else if !self.rtcp.begin(ssrc, index, |_, silent| silent) {
            return Err(Refused::TooManySources);
        }
        Ok(len)
    }
}

/// The index that a packet of a known SSRC most likely has. Before index 0 there is nothing, so a
/// sequence number that far back has leapt ahead at rollover counter 0: RFC 3711 appendix A would
/// say that the counter is 2^32 - 1, which cannot be.
#[inline]
fn likely_index(window: &Window, sequence: u16) -> u64 {
    window.guess(sequence).unwrap_or(sequence.into())
}

impl From<BadTag> for Refused {
    fn from(_: BadTag) -> Self {
        Self::BadTag
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("suite", &self.session.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{Suite, transform::Session};

    #[test]
    fn a_stream_ends_with_the_last_index_of_its_key() {
        let key = MasterKey::new(Suite::AesCm256Sha1_80, &[1; 46]).unwrap();
        let session = Session::new(&key);
        let mut receiver = Receiver::new(&key);
        let ssrc = 0x8080_8080;
        let open = |receiver: &mut Receiver, index: u64| {
            let mut packet = [0x80; 50];
            packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            session.rtp.seal_rtp(&mut packet, 12, ssrc, index);
            receiver.unprotect(&mut packet, 50)
        };
        receiver.rtp.begin(ssrc, RTP_INDICES - 3, |_, _| false);
        assert_eq!(open(&mut receiver, RTP_INDICES - 2), Ok(40));
        assert_eq!(open(&mut receiver, RTP_INDICES), Err(Refused::Exhausted));
        assert_eq!(open(&mut receiver, RTP_INDICES - 1), Ok(40));
        assert_eq!(open(&mut receiver, RTP_INDICES + 1), Err(Refused::Exhausted));
        assert_eq!(open(&mut receiver, RTP_INDICES - 1), Err(Refused::Replayed));
    }
}
