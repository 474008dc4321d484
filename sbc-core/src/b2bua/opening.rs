//! What a new call needs before its first INVITE leaves: a trunk that can be asked, its limits, ports, and an offer
//! that it understands.
//!
//! In: the trunks that the call may go to, and the caller's offer. Out: all of that for the first of them where nothing is
//! missing; or how to refuse the call. What was taken for a trunk that is passed over is given back.

use super::{
    Aim, AttemptTarget, History, Hunt, Media, Part, Ringback, Session, Skip, Unfit,
    admit::limits_of,
    history::Attempt,
    negotiate::{Crossing, arm, media_of, tracks_formats},
};
use crate::{
    admission::{LimitId, Permit, Place, Refused, Scope},
    sdp::Sdp,
    shard::{Arrival, Shard},
    snapshot::Snapshot,
    time::Timestamp,
    topology::{Callee, Parties},
    transaction::{Reply, Side},
    trunk::TrunkId,
};
use smallvec::SmallVec;

/// A call that can begin. The offer for its callee is in the SDP scratch buffer.
pub(super) struct Opening {
    pub(super) to: TrunkId,
    /// Where to send the INVITE, best first; at least one.
    pub(super) targets: SmallVec<[AttemptTarget; 2]>,
    pub(super) permit: Permit,
    /// `None`: it goes at once.
    pub(super) place: Option<Place>,
    /// `None`: there is no offer; the call takes its ports when a description comes.
    pub(super) media: Option<Media>,
    /// Of both legs, A first.
    pub(super) sessions: [Session; 2],
    pub(super) ringback: Ringback,
}

impl Shard {
    /// Begin a call that came by `from` with `offer` to the first trunk of `hunt` that can take it. `aim`: its Request-URI and
    /// next hop are known. Trunks that are passed over go into `history`.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is something else, and none is there twice"
    )]
    pub(super) fn open(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        from: Arrival,
        hunt: &mut Hunt,
        parties: &Parties,
        aim: Option<&Aim>,
        offer: Option<&Sdp<'_>>,
        history: &mut History,
    ) -> Result<Opening, Reply> {
        let emergency = hunt.is_emergency();
        self.io.counters.emergency_calls += u64::from(emergency);
        while let Some(to) = hunt.take() {
            let scope = Scope {
                from: from.trunk,
                to,
                source: Some(from.hop.peer.ip()),
                called: parties.called_number(),
                route: hunt.rule_name(),
            };
            let skip = match self.open_towards(now, snapshot, &scope, emergency, parties.callee(), aim, offer)
            {
                Ok(opening) => return Ok(opening),
                Err(skip) => skip,
            };
            if hunt.is_empty() || concerns_all(&skip, snapshot, from.trunk) {
                return Err(skip.refuse(&mut self.io.counters, snapshot, from.trunk));
            }
            self.io.counters.targets_skipped += 1;
            history.push(Attempt::skipped(now, to, skip.reason()));
        }
        self.io.counters.refused_no_route += 1;
        Err(Reply::new(404))
    }

    #[expect(clippy::too_many_arguments, reason = "as of `open`")]
    fn open_towards(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        scope: &Scope<'_>,
        emergency: bool,
        callee: Callee<'_>,
        aim: Option<&Aim>,
        offer: Option<&Sdp<'_>>,
    ) -> Result<Opening, Skip> {
        let to = scope.to;
        let trunks = [scope.from, to];
        let targets = match aim {
            Some(aim) => smallvec::smallvec![aim.target.clone()],
            None if emergency => self.addresses_of(now, snapshot, to, callee)?,
            None => self.targets_of(now, snapshot, to, callee)?,
        };
        let (permit, place) = match emergency {
            true => (self.admission.admit_always(&limits_of(snapshot, scope)), None),
            false => self.admit_or_hold(now, snapshot, scope)?,
        };
        let mut sessions = [self.new_session(), self.new_session()];
        let ringback = match aim {
            Some(_) => Ringback::NONE,
            None => Ringback::of(offer, trunks.map(|trunk| media_of(snapshot, trunk))),
        };
        sessions[0].laws_only = ringback.has_tone();
        let media =
            match offer.map(|sdp| self.open_offer(now, snapshot, trunks, sdp, &mut sessions, ringback)) {
                Some(Err(skip)) => {
                    self.forgo(permit, place);
                    return Err(skip);
                }
                Some(Ok(media)) => Some(media),
                None => None,
            };
        Ok(Opening {
            to,
            targets,
            permit,
            place,
            media,
            sessions,
            ringback,
        })
    }

    /// Take ports for both sides, and write the offer of one for the other.
    fn open_offer(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        trunks: [TrunkId; 2],
        sdp: &Sdp<'_>,
        sessions: &mut [Session; 2],
        ringback: Ringback,
    ) -> Result<Media, Skip> {
        let media = self.open_media(now, trunks).ok_or(Skip::NoPort)?;
        let [session_a, session_b] = sessions;
        let policy = media_of(snapshot, trunks[0]);
        session_a.heard = self.hasher.hash_one(sdp.text());
        let tracked = tracks_formats(snapshot, trunks) || ringback.has_tone();
        let heard = session_a.hear(sdp, Part::Offer, policy, tracked);
        let crossing = Crossing {
            sdp,
            part: Part::Offer,
            trunks,
            session: session_a,
            interface: media.interfaces[1],
            port: media.ports[1],
        };
        let described = self.describe(&crossing, session_b);
        let index = match heard.and_then(|index| described.map(|()| index)) {
            Ok(index) => index,
            Err(unfit) => {
                self.close_media(now, media);
                return Err(Skip::Unfit(unfit));
            }
        };
        self.relay
            .set_hosts(media.pairs[Side::A as usize], policy.hosts.as_ref());
        let media = self.apply_remote(now, media, Side::A, (policy.latch, session_a.mux), sdp, index);
        let sessions = [session_a, session_b];
        arm(now, &mut self.relay, &mut self.key_source, media, sessions);
        Ok(media)
    }
}

/// Whether what keeps a call of `from` from one trunk would keep it from any.
fn concerns_all(skip: &Skip, snapshot: &Snapshot, from: TrunkId) -> bool {
    let of_caller = |id: LimitId| {
        let trunk = &snapshot.trunks.get(usize::from(from.0));
        id == snapshot.limits
            || trunk.is_some_and(|trunk| id == trunk.inbound || id == trunk.both)
            || snapshot.scoped.is_for_any_target(id)
    };
    match skip {
        Skip::Limit(Refused::Cps(id, _) | Refused::Channels(id)) => of_caller(*id),
        Skip::Unfit(Unfit::Media) => true,
        _ => false,
    }
}
