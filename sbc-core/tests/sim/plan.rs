//! What the two parties of one call intend to do, drawn from the seed before anything runs.

use super::rng::Rng;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;
pub const T1: u64 = 500 * MS;
pub const T2: u64 = 4 * SECOND;

/// One of the two networks around the SBC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Stands in every identifier of this side. Digits, so that no change of case hides it; many, so
    /// that none of the SBC's random numbers contains it by chance.
    pub fn marker(self) -> &'static str {
        match self {
            Self::A => "710017771001",
            Self::B => "820028882002",
        }
    }

    /// Start of every address of this side, as text.
    pub fn network(self) -> &'static str {
        match self {
            Self::A => "10.71.",
            Self::B => "10.82.",
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::A => 71,
            Self::B => 82,
        }
    }

    /// The trunk's only SIP address.
    pub fn sip(self) -> SocketAddr {
        SocketAddr::from(([10, self.octet(), 0, 2], 5060))
    }

    /// The address of the spare trunk beside it.
    pub fn spare(self) -> SocketAddr {
        SocketAddr::from(([10, self.octet(), 0, 7], 5060))
    }

    /// An address behind the trunk's name where nobody is.
    pub fn nobody(self) -> SocketAddr {
        SocketAddr::from(([10, self.octet(), 0, 9], 5060))
    }

    /// A media address of leg `n`; `behind_nat`: the one its packets really come from.
    pub fn media(self, n: usize, behind_nat: bool) -> SocketAddr {
        let host = if behind_nat { 200 } else { 100 };
        let ip = Ipv4Addr::new(10, self.octet(), host, (n / 20_000) as u8 + 1);
        SocketAddr::new(IpAddr::V4(ip), 20_000 + (n % 20_000) as u16 * 2)
    }
}

/// How the callee ends the INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer,
    /// Two answers with different To tags.
    AnswerForked,
    Fail(u16),
    /// Rings until somebody gives up.
    Ring,
    /// The host is gone: not even a 100.
    Silent,
}

/// A change of the session by one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Hold,
    HoldOld,
    Resume,
    NewPort,
}

/// What a party does once the call is answered, and its quirks. Times in ms after the answer.
#[derive(Clone, Debug, Default)]
pub struct Party {
    pub hangup: Option<u64>,
    pub reinvites: Vec<(u64, Offer)>,
    pub requests: Vec<(u64, &'static str)>,
    pub packets: Vec<u64>,
    /// Goes deaf and dumb so many ms after its first message.
    pub dies: Option<u64>,
    pub behind_nat: bool,
    /// Compact header names and folded lines.
    pub terse: bool,
    /// How long it thinks about a re-INVITE, and what it says.
    /// Knows UPDATE, and uses it instead of re-INVITE.
    pub updates: bool,
    /// Knows session timers, and asks for so many seconds (RFC 4028).
    pub timer: Option<u64>,
    /// Knows 100rel: as a callee rings reliably, as a caller offers it.
    pub reliable: bool,
    pub reinvite_after: u64,
    pub reinvite_status: u16,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Plan {
    pub number: u32,
    pub from: Side,
    pub start: u64,
    pub caller: Party,
    pub callee: Party,
    pub cancel: Option<u64>,
    /// The same INVITE once more with another branch, as after a fork upstream.
    pub merged: bool,
    /// The caller never acknowledges the answer.
    pub no_ack: bool,
    /// INVITE without a session description: offer in the 200, answer in the ACK.
    pub late_offer: bool,
    /// Provisional responses: ms after the INVITE, status, with SDP.
    pub provisionals: Vec<(u64, u16, bool)>,
    /// Sends a MESSAGE outside of the call, too.
    pub message: bool,
    /// Every second provisional response comes from another fork.
    pub fork_early: bool,
    pub outcome: Outcome,
    pub outcome_after: u64,
}

const FAILURES: &[u16] = &[
    300, 302, 400, 403, 404, 408, 480, 482, 484, 486, 487, 488, 500, 501, 503, 504, 600, 603, 604, 699,
];

impl Plan {
    pub fn draw(rng: &mut Rng, number: u32, spread_ms: u64, late_offers: bool) -> Self {
        let outcome = match rng.below(100) {
            0..64 => Outcome::Answer,
            64..70 => Outcome::AnswerForked,
            70..86 => Outcome::Fail(rng.pick(FAILURES)),
            86..94 => Outcome::Ring,
            _ => Outcome::Silent,
        };
        let mut plan = Self {
            number,
            from: rng.pick(&Side::BOTH),
            start: rng.below(spread_ms) * MS + rng.below(MS),
            caller: party(rng),
            callee: party(rng),
            cancel: rng.chance(150).then(|| draw_delay(rng)),
            merged: rng.chance(30),
            no_ack: rng.chance(20),
            late_offer: late_offers && rng.chance(50),
            provisionals: Vec::new(),
            message: rng.chance(60),
            fork_early: rng.chance(150),
            outcome,
            outcome_after: draw_delay(rng),
        };
        if plan.outcome != Outcome::Silent {
            // §13.3.1.1: within 200 ms something must be said, or the caller repeats itself.
            let first = rng.range(0, 150);
            plan.provisionals
                .push((first, rng.pick(&[100, 100, 180, 183]), rng.chance(400)));
            for _ in 0..rng.below(3) {
                plan.provisionals.push((
                    first + rng.range(10, 4000),
                    rng.pick(&[180, 181, 182, 183, 199]),
                    rng.chance(400),
                ));
            }
        }
        if plan.outcome == Outcome::AnswerForked {
            // Which of the two dialogs lives is the SBC's choice; keep to what both can do.
            plan.callee.reinvites.clear();
            plan.callee.requests.clear();
        }
        // Somebody alive must end an answered call.
        if plan.caller.dies.is_some() && plan.callee.dies.is_some() {
            plan.callee.dies = None;
        }
        let (caller_alive, callee_alive) = (plan.caller.dies.is_none(), plan.callee.dies.is_none());
        let ends =
            plan.caller.hangup.is_some() && caller_alive || plan.callee.hangup.is_some() && callee_alive;
        if !ends {
            let survivor = if caller_alive {
                &mut plan.caller
            } else {
                &mut plan.callee
            };
            survivor.hangup = Some(rng.range(1_000, 20_000));
        }
        plan
    }
}

/// Mostly moments, sometimes a human's patience, sometimes nothing at all.
fn draw_delay(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0 => 0,
        1..4 => rng.below(600),
        4..9 => rng.below(6_000),
        _ => rng.below(25_000),
    }
}

fn party(rng: &mut Rng) -> Party {
    let mut party = Party {
        hangup: rng.chance(650).then(|| {
            if rng.chance(200) {
                rng.below(50)
            } else {
                rng.below(20_000)
            }
        }),
        dies: rng.chance(25).then(|| rng.below(15_000)),
        behind_nat: rng.chance(150),
        terse: rng.chance(200),
        updates: rng.chance(400),
        reliable: rng.chance(400),
        timer: rng.chance(200).then(|| rng.range(2, 15)),
        reinvite_after: if rng.chance(500) { 0 } else { rng.below(3_000) },
        reinvite_status: if rng.chance(150) {
            rng.pick(&[488, 491, 500, 603])
        } else {
            200
        },
        ..Party::default()
    };
    if rng.chance(250) {
        for _ in 0..rng.range(1, 3) {
            // A round number of seconds makes both sides collide now and then.
            let at = if rng.chance(300) { 2_000 } else { rng.below(12_000) };
            party.reinvites.push((
                at,
                rng.pick(&[Offer::Hold, Offer::HoldOld, Offer::Resume, Offer::NewPort]),
            ));
        }
    }
    if rng.chance(150) {
        // Several at once overtake each other: the later CSeq arrives first.
        let at = rng.below(8_000);
        for _ in 0..rng.pick(&[1, 1, 2, 4]) {
            let method = rng.pick(&["OPTIONS", "INFO", "UPDATE", "FROBNICATE", "MESSAGE", "REFER"]);
            party.requests.push((at + rng.below(100), method));
        }
    }
    for _ in 0..rng.below(6) {
        party.packets.push(rng.below(10_000));
    }
    party
}
