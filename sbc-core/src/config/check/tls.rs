//! What must hold for certificates: each has its key, each file can be read, and nothing is set
//! that would have no effect. What is in the files is checked by the driver, which uses them.

use super::Report;
use crate::{
    config::{
        options::{Config, Listener, Trunk},
        value::FilePath,
    },
    snapshot::ClientAuth,
    transport::Transport,
};
use std::fs::File;

pub(super) fn listener(at: &str, listener: &Listener, report: Report<'_>) {
    let path = format!("{at}.tls");
    let tls = match (&listener.tls, listener.transport) {
        (Some(tls), Transport::Tls) => tls,
        (None, Transport::Tls) => {
            report(
                &format!("{at}.transport"),
                "\"tls\" needs a certificate: add [listener.tls] with certificate and key below".into(),
            );
            return;
        }
        (Some(_), other) => {
            report(
                &path,
                format!(
                    "has no effect with transport = \"{}\": use \"tls\", or remove it",
                    other.name()
                ),
            );
            return;
        }
        (None, _) => return,
    };
    readable(&format!("{path}.certificate"), Some(&tls.certificate), report);
    readable(&format!("{path}.key"), Some(&tls.key), report);
    readable(&format!("{path}.client_ca"), tls.client_ca.as_ref(), report);
    match (tls.client_auth, &tls.client_ca) {
        (ClientAuth::Optional | ClientAuth::Required, None) => report(
            &format!("{path}.client_auth"),
            "needs client_ca: the file of the CAs that clients' certificates come from".into(),
        ),
        (ClientAuth::None, Some(_)) => report(
            &format!("{path}.client_ca"),
            "has no effect without client_auth: set it to \"optional\" or \"required\", or remove this"
                .into(),
        ),
        _ => {}
    }
}

pub(super) fn trunk(config: &Config, at: &str, trunk: &Trunk, report: Report<'_>) {
    let (tls, path) = (&trunk.tls, format!("{at}.tls"));
    for (key, file) in [
        ("ca", &tls.ca),
        ("certificate", &tls.certificate),
        ("key", &tls.key),
    ] {
        readable(&format!("{path}.{key}"), file.as_ref(), report);
    }
    for (set, given, missing) in [
        (
            tls.certificate.is_some() && tls.key.is_none(),
            "certificate",
            "key",
        ),
        (
            tls.key.is_some() && tls.certificate.is_none(),
            "key",
            "certificate",
        ),
    ] {
        if set {
            report(
                &format!("{path}.{given}"),
                format!("has no effect without {missing}: set both, or none"),
            );
        }
    }
    if let Some(name) = &tls.server_name {
        host(&format!("{path}.server_name"), name, report);
    }
    for (n, name) in tls.client_names.iter().enumerate() {
        host(&format!("{path}.client_names[{n}]"), name, report);
    }
    let listener = config.listener_of(trunk);
    let listener = listener.and_then(|id| config.listeners.get(usize::from(id.0)));
    let asks = listener
        .and_then(|listener| listener.tls.as_ref())
        .is_some_and(|tls| tls.client_auth != ClientAuth::None);
    if let (false, false, Some(listener)) = (tls.client_names.is_empty(), asks, listener) {
        report(
            &format!("{path}.client_names"),
            format!(
                "listener \"{}\" does not ask peers for a certificate: set client_auth in its [listener.tls]",
                listener.name
            ),
        );
    }
}

fn readable(path: &str, file: Option<&FilePath>, report: Report<'_>) {
    if let Some(FilePath(file)) = file
        && let Err(error) = File::open(file)
    {
        report(path, format!("{} cannot be read: {error}", file.display()));
    }
}

/// A name that a certificate can have.
fn host(path: &str, name: &str, report: Report<'_>) {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_name = name.len() <= 253 && name.split('.').all(label);
    if !is_name && name.parse::<std::net::IpAddr>().is_err() {
        report(
            path,
            format!(
                "{name:?} is no host name; expected one such as \"sip.example.com\", without a final dot"
            ),
        );
    }
}
