//! What must hold for accounts and registrations: a name, and one password that is there.

use super::Report;
use crate::config::options::Trunk;

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
    let Some(account) = &trunk.account else { return };
    let path = format!("{at}.account");
    if account.username.is_empty() {
        report(&format!("{path}.username"), "it is empty".into());
    }
    let ways = [
        account.password.is_some(),
        account.password_env.is_some(),
        account.password_file.is_some(),
    ];
    match ways.into_iter().filter(|given| *given).count() {
        1 => {}
        0 => report(
            &path,
            "a password is missing: add password, password_env or password_file".into(),
        ),
        _ => report(
            &path,
            "only one of password, password_env and password_file may be given: which is the password?"
                .into(),
        ),
    }
    if let Err((key, message)) = account.password() {
        report(&format!("{path}.{key}"), message);
    }
}

/// Whether `text` can be the user part of a SIP URI without escapes (RFC 3261 §25.1).
fn is_user(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}
