//! What happens to one packet between the socket that received it and the one that it leaves from.
//!
//! ```text
//!            ┌─────────────────────────────────── plain: nothing to do ───────────────────────────────────┐
//!  socket ─► kind ─► walk ─► [Unprotect] ─► Accept ─► [Listen] ─► [Format] ─► [Reframe] ─► [Number] ─► [Protect] ─► route ─► verdict
//!              │              admitted?     form      digits      payload     packet        other side's other side's
//!              └─► RTCP       key           latch                 type        time          outlet       key
//!                                           counts
//! ```
//!
//! The steps in brackets are there when the call needs them: [`Walk`] is the list of those, composed
//! when the call is set up and when it changes. A packet runs its list and asks for nothing that is
//! not on it; for the empty list there is a path without the loop.
//!
//! A packet that does not authenticate has no effect but to be counted. RTCP is rare: it has no
//! list and asks for keys.

use super::{
    DropReason, Link, MediaSocket, NOBODY, PairIndex, Relay, Socket, Verdict, enqueue, keys::Crypto,
};
use crate::{
    latch::Observed,
    rtcp::{self, Kind},
    rtp,
    srtp::Receiver,
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
    /// Decrypt with the key of the peer that sent it.
    Unprotect,
    /// Check form and source, count it.
    Accept,
    /// Digits, for a side that wants them in another way.
    Listen,
    /// Payload type and law.
    Format,
    /// Packets of another length.
    Reframe,
    /// SSRC, sequence number and timestamp of the stream that leaves.
    Number,
    /// Encrypt with our key for the peer that it is for.
    Protect,
}

/// What is done with RTP packets that arrive on one socket, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk([Step; 7]);

/// Which of the steps that not every call has are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) unprotect: bool,
    pub(super) listen: bool,
    pub(super) format: bool,
    pub(super) reframe: bool,
    pub(super) number: bool,
    pub(super) protect: bool,
}

impl Walk {
    /// Packets pass as they are.
    pub(super) const PLAIN: Self = Self([Step::End; 7]);

    /// The walk between two sides of which these things are known.
    pub(super) fn compose(wanted: Wanted) -> Self {
        let mut walk = Self::PLAIN;
        let steps = [
            (wanted.unprotect, Step::Unprotect),
            (true, Step::Accept),
            (wanted.listen, Step::Listen),
            (wanted.format, Step::Format),
            (wanted.reframe, Step::Reframe),
            (wanted.number, Step::Number),
            (wanted.protect, Step::Protect),
        ];
        let steps = steps.iter().filter(|(wanted, _)| *wanted);
        if steps.clone().count() == 1 {
            return Self::PLAIN;
        }
        for (place, (_, step)) in walk.0.iter_mut().zip(steps) {
            *place = *step;
        }
        walk
    }

    #[inline]
    fn is_plain(self) -> bool {
        self.0[0] == Step::End
    }
}

impl Verdict {
    /// The same for a packet that has another length now.
    fn of_len(self, len: usize) -> Self {
        match self {
            Self::Forward { socket, to, .. } => Self::Forward { socket, to, len },
            Self::Drop(reason) => Self::Drop(reason),
        }
    }
}

impl Relay {
    /// Decide what to do with a packet received at `now` on `socket` from `from`. It is the first
    /// `len` octets of `buffer`; what is behind them is room for it to grow
    /// ([`OVERHEAD_MAX`](crate::srtp::OVERHEAD_MAX) where calls have keys). In place, no allocation:
    /// what leaves are the first octets of the same buffer, as many as the verdict says. Without an outlet sequence
    /// number, timestamp, SSRC and marker pass as they came, and without keys and formats all else.
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

    /// Where a packet of our own for the peer of `pair` leaves: the RTP or RTCP packet in the clear that
    /// is `buffer[..len]`, with room behind it as for [`Relay::forward`]. Protected like what is
    /// relayed there; its SSRC and sequence number must fit in with that. Not counted.
    pub fn originate(&mut self, pair: PairIndex, buffer: &mut [u8], len: usize) -> Verdict {
        self.originated(pair, buffer, len).unwrap_or_else(Verdict::Drop)
    }

    pub(super) fn originated(
        &mut self,
        pair: PairIndex,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<Verdict, DropReason> {
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        match Kind::of(packet) {
            Kind::Rtp => {
                let verdict = self.route(pair.rtp().0, len)?;
                match self.crypto(pair.rtp().0) {
                    Ok(crypto) => Ok(verdict.of_len(crypto.protect(buffer, len)?)),
                    Err(_) => Ok(verdict),
                }
            }
            Kind::Rtcp => self.leave_rtcp(pair.rtcp().0, buffer, len),
            Kind::Other => Err(DropReason::Malformed),
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
        mut len: usize,
    ) -> Result<Verdict, DropReason> {
        let Some(walk) = self.socket(socket).map(|slot| slot.walk) else {
            return Err(DropReason::NoSession);
        };
        let mut out = NOBODY;
        for step in walk.0 {
            match step {
                Step::End => break,
                Step::Unprotect => len = self.unprotect(now, socket, from, buffer, len)?,
                Step::Accept => out = self.accept(now, socket, from, buffer, len)?,
                Step::Listen => self.listen(now, socket, out, buffer, len)?,
                Step::Format => self.format(socket, buffer, len)?,
                Step::Reframe => self.reframe(now, out, buffer, len)?,
                Step::Number => self.number(now, socket, out, buffer, len)?,
                Step::Protect => {
                    // Only what leaves: indices that run on while the other side is on hold would
                    // be beyond what its receiver can guess.
                    self.route(out, len)?;
                    len = self.crypto(out)?.protect(buffer, len)?;
                }
            }
        }
        self.route(out, len)
    }

    fn unprotect(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<usize, DropReason> {
        // Strangers do not cost a look at the tag.
        if !self
            .socket(socket)
            .is_some_and(|slot| slot.latch.considers(now, from))
        {
            return Err(DropReason::WrongSource);
        }
        self.crypto(socket.0)?
            .unprotect(now, buffer, len, Receiver::unprotect)
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

    /// The keys of the pair whose RTP socket has this index. It is asked only where a pair has some;
    /// if not, nothing passes.
    fn crypto(&mut self, rtp: u32) -> Result<&mut Crypto, DropReason> {
        let slot = self.sockets.get_mut(rtp as usize);
        let extras = slot.and_then(|slot| slot.extras.as_mut());
        let crypto = extras.and_then(|extras| extras.crypto.as_mut());
        crypto.ok_or(DropReason::NoSession)
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
        let len = self.unprotect_rtcp(now, socket, from, buffer, len)?;
        let packet = buffer.get(..len).ok_or(DropReason::Malformed)?;
        let out = self.accept_rtcp(now, socket, from, packet)?;
        let own = socket.pair();
        self.read_reports(now, own, buffer.get(..len).unwrap_or_default());
        // Reports that do not leave are not remembered as sent.
        self.route_rtcp(out, len)?;
        let ways = (own, MediaSocket(out).pair());
        self.translate_reports(now, ways, buffer.get_mut(..len).unwrap_or_default())?;
        let len = self.hide_reports(now, ways, buffer, len)?;
        let verdict = self.leave_rtcp(out, buffer, len)?;
        self.reported(now, ways.1);
        Ok(verdict)
    }

    /// RTCP in the clear for the peer whose RTCP socket is `out`.
    fn leave_rtcp(&mut self, out: u32, buffer: &mut [u8], len: usize) -> Result<Verdict, DropReason> {
        let verdict = self.route_rtcp(out, len)?;
        match self.crypto(MediaSocket(out).pair().rtp().0) {
            Ok(crypto) => Ok(verdict.of_len(crypto.protect_rtcp(buffer, len)?)),
            Err(_) => Ok(verdict),
        }
    }

    fn unprotect_rtcp(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<usize, DropReason> {
        let admitted = self.socket(socket).is_some_and(|slot| {
            if socket.is_rtcp() {
                slot.latch.considers(now, from)
            } else {
                slot.latch.admits(from)
            }
        });
        match self.crypto(socket.pair().rtp().0) {
            Ok(_) if !admitted => Err(DropReason::WrongSource),
            Ok(crypto) => crypto.unprotect(now, buffer, len, Receiver::unprotect_rtcp),
            Err(_) => Ok(len),
        }
    }

    /// Check form and source of an RTCP packet in the clear and count it; the result is the RTCP
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
    pub(super) fn route(&self, out: u32, len: usize) -> Result<Verdict, DropReason> {
        let slot = self.sockets.get(out as usize).ok_or(DropReason::NoDestination)?;
        if !slot.sending {
            return Err(DropReason::NoDestination);
        }
        leave(MediaSocket(out), slot, len)
    }

    /// Where an RTCP packet of `len` octets leaves whose own socket on the other side is `out`: from
    /// there, or from the RTP socket when the peer multiplexes (RFC 5761 §5.1.1), also while no RTP
    /// may be sent to it.
    pub(super) fn route_rtcp(&self, out: u32, len: usize) -> Result<Verdict, DropReason> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_holds_the_steps_that_are_wanted_in_order() {
        use Step::{Accept, End, Format, Listen, Number, Protect, Reframe, Unprotect};
        let steps = |[unprotect, listen, format, reframe, number, protect]: [bool; 6]| {
            let wanted = Wanted {
                unprotect,
                listen,
                format,
                reframe,
                number,
                protect,
            };
            Walk::compose(wanted).0
        };
        let (no, yes) = (false, true);
        let with = |first, second| [first, second, End, End, End, End, End];
        assert_eq!(steps([no, no, no, no, no, no]), [End; 7]);
        assert_eq!(steps([yes, no, no, no, no, no]), with(Unprotect, Accept));
        assert_eq!(steps([no, yes, no, no, no, no]), with(Accept, Listen));
        assert_eq!(steps([no, no, yes, no, no, no]), with(Accept, Format));
        assert_eq!(steps([no, no, no, yes, no, no]), with(Accept, Reframe));
        assert_eq!(steps([no, no, no, no, yes, no]), with(Accept, Number));
        assert_eq!(steps([no, no, no, no, no, yes]), with(Accept, Protect));
        let all = [Unprotect, Accept, Listen, Format, Reframe, Number, Protect];
        assert_eq!(steps([yes, yes, yes, yes, yes, yes]), all);
    }
}
