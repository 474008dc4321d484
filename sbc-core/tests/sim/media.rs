//! Packets through the shards and out of them, and what is wrong with where they go.

use super::{
    plan::Side,
    wire::packet_origin,
    world::{ATTACKER, SPOOFED_CALL, World},
};
use sbc_core::time::Timestamp;
use sbc_media::relay::{OWN_LEN_MAX, Verdict};
use std::{hash::Hasher, net::SocketAddr};

impl World {
    /// A stranger speaks to a media port. Until the latch has locked it may be believed, unless only
    /// the signalled address may send; afterwards never.
    pub(super) fn spoof(&mut self, now: Timestamp, port: u16) {
        let Some(key) = self.ports.get(&port) else { return };
        if self.setup.strict_source || self.connected.contains_key(key) {
            self.out.spoofed_sent += 1;
            let bytes = super::wire::packet(SPOOFED_CALL, Side::A, 77, port % 2 == 1);
            self.packet(now, SocketAddr::from((ATTACKER, 4000)), port, bytes, true);
        }
    }

    pub(super) fn packet(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        port: u16,
        mut bytes: Vec<u8>,
        spoofed: bool,
    ) {
        let Some(&(shard, socket)) = self.ports.get(&port) else {
            return;
        };
        // The kernel's filter on a connected socket. What was queued before the connect passes it,
        // so the relay must not rely on it.
        if !spoofed
            && self
                .connected
                .get(&(shard, socket))
                .is_some_and(|peer| *peer != from)
        {
            return;
        }
        let (before, len) = (bytes.clone(), bytes.len());
        let verdict = self.shards[shard]
            .relay
            .forward(now, socket, from, &mut bytes, len);
        self.sockets(shard);
        if self.shards[shard].relay.has_events() {
            self.shards[shard].handle_media(now);
            self.drain(shard, None);
        }
        self.arm(shard);
        let origin = packet_origin(&before);
        let Verdict::Forward { socket: out, to, len } = verdict else {
            return;
        };
        if spoofed {
            self.violation(
                origin.map_or(u32::MAX, |o| o.0),
                format!("a spoofed packet to port {port} was forwarded"),
            );
            return;
        }
        let Some(to) = to.or_else(|| self.connected.get(&(shard, out)).copied()) else {
            return self.violation(
                u32::MAX,
                format!("a packet leaves from {out:?} to a connected peer, but it is not connected"),
            );
        };
        self.hasher.write(to.to_string().as_bytes());
        self.hasher.write(&bytes);
        // Behind what RTP and RTCP number and name.
        let from = if self.setup.renumbers() { 12 } else { 0 };
        if bytes.get(from..len) != before.get(from..) {
            self.violation(u32::MAX, "the relay changed a packet".to_owned());
        }
        if out.is_rtcp() != (port % 2 == 1) {
            self.violation(u32::MAX, "RTP and RTCP were mixed up".to_owned());
        }
        let Some((number, sender)) = origin else { return };
        let receiver = sender.other();
        match self.uas[receiver as usize].media_owner.get(&to) {
            Some(&owner) if owner == number => self.out.packets_delivered += 1,
            Some(&owner) => self.violation(
                number,
                format!("audio of call {number} went to call {owner} at {to}"),
            ),
            None if self.setup.hostile => {}
            None if to.ip() == receiver.spare().ip() => {}
            None => self.violation(
                number,
                format!("audio from side {sender:?} left for {to}, which is not the peer"),
            ),
        }
    }

    /// What the shard sends of its own goes to peers of its calls.
    pub(super) fn own_media(&mut self, shard: usize) {
        let now = Timestamp::from_nanos(self.now);
        let mut buffer = [0; OWN_LEN_MAX];
        while let Some(verdict) = self.shards[shard].relay.poll_transmit(now, &mut buffer) {
            let Verdict::Forward { socket, to, len } = verdict else {
                self.violation(u32::MAX, format!("a packet of our own got {verdict:?}"));
                continue;
            };
            let Some(to) = to.or_else(|| self.connected.get(&(shard, socket)).copied()) else {
                self.violation(
                    u32::MAX,
                    format!("our packet leaves {socket:?}, which is not connected"),
                );
                continue;
            };
            self.hasher.write(to.to_string().as_bytes());
            self.hasher.write(&buffer[..len]);
            let is_report = matches!(buffer[1], 200 | 201);
            self.out.packets_of_our_own += u64::from(!is_report);
            self.out.reports_of_our_own += u64::from(is_report);
            let known = self.uas.iter().any(|ua| ua.media_owner.contains_key(&to))
                || Side::BOTH.into_iter().any(|side| side.spare().ip() == to.ip());
            if !known && !self.setup.hostile {
                self.violation(
                    u32::MAX,
                    format!("a packet of our own left for {to}, where nobody is"),
                );
            }
        }
        self.shards[shard].handle_media(now);
    }
}
