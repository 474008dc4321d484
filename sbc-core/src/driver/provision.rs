//! The admin methods that change the configuration.
//!
//! In: what an operator wants. Out: the file and all shards as wanted, or an error and neither of them changed. One
//! change at a time: it is checked as a whole, written to the audit log, put in the place of the file, and used.

use super::{
    admin_server::Peer,
    control::Daemon,
    persist,
    running::{self, ChangeError, Outcome},
    tls,
};
use crate::{
    admin::{
        failure::{Failure, Reason},
        provision::{Applied, ApplyConfig, Change, DiffConfig, Difference, EditConfig},
    },
    config::{self, ConfigError},
};
use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};
use tokio::task::spawn_local;

/// Largest candidate that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

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

/// `config.edit`.
pub(super) async fn edit(daemon: &Rc<Daemon>, peer: Peer, wanted: EditConfig) -> Result<Applied, Failure> {
    wanted.check()?;
    let daemon = Rc::clone(daemon);
    finish(async move {
        let _writing = daemon.running.writer.lock().await;
        let before = daemon.base(wanted.revision.as_deref())?;
        let text = config::edit(&before, &wanted.edits)?;
        daemon.change(peer, "config.edit", text).await
    })
    .await
}

/// `config.apply`.
pub(super) async fn apply(daemon: &Rc<Daemon>, peer: Peer, wanted: ApplyConfig) -> Result<Applied, Failure> {
    let daemon = Rc::clone(daemon);
    finish(async move {
        let _writing = daemon.running.writer.lock().await;
        daemon.base(wanted.revision.as_deref())?;
        let text = candidate(Path::new(&wanted.file), peer)?;
        // Said here, so that mistakes have their lines in the candidate.
        config::parse_after(&text, &wanted.file, Some(&daemon.running.config()))?;
        daemon.change(peer, "config.apply", text).await
    })
    .await
}

/// `config.diff`.
pub(super) fn diff(daemon: &Daemon, peer: Peer, wanted: &DiffConfig) -> Result<Difference, Failure> {
    let running = &daemon.running;
    let compare = || -> Result<Difference, ChangeError> {
        let (text, source) = match (&wanted.file, running.path()) {
            (Some(file), _) => (candidate(Path::new(file), peer)?, file.clone()),
            (None, Some(path)) => (read(path)?, path.display().to_string()),
            (None, None) => return Err(ChangeError::NoFile),
        };
        let config = config::parse_after(&text, &source, Some(&running.config()))?;
        Ok(Difference {
            revision: config::revision(&running.text()),
            candidate: config::revision(&text),
            changes: config::difference(&running.text(), &text),
            warnings: config.warnings(),
        })
    };
    compare().map_err(|error| refusal(&error))
}

impl Daemon {
    /// The text that a change starts from: that of the file, which must be the one that runs, and of `revision`.
    fn base(&self, revision: Option<&str>) -> Result<Rc<str>, ChangeError> {
        let running = &self.running;
        let path = running.path().ok_or(ChangeError::NoFile)?;
        let text = running.text();
        let runs = config::revision(&text);
        if let Some(revision) = revision.filter(|revision| *revision != runs) {
            return Err(ChangeError::Revision {
                wanted: revision.chars().take(64).collect(),
                runs,
            });
        }
        if read(path)? != *text {
            return Err(ChangeError::Edited {
                path: path.to_owned(),
            });
        }
        Ok(text)
    }

    /// Use `text`, and have it in the file. The caller holds the writer's lock.
    async fn change(
        self: &Rc<Self>,
        peer: Peer,
        method: &'static str,
        text: String,
    ) -> Result<Outcome, ChangeError> {
        let path = self.running.path().ok_or(ChangeError::NoFile)?.to_owned();
        let before = self.running.text();
        let changes = config::difference(&before, &text);
        let write = || {
            let record = record(peer, method, (&before, &text), &changes);
            let log = audit_log(&path);
            // First this: no change is without its record. After a crash in between, the file has the old revision.
            persist::append(&log, &record).map_err(|error| ChangeError::Write {
                path: log.clone(),
                error,
            })?;
            persist::replace(&path, &text).map_err(|error| ChangeError::Write {
                path: path.clone(),
                error,
            })
        };
        let outcome = self.take_over(&text, write).await;
        let who = format!("{method} of uid {} (pid {})", peer.uid, peer.pid);
        running::log_outcome(&who, &outcome);
        outcome
    }
}

/// The log of changes: beside the configuration file.
fn audit_log(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".audit");
    name.into()
}

/// A line of the log of changes.
fn record(peer: Peer, method: &str, (before, after): (&str, &str), changes: &[Change]) -> String {
    serde_json::json!({
        "time": tls::now(),
        "uid": peer.uid,
        "pid": peer.pid,
        "method": method,
        "before": config::revision(before),
        "after": config::revision(after),
        "changes": changes,
    })
    .to_string()
}

/// The text of the configuration file.
fn read(path: &Path) -> Result<String, ChangeError> {
    let text = config::read_text(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    });
    Ok(text?)
}

/// The text of a file that a client has named. What it may not read itself it must not have us read, since errors repeat
/// parts of it.
fn candidate(path: &Path, peer: Peer) -> Result<String, ChangeError> {
    let refuse = |error: io::Error| ChangeError::Candidate {
        path: path.to_owned(),
        error,
    };
    if !path.is_absolute() {
        return Err(refuse(io::Error::other("the path must be absolute")));
    }
    let open = || -> io::Result<String> {
        // A named pipe would have us wait for its other end.
        let file = {
            use std::os::unix::fs::OpenOptionsExt as _;
            File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path)?
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if peer.uid != 0 && found.uid() != peer.uid && found.mode() & 0o004 == 0 {
            return Err(io::Error::other(
                "it is another user's: make it your own, or readable by all",
            ));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        Ok(text)
    };
    open().map_err(refuse)
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
        ChangeError::Config(_) | ChangeError::Edit(_) | ChangeError::Candidate { .. } => {
            (Reason::BadConfig, "\nnothing has changed")
        }
        ChangeError::Tls(_) => (Reason::BadCertificate, "; nothing has changed"),
        ChangeError::Revision { .. } | ChangeError::Edited { .. } => {
            (Reason::Conflict, "; nothing has changed")
        }
        ChangeError::Write { .. } => (Reason::Unavailable, "; nothing has changed"),
        ChangeError::Unconfirmed { .. } => (Reason::Unavailable, ""),
    };
    Failure::new(reason, format!("{error}{rest}"))
}
