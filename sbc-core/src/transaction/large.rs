//! Requests that are too large for a datagram (§18.1.1).
//!
//! Above 1300 bytes a request goes over TCP, where the trunk allows it and we have a TCP listener. It is the same
//! request but for its Via, and has the same branch, so that it can go as a datagram after all when no connection
//! opens. An address that did not open one is left alone for a while: a peer without TCP must not delay every call.
//! An ACK to a 2xx always goes as a datagram: nothing would notice that it has to.

use super::{Hop, Io, Transactions};
use crate::{
    id::ListenerId,
    transport::{Local, Transport},
};
use bytes::Bytes;
use memchr::memmem;

/// Longest request that goes as a datagram when the path's MTU is unknown (§18.1.1).
const DATAGRAM_BYTES_MAX: usize = 1300;

impl Transactions {
    /// The request of the scratch buffer as it goes over TCP, and how, when it is too large for `hop`.
    pub(super) fn enlarge(&self, io: &Io, hop: Hop) -> Option<(Hop, Bytes)> {
        if io.scratch.len() <= DATAGRAM_BYTES_MAX || io.is_reliable(hop) {
            return None;
        }
        if !self.wishes(hop).large_over_tcp {
            return None;
        }
        let listener = self.tcp_beside(hop)?;
        let stream = Hop {
            listener,
            flow: None,
            ..hop
        };
        if io.streams.is_avoided(stream, io.now) {
            return None;
        }
        Some((stream, with_via(&io.scratch, self.local(stream))?))
    }

    /// Our TCP listener on the same address as that of `hop`, else the first of its family.
    fn tcp_beside(&self, hop: Hop) -> Option<ListenerId> {
        let ours = self.local(hop).address.ip();
        let tcp = |local: &&Local| {
            local.transport == Transport::Tcp && local.address.is_ipv4() == hop.peer.is_ipv4()
        };
        let same = self
            .locals
            .iter()
            .position(|local| tcp(&local) && local.address.ip() == ours);
        let at = same.or_else(|| self.locals.iter().position(|local| tcp(&local)))?;
        u8::try_from(at).ok().map(ListenerId)
    }
}

/// `request`, which we composed, with `local` in its top Via: its first header field, whatever form its name has.
fn with_via(request: &[u8], local: Local) -> Option<Bytes> {
    const VIA: &[u8] = b": SIP/2.0/";
    let start = memmem::find(request, VIA)? + VIA.len();
    let end = start + memchr::memchr(b';', request.get(start..)?)?;
    let ours = format!("{} {}", local.transport.via(), local.address);
    Some(
        [request.get(..start)?, ours.as_bytes(), request.get(end..)?]
            .concat()
            .into(),
    )
}
