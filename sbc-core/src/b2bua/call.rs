//! A call and its two legs: the state, and who owns what of it.

use super::{
    Body, Ports, Session,
    session_timer::{Ask, SessionTimer},
};
use crate::{
    admin::protocol::MediaDetail,
    admission::Permit,
    dialog::Dialog,
    id::InterfaceId,
    numbers::E164,
    resolve::{Names, Query},
    sip::{HeaderName, Message, Method, OptionTags, Uri},
    snapshot::Snapshot,
    time::Timestamp,
    timer_wheel::TimerKey,
    topology::Party,
    transaction::{Hop, Side, Transactions},
    trunk::TrunkId,
};
use bytes::Bytes;
use sbc_media::relay::PairIndex;
use smallvec::SmallVec;
use std::time::Duration;

/// One call: both legs, its permit and its media ports.
#[derive(Debug)]
pub(crate) struct Call {
    /// Random part of the call's id and of its tags: tells a stale token from a live one.
    pub(crate) nonce: u64,
    pub(crate) a: Leg,
    pub(crate) b: Leg,
    pub(crate) phase: Phase,
    /// The channels this call holds; taken when the call is over.
    pub(crate) permit: Option<Permit>,
    pub(crate) media: Option<Media>,
    /// The caller's INVITE carried an offer; otherwise the callee's 2xx does (late offer).
    pub(crate) offered: bool,
    /// How to invite the callee; until answered or over.
    pub(crate) plan: Option<Box<super::Plan>>,
    /// An offer or re-INVITE that one side sent and the other has not answered yet.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// Dialogs with the callee until it has answered.
    pub(crate) early: Option<Box<super::Early>>,
    /// Other requests on their way from one side to the other.
    pub(crate) passing: SmallVec<[Passing; 1]>,
    /// REFERs whose outcome is not known yet.
    pub(crate) referrals: Vec<super::Referral>,
    /// A target that is called to take the place of the side that asked for it.
    pub(crate) transfer: Option<Box<super::Transfer>>,
    /// Leg B is the one that calls, for the record: a target stands in A's place.
    pub(crate) turned: bool,
    pub(crate) caller: Box<str>,
    pub(crate) callee: Box<str>,
    /// Caller and callee as numbers, where they are such.
    pub(crate) numbers: [Option<E164>; 2],
    pub(crate) started: Timestamp,
    pub(crate) ringing: Option<Timestamp>,
    pub(crate) answered: Option<Timestamp>,
    /// Rings for too long; then, once answered, looks after the media.
    pub(crate) watch: Option<TimerKey>,
    /// Does not ring in time.
    pub(super) ringback_watch: Option<TimerKey>,
    /// Its attempts.
    pub(super) history: super::History,
    /// Looks after a side that holds the other, where noise is wanted.
    pub(crate) hold_watch: Option<TimerKey>,
    /// Final status and cause, set when the call is over.
    pub(crate) outcome: Option<(u16, &'static str)>,
    pub(crate) ended: Option<Timestamp>,
    /// What media came from both sides, set when the call is over.
    pub(crate) received: Vec<MediaDetail>,
}

/// What a call as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The callee has been invited.
    Proceeding,
    /// The callee rings.
    Ringing,
    /// Both sides talk.
    Answered,
    /// Over: waits only for outstanding answers to BYE or CANCEL. Holds no permit and no media.
    Over,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Phase::Proceeding => "proceeding",
            Phase::Ringing => "ringing",
            Phase::Answered => "answered",
            Phase::Over => "ending",
        }
    }
}

/// One side of a call.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) trunk: TrunkId,
    pub(crate) state: LegState,
    pub(crate) dialog: Dialog,
    /// Where the peer sends from; requests go here when its Contact is a host name.
    pub(crate) hop: Hop,
    pub(crate) session: Session,
    pub(crate) can: Abilities,
    pub(crate) party: Party,
    pub(crate) timer: Option<SessionTimer>,
    /// What its last INVITE or UPDATE asked of session timers, until our 2xx.
    pub(crate) ask: Option<Ask>,
    /// CSeq of the peer's last INVITE that we took.
    pub(crate) invited: u32,
    /// A 2xx we sent on this leg that is not acknowledged yet.
    pub(crate) answer: Option<Box<Answer>>,
    /// Where its digits go on in another way than the other side's.
    pub(super) digits: Option<Box<super::Digits>>,
}

/// What one leg waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LegState {
    /// A: the caller's INVITE has no final response yet; its server transaction.
    Invited(u32),
    /// B: our INVITE has no final response yet; its client transaction.
    Inviting(u32),
    /// The dialog is confirmed.
    Confirmed,
    /// We sent BYE; its answer is awaited.
    Ending,
    /// Nothing more to come.
    Ended,
}

/// What the peer of a leg has said it can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Abilities {
    /// Its Allow lists UPDATE.
    pub(crate) update: bool,
    /// Its Allow lists INFO.
    pub(crate) info: bool,
    /// Its Supported.
    pub(crate) extensions: OptionTags,
}

impl Abilities {
    /// Take them from a message of the peer, where it says anything.
    pub(crate) fn hear(&mut self, message: &Message<'_>) {
        if message.header(HeaderName::Allow).is_some() {
            let allows = |wanted| {
                let mut methods = message.list(HeaderName::Allow);
                methods.any(|method| Method::from_bytes(method) == wanted)
            };
            (self.update, self.info) = (allows(Method::Update), allows(Method::Info));
        }
        if message.header(HeaderName::Supported).is_some() {
            self.extensions = OptionTags::listed(message, HeaderName::Supported);
        }
    }
}

/// A 2xx that is repeated until acknowledged (§13.3.1.4).
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) hop: Hop,
    pub(crate) response: Bytes,
    pub(crate) cseq: u32,
    pub(crate) interval: Duration,
    pub(crate) resend: Option<TimerKey>,
    pub(crate) expire: Option<TimerKey>,
    /// The 2xx carried an offer (late offer): the ACK must bring the answer, and the other side's
    /// 2xx under this key waits for it.
    pub(crate) awaits_sdp: Option<LateOffer>,
    /// The dialog must end as soon as the ACK comes (§15).
    pub(crate) bye_wanted: bool,
}

/// The far side's 2xx that an answer in the caller's ACK will acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LateOffer {
    pub(crate) key: crate::transaction::Key,
    pub(crate) invite_nonce: u64,
    pub(crate) cseq: u32,
}

/// A change of the session on its way from one side to the other.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The side that asked for it.
    pub(crate) from: Side,
    pub(crate) asker: Asker,
    /// Our INVITE or UPDATE on the other side.
    pub(crate) client: u32,
    /// The CSeq number of that request.
    pub(crate) cseq: u32,
    /// The offer, kept until the other side accepts it.
    pub(crate) offer: Option<Body>,
    /// What the other side had been told before, for when it refuses.
    pub(crate) before: Option<Session>,
    /// The asker is none of the call's sides, but wants to be: its leg takes the place of the one on
    /// `from` once the other side has accepted.
    pub(crate) takeover: Option<Box<super::Takeover>>,
    /// The asker's Contact: its new target once the change has succeeded (RFC 6141 §5).
    pub(crate) target: Option<Box<[u8]>>,
    /// Gives it up when the far side only ever says that it is trying.
    pub(crate) ceiling: Option<TimerKey>,
}

/// Who wants a change of the session, by the server transaction that waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A re-INVITE.
    Invite(u32),
    /// An UPDATE, or a PRACK with an offer.
    Request(u32),
    /// We do: the session on the far side is refreshed.
    Us,
    /// The target of a transfer, whose 2xx had an offer.
    Called(LateOffer),
}

/// A request inside the dialog, other than INVITE, that waits for the other side's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing {
    /// The side that sent it.
    pub(crate) from: Side,
    /// Its server transaction on that side.
    pub(crate) server: u32,
    /// Our request on the other side.
    pub(crate) client: u32,
    /// The CSeq number of that request.
    pub(crate) cseq: u32,
}

/// The media ports of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media {
    /// Towards A and towards B.
    pub(crate) pairs: [PairIndex; 2],
    /// RTP port of each pair.
    pub(crate) ports: [u16; 2],
    /// Interface of each pair.
    pub(crate) interfaces: [InterfaceId; 2],
    /// What each side has said of itself: it sends, it listens.
    pub(crate) sends: [bool; 2],
    pub(crate) listens: [bool; 2],
    /// Both descriptions are known; the media time-out counts from here.
    pub(crate) since: Timestamp,
}

impl Media {
    /// The ports towards `side`.
    pub(super) fn ports_of(&self, side: Side) -> Ports {
        let at = side as usize;
        Ports {
            interface: self.interfaces[at],
            pair: self.pairs[at],
            port: self.ports[at],
        }
    }

    /// A side is on hold: silence is expected.
    pub(super) fn is_held(&self) -> bool {
        self.sends.contains(&false) || self.listens.contains(&false)
    }

    /// Media is to come from `side`.
    pub(super) fn expects(&self, side: Side) -> bool {
        self.sends[side as usize] && self.listens[side.other() as usize]
    }
}

impl Call {
    /// Both sides talk, and no change of the session is under way.
    pub(crate) fn is_settled(&self) -> bool {
        let quiet = |leg: &Leg| leg.state == LegState::Confirmed && leg.answer.is_none();
        self.phase == Phase::Answered && self.exchange.is_none() && quiet(&self.a) && quiet(&self.b)
    }

    pub(crate) fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(crate) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

impl Leg {
    /// Where requests inside the dialog go: where its route set or the peer's Contact says, by
    /// address or by a name that is known; else to where the peer sends from.
    pub(crate) fn next_hop(&self, transactions: &Transactions, names: &Names, snapshot: &Snapshot) -> Hop {
        let named = match self.dialog.next_hop() {
            Some(_) => None,
            None => self.named_hop(names, snapshot),
        };
        named.unwrap_or_else(|| transactions.next_hop(&self.dialog, self.hop))
    }

    fn named_hop(&self, names: &Names, snapshot: &Snapshot) -> Option<Hop> {
        let query = self.next_hop_query(snapshot)?;
        names.known(&query).iter().find_map(|candidate| {
            let listener =
                snapshot.listener_for(candidate.transport, candidate.address, self.hop.listener)?;
            Some(Hop {
                listener,
                peer: candidate.address,
                flow: None,
                ..self.hop
            })
        })
    }

    /// What to ask DNS for the next hop; `None`: it is an address.
    pub(crate) fn next_hop_query(&self, snapshot: &Snapshot) -> Option<Query> {
        if snapshot.roams(self.trunk) {
            return None;
        }
        let mut query = Query::of_uri(&Uri::parse(self.dialog.next_hop_uri()).ok()?)?;
        if query.transport.is_none() && !query.secure {
            // The peer has chosen already: what it was reached by will do.
            let listener = snapshot.listeners.get(usize::from(self.hop.listener.0));
            query.transport = listener.map(|listener| listener.transport);
        }
        Some(query)
    }
}
