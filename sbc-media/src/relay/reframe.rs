//! Packets of the other side that leave with another length (`a=ptime`).
//!
//! In: packets on their way to a peer whose outlet has a [`Repacketizer`]. Out: those that pass as they are, numbered as its
//! count goes on; of all others the pieces, when they are due, among what is of our own ([`Relay::poll_transmit`]). The outlet
//! takes the repacketizer for the source: whatever it knows of sources holds for pieces.

use super::{DropReason, MediaEvent, MediaSocket, Outlet, PairIndex, Relay, Verdict};
use crate::{
    repacketize::{Arrival, Framing, Pushed, Repacketizer},
    rtp,
    splice::Numbers,
    time::Timestamp,
};
use core::time::Duration;

fn arrival<'p>(packet: &'p rtp::Packet<&[u8]>) -> Arrival<'p> {
    Arrival {
        ssrc: packet.ssrc(),
        sequence: packet.sequence(),
        timestamp: packet.timestamp(),
        marker: packet.marker(),
        payload_type: packet.payload_type(),
        payload: packet.payload(),
    }
}

impl Outlet {
    /// When a piece is due, if nothing arrives before.
    pub(super) fn piece_due(&self) -> Option<Timestamp> {
        self.repacketizer.as_ref()?.poll_timeout()
    }

    /// What waits does not leave.
    pub(super) fn clear_pieces(&mut self) {
        if let Some(repacketizer) = &mut self.repacketizer {
            repacketizer.clear();
        }
    }

    fn set_framing(&mut self, framing: Option<&Framing>) {
        if self.framing().as_ref() == framing {
            return;
        }
        self.repacketizer = framing.map(|framing| Box::new(Repacketizer::new(*framing)));
        // Numbers are another's from now on.
        self.splice.part();
        if let Some(framing) = framing {
            let micros = framing.frame() as u64 * 125;
            self.splice.set_packet_time(Duration::from_micros(micros));
        }
    }

    fn framing(&self) -> Option<Framing> {
        Some(self.repacketizer.as_ref()?.framing())
    }

    /// Write the piece that is due to the front of `buffer`: its length. `clock_rate`: of what it came in.
    fn write_piece(&mut self, now: Timestamp, clock_rate: u32, buffer: &mut [u8]) -> Option<usize> {
        if self.displaces() {
            self.clear_pieces();
            return None;
        }
        let Self {
            splice, repacketizer, ..
        } = self;
        let piece = repacketizer.as_mut()?.next_piece(now)?;
        if piece.place.anew {
            splice.part();
        }
        let numbers = splice.forward(now, piece.ssrc, piece.place.sequence, piece.timestamp)?;
        splice.set_clock_rate(clock_rate);
        let numbers = Numbers {
            marker: numbers.marker || piece.marker,
            ..numbers
        };
        let start = numbers.write(piece.payload_type, buffer)?;
        let len = piece.payload.len();
        buffer.get_mut(start..start + len)?.copy_from_slice(piece.payload);
        self.count(now, len);
        Some(start + len)
    }
}

impl Relay {
    /// What is relayed to the peer of `pair` leaves as `framing` says. It needs an outlet ([`Relay::set_outlet`]), with which
    /// it ends; a framing that is the same goes on. `None`: in packets as they come.
    pub fn set_framing(&mut self, pair: PairIndex, framing: Option<&Framing>) {
        if self
            .outlet(pair)
            .is_none_or(|outlet| outlet.framing().as_ref() == framing)
        {
            return;
        }
        self.change_extras(pair, |extras| {
            if let Some(outlet) = &mut extras.outlet {
                outlet.set_framing(framing);
            }
        });
        self.schedule(pair);
    }

    /// How what is relayed to the peer of `pair` leaves; `None`: in packets as they come.
    pub fn framing(&self, pair: PairIndex) -> Option<Framing> {
        self.outlet(pair)?.framing()
    }

    /// Step of the walk: what is to leave from `out` has, or gets, the length that its peer wants. `Ok`: as it is.
    pub(super) fn reframe(
        &mut self,
        now: Timestamp,
        out: u32,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<(), DropReason> {
        let bytes = buffer.get_mut(..len).ok_or(DropReason::Malformed)?;
        let leaves = self.route(out, len);
        let pair = MediaSocket(out).pair();
        let outlet = self.outlet_mut(pair).ok_or(DropReason::NoSession)?;
        let displaced = outlet.displaces();
        let Some(repacketizer) = &mut outlet.repacketizer else {
            return Ok(());
        };
        let packet = rtp::Packet::new_checked(&*bytes).map_err(|_| DropReason::Malformed)?;
        let arrival = arrival(&packet);
        if leaves.is_err() || displaced {
            repacketizer.skip(now, &arrival);
            repacketizer.clear();
            return leaves.and(Err(DropReason::Displaced));
        }
        match repacketizer.push(now, &arrival) {
            Pushed::Passes(place) => {
                if place.anew {
                    outlet.splice.part();
                }
                let mut packet = rtp::Packet::new_checked(bytes).map_err(|_| DropReason::Malformed)?;
                packet.set_sequence(place.sequence);
                Ok(())
            }
            Pushed::Taken => {
                self.schedule(pair);
                Err(DropReason::Reframed)
            }
            Pushed::Late | Pushed::Full => Err(DropReason::Displaced),
        }
    }

    /// `packet`, on its way to leave from `out`, does not: those after it close up.
    pub(super) fn omit(&mut self, now: Timestamp, out: u32, packet: &[u8]) {
        let Some(outlet) = self.outlet_mut(MediaSocket(out).pair()) else {
            return;
        };
        match (&mut outlet.repacketizer, rtp::Packet::new_checked(packet)) {
            (Some(repacketizer), Ok(packet)) => repacketizer.skip(now, &arrival(&packet)),
            (Some(_), Err(_)) => {}
            (None, _) => outlet.omit(now, packet),
        }
    }

    /// The piece that is due to the peer of `pair`.
    pub(super) fn transmit_piece(
        &mut self,
        now: Timestamp,
        pair: PairIndex,
        buffer: &mut [u8],
    ) -> Option<Verdict> {
        let source = MediaSocket(self.socket(pair.rtp())?.partner);
        let clock_rate = self.clock_rate(source);
        let outlet = self.outlet_mut(pair)?;
        let len = outlet.write_piece(now, clock_rate, buffer)?;
        if outlet.give_way() {
            self.events.push_back((pair, MediaEvent::Yielded));
        }
        self.originated(pair, buffer, len).ok()
    }
}
