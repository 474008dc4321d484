//! Several accounts at one provider: trunks with the same address, told apart by what their requests say (T6).
//!
//! In: what each trunk is called by. Out: the one that a call is for, or that this cannot be told, which is said and never
//! guessed.

use crate::trunk::TrunkId;
use ahash::RandomState;
use std::collections::HashMap;

/// What a trunk is called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Which.
    pub trunk: TrunkId,
    /// [`mark`] of its name: what the Contact that we have registered with it says.
    pub mark: u16,
    /// Numbers that are its own, without `+`.
    pub numbers: Box<[Box<str>]>,
    /// Names of its account and registration.
    pub names: Box<[Box<str>]>,
}

/// Trunks that share an address.
#[derive(Clone, Debug, Default)]
pub struct Siblings {
    groups: Vec<Box<[Sibling]>>,
    of: HashMap<TrunkId, usize, RandomState>,
}

/// What identifies a trunk by its name in the Contact that we register for it, also after a change of the configuration.
/// Two names may have the same; then the Contact alone does not tell.
pub fn mark(name: &str) -> u16 {
    (RandomState::with_seeds(1, 9, 8, 4).hash_one(name) & 0xffff) as u16
}

impl Siblings {
    /// Of groups of at least two.
    pub fn new(groups: Vec<Vec<Sibling>>) -> Self {
        let of = groups.iter().enumerate();
        let of = of.flat_map(|(at, group)| group.iter().map(move |sibling| (sibling.trunk, at)));
        Self {
            of: of.collect(),
            groups: groups.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }

    /// The trunks at the address of `trunk`, when there are several.
    pub fn of(&self, trunk: TrunkId) -> Option<&[Sibling]> {
        if self.of.is_empty() {
            return None;
        }
        self.groups.get(*self.of.get(&trunk)?).map(|group| &**group)
    }
}

/// The sibling that a call is for: that whose Contact it was sent to (`contact`: its mark), else that whose number is
/// called, else that whose name is. `called`: what to look for, such as the users of Request-URI and To, the better first.
/// `None`: that is none of them, or more than one.
pub fn tell_apart(siblings: &[Sibling], contact: Option<u16>, called: &[&str]) -> Option<TrunkId> {
    let by_contact = contact.and_then(|mark| only(siblings, |sibling| sibling.mark == mark));
    let by = |list: fn(&Sibling) -> &[Box<str>]| {
        called.iter().find_map(|user| {
            let user = user.trim_start_matches('+');
            only(siblings, |sibling| {
                list(sibling).iter().any(|known| **known == *user)
            })
        })
    };
    by_contact
        .or_else(|| by(|sibling| &sibling.numbers))
        .or_else(|| by(|sibling| &sibling.names))
}

fn only(siblings: &[Sibling], is: impl Fn(&Sibling) -> bool) -> Option<TrunkId> {
    let mut found = siblings.iter().filter(|sibling| is(sibling));
    let first = found.next()?;
    found.next().is_none().then_some(first.trunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sibling(trunk: u16, mark: u16, numbers: &[&str], names: &[&str]) -> Sibling {
        let boxed = |list: &[&str]| list.iter().map(|text| (*text).into()).collect();
        Sibling {
            trunk: TrunkId(trunk),
            mark,
            numbers: boxed(numbers),
            names: boxed(names),
        }
    }

    #[test]
    fn contact_before_number_before_name_and_never_a_guess() {
        let all = [
            sibling(0, 7, &["4930100"], &["acme", "shared"]),
            sibling(1, 8, &["4930200"], &["4930100", "shared"]),
            sibling(2, 8, &[], &["other"]),
        ];
        let told = |contact, called: &[&str]| tell_apart(&all, contact, called).map(|trunk| trunk.0);
        assert_eq!(told(Some(7), &["4930200"]), Some(0));
        assert_eq!(
            told(Some(8), &["4930200"]),
            Some(1),
            "two have this mark: the number tells"
        );
        assert_eq!(told(Some(9), &["x", "other"]), Some(2));
        assert_eq!(told(None, &["+4930200", "acme"]), Some(1));
        assert_eq!(told(None, &["4930100"]), Some(0), "a number before a name");
        assert_eq!(told(None, &["nobody", "acme"]), Some(0));
        assert_eq!(told(None, &["shared"]), None);
        assert_eq!(told(None, &["nobody"]), None);
        assert_eq!(told(None, &[]), None);
    }

    #[test]
    fn groups_are_found_by_any_member() {
        let siblings = Siblings::new(vec![vec![sibling(3, 1, &[], &["a"]), sibling(5, 2, &[], &["b"])]]);
        assert_eq!(siblings.of(TrunkId(3)), siblings.of(TrunkId(5)));
        assert_eq!(siblings.of(TrunkId(4)), None);
        assert_eq!(Siblings::default().of(TrunkId(3)), None);
        assert_eq!(mark("a"), mark("a"));
        assert_ne!(mark("a"), mark("b"));
    }
}
