//! What becomes of a packet by its payload type: the numbers and the G.711 law of the other side.
//!
//! In: a table that negotiation has made, and RTP packets of one peer. Out: the same packets with
//! the payload type, and the law, that the other peer expects. Sequence number, timestamp, SSRC and
//! marker stay; a sample is an octet in both laws, so lengths do, too.

use super::DropReason;
use crate::{g711, rtp};

/// What is done with packets of one payload type. The number is the payload type that they leave
/// with, 0 to 127.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Pass,
    /// Another number for the same format (RFC 3264 §5.1: each side receives with its own numbers).
    Renumber(u8),
    /// A-law becomes µ-law (G.711 table 4).
    AlawToUlaw(u8),
    /// µ-law becomes A-law (G.711 table 3).
    UlawToAlaw(u8),
    /// The other side has not agreed to it: [`DropReason::Format`].
    Drop,
}

/// An [`Action`] for each payload type that may be received. Only G.711 itself may go through the
/// laws' tables: comfort noise (RFC 3389) and telephone events (RFC 4733) pass or are renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats(pub [Action; 128]);

impl Formats {
    /// Everything passes.
    pub const PASS: Self = Self([Action::Pass; 128]);

    /// Carry out the action for `packet` in place.
    pub(super) fn apply(&self, packet: &mut [u8]) -> Result<(), DropReason> {
        let mut packet = rtp::Packet::new_checked(packet).map_err(|_| DropReason::Malformed)?;
        let to = match self.0[usize::from(packet.payload_type())] {
            Action::Pass => return Ok(()),
            Action::Renumber(to) => to,
            Action::AlawToUlaw(to) => {
                g711::alaw_to_ulaw(packet.payload_mut());
                to
            }
            Action::UlawToAlaw(to) => {
                g711::ulaw_to_alaw(packet.payload_mut());
                to
            }
            Action::Drop => return Err(DropReason::Format),
        };
        packet.set_payload_type(to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_four_cache_lines() {
        assert_eq!(size_of::<Formats>(), 256);
    }
}
