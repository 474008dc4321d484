//! The connections' part of a turn: what the backend reports goes to the shard, what the shard
//! wants goes to the backend.

use super::ShardThread;
use crate::{
    driver::{
        backend::{Backend, StreamEvent, StreamKey},
        connections::{Next, Stage},
        handover::Note,
        log, sockets,
    },
    id::ConnectionId,
    shard::{Closed, Event, Level, ListenerId},
    time::Timestamp,
};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

impl<B: Backend> ShardThread<B> {
    /// Somebody has connected.
    pub(super) fn accepted(&mut self, now: Timestamp, listener: ListenerId, socket: OwnedFd) {
        self.backend.counters().streams_accepted += 1;
        let Some(peer) = sockets::peer_of(socket.as_fd()) else {
            return;
        };
        if self.connections.is_full() {
            self.backend.counters().streams_no_descriptor += 1;
            // Nothing of it must stay in the kernel.
            return sockets::reset_on_close(socket.as_fd());
        }
        let Some(id) = self.shard.handle_accept(now, listener, peer) else {
            sockets::reset_on_close(socket.as_fd());
            return self.run_outputs();
        };
        match self.backend.open_stream(socket) {
            Ok(key) => self.connections.insert(key, id, peer, Stage::Open),
            Err(_) => {
                self.backend.counters().accept_errors += 1;
                self.shard.handle_closed(now, id, Closed::Refused);
            }
        }
        self.run_outputs();
    }

    /// A listener cannot accept for want of something.
    pub(super) fn accept_paused(&mut self, now: Timestamp, listener: ListenerId, errno: i32) {
        self.connections.pause(now, listener);
        let error = io::Error::from_raw_os_error(errno);
        self.warn_rarely(
            now,
            &format!("connections wait to be accepted: {error}; raise LimitNOFILE (`ulimit -n`)"),
        );
    }

    /// A line for the log, unless there was one a moment ago: a flood of peers must not become a
    /// flood of lines.
    fn warn_rarely(&mut self, now: Timestamp, text: &str) {
        let Some(left_out) = self.sparing.pass(now) else {
            return;
        };
        let text = match left_out {
            0 => text.to_owned(),
            more => format!("{text} (and {more} lines like it that are not shown)"),
        };
        self.log(Level::Warn, text);
    }

    fn log(&mut self, level: Level, text: String) {
        if log::wanted(level) {
            let call = String::new();
            self.note(Note::Event(Event { level, call, text }));
        }
    }

    /// The shard wants a connection.
    pub(super) fn connect(&mut self, id: ConnectionId, listener: ListenerId, peer: SocketAddr) {
        match self.begin_to_connect(listener, peer) {
            Ok(key) => self.connections.insert(key, id, peer, Stage::Connecting),
            Err(error) => {
                let now = self.clock.now();
                self.not_connected(now, peer, &error);
                self.shard.handle_closed(now, id, Closed::Refused);
            }
        }
    }

    fn not_connected(&mut self, now: Timestamp, peer: SocketAddr, error: &io::Error) {
        self.backend.counters().streams_connect_errors += 1;
        self.warn_rarely(now, &format!("cannot connect to {peer}: {error}"));
    }

    fn begin_to_connect(&mut self, listener: ListenerId, peer: SocketAddr) -> io::Result<StreamKey> {
        if self.connections.is_full() {
            self.backend.counters().streams_no_descriptor += 1;
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let from = self.shard.snapshot.listeners.get(usize::from(listener.0));
        let from = from.ok_or(io::ErrorKind::NotFound)?.bind;
        let socket = sockets::tcp_client(from, peer)?;
        self.backend.connect_stream(socket, peer)
    }

    /// The shard closes a connection.
    pub(super) fn close(&mut self, id: ConnectionId, abort: bool) {
        let Some(key) = self.connections.key_of(id) else {
            return;
        };
        let connecting = |stage| stage == Stage::Connecting;
        let at_once = abort || self.connections.of_key(key).is_some_and(|c| connecting(c.stage));
        if at_once {
            self.connections.remove(key);
            self.backend.close_stream(key, true);
        } else {
            let now = self.clock.now();
            let next = self.connections.leave(now, key);
            self.follow(key, next);
        }
    }

    fn follow(&mut self, key: StreamKey, next: Next) {
        match next {
            Next::Stay => {}
            Next::End => self.backend.end_stream(key),
            Next::Close => self.backend.close_stream(key, false),
        }
    }

    /// The backend reports on a stream.
    pub(super) fn stream_event(&mut self, now: Timestamp, key: StreamKey, event: StreamEvent) {
        let known = self.connections.of_key(key).map(|connection| connection.id);
        match event {
            StreamEvent::Received(packet) => {
                if let Some(Some(id)) = known {
                    let bytes = self.backend.bytes(&packet);
                    self.shard.handle_stream(now, id, bytes);
                }
                self.backend.release(packet);
            }
            StreamEvent::Connected => {
                self.backend.counters().streams_connected += 1;
                if let Some(connection) = self.connections.of_key(key) {
                    connection.stage = Stage::Open;
                }
                if let Some(Some(id)) = known {
                    self.shard.handle_connected(now, id, None);
                }
            }
            StreamEvent::Written(bytes) => {
                if let Some(Some(id)) = known {
                    self.shard.handle_sent(now, id, bytes);
                }
                let next = self.connections.written(key, bytes);
                self.follow(key, next);
            }
            StreamEvent::Ended => {
                let next = match self.connections.peer_ended(key) {
                    Some(id) => {
                        let next = self.connections.leave(now, key);
                        self.shard.handle_closed(now, id, Closed::End);
                        next
                    }
                    None => self.connections.after(key),
                };
                self.follow(key, next);
            }
            StreamEvent::Failed(errno) => self.stream_failed(now, key, errno),
        }
        self.run_outputs();
    }

    fn stream_failed(&mut self, now: Timestamp, key: StreamKey, errno: i32) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        self.backend.close_stream(key, true);
        let error = io::Error::from_raw_os_error(errno);
        let why = if connection.stage == Stage::Connecting {
            self.not_connected(now, connection.peer, &error);
            Closed::Refused
        } else {
            self.backend.counters().streams_broken += 1;
            self.log(
                Level::Debug,
                format!("the connection with {} broke: {error}", connection.peer),
            );
            Closed::Reset
        };
        if let Some(id) = connection.id {
            self.shard.handle_closed(now, id, why);
        }
    }

    /// Begin to write what the turn has queued, end what is overdue.
    pub(super) fn run_connections(&mut self) {
        while let Some((key, bytes)) = self.connections.next_write() {
            self.backend.write_stream(key, bytes);
        }
        if self.connections.deadline().is_none() {
            return;
        }
        let now = self.clock.now();
        while let Some(key) = self.connections.next_overdue(now) {
            self.backend.close_stream(key, true);
        }
        while let Some(listener) = self.connections.next_resumed(now) {
            self.backend.resume_accepting(listener);
        }
    }
}
