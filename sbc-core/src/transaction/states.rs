//! The states that transactions are in, by name: for tests that must reach them all.

use super::{
    Transactions,
    client::Cancel,
    client::ClientState,
    server::ServerState,
    tombstone::{Ack, Tombstone},
};

/// Every state of a transaction (RFC 3261 §17, RFC 6026), as [`Transactions::visit_states`] names it.
pub(crate) const STATES: [&str; 18] = [
    "INVITE server Proceeding",
    "INVITE server Completed",
    "INVITE server Accepted",
    "INVITE server Confirmed",
    "other server Trying",
    "other server Completed by us",
    "other server Completed by the other side",
    "INVITE client Calling",
    "INVITE client Calling, CANCEL wanted",
    "INVITE client Proceeding",
    "INVITE client Proceeding, CANCEL sent",
    "INVITE client Accepted, ACK rebuilt",
    "INVITE client Accepted, ACK kept",
    "INVITE client Accepted, ACK awaited",
    "INVITE client Completed",
    "other client Trying",
    "other client Proceeding",
    "other client Completed",
];

impl Transactions {
    /// Name the state of every transaction; with `finished`, of those that only absorb, too.
    pub(crate) fn visit_states(&self, finished: bool, visit: &mut dyn FnMut(&'static str)) {
        for (_, server) in &self.servers {
            // A request that waits for the other side has been sent nothing.
            visit(match server.state {
                ServerState::Proceeding if server.last.is_empty() => "other server Trying",
                ServerState::Proceeding => "INVITE server Proceeding",
                ServerState::Completed => "INVITE server Completed",
            });
        }
        for (_, client) in &self.clients {
            visit(match (client.is_invite(), client.state, &client.cancel) {
                (true, ClientState::Calling, Cancel::Wanted(_)) => "INVITE client Calling, CANCEL wanted",
                (true, ClientState::Calling, _) => "INVITE client Calling",
                (true, ClientState::Proceeding, Cancel::Sent { .. }) => {
                    "INVITE client Proceeding, CANCEL sent"
                }
                (true, ClientState::Proceeding, _) => "INVITE client Proceeding",
                (false, ClientState::Calling, _) => "other client Trying",
                (false, ClientState::Proceeding, _) => "other client Proceeding",
            });
        }
        if !finished {
            return;
        }
        self.stones.visit(&mut |stone| match stone {
            Tombstone::Accepted => visit("INVITE server Accepted"),
            Tombstone::Confirmed => visit("INVITE server Confirmed"),
            Tombstone::Answered(_) => visit("other server Completed by us"),
            Tombstone::Passed(..) => visit("other server Completed by the other side"),
            Tombstone::AckSuccess {
                ack: Ack::Rebuild, ..
            } => visit("INVITE client Accepted, ACK rebuilt"),
            Tombstone::AckSuccess {
                ack: Ack::Stored(_), ..
            } => visit("INVITE client Accepted, ACK kept"),
            Tombstone::AckSuccess {
                ack: Ack::Awaited, ..
            } => visit("INVITE client Accepted, ACK awaited"),
            Tombstone::AckFailure(..) => visit("INVITE client Completed"),
            Tombstone::Absorb => visit("other client Completed"),
            Tombstone::Merge(_) => {}
        });
    }
}
