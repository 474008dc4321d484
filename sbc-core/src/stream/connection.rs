//! One connection: its state, what waits for it, and when something must have happened.

use super::Framer;
use crate::{
    id::ListenerId,
    io::PeerIdentity,
    snapshot::Streams,
    time::Timestamp,
    timer_wheel::TimerKey,
    transport::{Flow, Hop},
    trunk::TrunkId,
};
use bytes::Bytes;
use std::{net::SocketAddr, time::Duration};

/// A peer that no trunk lists must have logged in within this.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that is being opened, or open.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) listener: ListenerId,
    pub(super) trunk: TrunkId,
    /// The peer opened it.
    pub(super) inbound: bool,
    pub(super) open: bool,
    /// A transaction is bound to it: somebody must be told when it breaks.
    pub(super) bound: bool,
    /// Messages that wait until it is open.
    pub(super) waiting: Vec<Bytes>,
    /// Bytes that the kernel has not taken yet.
    pub(super) unsent: usize,
    pub(super) framer: Framer,
    /// What the peer has proved of itself.
    pub(super) identity: Option<Box<PeerIdentity>>,
    /// When it was made, or the last message went either way, or the peer sent a ping.
    pub(super) active: Timestamp,
    /// The peer is no trunk's, and has not logged in: when it connected.
    pub(super) stranger_since: Option<Timestamp>,
    /// When we sent a ping.
    pub(super) pinged: Timestamp,
    /// When the message that is not whole yet began.
    pub(super) begun: Timestamp,
    /// When the kernel last took some of the bytes that wait.
    pub(super) progress: Timestamp,
    /// The one timer, and when it fires.
    pub(super) timer: Option<(TimerKey, Timestamp)>,
}

/// What has not happened in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It did not open.
    Connect,
    /// A message did not become whole.
    Message,
    /// The peer does not read.
    Send,
    /// The peer did not say which trunk it is.
    Login,
    /// Nothing at all went over it.
    Idle,
    /// A ping is due.
    Keepalive,
}

impl Connection {
    pub(super) fn new(hop: Hop, inbound: bool, open: bool, now: Timestamp) -> Self {
        Self {
            peer: hop.peer,
            listener: hop.listener,
            trunk: hop.trunk,
            inbound,
            open,
            bound: false,
            waiting: Vec::new(),
            unsent: 0,
            framer: Framer::default(),
            identity: None,
            active: now,
            stranger_since: (inbound && hop.trunk == TrunkId::STRANGER).then_some(now),
            pinged: now,
            begun: now,
            progress: now,
            timer: None,
        }
    }

    /// The way back to the peer.
    pub(super) fn hop(&self, flow: Flow) -> Hop {
        Hop {
            listener: self.listener,
            peer: self.peer,
            trunk: self.trunk,
            flow: Some(flow),
        }
    }

    /// The next thing that must have happened, and by when.
    pub(super) fn deadline(&self, settings: &Streams) -> (Timestamp, Silence) {
        if !self.open {
            return (self.active + settings.connect_timeout, Silence::Connect);
        }
        let mut next = (self.active + settings.idle_timeout, Silence::Idle);
        let mut consider = |since: Timestamp, allowed: Duration, silence: Silence| {
            if since + allowed < next.0 {
                next = (since + allowed, silence);
            }
        };
        if let Some(since) = self.stranger_since {
            consider(since, LOGIN_TIMEOUT, Silence::Login);
        }
        if self.framer.is_partial() {
            consider(self.begun, settings.message_timeout, Silence::Message);
        }
        if self.unsent > 0 {
            consider(self.progress, settings.send_timeout, Silence::Send);
        }
        if !self.inbound && !settings.keepalive.is_zero() {
            consider(
                self.active.max(self.pinged),
                settings.keepalive,
                Silence::Keepalive,
            );
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand silent connections are a few megabytes.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 224, "{}", size_of::<Connection>());
    }
}
