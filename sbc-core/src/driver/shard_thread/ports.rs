//! The media ports of a shard thread: a few more are bound when those of an interface run low.

use super::ShardThread;
use crate::{
    driver::{
        backend::Backend,
        sockets::{self, BoundPair, MediaPorts},
    },
    id::InterfaceId,
    time::Timestamp,
};
use sbc_media::relay::PairIndex;
use std::{io, time::Duration};

/// Bind more media ports when fewer pairs of an interface are free than this ...
const PAIRS_LOW: usize = 128;
/// ... this many more, but no more than ...
const PAIRS_BATCH: usize = 128;
/// ... these in one turn (some 10 µs each), so that calls in progress do not feel it.
const PAIRS_PER_TURN: usize = 8;
/// With fewer free than this, some are bound after each message: a burst of calls may come in one turn.
const PAIRS_SHORT: usize = 32;
/// Ports tried in one turn when other programs hold many.
const PORT_TRIES_PER_TURN: usize = 32;
/// How long to leave ports alone that other programs hold, when the calls want more than are bound.
const PORTS_HELD_PAUSE: Duration = Duration::from_secs(1);

/// The ports that a shard has of one media interface.
pub(super) struct Interface {
    id: InterfaceId,
    ports: MediaPorts,
    /// Pairs still to bind of the batch that was started.
    wanted: usize,
    /// When to try again the ports that other programs held.
    held_retry: Timestamp,
}

impl Interface {
    pub(super) fn each(ports: Vec<MediaPorts>) -> Vec<Self> {
        let interface = |(id, ports)| Self {
            id: InterfaceId(id),
            ports,
            wanted: 0,
            held_retry: Timestamp::ZERO,
        };
        (0..=u8::MAX).zip(ports).map(interface).collect()
    }
}

impl<B: Backend> ShardThread<B> {
    /// The first call finds ports ready, and a wrong address is a failure to start.
    pub(super) fn bind_first_ports(&mut self) -> io::Result<()> {
        for at in 0..self.interfaces.len() {
            self.bind_first_of(at).map_err(|error| {
                let media = &self.shard.snapshot.media;
                let name = media.interfaces.get(at).map_or("", |interface| &interface.name);
                let advice = sockets::media_advice(&error);
                io::Error::new(error.kind(), format!("media interface {name}: {error}; {advice}"))
            })?;
        }
        Ok(())
    }

    fn bind_first_of(&mut self, at: usize) -> io::Result<()> {
        for _ in 0..PAIRS_BATCH {
            self.bind_pair(at)?;
        }
        while self.interfaces[at].ports.bound() < PAIRS_BATCH
            && let Some(pair) = self.interfaces[at].ports.await_held()?
        {
            self.add_pair(at, pair)?;
        }
        Ok(())
    }

    /// Whether a batch has been started.
    pub(super) fn is_binding(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.wanted > 0)
    }

    pub(super) fn bind_more_ports(&mut self) {
        let mut left = PAIRS_PER_TURN;
        for at in 0..self.interfaces.len() {
            let bound = self.bind_more_of(at, left);
            left -= bound;
        }
    }

    /// What the messages that follow in this turn may need.
    pub(super) fn bind_ports_when_short(&mut self) {
        for at in 0..self.interfaces.len() {
            if self.shard.media_pairs_free(self.interfaces[at].id) < PAIRS_SHORT {
                self.bind_more_of(at, PAIRS_PER_TURN);
            }
        }
    }

    /// Bind at most `most` pairs of one interface; how many were tried.
    fn bind_more_of(&mut self, at: usize, most: usize) -> usize {
        let interface = &mut self.interfaces[at];
        if interface.wanted == 0 {
            if self.shard.media_pairs_free(interface.id) >= PAIRS_LOW {
                return 0;
            }
            if interface.ports.exhausted() {
                self.bind_held_ports(at);
                return 0;
            }
            interface.wanted = PAIRS_BATCH;
        }
        let tried = most.min(interface.wanted);
        for _ in 0..tried {
            if let Err(error) = self.bind_pair(at) {
                self.no_more_ports(at, &error);
            }
        }
        let interface = &mut self.interfaces[at];
        interface.wanted -= tried;
        if interface.ports.exhausted() {
            interface.wanted = 0;
            tracing::info!(
                shard = self.id.0,
                interface = interface.id.0,
                bound = interface.ports.bound(),
                in_use_elsewhere = interface.ports.in_use_elsewhere(),
                "every media port pair of this shard is bound now"
            );
        }
        tried
    }

    /// All others are bound: look whether those that other programs held are free by now.
    fn bind_held_ports(&mut self, at: usize) {
        let now = self.clock.now();
        let interface = &mut self.interfaces[at];
        if interface.ports.in_use_elsewhere() == 0 || now < interface.held_retry {
            return;
        }
        let pair = interface.ports.bind_held(PORT_TRIES_PER_TURN);
        match pair.and_then(|pair| pair.map(|pair| self.add_pair(at, pair)).transpose()) {
            // More of them may be.
            Ok(Some(())) => {}
            Ok(None) => self.interfaces[at].held_retry = now + PORTS_HELD_PAUSE,
            Err(error) => {
                self.interfaces[at].held_retry = now + PORTS_HELD_PAUSE;
                self.no_more_ports(at, &error);
            }
        }
    }

    fn no_more_ports(&mut self, at: usize, error: &io::Error) {
        self.interfaces[at].ports.give_up();
        tracing::warn!(
            shard = self.id.0,
            interface = at,
            "no more media ports can be bound: {error}; {}",
            sockets::media_advice(error)
        );
    }

    fn bind_pair(&mut self, at: usize) -> io::Result<()> {
        match self.interfaces[at].ports.bind_next(PORT_TRIES_PER_TURN)? {
            Some(pair) => self.add_pair(at, pair),
            None => Ok(()),
        }
    }

    /// A pair that the slice of an interface has just bound. Backend and relay number pairs as they come.
    fn add_pair(&mut self, at: usize, pair: BoundPair) -> io::Result<()> {
        self.backend.add_media_pair(pair.rtp, pair.rtcp)?;
        let index = PairIndex(self.pairs);
        self.pairs += 1;
        self.shard
            .add_media_pair(self.interfaces[at].id, index, pair.port);
        Ok(())
    }
}
