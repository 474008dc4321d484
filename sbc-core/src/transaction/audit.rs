//! What transactions hold, counted for an audit.

use super::{Transactions, client::Cancel};
use crate::{alarm::Alarm, io::AuditCount, timer_wheel::TimerWheel};

impl Transactions {
    /// Timers that transactions wait for, and the table that requests are matched by.
    pub(crate) fn audit(&self, timers: &TimerWheel<Alarm>) -> [AuditCount; 2] {
        let of_servers = self
            .servers
            .iter()
            .flat_map(|(_, server)| [server.resend, server.expire]);
        let of_clients = self.clients.iter().flat_map(|(_, client)| {
            let cancel = match &client.cancel {
                Cancel::Sent { resend, .. } => *resend,
                Cancel::No | Cancel::Wanted(_) => None,
            };
            [client.resend.map(|(key, _)| key), client.expire, cancel]
        });
        let held = of_servers.chain(of_clients).flatten();
        let is_theirs = |alarm: &Alarm| {
            matches!(
                alarm,
                Alarm::Server(..) | Alarm::Client(..) | Alarm::ClientCancel(_)
            )
        };
        let matched = self.active.iter().filter(|(key, slot)| {
            let server = self.servers.get(**slot as usize);
            server.is_some_and(|server| server.key == **key)
        });
        [
            AuditCount {
                what: "transaction_timers",
                counted: timers.iter().filter(is_theirs).count() as u64,
                found: held.filter(|key| timers.is_armed(*key)).count() as u64,
            },
            AuditCount {
                what: "server_transactions",
                counted: self.active.len().max(self.servers.len()) as u64,
                found: matched.count() as u64,
            },
        ]
    }
}
