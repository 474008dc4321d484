//! Connections on the desk: pipes of bytes whose far end the test plays.
//!
//! What the shard opens succeeds at once, and what it sends is taken at once, unless a test says otherwise
//! ([`Dial`], [`Lines::slow`]).

use crate::desk::{Desk, Sent};
use sbc_core::{
    admission::Admission,
    config,
    id::ConnectionId,
    io::{Closed, PeerIdentity},
    shard::ListenerId,
    shard::ShardId,
    snapshot::Snapshot,
    transport::Transport,
    trunk::TrunkId,
};
use std::{net::SocketAddr, sync::Arc};

/// All connections that there were, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) all: Vec<Line>,
    /// How the shard's attempts to connect end.
    pub(crate) dial: Dial,
    /// Nothing that is sent is reported as taken.
    pub(crate) slow: bool,
}

/// How an attempt to connect ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dial {
    #[default]
    Succeed,
    Refuse,
    /// Not at all: the test decides.
    Wait,
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerId,
    pub(crate) peer: SocketAddr,
    /// For whom the shard has opened it; `None`: the peer has.
    pub(crate) trunk: Option<TrunkId>,
    /// The shard has closed it: with `abort`?
    pub(crate) closed: Option<bool>,
    /// Line breaks that the shard sent: pings and pongs.
    pub(crate) breaks: Vec<String>,
}

/// Listeners 0 to 2: UDP, TCP and TLS on 127.0.0.1; carrier and platform as on [`Desk::new`], on `listener`.
/// `more` comes before the sections.
pub(crate) fn desk_on(caller: &str, callee: &str, more: &str) -> Desk {
    let (snapshot, admission) = compiled(caller, callee, more);
    Desk::of(snapshot, admission)
}

/// The two shards of such a desk.
pub(crate) fn two_desks(caller: &str, callee: &str) -> [Desk; 2] {
    let (snapshot, admission) = compiled(caller, callee, "");
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    [0, 1].map(|id| Desk::of_shard(ShardId(id), 2, Arc::clone(&snapshot), Arc::clone(&admission)))
}

pub(crate) fn compiled(caller: &str, callee: &str, more: &str) -> (Snapshot, Admission) {
    let text = format!(
        "{more}\n\
        [[listener]]\nname = \"udp\"\naddress = \"127.0.0.1:5060\"\n\
        [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n\
        [[listener]]\nname = \"tls\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5061\"\n\
        [[listener]]\nname = \"udp6\"\naddress = \"[::1]:5060\"\n\
        [[listener]]\nname = \"tcp6\"\ntransport = \"tcp\"\naddress = \"[::1]:5060\"\n\
        [media]\naddress = \"127.0.0.1\"\n\
        [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\nlistener = \"{caller}\"\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\nlistener = \"{callee}\"\n\
        [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n[[route]]\nfrom = \"platform\"\nto = \"carrier\"\n"
    );
    let (mut snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    // Certificates are the driver's; a shard sees plain streams.
    snapshot.listeners[usize::from(TLS.0)].transport = Transport::Tls;
    (snapshot, admission)
}

pub(crate) const TCP: ListenerId = ListenerId(1);
pub(crate) const TLS: ListenerId = ListenerId(2);

impl Desk {
    /// A peer connects to a TCP listener and is accepted.
    pub(crate) fn accept(&mut self, peer: &str) -> ConnectionId {
        self.try_accept(TCP, peer).expect("the connection is accepted")
    }

    pub(crate) fn try_accept(&mut self, listener: ListenerId, peer: &str) -> Option<ConnectionId> {
        let peer = peer.parse().unwrap();
        let id = self.shard.handle_accept(self.now, listener, peer)?;
        self.lines.all.push(Line {
            id,
            listener,
            peer,
            trunk: None,
            closed: None,
            breaks: Vec::new(),
        });
        Some(id)
    }

    /// The peer sends bytes.
    pub(crate) fn write(&mut self, id: ConnectionId, text: impl AsRef<[u8]>) -> Vec<Sent> {
        self.shard.handle_stream(self.now, id, text.as_ref());
        self.drain()
    }

    /// An attempt of the shard's to connect succeeds.
    pub(crate) fn open(&mut self, id: ConnectionId) -> Vec<Sent> {
        self.shard.handle_connected(self.now, id, None);
        self.drain()
    }

    /// The TLS handshake of a connection ends well: the peer has proved these names.
    pub(crate) fn prove(&mut self, id: ConnectionId, names: &[&str]) -> Vec<Sent> {
        let names = names.iter().map(|&name| name.into()).collect();
        let identity = Some(PeerIdentity { names });
        self.shard.handle_connected(self.now, id, identity);
        self.drain()
    }

    /// The connection ends without the shard's doing.
    pub(crate) fn end(&mut self, id: ConnectionId, why: Closed) -> Vec<Sent> {
        self.shard.handle_closed(self.now, id, why);
        self.drain()
    }

    pub(crate) fn line(&self, id: ConnectionId) -> &Line {
        self.lines
            .all
            .iter()
            .find(|line| line.id == id)
            .expect("a connection")
    }

    fn line_mut(&mut self, id: ConnectionId) -> &mut Line {
        self.lines
            .all
            .iter_mut()
            .find(|line| line.id == id)
            .expect("a connection")
    }

    pub(crate) fn connect(
        &mut self,
        id: ConnectionId,
        listener: ListenerId,
        peer: SocketAddr,
        trunk: TrunkId,
    ) {
        self.lines.all.push(Line {
            id,
            listener,
            peer,
            trunk: Some(trunk),
            closed: None,
            breaks: Vec::new(),
        });
        match self.lines.dial {
            Dial::Succeed => self.shard.handle_connected(self.now, id, None),
            Dial::Refuse => self.shard.handle_closed(self.now, id, Closed::Refused),
            Dial::Wait => {}
        }
    }

    /// What the shard gave to a connection: one message, or line breaks.
    pub(crate) fn carry(&mut self, id: ConnectionId, payload: &[u8]) -> Option<Sent> {
        if !self.lines.slow {
            self.shard.handle_sent(self.now, id, payload.len());
        }
        let line = self.line_mut(id);
        assert_eq!(line.closed, None, "sent to a closed connection");
        let text = String::from_utf8_lossy(payload).into_owned();
        if text.trim().is_empty() {
            line.breaks.push(text);
            return None;
        }
        Some(Sent {
            to: line.peer,
            text,
            over: Some(id),
        })
    }

    pub(crate) fn closed_by_us(&mut self, id: ConnectionId, abort: bool) {
        let line = self.line_mut(id);
        assert_eq!(line.closed, None, "closed twice");
        line.closed = Some(abort);
    }
}

/// The same message as it would be over TCP: in Via and Contact.
pub(crate) fn tcp(text: &str) -> String {
    text.replace("SIP/2.0/UDP", "SIP/2.0/TCP")
        .replace(":5060>", ":5060;transport=tcp>")
}
