//! The two legs of a call, and what an event on one does to the other.
//!
//! | event on one leg | other leg | file |
//! |---|---|---|
//! | new INVITE | routed, admitted, INVITE | `setup`, `attempt` |
//! | new INVITE, a rate | INVITE, when its time has come | `admit`, `paced` |
//! | 18x, 2xx, failure, time-out | the same, another attempt, or an ending | `setup`, `attempt` |
//! | 3xx | attempts at its contacts | `redirect` |
//! | failure, time-out | an attempt at the next trunk of the route | `route`, `failover`, `history` |
//! | INFO, MESSAGE and their answers | the same | `pass` |
//! | INVITE with Replaces | the same, or a re-INVITE and BYE to whom it replaces | `takeover` |
//! | digits, by whatever method | digits, by its own | `digits`, `dtmf` |
//! | MESSAGE outside a call | a new MESSAGE, its status back | `message` |
//! | REFER, NOTIFY, SUBSCRIBE | the same, rewritten, or a refusal | `refer`, `replaces` |
//! | REFER that we carry out | re-INVITE; a new leg in place of its sender's | `transfer` |
//! | 18x | the same; PRACK, a dialog for each fork | `early`, `reliable` |
//! | new INVITE, 180 | 180 or 183 of our own, and a tone | `ringback` |
//! | hold | noise | `hold` |
//! | PRACK | what waited for it | `reliable` |
//! | re-INVITE, UPDATE and their answers | re-INVITE or UPDATE and their answers | `exchange` |
//! | Session-Expires, time | nothing, or both legs end | `session_timer` |
//! | ACK, BYE, CANCEL | ACK, BYE, CANCEL | `teardown`, `setup` |
//! | 401, 407 | nothing: the request is sent again with credentials | `challenge` |
//! | silence | both legs end | `media` |
//! | an audit | what both hold is counted | `audit` |
//! | keys, codecs, packet times | those of its own | `secure`, `negotiate`, `ptime` |
//!
//! A leg is told only what is rebuilt for it (`topology`, `sdp`): no byte is forwarded unread.

mod admit;
mod attempt;
mod audit;
mod call;
mod challenge;
mod digits;
mod dtmf;
mod early;
mod exchange;
mod failover;
mod held;
mod history;
mod hold;
mod media;
mod message;
mod negotiate;
mod opening;
mod paced;
mod pass;
mod ptime;
mod redirect;
mod refer;
mod reliable;
mod replaces;
mod ringback;
mod route;
mod secure;
mod session_timer;
mod setup;
mod takeover;
mod teardown;
mod transfer;
mod view;

use attempt::Aim;
pub(crate) use attempt::{AttemptFailure, AttemptTarget, Plan};
pub(crate) use call::{
    Abilities, Answer, Asker, Call, Exchange, LateOffer, Leg, LegState, Media, Passing, Phase,
};
use digits::Digits;
use dtmf::Way;
pub(crate) use early::Early;
pub(crate) use history::History;
pub(crate) use media::{PortPool, Ports};
pub(crate) use message::Messages;
pub(crate) use negotiate::{Body, Part, Session};
pub(crate) use paced::Paced;
pub(crate) use refer::Referral;
pub(crate) use reliable::Caller;
pub(crate) use replaces::{Detours, Replaces};
pub(crate) use ringback::Ringback;
use route::{Hunt, Skip, TRUNK_DISABLED};
pub(crate) use secure::{KeySource, Unfit};
pub(crate) use setup::check_require;
pub(crate) use takeover::Takeover;
pub(crate) use transfer::{Referred, Transfer};

use crate::{
    shard::Shard,
    sip::Writer,
    text::put,
    token::TokenText,
    topology::Party,
    transaction::{Hop, Side},
    transport::Local,
};

/// Our Contact on a leg: its user part is the leg's tag, so that a request to it finds us.
pub(crate) fn write_contact(w: &mut Writer<'_>, tag: &TokenText, local: Local) {
    w.header_with("Contact", |out| put!(out, "<sip:", &tag[..], "@", local, ">"));
}

impl Shard {
    /// The call in `slot`, or a counted internal error: whoever holds a slot of ours holds a live one.
    pub(crate) fn call_mut(&mut self, slot: u32) -> Option<&mut Call> {
        let call = self.calls.get_mut(slot as usize);
        if call.is_none() {
            self.io.counters.internal_errors += 1;
        }
        call
    }

    /// Our side of `hop`, as the peer is told of it.
    pub(crate) fn local(&self, hop: Hop) -> Local {
        self.transactions.local(hop)
    }

    /// The slot and side that one of our tags names, when the call is still there.
    pub(crate) fn leg_of_tag(&self, tag: &[u8]) -> Option<(u32, Side)> {
        let token = self.tokens.decode(tag)?;
        let (slot, side) = (
            token.slot >> 1,
            if token.slot & 1 == 0 { Side::A } else { Side::B },
        );
        let call = self.calls.get(slot as usize)?;
        (call.leg(side).dialog.local_tag == tag).then_some((slot, side))
    }
}
