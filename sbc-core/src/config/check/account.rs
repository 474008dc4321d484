//! What must hold for accounts: a name, and one password that is there.

use super::Report;
use crate::config::options::Trunk;

pub(super) fn trunk(at: &str, trunk: &Trunk, report: Report<'_>) {
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
