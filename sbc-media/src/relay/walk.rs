//! What happens to one packet between the socket that received it and the one that it leaves from.
//!
//! ```text
//!  socket ─► kind ─► walk ─► Accept ─► [Format] ─► route ─► verdict
//!              │              form       payload
//!              └─► RTCP       latch      type
//!                             counts
//! ```
//!
//! The steps in brackets are there when the call needs them: [`Walk`] is the list of those, composed
//! when the call is set up and when it changes. A packet runs its list and asks for nothing that is
//! not on it; for the empty list there is a path without the loop.
//!
//! RTCP is rare, and has no list.

use super::{DropReason, Link, MediaSocket, NOBODY, Relay, Socket, Verdict, enqueue};
use crate::{
    latch::Observed,
    rtcp::{self, Kind},
    rtp,
    time::Timestamp,
};
use core::net::SocketAddr;
use std::collections::VecDeque;

/// One thing that is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    /// Nothing more.
    End,
    /// Check form and source, count it.
    Accept,
    /// Payload type and law.
    Format,
}

/// What is done with RTP packets that arrive on one socket, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk([Step; 2]);

impl Walk {
    /// Packets pass as they are.
    pub(super) const PLAIN: Self = Self([Step::End; 2]);

    /// The walk of packets that have a table of formats, or none.
    pub(super) fn compose(format: bool) -> Self {
        if format {
            Self([Step::Accept, Step::Format])
        } else {
            Self::PLAIN
        }
    }

    #[inline]
    fn is_plain(self) -> bool {
        self.0[0] == Step::End
    }
}

impl Relay {
    /// Decide what to do with a packet received at `now` on `socket` from `from`. It is the first
    /// `len` octets of `buffer`; what is behind them is room for it to grow. In place, no allocation:
    /// what leaves are the first octets of the same buffer, as many as the verdict says. Sequence
    /// number, timestamp, SSRC and marker pass as they came, and without formats all else.
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
                if let Some(refusals) = self.refusals.get_mut(socket.0 as usize) {
                    refusals.note(from, reason);
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
        let slot = self
            .sockets
            .get_mut(socket.0 as usize)
            .ok_or(DropReason::NoSession)?;
        if !slot.active {
            return Err(DropReason::NoSession);
        }
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        if socket.is_rtcp() || Kind::of(packet) != Kind::Rtp {
            return self.walk_rtcp(now, socket, from, buffer, len);
        }
        if !slot.walk.is_plain() {
            return self.walk_steps(now, socket, from, buffer, len);
        }
        let out = accept(&mut self.pending, slot, now, socket, from, packet)?;
        self.route(out, len)
    }

    /// A packet that is more than looked at.
    #[inline(never)]
    fn walk_steps(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Verdict, DropReason> {
        let Some(walk) = self.socket(socket).map(|slot| slot.walk) else {
            return Err(DropReason::NoSession);
        };
        let mut out = NOBODY;
        for step in walk.0 {
            match step {
                Step::End => break,
                Step::Accept => out = self.accept(now, socket, from, buffer, len)?,
                Step::Format => self.format(socket, buffer, len)?,
            }
        }
        self.route(out, len)
    }

    fn accept(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &[u8],
        len: usize,
    ) -> Result<u32, DropReason> {
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        let slot = self.sockets.get_mut(socket.0 as usize);
        let slot = slot.ok_or(DropReason::NoSession)?;
        accept(&mut self.pending, slot, now, socket, from, packet)
    }

    fn format(&self, socket: MediaSocket, buffer: &mut [u8], len: usize) -> Result<(), DropReason> {
        let packet = buffer.get_mut(..len).ok_or(DropReason::Malformed)?;
        let extras = self.socket(socket).and_then(|slot| slot.extras.as_ref());
        match extras.and_then(|extras| extras.formats.as_ref()) {
            Some(formats) => formats.apply(packet),
            None => Ok(()),
        }
    }

    /// RTCP, on its own socket or on the RTP socket of a peer that multiplexes.
    #[inline(never)]
    fn walk_rtcp(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Verdict, DropReason> {
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        if Kind::of(packet) != Kind::Rtcp {
            return Err(DropReason::Malformed);
        }
        let out = self.accept_rtcp(now, socket, from, packet)?;
        self.route_rtcp(out, len)
    }

    /// Check form and source of an RTCP packet and count it; the result is the RTCP
    /// socket of the other side.
    fn accept_rtcp(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        packet: &[u8],
    ) -> Result<u32, DropReason> {
        if rtcp::Compound::new_checked(packet).is_err() {
            return Err(DropReason::Malformed);
        }
        let own = self
            .sockets
            .get_mut(socket.0 as usize)
            .ok_or(DropReason::NoSession)?;
        if socket.is_rtcp() {
            admit(&mut self.pending, own, now, socket, from)?;
            own.stream.count(now, packet.len());
            return Ok(own.partner);
        }
        // Some peers multiplex without having been asked to (RFC 5761 wants an agreement). Their
        // reports are of use to the other side, which hears them where it was negotiated. They
        // never move the RTP latch: a peer that confuses the ports would point it at its RTCP port.
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
        leave(MediaSocket(out), slot, len)
    }

    /// Where an RTCP packet of `len` octets leaves whose own socket on the other side is `out`: from
    /// there, or from the RTP socket when the peer multiplexes (RFC 5761 §5.1.1), also while no RTP
    /// may be sent to it.
    fn route_rtcp(&self, out: u32, len: usize) -> Result<Verdict, DropReason> {
        let own = self.route(out, len)?;
        let rtp = MediaSocket(out).pair().rtp();
        match (self.socket(MediaSocket(out)), self.socket(rtp)) {
            (Some(rtcp), Some(slot)) if rtcp.multiplexed => leave(rtp, slot, len),
            _ => Ok(own),
        }
    }
}

/// Check an RTP packet's form and source and count it; the result is the socket to send from.
#[inline]
fn accept(
    pending: &mut VecDeque<u32>,
    slot: &mut Socket,
    now: Timestamp,
    socket: MediaSocket,
    from: SocketAddr,
    packet: &[u8],
) -> Result<u32, DropReason> {
    let header = rtp::Packet::new_checked(packet).map_err(|_| DropReason::Malformed)?;
    admit(pending, slot, now, socket, from)?;
    slot.stream.received(now, packet.len(), &header);
    Ok(slot.partner)
}

/// Show the latch a packet that is good in every other way.
#[inline]
fn admit(
    pending: &mut VecDeque<u32>,
    slot: &mut Socket,
    now: Timestamp,
    socket: MediaSocket,
    from: SocketAddr,
) -> Result<(), DropReason> {
    match slot.latch.observe(now, from) {
        Observed::Accepted => {}
        Observed::Locked => enqueue(pending, slot, socket),
        Observed::Refused => return Err(DropReason::WrongSource),
    }
    Ok(())
}

/// Leave from `socket`, which is `slot`.
#[inline]
fn leave(socket: MediaSocket, slot: &Socket, len: usize) -> Result<Verdict, DropReason> {
    let peer = slot.latch.destination().ok_or(DropReason::NoDestination)?;
    let to = if slot.link == Link::Connected {
        None
    } else {
        Some(peer)
    };
    Ok(Verdict::Forward { socket, to, len })
}
