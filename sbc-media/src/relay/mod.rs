//! The relay: a table of media sockets and what each one's packets turn into.
//!
//! In: packets with the socket and address they came from, and from call control which pairs
//! belong together and what their peers' SDPs say. Out: a [`Verdict`] per packet, and
//! [`SocketAction`]s between batches. The whole table is indexed by socket number; a packet costs
//! two bounds-checked reads and no search.

mod digits;
mod due;
mod extras;
mod formats;
mod keys;
mod outlet;
mod reframe;
mod reports;
mod stats;
mod translation;
mod walk;

use crate::{
    latch::{Hosts, Latch, LatchMode},
    quality::{self, Codec, Rating},
    rtcp::round_trip::RoundTrip,
    stream::{CLOCK_RATE_DEFAULT, ClockRates, Stream},
    time::Timestamp,
};
use core::net::SocketAddr;
pub use digits::Listen;
use digits::Listener;
use due::Due;
use extras::Extras;
pub use formats::{Action, Formats};
use keys::Crypto;
pub use keys::{GRACE, Keys, Roc};
use outlet::Outlet;
pub use outlet::{MediaEvent, OWN_LEN_MAX, OutletParams, Voice, Yield};
use reports::Reports;
pub use reports::{Heard, ReporterParams};
use stats::Refusals;
pub use stats::{DropReason, RelayCounters, StreamStats};
use std::collections::VecDeque;
use std::sync::Arc;
use walk::Walk;

/// Index of a pre-bound pair of UDP ports (even RTP, odd RTCP) within one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairIndex(pub u32);

impl PairIndex {
    /// The socket on the even port.
    pub const fn rtp(self) -> MediaSocket {
        MediaSocket(self.0 * 2)
    }
    /// The socket on the odd port.
    pub const fn rtcp(self) -> MediaSocket {
        MediaSocket(self.0 * 2 + 1)
    }
}

/// Index of one media socket within one shard: pair `n` owns sockets `2n` (RTP) and `2n+1` (RTCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaSocket(pub u32);

impl MediaSocket {
    /// The pair this socket belongs to.
    pub const fn pair(self) -> PairIndex {
        PairIndex(self.0 / 2)
    }
    /// Whether this is the odd (RTCP) socket of its pair.
    pub const fn is_rtcp(self) -> bool {
        self.0 % 2 == 1
    }
}

/// What the driver does with a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the first `len` octets of the same buffer from `socket`: to `to`, or to its connected
    /// peer when `None`.
    Forward {
        /// The socket to send from.
        socket: MediaSocket,
        /// Destination; `None` when `socket` is connected.
        to: Option<SocketAddr>,
        /// Octets of what leaves; at most those of the buffer.
        len: usize,
    },
    /// Nothing leaves.
    Drop(DropReason),
}

/// What the driver must do to a socket, apart from packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAction {
    /// The peer is learned: connect the socket, then call [`Relay::connected`].
    Connect {
        /// The socket that learned its peer.
        socket: MediaSocket,
        /// The learned address.
        peer: SocketAddr,
    },
    /// Undo a connect (`AF_UNSPEC`): the latch was re-armed or the session closed.
    Disconnect {
        /// The socket to free.
        socket: MediaSocket,
    },
}

/// What a peer's SDP says about its media, as [`Relay::set_remote`] takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where the peer wants RTP. `None`, or an address or port of zero, when the SDP names no
    /// usable one (hold with `c=0.0.0.0`, a refused stream): the address of before stays.
    pub rtp: Option<SocketAddr>,
    /// Where the peer wants RTCP; `None`: the port after `rtp`.
    pub rtcp: Option<SocketAddr>,
    /// Whether RTP may be sent to the peer: false while it is on hold.
    pub send: bool,
    /// Whether the peer sends and wants RTCP on its RTP port (RFC 5761); `rtcp` says nothing then.
    pub mux: bool,
    /// Who may become the peer besides the one that the SDP names.
    pub latch: LatchMode,
}

/// Whether the kernel filters and addresses a socket's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not connected.
    Free,
    /// The driver was told to connect.
    Asked,
    /// Connected to the latched peer.
    Connected,
    /// Connected, or about to be, to somebody who is no longer the peer.
    Stale,
    /// The driver could not connect it; packets keep their address until the latch changes.
    Refused,
}

/// Events for which there is room from the beginning; more of them in one batch make more.
const EVENTS_ROOM: usize = 64;

/// No socket: the pair has no other side.
const NOBODY: u32 = u32::MAX;

/// One socket of the table. In the order in which a packet needs it, so that a packet of a locked
/// latch touches the first lines of its own and only the first of the other side's.
#[derive(Debug)]
#[repr(C, align(64))]
struct Socket {
    /// Index of the socket that this one's packets leave from.
    partner: u32,
    active: bool,
    /// Whether packets may be sent to this socket's peer.
    sending: bool,
    link: Link,
    /// Whether the socket waits in `Relay::pending`.
    queued: bool,
    /// Of an RTP socket: what is done with the packets that arrive there.
    walk: Walk,
    /// Of an RTCP socket: RTCP for the peer leaves from the RTP socket.
    multiplexed: bool,
    extras: Option<Box<Extras>>,
    latch: Latch,
    stream: Stream,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            partner: NOBODY,
            active: false,
            sending: false,
            link: Link::Free,
            queued: false,
            walk: Walk::PLAIN,
            multiplexed: false,
            extras: None,
            latch: Latch::CLOSED,
            stream: Stream::new(CLOCK_RATE_DEFAULT),
        }
    }
}

/// The forwarding table of one shard.
#[derive(Debug)]
pub struct Relay {
    sockets: Vec<Socket>,
    /// By socket.
    refusals: Vec<Refusals>,
    /// By pair.
    reports: Vec<Reports>,
    /// Sockets whose `link` may be out of step with their latch, each at most once.
    pending: VecDeque<u32>,
    /// When outlets have something of our own to send.
    due: Due,
    /// When digits that peers send are over if nothing more of them comes.
    silent: Due,
    events: VecDeque<(PairIndex, MediaEvent)>,
    counters: RelayCounters,
    pairs_max: u32,
}

impl Default for Relay {
    /// Room for every pair that 65,536 ports can make.
    fn default() -> Self {
        Self::new(1 << 15)
    }
}

impl Relay {
    /// An empty table that will hold at most `pairs_max` pairs.
    pub fn new(pairs_max: u32) -> Self {
        Self {
            sockets: Vec::new(),
            refusals: Vec::new(),
            reports: Vec::new(),
            pending: VecDeque::new(),
            due: Due::default(),
            silent: Due::default(),
            events: VecDeque::with_capacity(EVENTS_ROOM),
            counters: RelayCounters::default(),
            // Socket indices are twice as large and NOBODY is none of them.
            pairs_max: pairs_max.min(NOBODY / 2),
        }
    }

    /// The next pending socket action; call until `None` after each batch of packets and commands.
    pub fn poll_action(&mut self) -> Option<SocketAction> {
        while let Some(index) = self.pending.pop_front() {
            let Some(slot) = self.sockets.get_mut(index as usize) else {
                continue;
            };
            let socket = MediaSocket(index);
            slot.queued = false;
            match (slot.link, slot.latch.locked()) {
                (Link::Stale, locked) => {
                    slot.link = Link::Free;
                    if locked.is_some() {
                        enqueue(&mut self.pending, slot, socket);
                    }
                    return Some(SocketAction::Disconnect { socket });
                }
                (Link::Free, Some(peer)) => {
                    slot.link = Link::Asked;
                    return Some(SocketAction::Connect { socket, peer });
                }
                (Link::Free, None) | (Link::Asked | Link::Connected | Link::Refused, _) => {}
            }
        }
        None
    }

    /// The driver reports that `socket` is connected to `peer`: sends no longer carry an address.
    pub fn connected(&mut self, socket: MediaSocket, peer: SocketAddr) {
        let Some(slot) = self.sockets.get_mut(socket.0 as usize) else {
            return;
        };
        if slot.link == Link::Asked && slot.latch.locked() == Some(peer) {
            slot.link = Link::Connected;
        } else {
            // The latch moved on while the driver worked.
            slot.link = Link::Stale;
            enqueue(&mut self.pending, slot, socket);
        }
    }

    /// The driver could not connect `socket`: its sends keep carrying an address. It is tried again
    /// after the next negotiation.
    pub fn connect_failed(&mut self, socket: MediaSocket) {
        let Some(slot) = self.sockets.get_mut(socket.0 as usize) else {
            return;
        };
        match slot.link {
            Link::Asked => slot.link = Link::Refused,
            // Nothing to undo, and a newer latch may want its own connection.
            Link::Stale => {
                slot.link = Link::Free;
                enqueue(&mut self.pending, slot, socket);
            }
            Link::Free | Link::Connected | Link::Refused => {}
        }
    }

    /// The driver has bound `pair`: make room for its two sockets. False when that is beyond the
    /// `pairs_max` of [`Relay::new`]. Only this, [`Relay::set_keys`], [`Relay::set_formats`],
    /// [`Relay::set_outlet`], [`Relay::set_framing`], [`Relay::set_digits`] and [`Relay::set_clock_rates`] allocate.
    pub fn add_pair(&mut self, pair: PairIndex) -> bool {
        if pair.0 >= self.pairs_max {
            return false;
        }
        let sockets = 2 * (pair.0 as usize + 1);
        if self.sockets.len() < sockets {
            let first = self.sockets.len();
            self.sockets.resize_with(sockets, Socket::default);
            self.refusals.resize(sockets, Refusals::default());
            // Only RTP has sequence numbers, and so detail. It stays with the socket.
            for rtp in self.sockets.iter_mut().skip(first).step_by(2) {
                rtp.stream = Stream::detailed(CLOCK_RATE_DEFAULT);
            }
            self.reports.resize_with(sockets / 2, Reports::default);
            self.pending.reserve(sockets - self.pending.len());
            self.due.reserve(sockets / 2);
            self.silent.reserve(sockets / 2);
        }
        true
    }

    /// Join two pairs: what arrives on one leaves from the other, RTP and RTCP each on its own
    /// port. A pair already in use keeps its peer and its counts and leaves its former partner,
    /// which lets a leg be exchanged under a running call. False when a pair was never added or
    /// both are the same.
    pub fn open(&mut self, a: PairIndex, b: PairIndex) -> bool {
        let known = |pair: PairIndex| (pair.rtcp().0 as usize) < self.sockets.len();
        if a == b || a.0 >= self.pairs_max || b.0 >= self.pairs_max || !known(a) || !known(b) {
            return false;
        }
        for (own, other) in [(a, b), (b, a)] {
            for (own, other) in [(own.rtp(), other.rtp()), (own.rtcp(), other.rtcp())] {
                self.part(own);
                if let Some(slot) = self.sockets.get_mut(own.0 as usize) {
                    slot.active = true;
                    slot.partner = other.0;
                }
            }
        }
        self.compose(a);
        self.compose(b);
        true
    }

    /// Where the peer of `pair` may send from besides the address in its SDP, where its latch is
    /// [`LatchMode::Strict`]: before [`Relay::set_remote`]. Ends with [`Relay::close`].
    pub fn set_hosts(&mut self, pair: PairIndex, hosts: Option<&Arc<Hosts>>) {
        for socket in [pair.rtp(), pair.rtcp()] {
            let slot = self.sockets.get_mut(socket.0 as usize);
            if let Some(slot) = slot.filter(|slot| slot.active) {
                slot.latch.set_hosts(hosts.cloned());
            }
        }
    }

    /// The peer of `pair` has sent an SDP. Arms the latches of both sockets (RFC 3264 §8: every
    /// offer and answer may move the media). Media keeps flowing to the address learned before when
    /// the SDP names the same address again, and to the new one when it names another.
    pub fn set_remote(&mut self, pair: PairIndex, remote: Remote) {
        let next_port = |rtp: SocketAddr| {
            let port = rtp.port().checked_add(1)?;
            Some(SocketAddr::new(rtp.ip(), port))
        };
        // An address of all zeros is the old way to say hold, and port 0 to say no: neither can be
        // sent to, and sending to 0.0.0.0 would mean this very host.
        let usable = |address: &SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
        let rtp = remote.rtp.filter(usable);
        let rtcp = if remote.mux {
            rtp
        } else {
            remote.rtcp.filter(usable).or_else(|| rtp.and_then(next_port))
        };
        self.negotiate(pair.rtp(), rtp, remote.send, remote.latch);
        // On hold RTCP goes on (RFC 3264 §5.1), unless the hold is the old kind that names no
        // address (§8.4).
        self.negotiate(pair.rtcp(), rtcp, rtcp.is_some(), remote.latch);
        let rtcp = self.sockets.get_mut(pair.rtcp().0 as usize);
        if let Some(slot) = rtcp.filter(|slot| slot.active) {
            slot.multiplexed = remote.mux;
        }
        // What is of our own may have waited for a place to send it to.
        self.schedule(pair);
    }

    fn negotiate(
        &mut self,
        socket: MediaSocket,
        signalled: Option<SocketAddr>,
        sending: bool,
        mode: LatchMode,
    ) {
        let Some(slot) = self.sockets.get_mut(socket.0 as usize).filter(|slot| slot.active) else {
            return;
        };
        slot.sending = sending;
        if slot.latch.negotiate(signalled, mode) {
            unlink(&mut self.pending, slot, socket);
        }
    }

    /// The RTP clocks of what the peer of `pair` sends: for its jitter and reports, and where one stream of several goes
    /// on for the other side. `None`: [`CLOCK_RATE_DEFAULT`] for all. Ends with [`Relay::close`].
    pub fn set_clock_rates(&mut self, pair: PairIndex, clock_rates: Option<&ClockRates>) {
        let slot = self.sockets.get_mut(pair.rtp().0 as usize);
        if let Some(slot) = slot.filter(|slot| slot.active) {
            slot.stream.set_clock_rates(clock_rates);
        }
    }

    /// End the use of `pair` and return what it received. Its packets are then
    /// [`DropReason::NoSession`], those of the pair it was joined with [`DropReason::NoDestination`].
    pub fn close(&mut self, pair: PairIndex) -> StreamStats {
        let stats = self.stats(pair);
        self.due.set(pair.0, None);
        self.silent.set(pair.0, None);
        self.events.retain(|(of, _)| *of != pair);
        if let Some(reports) = self.reports.get_mut(pair.0 as usize) {
            *reports = Reports::default();
        }
        for socket in [pair.rtp(), pair.rtcp()] {
            self.part(socket);
            if let Some(slot) = self.sockets.get_mut(socket.0 as usize) {
                unlink(&mut self.pending, slot, socket);
                let mut stream = core::mem::take(&mut slot.stream);
                stream.reset(CLOCK_RATE_DEFAULT);
                *slot = Socket {
                    link: slot.link,
                    queued: slot.queued,
                    stream,
                    ..Socket::default()
                };
            }
            if let Some(refusals) = self.refusals.get_mut(socket.0 as usize) {
                *refusals = Refusals::default();
            }
        }
        stats
    }

    /// What the peer of `pair` has sent since [`Relay::open`]; all zero for a pair not in use.
    pub fn stats(&self, pair: PairIndex) -> StreamStats {
        let (Some(rtp), Some(rtcp)) = (self.socket(pair.rtp()), self.socket(pair.rtcp())) else {
            return StreamStats::default();
        };
        let refusals =
            |socket: MediaSocket| self.refusals.get(socket.0 as usize).copied().unwrap_or_default();
        let refused = [refusals(pair.rtp()), refusals(pair.rtcp())];
        let drops = |reason| -> u64 { refused.iter().map(|socket| socket.drops(reason)).sum() };
        let reports = self.reports.get(pair.0 as usize);
        let path = reports.map(|reports| &reports.path);
        StreamStats {
            signalled: rtp.latch.signalled(),
            latched: rtp.latch.latched(),
            connected: rtp.link == Link::Connected,
            packets: rtp.stream.packets(),
            octets: rtp.stream.octets(),
            lost: rtp.stream.lost(),
            lost_part: rtp.stream.lost_part(),
            reordered: rtp.stream.reordered(),
            duplicates: rtp.stream.duplicates(),
            ssrc_changes: rtp.stream.ssrc_changes(),
            jitter_ms: rtp.stream.jitter_ms(),
            burst_loss: rtp.stream.burst_loss(),
            delay_variation: rtp.stream.delay_variation(),
            payloads: rtp.stream.payloads(),
            longest_silence: rtp.stream.longest_silence(),
            rating: self.rating(rtp, path),
            last_received: rtp.stream.last(),
            rtcp_packets: rtcp.stream.packets(),
            rtcp_octets: rtcp.stream.octets(),
            rtcp_removed: reports.map_or(0, |reports| reports.removed),
            round_trip: path.and_then(RoundTrip::last),
            round_trip_mean: path.and_then(RoundTrip::mean),
            round_trip_longest: path.and_then(RoundTrip::longest),
            heard: reports.and_then(|reports| reports.heard),
            malformed: drops(DropReason::Malformed),
            wrong_source: drops(DropReason::WrongSource),
            stranger: refused.iter().find_map(Refusals::stranger),
            no_destination: drops(DropReason::NoDestination),
            format: drops(DropReason::Format),
            displaced: drops(DropReason::Displaced),
            srtp_bad_tag: drops(DropReason::Unauthentic),
            srtp_replayed: drops(DropReason::Replayed),
            srtp_failed: drops(DropReason::Exhausted) + drops(DropReason::NoRoom),
        }
    }

    /// How what arrives at `rtp` sounds at the other side, when something did and its codec can be
    /// rated. `path`: to the peer that sends it.
    fn rating(&self, rtp: &Socket, path: Option<&RoundTrip>) -> Option<Rating> {
        let stream = &rtp.stream;
        let codec = stream.payloads().main().and_then(Codec::of_static)?;
        let other = self.reports.get(MediaSocket(rtp.partner).pair().0 as usize);
        let packet_ms = match self.framing(MediaSocket(rtp.partner).pair()) {
            Some(framing) => quality::reframed_ms(stream.packet_ms(), framing.ptime_ms.into()),
            None => stream.packet_ms(),
        };
        let mean_ms = |path: &RoundTrip| Some(path.mean()?.as_secs_f64() * 1000.0);
        let round_trips = [path, other.map(|reports| &reports.path)].map(|path| path.and_then(mean_ms));
        Some(quality::rate(&quality::Path {
            delay_ms: quality::path_delay_ms(round_trips, packet_ms, stream.jitter_ms()),
            loss: stream.lost_part(),
            burst_ratio: stream.burst_loss().ratio.unwrap_or(1.0),
            codec,
        }))
    }

    /// When the peer of `pair` was last heard, for the media time-out. RTCP counts: a peer that
    /// suppresses silence sends nothing else, and it is alive.
    pub fn last_received(&self, pair: PairIndex) -> Option<Timestamp> {
        let last = |socket| self.socket(socket)?.stream.last();
        last(pair.rtp()).max(last(pair.rtcp()))
    }

    /// Totals over all sockets.
    pub fn counters(&self) -> &RelayCounters {
        &self.counters
    }

    fn socket(&self, socket: MediaSocket) -> Option<&Socket> {
        self.sockets.get(socket.0 as usize)
    }

    /// Take `socket` and its partner apart.
    fn part(&mut self, socket: MediaSocket) {
        let Some(slot) = self.sockets.get_mut(socket.0 as usize) else {
            return;
        };
        let partner = core::mem::replace(&mut slot.partner, NOBODY);
        if let Some(other) = self.sockets.get_mut(partner as usize)
            && other.partner == socket.0
        {
            other.partner = NOBODY;
            self.compose(MediaSocket(partner).pair());
        }
    }
}

/// Have [`Relay::poll_action`] look at `slot`. The queue has room for every socket once.
fn enqueue(pending: &mut VecDeque<u32>, slot: &mut Socket, socket: MediaSocket) {
    if !slot.queued {
        slot.queued = true;
        pending.push_back(socket.0);
    }
}

/// The latch was opened or closed: whatever the kernel knows about the peer is out of date.
fn unlink(pending: &mut VecDeque<u32>, slot: &mut Socket, socket: MediaSocket) {
    match slot.link {
        Link::Asked | Link::Connected => slot.link = Link::Stale,
        Link::Refused => slot.link = Link::Free,
        Link::Free | Link::Stale => {}
    }
    if slot.link == Link::Stale {
        enqueue(pending, slot, socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four cache lines: 1,000 calls are 4,000 sockets, which then fit a 1 MB second-level cache.
    #[test]
    fn a_socket_is_four_cache_lines() {
        assert_eq!(size_of::<Socket>(), 256);
    }

    /// What a packet reads of the socket it leaves from lies in one line.
    #[test]
    fn the_way_out_is_one_cache_line() {
        assert!(core::mem::offset_of!(Socket, link) < 64);
        assert!(core::mem::offset_of!(Socket, walk) < 64);
        assert!(core::mem::offset_of!(Socket, latch) + size_of::<Option<SocketAddr>>() <= 64);
    }
}
