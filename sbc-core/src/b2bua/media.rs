//! The media of a call: ports, descriptions, and the watch over silence.

use super::{
    Media, Part, Phase, Unfit,
    negotiate::{Crossing, arm, media_of, tracks_formats},
};
use crate::{
    id::InterfaceId,
    sdp::Sdp,
    shard::Shard,
    time::Timestamp,
    transaction::{Alarm, Side},
    trunk::TrunkId,
};
use sbc_media::{
    latch::LatchMode,
    relay::{MediaEvent, PairIndex, Remote, ReporterParams},
    rtcp::hide::Cname,
};
use std::{collections::VecDeque, time::Duration};

/// How long a call must have lasted for a side that never sent to be conspicuous: longer than it takes
/// a peer to open its audio after the answer, shorter than people say "hello" in vain.
const ONE_WAY_MIN: Duration = Duration::from_secs(10);

/// A pair of media ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) interface: InterfaceId,
    pub(crate) pair: PairIndex,
    /// The RTP port.
    pub(crate) port: u16,
}

/// The media ports of a shard that no call uses, by interface.
#[derive(Debug, Default)]
pub(crate) struct PortPool {
    pools: Vec<Pool>,
    /// By pair: the call whose digits are heard there.
    owners: Vec<u32>,
}

/// Those of one interface.
#[derive(Debug, Default)]
struct Pool {
    free: VecDeque<Ports>,
    /// Ports that rest, in the order in which they become free.
    resting: VecDeque<(Timestamp, Ports)>,
    in_use: usize,
}

/// No call.
const NOBODY: u32 = u32::MAX;

impl PortPool {
    pub(crate) fn add(&mut self, ports: Ports) {
        let pairs = ports.pair.0 as usize + 1;
        self.owners.resize(self.owners.len().max(pairs), NOBODY);
        let at = usize::from(ports.interface.0);
        if self.pools.len() <= at {
            self.pools.resize_with(at + 1, Pool::default);
        }
        self.pools[at].free.push_back(ports);
    }

    /// What is heard on `pair` concerns the call in `slot`.
    pub(super) fn set_owner(&mut self, pair: PairIndex, slot: u32) {
        if let Some(owner) = self.owners.get_mut(pair.0 as usize) {
            *owner = slot;
        }
    }

    /// The call that [`Self::set_owner`] was last told of. The pair may have left it since.
    pub(super) fn owner(&self, pair: PairIndex) -> Option<u32> {
        let owner = self.owners.get(pair.0 as usize).copied();
        owner.filter(|owner| *owner != NOBODY)
    }

    /// A pair for one leg; the one that has rested longest.
    fn take(&mut self, now: Timestamp, interface: InterfaceId) -> Option<Ports> {
        let pool = self.pools.get_mut(usize::from(interface.0))?;
        if pool.free.is_empty() {
            pool.sweep(now);
        }
        let ports = pool.free.pop_front()?;
        pool.in_use += 1;
        Some(ports)
    }

    /// Take back a pair that was not used after all.
    fn put_back(&mut self, ports: Ports) {
        if let Some(pool) = self.pools.get_mut(usize::from(ports.interface.0)) {
            pool.in_use -= 1;
            pool.free.push_front(ports);
        }
    }

    fn rest(&mut self, until: Timestamp, ports: Ports) {
        if let Some(pool) = self.pools.get_mut(usize::from(ports.interface.0)) {
            pool.in_use -= 1;
            pool.resting.push_back((until, ports));
        }
    }

    /// Return to the pool what has rested long enough.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.pools.iter_mut().for_each(|pool| pool.sweep(now));
    }

    pub(crate) fn next_sweep(&self) -> Option<Timestamp> {
        let first = |pool: &Pool| pool.resting.front().map(|(until, _)| *until);
        let first = self.pools.iter().filter_map(first).min()?;
        Some(first + Duration::from_millis(50))
    }

    pub(crate) fn free(&self, interface: InterfaceId) -> usize {
        self.pools
            .get(usize::from(interface.0))
            .map_or(0, |pool| pool.free.len())
    }

    /// Of each interface: pairs in use, and pairs that rest.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pools.iter().map(|pool| (pool.in_use, pool.resting.len()))
    }
}

impl Pool {
    fn sweep(&mut self, now: Timestamp) {
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, ports)) = self.resting.pop_front() {
                self.free.push_back(ports);
            }
        }
    }
}

impl Shard {
    /// Two port pairs for the legs of two trunks, joined; `None` when there are not that many.
    pub(crate) fn open_media(&mut self, now: Timestamp, trunks: [TrunkId; 2]) -> Option<Media> {
        let [on_a, on_b] = trunks.map(|trunk| media_of(&self.snapshot, trunk).interface);
        let a = self.ports.take(now, on_a)?;
        let Some(b) = self.ports.take(now, on_b) else {
            self.ports.put_back(a);
            return None;
        };
        self.relay.open(a.pair, b.pair);
        self.name_pair(a.pair);
        self.name_pair(b.pair);
        Some(Media {
            pairs: [a.pair, b.pair],
            ports: [a.port, b.port],
            interfaces: [a.interface, b.interface],
            sends: [true; 2],
            listens: [true; 2],
            since: now,
        })
    }

    /// One port pair for a leg of `trunk`, that is joined with none yet.
    pub(super) fn open_pair(&mut self, now: Timestamp, trunk: TrunkId) -> Option<Ports> {
        let ports = self.ports.take(now, media_of(&self.snapshot, trunk).interface)?;
        self.name_pair(ports.pair);
        Some(ports)
    }

    /// Draw the name that the peer of `pair` is told in RTCP.
    fn name_pair(&mut self, pair: PairIndex) {
        let mut random = [0; 12];
        random[..8].copy_from_slice(&self.random().to_be_bytes());
        random[8..].copy_from_slice(&(self.random() as u32).to_be_bytes());
        self.relay.set_cname(pair, Cname::new(random));
    }

    /// Give one pair back.
    pub(super) fn close_pair(&mut self, now: Timestamp, ports: Ports) {
        self.relay.close(ports.pair);
        self.ports.rest(now + self.snapshot.media.quarantine, ports);
    }

    /// Another peer stands on `side` of a call: its media has ports of its own, so that what the
    /// one before it still sends reaches nobody.
    pub(super) fn swap_pair(&mut self, now: Timestamp, slot: u32, side: Side, ports: Ports) {
        let media = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.media.as_mut());
        let Some(media) = media else {
            return self.close_pair(now, ports);
        };
        let old = media.ports_of(side);
        let at = side as usize;
        (media.pairs[at], media.ports[at], media.interfaces[at]) = (ports.pair, ports.port, ports.interface);
        let [a, b] = media.pairs;
        self.relay.open(a, b);
        self.close_pair(now, old);
    }

    /// Forward nothing more, and keep the ports.
    pub(crate) fn silence_media(&mut self, media: Media) {
        for pair in media.pairs {
            self.relay.close(pair);
        }
    }

    /// Give the ports back, to rest before another call gets them.
    pub(crate) fn close_media(&mut self, now: Timestamp, media: Media) {
        for side in [Side::A, Side::B] {
            self.close_pair(now, media.ports_of(side));
        }
    }

    /// Write into the SDP scratch buffer what the peer on `side` was told last. `false`: nothing
    /// was.
    pub(crate) fn describe_again(&mut self, slot: u32, side: Side) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let interface = match call.media {
            Some(media) => media.interfaces[side as usize],
            None => media_of(&self.snapshot, call.leg(side).trunk).interface,
        };
        let session = &mut call.leg_mut(side).session;
        session.narrow();
        session.write(&mut self.sdp_scratch, self.snapshot.media.advertised(interface));
        !session.sent.is_empty()
    }

    /// Whether `body`, from the peer on `side`, is what we know of it already.
    pub(crate) fn is_known(&self, slot: u32, side: Side, body: &[u8]) -> bool {
        let session = self.calls.get(slot as usize).map(|call| &call.leg(side).session);
        session.is_some_and(|session| !session.sent.is_empty() && session.heard == self.hasher.hash_one(body))
    }

    /// [`Shard::describe`] for a leg of an existing call, without taking the description as agreed. `from`:
    /// the trunk of who wrote it, which need not be that of the other leg.
    pub(crate) fn describe_for(
        &mut self,
        now: Timestamp,
        slot: u32,
        to: Side,
        sdp: &Sdp<'_>,
        part: Part,
        from: TrunkId,
    ) -> Result<(), Unfit> {
        let media = self.media_of(now, slot).ok_or(Unfit::Media)?;
        let call = self.calls.get_mut(slot as usize).ok_or(Unfit::Media)?;
        let mut session = std::mem::take(&mut call.leg_mut(to).session);
        let writer = std::mem::take(&mut call.leg_mut(to.other()).session);
        let crossing = Crossing {
            sdp,
            part,
            trunks: [from, call.leg(to).trunk],
            session: &writer,
            interface: media.interfaces[to as usize],
            port: media.ports[to as usize],
        };
        let described = self.describe(&crossing, &mut session);
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.leg_mut(to).session = session;
            call.leg_mut(to.other()).session = writer;
        }
        described
    }

    /// The media of a call, opened now if its first description has only just come.
    fn media_of(&mut self, now: Timestamp, slot: u32) -> Option<Media> {
        let call = self.calls.get(slot as usize)?;
        if call.media.is_some() || call.phase == Phase::Over {
            return call.media;
        }
        let trunks = [call.a.trunk, call.b.trunk];
        let media = self.open_media(now, trunks);
        if media.is_none() {
            self.io.counters.refused_no_media_port += 1;
        }
        self.calls.get_mut(slot as usize)?.media = media;
        media
    }

    /// `sdp` came from the other side and is agreed: describe it to `to`, and direct the relay by it.
    pub(crate) fn describe_to(
        &mut self,
        now: Timestamp,
        slot: u32,
        to: Side,
        sdp: &Sdp<'_>,
        part: Part,
    ) -> Result<(), Unfit> {
        let call = self.calls.get(slot as usize).ok_or(Unfit::Media)?;
        let from = call.leg(to.other()).trunk;
        self.describe_for(now, slot, to, sdp, part, from)?;
        self.apply_remote_to(now, slot, to.other(), sdp, part)
    }

    /// Direct the relay of an existing call by what the peer on `side` said of itself. `Err`: it cannot
    /// be agreed to, and nothing has changed.
    pub(crate) fn apply_remote_to(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        sdp: &Sdp<'_>,
        part: Part,
    ) -> Result<(), Unfit> {
        let call = self.calls.get_mut(slot as usize).ok_or(Unfit::Media)?;
        let Some(media) = call.media else { return Ok(()) };
        let tracked = tracks_formats(&self.snapshot, [call.a.trunk, call.b.trunk]);
        let leg = call.leg_mut(side);
        let policy = media_of(&self.snapshot, leg.trunk);
        let index = leg.session.hear(sdp, part, policy, tracked)?;
        let (latch, mux) = (policy.latch, leg.session.mux);
        self.relay
            .set_hosts(media.pairs[side as usize], policy.hosts.as_ref());
        leg.session.heard = self.hasher.hash_one(sdp.text());
        let media = self.apply_remote(now, media, side, (latch, mux), sdp, index);
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.media = Some(media);
            let sessions = [&mut call.a.session, &mut call.b.session];
            arm(now, &mut self.relay, &mut self.key_source, media, sessions);
        }
        self.arm_framing(now, slot);
        self.arm_digits(now, slot);
        self.tend_hold(now, slot);
        Ok(())
    }

    /// Direct the relay by what the peer on `side`, whose trunk has `latch`, said of itself, in the m-line `index`. `mux`:
    /// its RTCP goes by the RTP port.
    pub(crate) fn apply_remote(
        &mut self,
        now: Timestamp,
        media: Media,
        side: Side,
        (latch, mux): (LatchMode, bool),
        sdp: &Sdp<'_>,
        index: Option<usize>,
    ) -> Media {
        let mut media = media;
        let wants_rtcp = index.is_some_and(|index| sdp.wants_rtcp(index));
        self.report_to(now, media.pairs[side as usize], wants_rtcp);
        let remote = index.and_then(|index| sdp.remote_of(index).ok());
        let Some(remote) = remote else {
            // The audio was refused or removed: nothing is sent there.
            media.sends[side as usize] = false;
            media.listens[side as usize] = false;
            self.relay.set_remote(
                media.pairs[side as usize],
                Remote {
                    rtp: None,
                    rtcp: None,
                    send: false,
                    mux: false,
                    latch,
                },
            );
            return media;
        };
        let listens = remote.direction.receives() && !remote.held;
        media.sends[side as usize] = remote.direction.sends();
        media.listens[side as usize] = listens;
        media.since = now;
        self.relay.set_remote(
            media.pairs[side as usize],
            Remote {
                // c=0.0.0.0 names no address: the one before stays, and nothing is sent there.
                rtp: (!remote.held).then_some(remote.rtp),
                // One of another family cannot be reached from this interface.
                rtcp: (!remote.held && remote.rtcp.is_ipv4() == remote.rtp.is_ipv4()).then_some(remote.rtcp),
                send: listens,
                mux,
                latch,
            },
        );
        media
    }

    /// Report to the peer of `pair` what it hears of nobody else, if it wants to know and the configuration says so.
    fn report_to(&mut self, now: Timestamp, pair: PairIndex, wanted: bool) {
        let interval = self.snapshot.media.rtcp_interval;
        let params = (wanted && !interval.is_zero()).then(|| ReporterParams {
            ssrc: self.random() as u32,
            interval,
            seed: self.random(),
        });
        self.relay.set_reporter(now, pair, params.as_ref());
    }

    /// Something happened in the media of `pair`.
    pub(crate) fn media_event(&mut self, now: Timestamp, pair: PairIndex, event: MediaEvent) {
        match event {
            MediaEvent::Digit(report) => self.digit_heard(now, pair, report),
            // What is played goes on until media takes over or call control stops it: nobody waits for its end.
            MediaEvent::Played | MediaEvent::Yielded => {}
        }
    }

    /// How often to look whether media still flows; `None`: never.
    pub(crate) fn media_check_interval(&self) -> Option<Duration> {
        let media = &self.snapshot.media;
        let timeouts = [media.timeout, media.unlatched_timeout].into_iter();
        timeouts.filter(|timeout| !timeout.is_zero()).min()
    }

    /// Look whether media still flows; end the call when neither side has sent for the time-out
    /// and neither is on hold, or when one has never sent.
    pub(crate) fn media_check(&mut self, now: Timestamp, slot: u32) {
        let Some(interval) = self.media_check_interval() else {
            return;
        };
        let Some(call) = self.call_mut(slot) else { return };
        call.watch = None;
        let (media, answered) = (call.media, call.answered);
        // Without media there is nothing to be silent, but a re-INVITE may bring some.
        let silent_at = media.and_then(|media| self.silent_at(media));
        let unlatched_at = media.and_then(|media| self.unlatched_at(media, answered));
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if due(silent_at) {
            self.io.counters.media_timeouts += 1;
            return self.end(now, slot, 200, "media_timeout");
        }
        if due(unlatched_at) {
            self.io.counters.media_unlatched_timeouts += 1;
            return self.end(now, slot, 200, "unlatched_timeout");
        }
        let next = [silent_at, unlatched_at].into_iter().flatten();
        let next = next.fold(now + interval, Timestamp::min);
        let key = self.io.timers.insert(next, Alarm::MediaCheck(slot));
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.watch = Some(key);
        }
    }

    /// When `media` will have been silent on both sides for too long; `None`: silence is allowed.
    fn silent_at(&self, media: Media) -> Option<Timestamp> {
        let timeout = self.snapshot.media.timeout;
        if timeout.is_zero() || media.is_held() {
            return None;
        }
        let heard = media
            .pairs
            .iter()
            .filter_map(|&pair| self.relay.last_received(pair));
        Some(heard.max().unwrap_or(media.since).max(media.since) + timeout)
    }

    /// When one side will have sent nothing for too long although it should; `None`: both have sent, or
    /// need not.
    fn unlatched_at(&self, media: Media, answered: Option<Timestamp>) -> Option<Timestamp> {
        let timeout = self.snapshot.media.unlatched_timeout;
        (!timeout.is_zero() && self.misses_a_side(media)).then_some(media.since.max(answered?) + timeout)
    }

    /// One side has never sent anything valid although it should.
    fn misses_a_side(&self, media: Media) -> bool {
        [Side::A, Side::B]
            .into_iter()
            .any(|side| media.expects(side) && self.relay.last_received(media.pairs[side as usize]).is_none())
    }

    /// A call is over: count it when its audio went one way only.
    pub(super) fn count_unlatched(&mut self, now: Timestamp, media: Media, answered: Option<Timestamp>) {
        let heard_of = answered.is_some_and(|answered| now.since(media.since.max(answered)) >= ONE_WAY_MIN);
        if heard_of && self.misses_a_side(media) {
            self.io.counters.media_unlatched += 1;
        }
    }
}
