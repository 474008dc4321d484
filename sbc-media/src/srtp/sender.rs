//! The sending side of one direction.

use super::{
    MasterKey, RTCP_HEADER_LEN, RTCP_INDICES, RTP_INDICES, Unprotected, source::Sources, transform::Session,
};
use crate::rtp::{self, be16, be32};
use core::fmt;

/// SSRCs that a sender knows. It must not forget one while its key is in use: when that SSRC came
/// back, its indices would begin anew and be used twice.
const SOURCES: usize = 32;

/// Protects what we send to one peer under one key.
///
/// Every SSRC has a rollover counter of its own, which begins at 0 and follows the sequence numbers
/// of the packets that pass, including those that come late. The sequence numbers of an SSRC must
/// not jump by 2^15 or more: no receiver could follow (RFC 3711 §3.3.1). Where a stream jumps, give
/// it another SSRC or renumber it. Nor can there be more than 32 SSRCs under one key, so one that
/// takes SSRCs from strangers gives its own to what it sends.
pub struct Sender {
    session: Session,
    rtp: Sources<SOURCES>,
    /// Of the next SRTCP packet, whatever its SSRC: all count together, which leaves gaps that
    /// receivers know from loss, and needs no memory of SSRCs.
    rtcp_index: u32,
    /// SRTCP packets under this key.
    rtcp_sent: u32,
}

impl Sender {
    /// A sender that has sent nothing.
    pub fn new(key: &MasterKey) -> Self {
        Self {
            session: Session::new(key),
            rtp: Sources::new(),
            rtcp_index: 0,
            rtcp_sent: 0,
        }
    }

    /// Go on under another key. Rollover counters and the index of RTCP go on, too, as RFC 3711
    /// §3.3.1 and §3.2.1 say. For a peer that has begun anew itself, take a new `Sender`; never under
    /// a key that has been used before.
    pub fn rekey(&mut self, key: &MasterKey) {
        self.session = Session::new(key);
        self.rtp.unsettle();
        self.rtcp_sent = 0;
    }

    /// Go on under the same key, which packets name in another way now.
    pub fn reidentify(&mut self, key: &MasterKey) {
        self.session = Session::new(key);
    }

    /// Protect the RTP packet that is `buffer[..len]`: encrypt what follows its header, CSRC list and
    /// extension, and write the tag behind it. Returns the new length.
    #[inline]
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Unprotected> {
        let packet = buffer.get(..len).ok_or(Unprotected::Malformed)?;
        let header_len = rtp::header_len(packet)?;
        let (sequence, ssrc) = (be16(&packet[2..4]), be32(&packet[8..12]));
        let new_len = len + self.session.rtp.rtp_overhead();
        let packet = buffer.get_mut(..new_len).ok_or(Unprotected::NoRoom)?;
        let index = match self.rtp.find(ssrc) {
            Some(source) => {
                // Before index 0 there is nothing. That is a packet from before the first one that
                // we saw, come late and over a wrap; the peer could not tell its index either.
                let index = source.window.guess(sequence).ok_or(Unprotected::Repeated)?;
                if index >= RTP_INDICES {
                    return Err(Unprotected::Exhausted);
                }
                if !source.window.is_new(index) {
                    return Err(Unprotected::Repeated);
                }
                source.settled = true;
                self.rtp.insert(index);
                index
            }
            None => {
                let index = sequence.into();
                // One that has sent nothing under this key has nothing to repeat.
                if !self.rtp.begin(ssrc, index, |source, _| !source.settled) {
                    return Err(Unprotected::TooManySources);
                }
                index
            }
        };
        self.session.rtp.seal_rtp(packet, header_len, ssrc, index);
        Ok(new_len)
    }

    /// Protect the RTCP packet, compound or not, that is `buffer[..len]`: encrypt what follows its
    /// first SSRC, and write index and tag behind it. Returns the new length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Unprotected> {
        let packet = buffer.get(..len).ok_or(Unprotected::Malformed)?;
        if len < RTCP_HEADER_LEN || packet[0] >> 6 != 2 {
            return Err(Unprotected::Malformed);
        }
        let ssrc = be32(&packet[4..8]);
        let new_len = len + self.session.rtcp.rtcp_overhead();
        let packet = buffer.get_mut(..new_len).ok_or(Unprotected::NoRoom)?;
        if self.rtcp_sent == RTCP_INDICES {
            return Err(Unprotected::Exhausted);
        }
        self.session.rtcp.seal_rtcp(packet, ssrc, self.rtcp_index);
        self.rtcp_sent += 1;
        self.rtcp_index = (self.rtcp_index + 1) % RTCP_INDICES;
        Ok(new_len)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("suite", &self.session.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Suite;

    fn sender() -> Sender {
        Sender::new(&MasterKey::new(Suite::AeadAes128Gcm, &[1; 28]).unwrap())
    }

    fn packet(sequence: u16) -> [u8; 64] {
        let mut packet = [0x80; 64];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet
    }

    #[test]
    fn a_key_ends_with_its_last_rtp_index() {
        let mut sender = sender();
        sender.rtp.begin(0x8080_8080, RTP_INDICES - 3, |_, _| false);
        for (sequence, expected) in [
            (0xfffe, Ok(56)),
            (0xffff, Ok(56)),
            (0, Err(Unprotected::Exhausted)),
            (1, Err(Unprotected::Exhausted)),
        ] {
            assert_eq!(sender.protect(&mut packet(sequence), 40), expected);
        }
    }

    #[test]
    fn a_key_ends_with_its_last_rtcp_packet() {
        let mut sender = sender();
        (sender.rtcp_index, sender.rtcp_sent) = (RTCP_INDICES - 1, RTCP_INDICES - 1);
        assert_eq!(sender.protect_rtcp(&mut packet(0), 40), Ok(60));
        assert_eq!(
            sender.protect_rtcp(&mut packet(0), 40),
            Err(Unprotected::Exhausted)
        );
        sender.rekey(&MasterKey::new(Suite::AeadAes128Gcm, &[2; 28]).unwrap());
        assert_eq!(sender.protect_rtcp(&mut packet(0), 40), Ok(60));
    }
}
