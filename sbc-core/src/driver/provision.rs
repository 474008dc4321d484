//! The admin methods that change the configuration.
//!
//! In: what an operator wants. Out: the file and all shards as wanted, or an error and neither of them changed.

use super::{
    control::Daemon,
    running::{self, ChangeError, Outcome},
};
use crate::{
    admin::{
        failure::{Failure, Reason},
        provision::Applied,
    },
    config,
};
use std::rc::Rc;
use tokio::task::spawn_local;

/// `config.reload`.
pub(super) async fn reload(daemon: &Rc<Daemon>) -> Result<Applied, Failure> {
    let daemon = Rc::clone(daemon);
    finish(async move {
        let outcome = daemon.reload().await;
        running::log_outcome("config.reload", &outcome);
        outcome
    })
    .await
}

/// Run `change` to its end, whether or not the client waits for it.
async fn finish(
    change: impl Future<Output = Result<Outcome, ChangeError>> + 'static,
) -> Result<Applied, Failure> {
    match spawn_local(change).await {
        Ok(Ok(outcome)) => Ok(Applied {
            revision: config::revision(&outcome.text),
            changes: outcome.changes,
            warnings: outcome.warnings,
            certificates: outcome.certificates,
        }),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(Failure::new(
            Reason::Internal,
            "the change was not finished; see the log",
        )),
    }
}

fn refusal(error: &ChangeError) -> Failure {
    let (reason, rest) = match error {
        ChangeError::NoFile => (Reason::Unavailable, ""),
        ChangeError::Config(_) => (Reason::BadConfig, "\nnothing has changed"),
        ChangeError::Tls(_) => (Reason::BadCertificate, "; nothing has changed"),
        ChangeError::Unconfirmed { .. } => (Reason::Unavailable, ""),
    };
    Failure::new(reason, format!("{error}{rest}"))
}
