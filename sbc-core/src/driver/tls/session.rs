//! The TLS of one connection, without I/O.
//!
//! In: bytes from the wire, plain bytes to send. Out: plain bytes received, bytes for the wire. The
//! session holds no more than one record that is not whole yet, or one message of a handshake (64 KiB),
//! and what has not been taken out of it.

use super::certificate;
use crate::io::PeerIdentity;
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName,
};
use std::{
    io::{BufRead, Write},
    sync::Arc,
};

/// One side of a TLS connection.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    established: bool,
    /// Nothing more will be sent: we have said so, or it has failed.
    ended: bool,
}

/// What a piece of the wire's stream has led to.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The handshake is complete with this piece, and the peer has proved to be this.
    pub(crate) established: Option<PeerIdentity>,
    /// The peer will send nothing more.
    pub(crate) ended: bool,
}

impl Session {
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(ClientConnection::new(config, name)?.into()))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(ServerConnection::new(config)?.into()))
    }

    fn new(connection: Connection) -> Self {
        Self {
            connection,
            established: false,
            ended: false,
        }
    }

    /// Bytes came from the wire; what they say is appended to `plain`. After an error nothing more can
    /// be received, but an alert for the peer may wait to be sent.
    pub(crate) fn receive(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<Received, String> {
        let mut received = Received::default();
        while !wire.is_empty() {
            // Reading from memory fails only when the peer makes the session hold too much.
            let taken = self.connection.read_tls(&mut wire).map_err(|e| self.fail(e))?;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => return Err(self.fail(error)),
            };
            self.drain(state.plaintext_bytes_to_read(), plain);
            if !self.established && !self.connection.is_handshaking() {
                self.established = true;
                received.established = Some(self.identity());
            }
            if state.peer_has_closed() {
                received.ended = true;
                break;
            }
            if taken == 0 {
                break;
            }
        }
        Ok(received)
    }

    fn fail(&mut self, error: impl ToString) -> String {
        self.ended = true;
        error.to_string()
    }

    fn drain(&mut self, mut left: usize, plain: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while left > 0
            && let Ok(chunk) = reader.fill_buf()
            && !chunk.is_empty()
        {
            let len = chunk.len();
            plain.extend_from_slice(chunk);
            reader.consume(len);
            left = left.saturating_sub(len);
        }
    }

    /// Encrypt `plain` to the end of `wire`.
    pub(crate) fn send(&mut self, mut plain: &[u8], wire: &mut Vec<u8>) {
        while !plain.is_empty() && !self.ended {
            // Takes as much as its bound allows, until that is taken out below.
            let taken = self.connection.writer().write(plain).unwrap_or_default();
            plain = plain.get(taken..).unwrap_or_default();
            self.take_wire(wire);
            if taken == 0 {
                return;
            }
        }
    }

    /// Whether bytes wait for the wire.
    pub(crate) fn has_wire(&self) -> bool {
        self.connection.wants_write()
    }

    /// Append what waits for the wire: handshake, tickets, alerts, records.
    pub(crate) fn take_wire(&mut self, wire: &mut Vec<u8>) {
        // Writing to memory does not fail.
        while self.connection.wants_write() && self.connection.write_tls(wire).is_ok_and(|len| len > 0) {}
    }

    /// Tell the peer that nothing more will come (RFC 8446 §6.1).
    pub(crate) fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.connection.send_close_notify();
        }
    }

    fn identity(&self) -> PeerIdentity {
        let first = self
            .connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        PeerIdentity {
            names: first.map(certificate::identities).unwrap_or_default().into(),
        }
    }
}
