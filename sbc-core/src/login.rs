//! Who may log in to us, and with what (T1, T4): the accounts of trunks of type `credentials`.
//!
//! In: what the configuration says of each trunk. Out: [`Logins`], asked with the credentials of a request for whose they
//! are. Whether a nonce is good is not known here ([`crate::digest::Nonces`]), and nothing here changes.

use crate::{
    bindings::Grants,
    digest::{Account, Algorithm, Credentials, Proof, Question},
    id::ListenerId,
    trunk::TrunkId,
};
use ahash::RandomState;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What a trunk must know to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What its names and passwords are for.
    pub realm: Box<str>,
    /// Names and passwords. At least one; in a realm no name twice.
    pub accounts: Box<[Account]>,
    /// Hash algorithms that are offered, the best first, and taken.
    pub algorithms: Box<[Algorithm]>,
    /// Requests inside of calls need credentials, too.
    pub inside_calls: bool,
    /// The one listener that takes its log-ins from anywhere; `None`: all do.
    pub listener: Option<ListenerId>,
    /// Its requests come from anywhere: it lists no host.
    pub roams: bool,
    /// What its users are granted who register; `None`: they may not, for its calls go elsewhere.
    pub grants: Option<Grants>,
    /// Calls to its users have the called number in the Request-URI, and only host, port and parameters of the contact.
    pub number_in_uri: bool,
}

/// Bounds of log-ins that are the same for all trunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a nonce is good for.
    pub nonce_life: Duration,
    /// Most answers of a shard in one second to sources that have proven nothing.
    pub challenges_per_s: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            nonce_life: Duration::from_secs(300),
            challenges_per_s: 1000,
        }
    }
}

/// Whose credentials are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'l> {
    /// This trunk's, by this account, and the password is right.
    Right(TrunkId, &'l Account),
    /// Nobody's: no such name, another password, or an algorithm that was not offered.
    Wrong,
}

/// The log-ins of all trunks.
#[derive(Clone, Debug)]
pub struct Logins {
    /// For all trunks.
    pub terms: Terms,
    /// By trunk, those that have one.
    trunks: Vec<(TrunkId, Arc<Login>)>,
    /// By name: the trunk as index into `trunks`, and the account in it.
    names: HashMap<Box<[u8]>, Vec<(usize, usize)>, RandomState>,
    /// Compared with when nobody has the name, so that it takes as long.
    nobody: Account,
}

impl Default for Logins {
    fn default() -> Self {
        Self::new(Terms::default(), Vec::new())
    }
}

impl Logins {
    /// Of the trunks that have one.
    pub fn new(terms: Terms, trunks: Vec<(TrunkId, Arc<Login>)>) -> Self {
        // A fixed seed is safe: the names come from the configuration, peers only look up.
        let mut names: HashMap<Box<[u8]>, Vec<(usize, usize)>, RandomState> =
            HashMap::with_hasher(RandomState::with_seeds(0x6c6f, 0x67, 0x696e, 0x73));
        for (at, (_, login)) in trunks.iter().enumerate() {
            for (n, account) in login.accounts.iter().enumerate() {
                names.entry(account.username().into()).or_default().push((at, n));
            }
        }
        Self {
            terms,
            trunks,
            names,
            nobody: Account::new(b"nobody", b"nothing"),
        }
    }

    /// Nobody logs in.
    pub fn is_empty(&self) -> bool {
        self.trunks.is_empty()
    }

    /// Whether some trunk may send to `listener` from anywhere.
    pub fn welcomes(&self, listener: ListenerId) -> bool {
        self.roaming(listener).next().is_some()
    }

    /// What a source that is no trunk's is asked for on `listener`: what the trunk asks for whose realm is `host`, else
    /// what the first does. Nothing of this tells whether a name exists.
    pub fn for_stranger(&self, listener: ListenerId, host: &[u8]) -> Option<&Arc<Login>> {
        let of_host = |login: &&Arc<Login>| login.realm.as_bytes().eq_ignore_ascii_case(host);
        self.roaming(listener)
            .find(of_host)
            .or_else(|| self.roaming(listener).next())
    }

    /// Whose `credentials` are: those of `trunk`, or where that is not known, of any trunk that may send to `listener` from
    /// anywhere.
    pub fn judge(
        &self,
        trunk: Option<TrunkId>,
        listener: ListenerId,
        credentials: &Credentials<'_>,
        question: &Question<'_>,
    ) -> Verdict<'_> {
        let named = self
            .names
            .get(credentials.username)
            .map_or(&[][..], Vec::as_slice);
        let fits = |&(at, n): &(usize, usize)| {
            let (id, login) = self.trunks.get(at)?;
            let theirs = match trunk {
                Some(trunk) => trunk == *id,
                None => login.takes_from_anywhere(listener),
            };
            let asked = login.realm.as_bytes() == credentials.realm
                && login.algorithms.contains(&credentials.algorithm);
            Some((*id, login.accounts.get(n)?)).filter(|_| theirs && asked)
        };
        match named.iter().find_map(fits) {
            Some((id, account)) if account.vouches(credentials, question) == Proof::Right => {
                Verdict::Right(id, account)
            }
            Some(_) => Verdict::Wrong,
            None => {
                let _ = self.nobody.vouches(credentials, question);
                Verdict::Wrong
            }
        }
    }

    fn roaming(&self, listener: ListenerId) -> impl Iterator<Item = &Arc<Login>> {
        let logins = self.trunks.iter().map(|(_, login)| login);
        logins.filter(move |login| login.takes_from_anywhere(listener))
    }
}

impl Login {
    fn takes_from_anywhere(&self, listener: ListenerId) -> bool {
        self.roams && self.listener.is_none_or(|only| only == listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Challenge, Protection};

    const ONE: ListenerId = ListenerId(0);
    const OTHER: ListenerId = ListenerId(1);

    fn login(realm: &str, names: &[&str], roams: bool, listener: Option<ListenerId>) -> Arc<Login> {
        let account = |name: &&str| Account::new(name.as_bytes(), format!("{name}-{realm}").as_bytes());
        Arc::new(Login {
            realm: realm.into(),
            accounts: names.iter().map(account).collect(),
            algorithms: [Algorithm::Sha256].into(),
            inside_calls: false,
            listener,
            roams,
            grants: None,
            number_in_uri: false,
        })
    }

    fn logins() -> Logins {
        let trunks = vec![
            (TrunkId(0), login("a", &["alice", "bob"], true, None)),
            (TrunkId(3), login("b", &["alice"], true, Some(OTHER))),
            (TrunkId(4), login("c", &["carol"], false, None)),
        ];
        Logins::new(Terms::default(), trunks)
    }

    fn judged(
        trunk: Option<u16>,
        listener: ListenerId,
        name: &str,
        password: &str,
        realm: &str,
    ) -> Option<u16> {
        let logins = logins();
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let challenge = Challenge {
                realm: realm.as_bytes(),
                nonce: b"n",
                opaque: None,
                stale: false,
                algorithm,
                qop: Some(Protection::Auth),
            };
            let question = Question {
                method: b"REGISTER",
                uri: b"sip:a",
                body: b"",
            };
            let mut value = Vec::new();
            let account = Account::new(name.as_bytes(), password.as_bytes());
            account.answer(&mut value, &challenge, &question, 1, b"c");
            let credentials = Credentials::parse(&value).unwrap();
            let verdict = logins.judge(trunk.map(TrunkId), listener, &credentials, &question);
            match verdict {
                Verdict::Right(id, account) => {
                    assert_eq!(algorithm, Algorithm::Sha256, "no other was offered");
                    assert_eq!(account.username(), name.as_bytes());
                    return Some(id.0);
                }
                Verdict::Wrong => {}
            }
        }
        None
    }

    #[test]
    fn credentials_are_those_of_one_account() {
        assert_eq!(judged(None, ONE, "alice", "alice-a", "a"), Some(0));
        assert_eq!(judged(None, ONE, "bob", "bob-a", "a"), Some(0));
        assert_eq!(judged(None, ONE, "bob", "alice-a", "a"), None);
        assert_eq!(judged(None, ONE, "mallory", "nothing", "a"), None);
        assert_eq!(judged(None, ONE, "nobody", "nothing", "a"), None);
        // The same name in another realm is another account, on its own listener.
        assert_eq!(judged(None, OTHER, "alice", "alice-b", "b"), Some(3));
        assert_eq!(judged(None, ONE, "alice", "alice-b", "b"), None);
        assert_eq!(judged(None, OTHER, "alice", "alice-a", "b"), None);
        // Who lists its hosts logs in from there only, and there as nobody else.
        assert_eq!(judged(None, ONE, "carol", "carol-c", "c"), None);
        assert_eq!(judged(Some(4), ONE, "carol", "carol-c", "c"), Some(4));
        assert_eq!(judged(Some(4), ONE, "alice", "alice-a", "a"), None);
    }

    #[test]
    fn strangers_are_asked_for_the_realm_that_they_name() {
        let logins = logins();
        let asked = |listener, host: &str| {
            let login = logins.for_stranger(listener, host.as_bytes());
            login.map(|login| login.realm.to_string())
        };
        assert_eq!(asked(OTHER, "B").as_deref(), Some("b"));
        assert_eq!(asked(ONE, "b").as_deref(), Some("a"), "not on this listener");
        assert_eq!(asked(OTHER, "c").as_deref(), Some("a"), "its hosts are known");
        assert!(logins.welcomes(ONE) && logins.welcomes(OTHER));
        assert!(!Logins::default().welcomes(ONE));
        let listed = Logins::new(
            Terms::default(),
            vec![(TrunkId(4), login("c", &["carol"], false, None))],
        );
        assert!(!listed.welcomes(ONE) && !listed.is_empty());
    }
}
