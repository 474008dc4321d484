//! Which source address a media socket listens to, and where it sends (symmetric RTP).
//!
//! In: the address in the peer's SDP, and the sources of valid packets. Out: accept or refuse, and
//! the address to send to.
//!
//! ```text
//! Closed ──negotiate──► Armed ──the signalled address──────────────► Locked
//!                         │  ▲                                        ▲  │
//!        another address, │  │ silent for the window                  │  │ negotiate
//!             two packets ▼  │ and somebody else sends                │  ▼
//!                        Learning ──the signalled address, or ────────┘ Armed
//!                                   still sending after the window
//! ```
//!
//! What each rule is for:
//! - A peer behind NAT sends from an address that its SDP does not name, so an unknown source may
//!   become the peer. Until the window is over the address in the SDP may still take the latch
//!   back, so that a racing stranger ("RTPbleed") never wins against a peer that sends from where
//!   it said.
//! - One packet never decides anything that a second one cannot undo: the first packet of an
//!   unknown source is forwarded but moves nothing, and a source that falls silent before the
//!   window is over loses its turn. So one hostile or late packet does not silence a good stream.
//! - A re-INVITE arms the latch again. Where the address stayed, the peer of before continues with
//!   its next packet and others wait for the window; where it changed, the old peer's late
//!   packets wait so long.
//!
//! [`LatchMode`] says which unknown sources there are, and how long a window lasts.

use crate::time::Timestamp;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

/// The usual window: how long the signalled address may take over from another source, how long that
/// source must keep sending before it is final, and how long a source that is not expected has to wait
/// after a re-negotiation. Longer than the gap between two packets of any usual packet time and than the
/// reordering of a bad path, shorter than anybody waits for audio.
pub const LEARNING_WINDOW: Duration = Duration::from_millis(500);

/// Who may become the peer besides the address in its SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchMode {
    /// Sources with the IP address that the SDP names, or with one of the peer's [`Hosts`], whatever their
    /// port, as [`LatchMode::Relearn`] has it with [`LEARNING_WINDOW`].
    Strict,
    /// The first source that sends a valid packet, until the next negotiation. For peers whose SDP is
    /// known to be of no use; whoever is first keeps the latch, stranger or not.
    Once,
    /// Any source that keeps sending for a window of this length, unless the address in the SDP is
    /// heard within it.
    Relearn(Duration),
}

impl Default for LatchMode {
    fn default() -> Self {
        Self::Relearn(LEARNING_WINDOW)
    }
}

/// Networks that a peer is known to send from, for [`LatchMode::Strict`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Box<[(IpAddr, u8)]>);

impl Hosts {
    /// Of addresses with the lengths of their prefixes in bits; a longer prefix than the address is all of it.
    pub fn new(networks: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether `address` is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, prefix)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = (network.to_bits() ^ address.to_bits()).leading_zeros();
                differ >= u32::from(*prefix).min(u32::BITS)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = (network.to_bits() ^ address.to_bits()).leading_zeros();
                differ >= u32::from(*prefix).min(u128::BITS)
            }
            _ => false,
        })
    }
}

/// What a [`LatchMode`] allows; its window lies apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sources {
    SameHost,
    First,
    Any,
}

/// How far learning has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing negotiated: nobody may send.
    Closed,
    /// Waiting for the peer's first packet.
    Armed,
    /// Another source than the signalled one is used; it can still lose the latch.
    Learning,
    /// Final until the next negotiation.
    Locked,
}

/// What [`Latch::observe`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The packet is the peer's.
    Accepted,
    /// The packet is the peer's, and from now on nobody else's can be.
    Locked,
    /// Not the peer.
    Refused,
}

/// The latch of one socket.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Latch {
    // The first two fields decide about every packet of a locked latch.
    destination: Option<SocketAddr>,
    phase: Phase,
    sources: Sources,
    /// The destination was locked before the last negotiation and may continue.
    guarded: bool,
    /// The candidate has to wait from `since` on.
    held_off: bool,
    signalled: Option<SocketAddr>,
    /// Source of the last packet that did not suffice to latch.
    candidate: Option<SocketAddr>,
    window_ms: u32,
    /// Start of learning, or of the candidate's waiting.
    since: Option<Timestamp>,
    /// Last packet of the source being learned.
    heard: Timestamp,
    /// Where the peer may send from besides the signalled address.
    hosts: Option<Arc<Hosts>>,
}

impl Default for Latch {
    fn default() -> Self {
        Self::CLOSED
    }
}

impl Latch {
    /// Accepts nothing.
    pub const CLOSED: Self = Self {
        destination: None,
        phase: Phase::Closed,
        sources: Sources::SameHost,
        guarded: false,
        held_off: false,
        signalled: None,
        candidate: None,
        window_ms: 0,
        since: None,
        heard: Timestamp::ZERO,
        hosts: None,
    };

    /// The peer may send from `hosts`, too, where the mode is [`LatchMode::Strict`]. A source that has been
    /// learned stays until the next negotiation.
    pub fn set_hosts(&mut self, hosts: Option<Arc<Hosts>>) {
        self.hosts = hosts;
    }

    /// An SDP of the peer names `signalled`. `None` (hold with `c=0.0.0.0`) keeps the address of
    /// before. Returns whether a locked latch was opened.
    pub fn negotiate(&mut self, signalled: Option<SocketAddr>, mode: LatchMode) -> bool {
        let (sources, window) = match mode {
            LatchMode::Strict => (Sources::SameHost, LEARNING_WINDOW),
            LatchMode::Once => (Sources::First, LEARNING_WINDOW),
            LatchMode::Relearn(window) => (Sources::Any, window),
        };
        let signalled = signalled.or(self.signalled);
        let changed = signalled != self.signalled;
        let tightened = sources == Sources::SameHost && self.sources != Sources::SameHost;
        let was_locked = self.phase == Phase::Locked;
        self.signalled = signalled;
        self.sources = sources;
        self.window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
        match self.phase {
            // Not decided yet, and nothing new to decide on: 183 and 200 often repeat the answer
            // within the window, and starting again would only prolong the window.
            Phase::Armed | Phase::Learning if !changed && !tightened => return false,
            Phase::Locked if !changed && !tightened => {
                self.guarded = true;
                self.candidate = None;
                self.held_off = false;
            }
            Phase::Closed | Phase::Armed | Phase::Learning | Phase::Locked => {
                // Packets that the old peer sent before it heard of the change still arrive.
                self.candidate = self.destination.filter(|_| was_locked);
                self.held_off = was_locked;
                self.guarded = false;
                self.destination = signalled;
            }
        }
        self.since = None;
        self.phase = Phase::Armed;
        was_locked
    }

    /// A valid packet came from `from` at `now`.
    #[inline]
    pub fn observe(&mut self, now: Timestamp, from: SocketAddr) -> Observed {
        if self.phase == Phase::Locked {
            if self.destination == Some(from) {
                Observed::Accepted
            } else {
                Observed::Refused
            }
        } else {
            self.learn(now, from)
        }
    }

    /// Whether a packet from `from` could be accepted now, or bring its source nearer to that. If
    /// not, [`Latch::observe`] would refuse it and change nothing, and the packet needs no closer
    /// look.
    pub fn considers(&self, now: Timestamp, from: SocketAddr) -> bool {
        match self.phase {
            Phase::Locked => self.destination == Some(from),
            Phase::Closed => false,
            Phase::Armed => self.is_expected(from) || self.is_allowed(from),
            Phase::Learning => {
                self.destination == Some(from)
                    || self.signalled == Some(from)
                    || self.has_fallen_silent(now) && self.is_allowed(from)
            }
        }
    }

    /// Whether a packet that must not move the latch may pass: its source is the learned peer or,
    /// while there is none, the signalled address.
    pub fn admits(&self, from: SocketAddr) -> bool {
        match self.phase {
            Phase::Closed => false,
            Phase::Armed => self.is_expected(from),
            Phase::Learning | Phase::Locked => self.destination == Some(from),
        }
    }

    /// Where to send: the learned peer, or the signalled address until there is one.
    #[inline]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// The address in the peer's SDP.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// The address learned from packets.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.destination
            .filter(|_| matches!(self.phase, Phase::Learning | Phase::Locked))
    }

    /// The peer, once nobody else can become it.
    pub fn locked(&self) -> Option<SocketAddr> {
        self.destination.filter(|_| self.phase == Phase::Locked)
    }

    #[cold]
    fn learn(&mut self, now: Timestamp, from: SocketAddr) -> Observed {
        match self.phase {
            Phase::Closed => Observed::Refused,
            Phase::Armed if self.is_expected(from) => self.lock(from),
            Phase::Armed if self.is_allowed(from) => self.try_candidate(now, from),
            Phase::Armed => Observed::Refused,
            Phase::Learning if self.destination == Some(from) => {
                self.heard = now;
                match self.since {
                    Some(since) if now.since(since) < self.window() => Observed::Accepted,
                    _ => self.lock(from),
                }
            }
            Phase::Learning if self.signalled == Some(from) => self.lock(from),
            Phase::Learning if self.has_fallen_silent(now) && self.is_allowed(from) => {
                self.phase = Phase::Armed;
                self.candidate = None;
                self.try_candidate(now, from)
            }
            Phase::Learning | Phase::Locked => Observed::Refused,
        }
    }

    /// A source that may become the peer, although nothing announced it.
    fn try_candidate(&mut self, now: Timestamp, from: SocketAddr) -> Observed {
        if self.candidate != Some(from) {
            self.candidate = Some(from);
            self.held_off = self.guarded;
            self.since = Some(now);
            if self.held_off {
                return Observed::Refused;
            }
            if self.sources != Sources::First {
                return Observed::Accepted;
            }
        }
        if self.held_off && now.since(*self.since.get_or_insert(now)) < self.window() {
            return Observed::Refused;
        }
        if self.sources == Sources::First {
            return self.lock(from);
        }
        self.phase = Phase::Learning;
        self.destination = Some(from);
        self.guarded = false;
        self.candidate = None;
        self.since = Some(now);
        self.heard = now;
        Observed::Accepted
    }

    fn lock(&mut self, from: SocketAddr) -> Observed {
        self.phase = Phase::Locked;
        self.destination = Some(from);
        self.candidate = None;
        Observed::Locked
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms.into())
    }

    /// The source being learned has stopped sending.
    fn has_fallen_silent(&self, now: Timestamp) -> bool {
        now.since(self.heard) >= self.window()
    }

    fn is_expected(&self, from: SocketAddr) -> bool {
        self.signalled == Some(from) || self.guarded && self.destination == Some(from)
    }

    fn is_allowed(&self, from: SocketAddr) -> bool {
        match self.signalled {
            // No address was ever negotiated: nobody can be told from a stranger.
            None => false,
            Some(signalled) => {
                self.sources != Sources::SameHost
                    || signalled.ip() == from.ip()
                    || self.hosts.as_ref().is_some_and(|hosts| hosts.contain(from.ip()))
            }
        }
    }
}
