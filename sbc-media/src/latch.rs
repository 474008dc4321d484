//! Which source address a media socket listens to, and where it sends (symmetric RTP).
//!
//! In: the address in the peer's SDP, and the sources of valid packets. Out: accept or refuse, and
//! the address to send to.
//!
//! ```text
//! Closed ──negotiate──► Armed ──the signalled address──────────────► Locked
//!                         │  ▲                                        ▲  │
//!        another address, │  │ silent for LEARNING_WINDOW             │  │ negotiate
//!             two packets ▼  │ and somebody else sends                │  ▼
//!                        Learning ──the signalled address, or ────────┘ Armed
//!                                   still sending after LEARNING_WINDOW
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
//!   its next packet and others wait for [`LEARNING_WINDOW`]; where it changed, the old peer's late
//!   packets wait so long.
//! - `strict` reduces unknown sources to those with the signalled IP address.

use crate::time::Timestamp;
use core::net::SocketAddr;
use core::time::Duration;

/// How long the signalled address may take over from another source, how long that source must
/// keep sending before it is final, and how long a source that is not expected has to wait after a
/// re-negotiation. Longer than the gap between two packets of any usual packet time and than the
/// reordering of a bad path, shorter than anybody waits for audio.
pub const LEARNING_WINDOW: Duration = Duration::from_millis(500);

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
    strict: bool,
    /// The destination was locked before the last negotiation and may continue.
    guarded: bool,
    /// The candidate has to wait from `since` on.
    held_off: bool,
    signalled: Option<SocketAddr>,
    /// Source of the last packet that did not suffice to latch.
    candidate: Option<SocketAddr>,
    /// Start of learning, or of the candidate's waiting.
    since: Option<Timestamp>,
    /// Last packet of the source being learned.
    heard: Timestamp,
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
        strict: false,
        guarded: false,
        held_off: false,
        signalled: None,
        candidate: None,
        since: None,
        heard: Timestamp::ZERO,
    };

    /// An SDP of the peer names `signalled`. `None` (hold with `c=0.0.0.0`) keeps the address of
    /// before. Returns whether a locked latch was opened.
    pub fn negotiate(&mut self, signalled: Option<SocketAddr>, strict: bool) -> bool {
        let signalled = signalled.or(self.signalled);
        let changed = signalled != self.signalled;
        let tightened = strict && !self.strict;
        let was_locked = self.phase == Phase::Locked;
        self.signalled = signalled;
        self.strict = strict;
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
                    Some(since) if now.since(since) < LEARNING_WINDOW => Observed::Accepted,
                    _ => self.lock(from),
                }
            }
            Phase::Learning if self.signalled == Some(from) => self.lock(from),
            Phase::Learning if now.since(self.heard) >= LEARNING_WINDOW && self.is_allowed(from) => {
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
            return if self.held_off {
                Observed::Refused
            } else {
                Observed::Accepted
            };
        }
        if self.held_off && now.since(*self.since.get_or_insert(now)) < LEARNING_WINDOW {
            return Observed::Refused;
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

    fn is_expected(&self, from: SocketAddr) -> bool {
        self.signalled == Some(from) || self.guarded && self.destination == Some(from)
    }

    fn is_allowed(&self, from: SocketAddr) -> bool {
        match self.signalled {
            // No address was ever negotiated: nobody can be told from a stranger.
            None => false,
            Some(signalled) => !self.strict || signalled.ip() == from.ip(),
        }
    }
}
