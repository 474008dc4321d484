//! What happens to one packet between the socket that received it and the one that it leaves from.

use super::{DropReason, Link, MediaSocket, NOBODY, Relay, Verdict, enqueue};
use crate::{
    latch::Observed,
    rtcp::{self, Kind},
    rtp,
    time::Timestamp,
};
use core::net::SocketAddr;

impl Relay {
    /// Decide what to do with a packet received at `now` on `socket` from `from`. It is the first
    /// `len` octets of `buffer`; what is behind them is room for it to grow. In place, no allocation:
    /// what leaves are the first octets of the same buffer, as many as the verdict says. Payload type,
    /// sequence, timestamp, SSRC and marker pass as they came.
    #[inline]
    pub fn forward(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Verdict {
        self.counters.received += 1;
        match self.walk(now, socket, from, buffer, len) {
            Ok(verdict) => {
                self.counters.forwarded += 1;
                verdict
            }
            Err(reason) => {
                self.counters.dropped(reason);
                if let Some(slot) = self.sockets.get_mut(socket.0 as usize) {
                    slot.stream.dropped(reason);
                }
                Verdict::Drop(reason)
            }
        }
    }

    #[inline]
    fn walk(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Verdict, DropReason> {
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        let out = self.accept(now, socket, from, packet)?;
        self.route(out, len)
    }

    /// Check a packet's form and source and count it; the result is the socket to send from.
    #[inline]
    fn accept(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        packet: &[u8],
    ) -> Result<u32, DropReason> {
        let slot = self
            .sockets
            .get_mut(socket.0 as usize)
            .ok_or(DropReason::NoSession)?;
        if !slot.active {
            return Err(DropReason::NoSession);
        }
        if socket.is_rtcp() || Kind::of(packet) != Kind::Rtp {
            return self.accept_rtcp(now, socket, from, packet);
        }
        let header = rtp::Packet::new_checked(packet).map_err(|_| DropReason::Malformed)?;
        match slot.latch.observe(now, from) {
            Observed::Accepted => {}
            Observed::Locked => enqueue(&mut self.pending, slot, socket),
            Observed::Refused => return Err(DropReason::WrongSource),
        }
        slot.stream.received(now, packet.len(), &header);
        Ok(slot.partner)
    }

    /// RTCP, on its own socket or on the RTP socket of a peer that multiplexes.
    fn accept_rtcp(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        packet: &[u8],
    ) -> Result<u32, DropReason> {
        if Kind::of(packet) != Kind::Rtcp || rtcp::Compound::new_checked(packet).is_err() {
            return Err(DropReason::Malformed);
        }
        let own = self
            .sockets
            .get_mut(socket.0 as usize)
            .ok_or(DropReason::NoSession)?;
        if socket.is_rtcp() {
            match own.latch.observe(now, from) {
                Observed::Accepted => {}
                Observed::Locked => enqueue(&mut self.pending, own, socket),
                Observed::Refused => return Err(DropReason::WrongSource),
            }
            own.stream.count(now, packet.len());
            return Ok(own.partner);
        }
        // Some peers multiplex without having been asked to (RFC 5761 wants an agreement). Their
        // reports are of use to the other side, which hears them on its RTCP port as negotiated.
        // They never move the RTP latch: a peer that confuses the ports would point it at its RTCP
        // port.
        if !own.latch.admits(from) {
            return Err(DropReason::WrongSource);
        }
        let partner = own.partner;
        if let Some(rtcp) = self.sockets.get_mut(socket.pair().rtcp().0 as usize) {
            rtcp.stream.count(now, packet.len());
        }
        Ok(if partner == NOBODY { NOBODY } else { partner + 1 })
    }

    /// Where a packet of `len` octets leaves that goes out of socket `out`.
    #[inline]
    fn route(&self, out: u32, len: usize) -> Result<Verdict, DropReason> {
        let slot = self.sockets.get(out as usize).ok_or(DropReason::NoDestination)?;
        if !slot.sending {
            return Err(DropReason::NoDestination);
        }
        let peer = slot.latch.destination().ok_or(DropReason::NoDestination)?;
        let to = if slot.link == Link::Connected {
            None
        } else {
            Some(peer)
        };
        Ok(Verdict::Forward {
            socket: MediaSocket(out),
            to,
            len,
        })
    }
}
