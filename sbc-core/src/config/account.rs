//! Accounts: where a password comes from. Registrations: whose they are.

use super::{FilePath, LoginUser, Secret, Trunk, TrunkAccount, TrunkRegister};
use crate::{digest::Account, snapshot};
use std::{env, fs::File, io::Read as _};
use zeroize::Zeroizing;

/// Longest password file that is read, in octets.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// A secret from where it is: given, in an environment variable, or in a file; `keys` are those of the latter two. `Err`:
/// the key that says where, and what is wrong there. Nothing where none is given.
pub(super) fn secret(
    keys: [&'static str; 2],
    given: Option<&Secret>,
    variable: Option<&str>,
    file: Option<&FilePath>,
) -> Result<Zeroizing<Vec<u8>>, (&'static str, String)> {
    if let Some(secret) = given {
        return Ok(Zeroizing::new(secret.0.as_bytes().to_vec()));
    }
    if let Some(name) = variable {
        let value = env::var_os(name).filter(|value| !value.is_empty());
        let missing = || format!("the environment variable {name} is not set, or empty");
        let value = value.ok_or_else(|| (keys[0], missing()))?;
        return Ok(Zeroizing::new(value.into_encoded_bytes()));
    }
    let Some(path) = file else {
        return Ok(Zeroizing::default()); // Reported as missing.
    };
    let fault = |what: String| (keys[1], format!("{}: {what}", path.0.display()));
    let mut text = Zeroizing::new(Vec::new());
    File::open(&path.0)
        .and_then(|file| file.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut text))
        .map_err(|error| fault(error.to_string()))?;
    if text.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(fault(format!("it is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    while text.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        text.pop();
    }
    if text.is_empty() {
        return Err(fault("it is empty".to_owned()));
    }
    Ok(text)
}

/// A name and the three ways to give its password.
#[derive(Clone, Copy)]
pub(super) struct Named<'c> {
    pub(super) username: &'c str,
    password: Option<&'c Secret>,
    password_env: Option<&'c str>,
    password_file: Option<&'c FilePath>,
}

impl TrunkAccount {
    pub(super) fn named(&self) -> Named<'_> {
        Named {
            username: &self.username,
            password: self.password.as_ref(),
            password_env: self.password_env.as_deref(),
            password_file: self.password_file.as_ref(),
        }
    }
}

impl LoginUser {
    pub(super) fn named(&self) -> Named<'_> {
        Named {
            username: &self.username,
            password: self.password.as_ref(),
            password_env: self.password_env.as_deref(),
            password_file: self.password_file.as_ref(),
        }
    }
}

impl Named<'_> {
    /// How many ways are used: one is right.
    pub(super) fn ways(&self) -> usize {
        let ways = [
            self.password.is_some(),
            self.password_env.is_some(),
            self.password_file.is_some(),
        ];
        ways.into_iter().filter(|given| *given).count()
    }

    /// The password, from where it is. `Err`: the key that says where, and what is wrong there.
    pub(super) fn password(&self) -> Result<Zeroizing<Vec<u8>>, (&'static str, String)> {
        secret(
            ["password_env", "password_file"],
            self.password,
            self.password_env,
            self.password_file,
        )
    }

    /// The account as it is used; `Err` as of [`Self::password`].
    pub(super) fn compile(&self) -> Result<Account, (&'static str, String)> {
        Ok(Account::new(self.username.as_bytes(), &self.password()?))
    }
}

impl TrunkRegister {
    /// As it is used with `trunk`, which has one.
    pub(super) fn compile(&self, trunk: &Trunk) -> snapshot::Register {
        let account = trunk.account.as_ref().map(|account| account.username.as_str());
        snapshot::Register {
            user: self.user.as_deref().or(account).unwrap_or_default().into(),
            domain: self.domain.as_ref().map(|domain| domain.0.as_str().into()),
            expires_s: self.expires_s,
        }
    }
}
