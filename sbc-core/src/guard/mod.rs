//! Who may send us anything at all, decided on the address alone, before anything is parsed (L5).
//!
//! In: the source of every datagram and connection, and what those that nobody has listed turn out to do. Out:
//! whether it is looked at, and bans. [`Acl`] is what the operator says of networks; [`Bans`] are the addresses that
//! are banned, shared by all shards; [`Sources`] counts, for one shard, packets and offences of addresses that no
//! trunk lists. All three have a fixed size, and none of them costs more under a flood of forged addresses.
//!
//! The source of a datagram can be forged. So a ban never holds for an address that a trunk lists, whatever is
//! sent in its name: trunks are looked up first, and what they do wrong is only counted. Nor does one hold for an address that
//! has logged in; both have rates instead.

mod acl;
mod bans;
mod offence;
mod scanner;
mod sources;

pub use acl::{Acl, Action};
pub use bans::{Ban, BanError, Bans, EVIDENCE_MAX};
pub use offence::Offence;
pub use scanner::Scanners;
pub use sources::{Rate, Sources};

use crate::time::Timestamp;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

/// The rules, as the configuration has them.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Networks that are let in, or not.
    pub acl: Acl,
    /// Packets of one address that no trunk lists.
    pub source: Rate,
    /// Packets of all such addresses together, on each shard.
    pub strangers: Rate,
    /// Packets of one address that has logged in, if its trunk has no rate of its own.
    pub logged_in: Rate,
    /// How many offences of each kind an address may commit within [`Self::window`]; 0: any number.
    pub tolerated: [u16; Offence::COUNT],
    /// Offences longer ago than this are forgotten.
    pub window: Duration,
    /// How long a ban lasts; zero: nobody is banned.
    pub ban: Duration,
    /// What gives a scanner away.
    pub scanners: Scanners,
    /// Who has logged in lately, and is let in whatever is done in its name. Changes and stays as [`Self::bans`] does.
    pub proven: Arc<Bans>,
    /// Who is banned. This part changes, and stays when the rest is replaced.
    pub bans: Arc<Bans>,
}

impl Default for Rules {
    /// Nothing is limited and nobody banned.
    fn default() -> Self {
        Self {
            acl: Acl::default(),
            source: Rate::UNLIMITED,
            strangers: Rate::UNLIMITED,
            logged_in: Rate::UNLIMITED,
            tolerated: [0; Offence::COUNT],
            window: Duration::from_secs(60),
            ban: Duration::ZERO,
            scanners: Scanners::default(),
            proven: Arc::default(),
            bans: Arc::default(),
        }
    }
}

/// How long who has logged in is let in at least, whatever is done in its name.
const PROVEN: Duration = Duration::from_secs(3600);
/// So much more is noted, so that who comes often is noted once in that time.
const PROVEN_MORE: Duration = Duration::from_secs(60);
/// Attempts to note it while another shard writes there, which takes it some dozen instructions.
const PROVEN_ATTEMPTS: usize = 8;

impl Rules {
    /// `address`, which no trunk lists, has logged in as number `trunk`, and is registered until `until`: for an hour and until
    /// then it is let in. Where there is no room, the one goes whose time ends first ([`Bans`]); whether one had to.
    pub fn prove(&self, now: Timestamp, address: IpAddr, trunk: u16, until: Timestamp) -> bool {
        let address = key_of(address);
        let until = until.max(now + PROVEN);
        if self.proven.holds(until, address) {
            return false;
        }
        let note = Ban {
            address,
            since: now,
            until: until + PROVEN_MORE,
            offence: Offence::Stranger,
            count: trunk.into(),
            evidence: Box::default(),
        };
        // An operator has no word here, so there is always room.
        let mut attempts = (0..PROVEN_ATTEMPTS).map(|_| self.proven.add(&note));
        attempts.find_map(Result::ok).unwrap_or_default()
    }
}

/// Why a packet is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The operator does not want its source.
    Denied,
    /// Its source is banned.
    Banned,
    /// Too many from its source, or from all sources that nobody lists.
    Rate,
    /// Too many from its source, which has logged in.
    LoggedIn,
}

/// The guard of one shard.
#[derive(Debug)]
pub struct Guard {
    sources: Sources,
    strangers: sources::Bucket,
    /// Of each trunk, by its index.
    trunks: Vec<sources::Bucket>,
    /// Of each address that has logged in, by its place among them: nobody else can take it away.
    proven: Vec<sources::Bucket>,
    /// When a ban was last logged: a flood of forged addresses must not flood the log.
    logged: Option<Timestamp>,
}

/// Least time between two log lines about bans.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Guard {
    /// A guard that has seen nobody. `seed` keeps peers from choosing addresses that collide.
    pub fn new(seed: u64) -> Self {
        Self {
            sources: Sources::new(seed),
            strangers: sources::Bucket::default(),
            trunks: Vec::new(),
            proven: Vec::new(),
            logged: None,
        }
    }

    /// Whether a packet of trunk number `trunk` is looked at: what the operator says of its network, then its own
    /// rate.
    #[inline]
    pub fn admits_trunk(
        &mut self,
        now: Timestamp,
        rules: &Rules,
        address: IpAddr,
        (trunk, rate): (usize, Rate),
    ) -> Result<(), Dropped> {
        if rules.acl.says(address) == Some(Action::Deny) {
            return Err(Dropped::Denied);
        }
        if rate.is_unlimited() {
            return Ok(());
        }
        if self.trunks.len() <= trunk {
            self.trunks.resize(trunk + 1, sources::Bucket::default());
        }
        match self.trunks[trunk].take(now, rate) {
            true => Ok(()),
            false => Err(Dropped::Rate),
        }
    }

    /// Whether a packet of an address that has logged in is looked at: what the operator says of its network, then the rate
    /// of its trunk (`rate_of` its number), or that of all who have none, for this address alone: whoever sends in its name
    /// must not use up what others have. `None`: it has not logged in.
    #[inline]
    pub fn admits_proven(
        &mut self,
        now: Timestamp,
        rules: &Rules,
        address: IpAddr,
        rate_of: impl FnOnce(usize) -> Rate,
    ) -> Option<Result<(), Dropped>> {
        let (place, trunk) = rules.proven.find(now, key_of(address))?;
        if rules.acl.admits(address) == Action::Deny {
            return Some(Err(Dropped::Denied));
        }
        let rate = match rate_of(trunk as usize) {
            none if none.is_unlimited() => rules.logged_in,
            its => its,
        };
        if self.proven.len() <= place {
            self.proven
                .resize(rules.proven.capacity(), sources::Bucket::default());
        }
        Some(match self.proven[place].take(now, rate) {
            true => Ok(()),
            false => Err(Dropped::LoggedIn),
        })
    }

    /// Whether a packet of an address that no trunk lists, and that has not logged in, is looked at.
    #[inline]
    pub fn admits_stranger(&mut self, now: Timestamp, rules: &Rules, address: IpAddr) -> Result<(), Dropped> {
        if rules.acl.admits(address) == Action::Deny {
            return Err(Dropped::Denied);
        }
        let key = key_of(address);
        if rules.bans.holds(now, key) {
            return Err(Dropped::Banned);
        }
        // Its own rate first: what one address sends too much must not use up what all have together.
        let within = self.sources.take(now, key, rules.source) && self.strangers.take(now, rules.strangers);
        if within { Ok(()) } else { Err(Dropped::Rate) }
    }

    /// An address that no trunk lists did something that only an attacker, or something broken, does. `Some`: it is
    /// banned for that, from now on and on all shards.
    pub fn blame(
        &mut self,
        now: Timestamp,
        rules: &Rules,
        address: IpAddr,
        offence: Offence,
        evidence: &[u8],
    ) -> Option<Ban> {
        let tolerated = rules.tolerated[offence as usize];
        if rules.ban.is_zero() || tolerated == 0 {
            return None;
        }
        let key = key_of(address);
        if rules.proven.holds(now, key) {
            return None;
        }
        let count = self.sources.blame(now, key, offence, rules.window);
        if count < tolerated {
            return None;
        }
        let ban = Ban {
            address: key,
            since: now,
            until: now + rules.ban,
            offence,
            count: u32::from(count),
            evidence: evidence.into(),
        };
        rules.bans.add(&ban).ok()?;
        Some(ban)
    }

    /// Whether a ban made now is to be logged.
    pub fn logs(&mut self, now: Timestamp) -> bool {
        if self.logged.is_some_and(|at| now.since(at) < LOG_INTERVAL) {
            return false;
        }
        self.logged = Some(now);
        true
    }
}

/// What addresses are told apart by: whoever has an IPv6 address has the 64 bits behind its network, too.
pub fn key_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let mut tolerated = [0; Offence::COUNT];
        tolerated[Offence::Malformed as usize] = 3;
        tolerated[Offence::Scanner as usize] = 1;
        Rules {
            tolerated,
            ban: Duration::from_secs(10),
            source: Rate {
                per_second: 10,
                burst: 5,
            },
            ..Rules::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn offences_add_up_to_a_ban_that_ends() {
        let (rules, mut guard) = (rules(), Guard::new(1));
        let bad = ip("192.0.2.1");
        let at = Timestamp::from_millis;
        assert!(guard.blame(at(0), &rules, bad, Offence::Malformed, b"").is_none());
        assert!(guard.blame(at(1), &rules, bad, Offence::Malformed, b"").is_none());
        assert_eq!(guard.admits_stranger(at(1), &rules, bad), Ok(()));
        let ban = guard
            .blame(at(2), &rules, bad, Offence::Malformed, b"INVITE")
            .unwrap();
        assert_eq!((ban.count, &*ban.evidence), (3, &b"INVITE"[..]));
        assert_eq!(guard.admits_stranger(at(3), &rules, bad), Err(Dropped::Banned));
        assert_eq!(guard.admits_stranger(at(3), &rules, ip("192.0.2.2")), Ok(()));
        assert_eq!(
            guard.admits_stranger(at(10_001), &rules, bad),
            Err(Dropped::Banned)
        );
        assert_eq!(guard.admits_stranger(at(10_002), &rules, bad), Ok(()));
    }

    #[test]
    fn offences_of_long_ago_are_forgotten() {
        let (rules, mut guard) = (rules(), Guard::new(1));
        for n in 0..20 {
            let now = Timestamp::from_millis(n * 40_000);
            let ban = guard.blame(now, &rules, ip("192.0.2.1"), Offence::Malformed, b"");
            assert!(ban.is_none(), "at {n}");
        }
    }

    #[test]
    fn a_trunk_is_never_banned() {
        let (rules, mut guard) = (rules(), Guard::new(1));
        let carrier = ip("192.0.2.1");
        let now = Timestamp::from_millis(5);
        assert!(
            guard
                .blame(now, &rules, carrier, Offence::Scanner, b"friendly-scanner")
                .is_some()
        );
        assert_eq!(guard.admits_stranger(now, &rules, carrier), Err(Dropped::Banned));
        assert_eq!(
            guard.admits_trunk(now, &rules, carrier, (0, Rate::UNLIMITED)),
            Ok(())
        );
    }

    #[test]
    fn who_has_logged_in_is_let_in() {
        let (rules, mut guard) = (rules(), Guard::new(1));
        let now = Timestamp::from_millis(5);
        rules.prove(now, ip("192.0.2.1"), 3, now);
        assert!(
            guard
                .blame(now, &rules, ip("192.0.2.1"), Offence::Scanner, b"")
                .is_none(),
            "anybody can send in its name"
        );
        let mut within = |address: &str, rate: Rate| {
            let rate_of = |trunk| {
                assert_eq!(trunk, 3);
                rate
            };
            let admits = |_: &u32| guard.admits_proven(now, &rules, ip(address), rate_of) == Some(Ok(()));
            (0..100).filter(admits).count()
        };
        let of_trunk = Rate {
            per_second: 100,
            burst: 20,
        };
        assert_eq!(within("192.0.2.1", of_trunk), 20, "not the rate of strangers");
        rules.prove(now, ip("192.0.2.2"), 3, now);
        assert_eq!(within("192.0.2.2", of_trunk), 20, "each has its own");
        rules.prove(now, ip("192.0.2.3"), 3, now);
        assert_eq!(within("192.0.2.3", Rate::UNLIMITED), 100);
        assert_eq!(within("192.0.2.4", Rate::UNLIMITED), 0, "has not logged in");
    }

    #[test]
    fn who_is_registered_for_long_outlasts_those_who_call() {
        let rules = rules();
        let at = Timestamp::from_millis;
        let day_ms = 86_400_000;
        rules.prove(at(5), ip("192.0.2.1"), 0, at(day_ms));
        rules.prove(at(6), ip("192.0.2.1"), 0, at(6));
        let displaced = (0..100_000).filter(|n: &u32| rules.prove(at(7), IpAddr::V4((*n).into()), 0, at(7)));
        assert_eq!(displaced.count() as u64, rules.proven.evicted());
        assert!(rules.proven.evicted() >= 100_001 - rules.proven.capacity() as u64);
        let holds = |ms: u64, text: &str| rules.proven.holds(at(ms), ip(text));
        assert!(holds(day_ms, "192.0.2.1"), "the hours of others went first");
        assert!(!holds(day_ms + 60_000, "192.0.2.1"));
        assert!(holds(3_600_006, "0.1.134.159"), "the newest is known");
    }

    #[test]
    fn a_trunk_has_a_rate_of_its_own() {
        let (rules, mut guard) = (rules(), Guard::new(1));
        let now = Timestamp::from_millis(5);
        let rate = Rate {
            per_second: 10,
            burst: 3,
        };
        let mut take = |trunk| {
            guard
                .admits_trunk(now, &rules, ip("192.0.2.1"), (trunk, rate))
                .is_ok()
        };
        assert_eq!([take(7), take(7), take(7), take(7)], [true, true, true, false]);
        assert!(take(0), "another trunk has another rate");
    }

    #[test]
    fn what_one_address_sends_too_much_is_not_taken_from_all() {
        let mut rules = rules();
        rules.strangers = Rate {
            per_second: 10,
            burst: 10,
        };
        let mut guard = Guard::new(1);
        let now = Timestamp::from_millis(5);
        let loud = (0..1000).filter(|_| guard.admits_stranger(now, &rules, ip("192.0.2.1")).is_ok());
        assert_eq!(loud.count(), 5);
        let others = (2..100).filter(|n| {
            guard
                .admits_stranger(now, &rules, ip(&format!("192.0.2.{n}")))
                .is_ok()
        });
        assert_eq!(others.count(), 5, "all together");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        assert_eq!(key_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(key_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(key_of(ip("192.0.2.1")), ip("192.0.2.1"));
    }
}
