//! Challenges of a trunk that wants to know who calls (RFC 3261 §22).
//!
//! In: a 401 or 407 to a request of a leg. Out: the same request once more, as the next of its dialog, with what the
//! account of the trunk proves itself by. All other requests of a call find nothing changed.

use crate::{
    digest::{Account, Challenge, Question, Reason, realm_of},
    shard::{Level, Shard},
    sip::{HeaderName, Message},
    time::Timestamp,
    transaction::Side,
    trunk::TrunkId,
};
use std::sync::Arc;

use super::{LegState, Phase};

/// Why a challenge is the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is nothing to answer with.
    NoAccount,
    /// There is nothing that can be answered.
    Unreadable(Reason),
    /// The account did not convince.
    Wrong,
}

impl Shard {
    /// The request of a leg in client transaction `client` was challenged. `false`: there is no answer to that, and
    /// the request has failed.
    pub(crate) fn answer_challenge(
        &mut self,
        now: Timestamp,
        (slot, side): (u32, Side),
        client: u32,
        response: &Message<'_>,
    ) -> bool {
        let target = self.calls_target(slot, client);
        let Some(call) = self.calls.get(slot as usize) else {
            return false;
        };
        let trunk = match &call.transfer {
            Some(transfer) if target => transfer.takeover.leg.trunk,
            _ => call.leg(side).trunk,
        };
        // Who has rung is beyond asking who we are.
        let inviting = matches!(call.leg(side).state, LegState::Inviting(of) if of == client);
        if inviting && call.phase != Phase::Proceeding {
            return false;
        }
        let Some(request) = self.transactions.request_of(client) else {
            return false;
        };
        let Ok(request) = Message::parse(&request) else {
            return false;
        };
        let random = self.random();
        let credentials = match self.credentials(trunk, &request, response, random) {
            Ok(credentials) => credentials,
            Err(refusal) => {
                self.io.counters.challenges_refused += 1;
                self.warn(slot, || format!("{} {refusal}", response.status()));
                return false;
            }
        };
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let before = request.cseq().map_or(0, |cseq| cseq.number);
        let dialog = match &mut call.transfer {
            Some(transfer) if target => &mut transfer.takeover.leg.dialog,
            _ => &mut call.leg_mut(side).dialog,
        };
        let cseq = dialog.next_cseq();
        // Whoever knows the request by its number.
        if let Some(exchange) = call
            .exchange
            .as_mut()
            .filter(|exchange| exchange.client == client)
        {
            exchange.cseq = cseq;
        }
        for passing in call.passing.iter_mut().filter(|passing| passing.client == client) {
            passing.cseq = cseq;
        }
        for referral in call
            .referrals
            .iter_mut()
            .filter(|referral| referral.from != side && referral.passed == before)
        {
            referral.passed = cseq;
        }
        let nonce = self.random();
        let sent = self
            .transactions
            .prove(&mut self.io, now, client, nonce, cseq, &credentials);
        self.io.counters.challenges_answered += u64::from(sent);
        self.event(slot, Level::Debug, || {
            format!("{}: sent again with credentials", response.status())
        });
        sent
    }

    /// What answers the challenges of `response` to `request`.
    pub(crate) fn credentials(
        &self,
        trunk: TrunkId,
        request: &Message<'_>,
        response: &Message<'_>,
        random: u64,
    ) -> Result<Vec<(HeaderName, Vec<u8>)>, Refusal> {
        let snapshot = Arc::clone(&self.snapshot);
        let trunk = snapshot.trunks.get(usize::from(trunk.0));
        let account: &Account = trunk
            .and_then(|trunk| trunk.peer.account.as_ref())
            .ok_or(Refusal::NoAccount)?;
        let (asked, answered) = match response.status() {
            401 => (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            _ => (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        };
        let challenges = Challenge::choose(response.headers(asked)).map_err(Refusal::Unreadable)?;
        let question = Question {
            method: request.method_bytes(),
            uri: request.request_uri(),
            body: request.body(),
        };
        let cnonce = format!("{random:016x}");
        challenges
            .iter()
            .map(|challenge| {
                let known = request
                    .headers(answered)
                    .any(|value| realm_of(value) == Some(challenge.realm));
                if known && !challenge.stale {
                    return Err(Refusal::Wrong);
                }
                let mut value = Vec::with_capacity(256);
                account.answer(&mut value, challenge, &question, 1, cnonce.as_bytes());
                Ok((answered, value))
            })
            .collect()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoAccount => {
                "from a trunk without an account: add [trunk.account], or ask it to know us by address"
            }
            Self::Unreadable(Reason::Unsupported) => {
                "asks for an algorithm or protection that is not spoken here"
            }
            Self::Unreadable(_) => "without a challenge that can be read",
            Self::Wrong => "again after our credentials: check username and password in [trunk.account]",
        })
    }
}
