//! What must hold for accounts and registrations: a name, and one password that is there.

use super::Report;
use crate::config::{account::Named, options::Trunk};

pub(super) fn trunk(at: &str, trunk: &Trunk, report: Report<'_>) {
    if let Some(register) = &trunk.register {
        let user = register.user.as_ref();
        let user = user.or(trunk.account.as_ref().map(|account| &account.username));
        let path = format!("{at}.register.user");
        match user {
            None => report(
                &path,
                "is missing: give it, or add [trunk.account], whose username is used".into(),
            ),
            Some(user) if !is_user(user) => report(
                &path,
                format!("{user:?} cannot stand in a SIP URI: use letters, digits and -_.!~*'()&=+$,;?/"),
            ),
            Some(_) => {}
        }
    }
    if let Some(account) = &trunk.account {
        named(&format!("{at}.account"), &account.named(), report);
    }
}

/// A name, and one password that is there.
pub(super) fn named(path: &str, account: &Named<'_>, report: Report<'_>) {
    if account.username.is_empty() {
        report(&format!("{path}.username"), "it is empty".into());
    }
    match account.ways() {
        1 => {}
        0 => report(
            path,
            "a password is missing: add password, password_env or password_file".into(),
        ),
        _ => report(
            path,
            "only one of password, password_env and password_file may be given: which is the password?"
                .into(),
        ),
    }
    if let Err((key, message)) = account.password() {
        report(&format!("{path}.{key}"), message);
    }
}

/// Whether `text` can be the user part of a SIP URI without escapes (RFC 3261 §25.1).
pub(in crate::config) fn is_user(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}
