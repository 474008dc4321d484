//! The connections of one shard as the driver knows them.
//!
//! In: what a shard wants written and closed, what the backend reports. Out: what to write next, whom
//! a report is for, what is overdue. The table does no I/O. Two names lead to a connection: the
//! backend's [`StreamKey`], for as long as it has a descriptor, and the shard's [`ConnectionId`],
//! until the shard has closed it or has been told of its end.
//!
//! ```text
//!   Connecting ──► Handshaking (TLS) ──► Open ──► Leaving ──► Ended ──► gone
//! ```
//! Bytes of the shard are plain; under TLS they are encrypted when they are written, so that what
//! has gathered becomes few records.
//!
//! A connection that the shard closes in order is Leaving until all bytes are written, and Ended
//! until the peer has closed its side, too: closing at once would make the kernel send a reset that
//! takes back what the peer has not read yet. Both together have a time limit.

use super::{
    backend::StreamKey,
    tls::{Received, Session},
};
use crate::{id::ConnectionId, shard::ListenerId, time::Timestamp};
use bytes::{Bytes, BytesMut};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};

/// How long a connection that the shard has closed may take to be written out and closed by its peer.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Bytes that are written to a connection with one operation, unless one message is larger.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes of a handshake that may wait for their turn: the largest message that TLS takes.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// How long nothing is accepted when the system has run out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We have asked for it.
    Connecting,
    /// It is connected, and TLS is being agreed on.
    Handshaking,
    /// Bytes flow.
    Open,
    /// What is queued is written, then it is ended.
    Leaving,
    /// We have ended it and wait for the peer to do the same.
    Ended,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None`: the shard has forgotten it.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) peer: SocketAddr,
    pub(crate) stage: Stage,
    /// Tells it from later ones with the same key.
    serial: u64,
    tls: Option<Box<Session>>,
    /// Plain bytes.
    queue: VecDeque<Bytes>,
    /// Bytes of the wire that the backend is writing.
    writing: usize,
    /// Plain bytes among them that have not been reported to the shard.
    unreported: usize,
    /// Bytes of the wire that wait until it is this handshake's turn.
    handshake: Vec<u8>,
    /// The peer has sent its last byte behind them.
    end_waits: bool,
    /// The peer has sent its last byte.
    peer_ended: bool,
    /// It is listed in [`Connections::unsent`].
    listed: bool,
}

impl Connection {
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_wire())
    }

    fn is_written(&self) -> bool {
        self.writing == 0 && !self.has_output()
    }

    /// What to write next: a single message as it is, several as one piece.
    fn next_batch(&mut self) -> Option<Bytes> {
        let batch = match &mut self.tls {
            None => {
                let batch = take_batch(&mut self.queue)?;
                self.unreported = batch.len();
                batch
            }
            Some(tls) => {
                let mut wire = Vec::new();
                // What the handshake has to say goes first, and by itself.
                tls.take_wire(&mut wire);
                if wire.is_empty() {
                    let plain = take_batch(&mut self.queue)?;
                    self.unreported = plain.len();
                    tls.send(&plain, &mut wire);
                }
                Bytes::from(wire)
            }
        };
        self.writing = batch.len();
        (self.writing > 0).then_some(batch)
    }

    /// How many plain bytes have gone when `bytes` of the wire have.
    fn count_written(&mut self, bytes: usize) -> usize {
        self.writing = self.writing.saturating_sub(bytes);
        let gone = match (&self.tls, self.writing) {
            (None, _) => bytes.min(self.unreported),
            // A record counts when all of it has gone.
            (Some(_), 0) => self.unreported,
            (Some(_), _) => 0,
        };
        self.unreported -= gone;
        gone
    }
}

/// The first messages of a queue, in one piece.
fn take_batch(queue: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = queue.pop_front()?;
    let fits = |len: usize, next: Option<&Bytes>| next.is_some_and(|next| len + next.len() <= BATCH_BYTES);
    if !fits(first.len(), queue.front()) {
        return Some(first);
    }
    let mut batch = BytesMut::from(&*first);
    while fits(batch.len(), queue.front())
        && let Some(next) = queue.pop_front()
    {
        batch.extend_from_slice(&next);
    }
    Some(batch.freeze())
}

/// What becomes of bytes that came under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// They are read at once: the handshake is over.
    Now,
    /// They wait for [`Connections::next_handshake`].
    Later,
    /// More than a handshake can be.
    TooMuch,
}

/// What is left to do with a connection after something has happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Stay,
    /// Tell the peer that nothing more will come.
    End,
    /// Close it; the table has forgotten it.
    Close,
}

/// All connections of a shard.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Vec<Option<Connection>>,
    /// By the slot of their id.
    slots: Vec<Option<(u32, StreamKey)>>,
    count: usize,
    max: usize,
    serial: u64,
    /// Connections that have something to write and nothing under way.
    unsent: Vec<StreamKey>,
    /// Handshakes that have something to read, in the order in which it came.
    handshakes: VecDeque<(StreamKey, u64)>,
    /// Closed by the shard, soonest deadline first.
    leaving: VecDeque<(Timestamp, StreamKey, u64)>,
    paused: Vec<ListenerId>,
    resume_at: Option<Timestamp>,
}

impl Connections {
    /// A table for as many connections as there are descriptors for.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Whether there is no descriptor for one more.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= self.max
    }

    pub(crate) fn insert(
        &mut self,
        key: StreamKey,
        id: ConnectionId,
        peer: SocketAddr,
        stage: Stage,
        tls: Option<Session>,
    ) {
        let index = key.0 as usize;
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        let slot = id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.serial += 1;
        let connection = Connection {
            id: Some(id),
            peer,
            stage,
            serial: self.serial,
            tls: tls.map(Box::new),
            queue: VecDeque::new(),
            writing: 0,
            unreported: 0,
            handshake: Vec::new(),
            end_waits: false,
            peer_ended: false,
            listed: false,
        };
        if let (Some(open), Some(slot)) = (self.open.get_mut(index), self.slots.get_mut(slot)) {
            *slot = Some((id.generation, key));
            if open.replace(connection).is_none() {
                self.count += 1;
            }
        }
    }

    pub(crate) fn of_key(&mut self, key: StreamKey) -> Option<&mut Connection> {
        self.open.get_mut(key.0 as usize)?.as_mut()
    }

    /// The key of a connection that the shard knows.
    pub(crate) fn key_of(&self, id: ConnectionId) -> Option<StreamKey> {
        let (generation, key) = (*self.slots.get(id.slot as usize)?)?;
        (generation == id.generation).then_some(key)
    }

    /// Forget a connection; its id, when the shard still has it.
    pub(crate) fn remove(&mut self, key: StreamKey) -> Option<Connection> {
        let connection = self.open.get_mut(key.0 as usize)?.take()?;
        self.count -= 1;
        if let Some(id) = connection.id {
            self.forget(id);
        }
        Some(connection)
    }

    fn forget(&mut self, id: ConnectionId) {
        if let Some(slot) = self.slots.get_mut(id.slot as usize)
            && slot.is_some_and(|(generation, _)| generation == id.generation)
        {
            *slot = None;
        }
    }

    /// The shard wants `payload` written. `false`: it has no such connection, or one that is not
    /// open yet.
    pub(crate) fn send(&mut self, id: ConnectionId, payload: Bytes) -> bool {
        let Some(key) = self.key_of(id) else { return false };
        let Some(connection) = self.of_key(key).filter(|c| c.stage == Stage::Open) else {
            return false;
        };
        connection.queue.push_back(payload);
        self.list(key);
        true
    }

    fn list(&mut self, key: StreamKey) {
        if let Some(connection) = self.of_key(key)
            && connection.stage != Stage::Connecting
            && connection.writing == 0
            && connection.has_output()
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.unsent.push(key);
        }
    }

    /// The next write to begin.
    pub(crate) fn next_write(&mut self) -> Option<(StreamKey, Bytes)> {
        while let Some(key) = self.unsent.pop() {
            let Some(connection) = self.of_key(key) else {
                continue;
            };
            // A key that was listed for an earlier connection says nothing about this one.
            connection.listed = false;
            if connection.writing == 0
                && connection.stage != Stage::Connecting
                && let Some(batch) = connection.next_batch()
            {
                return Some((key, batch));
            }
        }
        None
    }

    /// A connection that was asked for is there.
    pub(crate) fn connected(&mut self, key: StreamKey) -> Option<Stage> {
        let connection = self.of_key(key)?;
        connection.stage = if connection.speaks_tls() {
            Stage::Handshaking
        } else {
            Stage::Open
        };
        let stage = connection.stage;
        self.list(key);
        Some(stage)
    }

    /// Bytes of the wire came for a connection under TLS. Those of a handshake are kept: each step costs up
    /// to a millisecond, and calls and media must not wait for many.
    pub(crate) fn turn_of(&mut self, key: StreamKey, wire: &[u8]) -> Turn {
        let connection = self.of_key(key).filter(|c| c.stage == Stage::Handshaking);
        let Some(connection) = connection else {
            return Turn::Now;
        };
        if connection.handshake.len() + wire.len() > HANDSHAKE_BYTES_MAX {
            return Turn::TooMuch;
        }
        let first = connection.handshake.is_empty();
        connection.handshake.extend_from_slice(wire);
        let serial = connection.serial;
        if first {
            self.handshakes.push_back((key, serial));
        }
        Turn::Later
    }

    /// The peer has ended its side. `true`: what it has said before waits to be read, and so does this.
    pub(crate) fn end_waits(&mut self, key: StreamKey) -> bool {
        let waiting = |c: &&mut Connection| c.stage == Stage::Handshaking && !c.handshake.is_empty();
        let Some(connection) = self.of_key(key).filter(waiting) else {
            return false;
        };
        connection.end_waits = true;
        true
    }

    /// The handshake whose turn it is, what is to be read, and whether the peer has ended behind that.
    pub(crate) fn next_handshake(&mut self) -> Option<(StreamKey, Vec<u8>, bool)> {
        while let Some((key, serial)) = self.handshakes.pop_front() {
            if let Some(connection) = self.of_key(key)
                && connection.serial == serial
                && connection.stage == Stage::Handshaking
            {
                let wire = std::mem::take(&mut connection.handshake);
                return Some((key, wire, std::mem::take(&mut connection.end_waits)));
            }
        }
        None
    }

    /// Handshakes that wait for their turn.
    pub(crate) fn handshakes_waiting(&self) -> usize {
        self.handshakes.len()
    }

    /// Bytes of the wire came for a connection under TLS; what they say is appended to `plain`.
    pub(crate) fn receive(
        &mut self,
        key: StreamKey,
        wire: &[u8],
        plain: &mut Vec<u8>,
    ) -> Option<Result<Received, String>> {
        let connection = self.of_key(key)?;
        if !matches!(connection.stage, Stage::Handshaking | Stage::Open) {
            return None;
        }
        let outcome = connection.tls.as_mut()?.receive(wire, plain);
        if matches!(&outcome, Ok(received) if received.established.is_some()) {
            connection.stage = Stage::Open;
        }
        if outcome.is_err() {
            // The rest would only be encrypted for a peer that does not understand us.
            connection.queue.clear();
        }
        self.list(key);
        Some(outcome)
    }

    /// The kernel has taken `bytes`. How many plain bytes they were, and what follows.
    pub(crate) fn written(&mut self, key: StreamKey, bytes: usize) -> (usize, Next) {
        let plain = match self.of_key(key) {
            Some(connection) => connection.count_written(bytes),
            None => 0,
        };
        self.list(key);
        (plain, self.after(key))
    }

    /// The shard closes a connection in order, or has been told that the peer has.
    pub(crate) fn leave(&mut self, now: Timestamp, key: StreamKey) -> Next {
        let Some(connection) = self.of_key(key) else {
            return Next::Stay;
        };
        let Some(id) = connection.id.take() else {
            return Next::Stay;
        };
        connection.stage = Stage::Leaving;
        let serial = connection.serial;
        self.leaving.push_back((now + LEAVE_MAX, key, serial));
        self.forget(id);
        let next = self.after(key);
        self.list(key);
        next
    }

    /// The peer has sent its last byte; the id of the connection when the shard must be told.
    pub(crate) fn peer_ended(&mut self, key: StreamKey) -> Option<ConnectionId> {
        let connection = self.of_key(key)?;
        connection.peer_ended = true;
        connection.id
    }

    /// What follows for a connection that may have nothing left to write.
    pub(crate) fn after(&mut self, key: StreamKey) -> Next {
        let Some(connection) = self.of_key(key) else {
            return Next::Stay;
        };
        if connection.stage == Stage::Leaving
            && connection.is_written()
            && let Some(tls) = &mut connection.tls
        {
            // Says good-bye once, after the last record.
            tls.end();
            self.list(key);
        }
        let Some(connection) = self.of_key(key) else {
            return Next::Stay;
        };
        match connection.stage {
            Stage::Leaving if connection.is_written() && connection.peer_ended => {
                self.remove(key);
                Next::Close
            }
            Stage::Leaving if connection.is_written() => {
                connection.stage = Stage::Ended;
                Next::End
            }
            Stage::Ended if connection.peer_ended => {
                self.remove(key);
                Next::Close
            }
            _ => Next::Stay,
        }
    }

    /// Accept nothing from `listener` for a while.
    pub(crate) fn pause(&mut self, now: Timestamp, listener: ListenerId) {
        if !self.paused.contains(&listener) {
            self.paused.push(listener);
        }
        self.resume_at = Some(now + ACCEPT_PAUSE);
    }

    /// A listener to accept from again.
    pub(crate) fn next_resumed(&mut self, now: Timestamp) -> Option<ListenerId> {
        if self.resume_at.is_none_or(|at| at > now) {
            return None;
        }
        let listener = self.paused.pop();
        if self.paused.is_empty() {
            self.resume_at = None;
        }
        listener
    }

    /// A connection that has taken too long to leave; the table has forgotten it.
    pub(crate) fn next_overdue(&mut self, now: Timestamp) -> Option<StreamKey> {
        while let Some(&(due, key, serial)) = self.leaving.front()
            && due <= now
        {
            self.leaving.pop_front();
            if self.of_key(key).is_some_and(|c| c.serial == serial) {
                self.remove(key);
                return Some(key);
            }
        }
        None
    }

    /// When [`Self::next_overdue`] or [`Self::next_resumed`] will have something.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let overdue = self.leaving.front().map(|&(due, ..)| due);
        [overdue, self.resume_at].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey = StreamKey(3);

    fn id(generation: u32) -> ConnectionId {
        ConnectionId { slot: 1, generation }
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 5060))
    }

    fn opened() -> Connections {
        let mut connections = Connections::new(2);
        connections.insert(KEY, id(0), peer(), Stage::Open, None);
        connections
    }

    #[test]
    fn messages_of_one_turn_leave_as_one_piece_in_order() {
        let mut connections = opened();
        for text in ["one ", "two ", "three"] {
            assert!(connections.send(id(0), Bytes::from_static(text.as_bytes())));
        }
        assert_eq!(
            connections.next_write(),
            Some((KEY, Bytes::from_static(b"one two three")))
        );
        assert!(connections.send(id(0), Bytes::from_static(b"four")));
        assert_eq!(connections.next_write(), None, "one write at a time");
        assert_eq!(connections.written(KEY, 4), (4, Next::Stay));
        assert_eq!(connections.next_write(), None, "a part of it is under way");
        assert_eq!(connections.written(KEY, 9), (9, Next::Stay));
        assert_eq!(connections.next_write(), Some((KEY, Bytes::from_static(b"four"))));
    }

    #[test]
    fn a_batch_is_bounded_but_a_large_message_goes_whole() {
        let mut connections = opened();
        let large = Bytes::from(vec![1; BATCH_BYTES + 1]);
        let half = Bytes::from(vec![2; BATCH_BYTES / 2]);
        for payload in [&large, &half, &half, &half] {
            connections.send(id(0), payload.clone());
        }
        for expected in [large.len(), BATCH_BYTES, half.len()] {
            let (_, batch) = connections.next_write().unwrap();
            assert_eq!(batch.len(), expected);
            connections.written(KEY, expected);
        }
        assert_eq!(connections.next_write(), None);
    }

    #[test]
    fn handshakes_take_turns() {
        let mut connections = Connections::new(4);
        for n in 0..3 {
            let id = ConnectionId {
                slot: n,
                generation: 0,
            };
            connections.insert(StreamKey(n), id, peer(), Stage::Handshaking, None);
        }
        for (key, wire) in [(0, b"a"), (1, b"b"), (0, b"c"), (2, b"d")] {
            assert_eq!(connections.turn_of(StreamKey(key), wire), Turn::Later);
        }
        assert_eq!(connections.handshakes_waiting(), 3);
        assert!(connections.end_waits(StreamKey(0)));
        let next = connections.next_handshake();
        assert_eq!(next, Some((StreamKey(0), b"ac".to_vec(), true)));
        assert!(!connections.end_waits(StreamKey(0)), "nothing of it waits");
        // More for the first comes behind those that wait already.
        connections.turn_of(StreamKey(0), b"e");
        // One that has gone, and its successor with nothing to say, take no turn.
        connections.remove(StreamKey(1));
        let later = ConnectionId {
            slot: 1,
            generation: 1,
        };
        connections.insert(StreamKey(1), later, peer(), Stage::Handshaking, None);
        let next = connections.next_handshake();
        assert_eq!(next, Some((StreamKey(2), b"d".to_vec(), false)));
        let next = connections.next_handshake();
        assert_eq!(next, Some((StreamKey(0), b"e".to_vec(), false)));
        assert_eq!(connections.next_handshake(), None);
    }

    #[test]
    fn a_handshake_is_bounded_and_an_open_connection_does_not_wait() {
        let mut connections = opened();
        assert_eq!(connections.turn_of(KEY, b"data"), Turn::Now);
        assert!(!connections.end_waits(KEY));
        let other = ConnectionId {
            slot: 0,
            generation: 0,
        };
        connections.insert(StreamKey(0), other, peer(), Stage::Handshaking, None);
        let most = vec![0; HANDSHAKE_BYTES_MAX];
        assert_eq!(connections.turn_of(StreamKey(0), &most), Turn::Later);
        assert_eq!(connections.turn_of(StreamKey(0), b"x"), Turn::TooMuch);
    }

    #[test]
    fn a_stale_id_reaches_nothing() {
        let mut connections = opened();
        connections.remove(KEY);
        connections.insert(KEY, id(1), peer(), Stage::Open, None);
        assert!(!connections.send(id(0), Bytes::from_static(b"late")));
        assert_eq!(connections.key_of(id(0)), None);
        assert_eq!(connections.key_of(id(1)), Some(KEY));
    }

    #[test]
    fn a_connection_leaves_when_all_is_written_and_the_peer_has_ended() {
        let now = Timestamp::ZERO;
        let mut connections = opened();
        connections.send(id(0), Bytes::from_static(b"last"));
        connections.next_write();
        assert_eq!(connections.leave(now, KEY), Next::Stay);
        assert_eq!(connections.key_of(id(0)), None, "the slot is free for the shard");
        assert_eq!(connections.written(KEY, 4), (4, Next::End));
        assert_eq!(
            connections.peer_ended(KEY),
            None,
            "the shard is not told any more"
        );
        assert_eq!(connections.after(KEY), Next::Close);
        assert!(connections.of_key(KEY).is_none());
    }

    #[test]
    fn a_peer_that_ends_first_still_gets_what_is_queued() {
        let now = Timestamp::ZERO;
        let mut connections = opened();
        connections.send(id(0), Bytes::from_static(b"response"));
        assert_eq!(connections.peer_ended(KEY), Some(id(0)));
        assert_eq!(connections.leave(now, KEY), Next::Stay);
        connections.next_write();
        assert_eq!(connections.written(KEY, 8), (8, Next::Close));
    }

    #[test]
    fn leaving_has_a_time_limit_that_never_hits_the_next_connection() {
        let now = Timestamp::ZERO;
        let mut connections = opened();
        connections.send(id(0), Bytes::from_static(b"never read"));
        connections.next_write();
        connections.leave(now, KEY);
        assert_eq!(connections.deadline(), Some(now + LEAVE_MAX));
        assert_eq!(connections.next_overdue(now), None);
        connections.remove(KEY);
        connections.insert(KEY, id(1), peer(), Stage::Open, None);
        connections.leave(now + LEAVE_MAX, KEY);
        assert_eq!(connections.next_overdue(now + LEAVE_MAX), None);
        assert_eq!(connections.next_overdue(now + LEAVE_MAX * 2), Some(KEY));
        assert_eq!(connections.count, 0);
        assert_eq!(connections.deadline(), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut connections = opened();
        assert!(!connections.is_full());
        let other = ConnectionId {
            slot: 0,
            generation: 0,
        };
        connections.insert(StreamKey(0), other, peer(), Stage::Connecting, None);
        assert!(connections.is_full());
        assert!(!connections.send(other, Bytes::from_static(b"too early")));
        connections.remove(KEY);
        assert!(!connections.is_full());
    }
}
