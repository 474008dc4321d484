//! The configuration that runs, and how another one takes its place.
//!
//! In: the text of a configuration. Out: all shards on the snapshot that it compiles to, or an error and nothing
//! changed. One change at a time; it is finished even when nobody waits for it any more.

use super::{
    control::{Daemon, RequestError},
    log,
    tls::{Tls, TlsError},
};
use crate::{
    admin::provision::Change,
    config::{self, Config, ConfigError, EditError, Succession},
    io::Held,
    shard::{Command, Reply, ShardId},
    snapshot::Snapshot,
};
use std::{
    cell::{Cell, RefCell},
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Mutex;

/// What runs, and where it came from. Lives on the control thread.
#[derive(Debug)]
pub struct Running {
    path: Option<PathBuf>,
    text: RefCell<Rc<str>>,
    config: RefCell<Rc<Config>>,
    snapshot: RefCell<Arc<Snapshot>>,
    /// All shards have said that they have it.
    settled: Cell<bool>,
    /// Held by whoever changes it.
    pub(super) writer: Mutex<()>,
}

/// What came of a change.
#[derive(Debug)]
pub struct Outcome {
    /// The text that runs now.
    pub text: Rc<str>,
    /// What is another now, as the texts have it.
    pub changes: Vec<Change>,
    /// What is allowed and yet probably not meant.
    pub warnings: Vec<String>,
    /// Our own certificates.
    pub certificates: usize,
}

/// Why a configuration did not take the place of the one that runs, which goes on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no file.
    #[error(
        "sbcd runs its built-in configuration, which cannot change: write it to a file \
         (`sbcd --print-default-config > sbcd.toml`) and start `sbcd --config sbcd.toml`"
    )]
    NoFile,
    /// It is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate, a key or a list of CAs cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be edited so.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file with the candidate cannot be read.
    #[error("{}: cannot read the candidate: {error}", path.display())]
    Candidate {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else was faster.
    #[error(
        "revision {wanted} does not run any more, {runs} does: look at it (`sbc-ctl diff`) and try again"
    )]
    Revision {
        /// What the change was meant for.
        wanted: String,
        /// What runs.
        runs: String,
    },
    /// The file is not what runs.
    #[error(
        "{}: the file has been edited since it was read: `sbc-ctl diff` shows how, `sbc-ctl reload` takes it over",
        path.display()
    )]
    Edited {
        /// The file.
        path: PathBuf,
    },
    /// The file, or the log of changes, cannot be written.
    #[error("{}: cannot be written: {error}; sbcd must be allowed to write in its directory", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It has taken the place, but not everywhere.
    #[error("the configuration is in force, but shard {} has not confirmed it: {error}; see the log", shard.0)]
    Unconfirmed {
        /// The first that has not.
        shard: ShardId,
        /// Why.
        error: RequestError,
    },
}

impl Running {
    /// `config`, compiled to `snapshot`, read from `path` (`None`: built in), where `text` stood.
    pub fn new(path: Option<PathBuf>, text: &str, config: Config, snapshot: Arc<Snapshot>) -> Self {
        Self {
            path,
            text: RefCell::new(text.into()),
            config: RefCell::new(Rc::new(config)),
            snapshot: RefCell::new(snapshot),
            settled: Cell::new(true),
            writer: Mutex::new(()),
        }
    }

    /// The file it was read from; `None`: built in.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its text.
    pub fn text(&self) -> Rc<str> {
        Rc::clone(&self.text.borrow())
    }

    /// The same, read.
    pub fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    /// The same, as the shards have it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }
}

impl Daemon {
    /// Read the file, and the files that it names, again, and use what they say.
    pub async fn reload(self: &Rc<Self>) -> Result<Outcome, ChangeError> {
        let _writing = self.running.writer.lock().await;
        let Some(path) = self.running.path.clone() else {
            // It names no files but those of certificates; there may be none.
            return Err(ChangeError::NoFile);
        };
        let text = config::read_text(&path).map_err(|error| ConfigError::Read {
            path: path.clone(),
            error,
        })?;
        self.take_over(&text, || Ok(())).await
    }

    /// Use `text` from now on. `write` is called when nothing can stand in the way any more: when it fails, nothing
    /// changes. The caller holds the writer's lock.
    pub(super) async fn take_over(
        self: &Rc<Self>,
        text: &str,
        write: impl FnOnce() -> Result<(), ChangeError>,
    ) -> Result<Outcome, ChangeError> {
        let running = &self.running;
        let before = running.config();
        let source = running
            .path
            .as_deref()
            .map_or_else(String::new, |path| path.display().to_string());
        let config = config::parse_after(text, &source, Some(&before))?;
        let held = if running.settled.get() {
            self.held().await
        } else {
            None
        };
        let successor = config.succeed(&Succession {
            config: &before,
            snapshot: &running.snapshot(),
            admission: &self.admission,
            held: held.as_ref(),
            now: self.clock.now(),
        })?;
        let tls = Arc::new(Tls::load(&successor.snapshot)?);
        write()?;
        if successor.forgotten > 0 {
            tracing::warn!(
                "{} sources that are no longer configured are forgotten before their calls have ended: there are too many",
                successor.forgotten
            );
        }
        let text: Rc<str> = text.into();
        let outcome = Outcome {
            changes: config::difference(&running.text(), &text),
            text: Rc::clone(&text),
            warnings: tls.warnings.iter().cloned().chain(config.warnings()).collect(),
            certificates: tls.certificates.len(),
        };
        let snapshot = successor.adopt(&self.admission);
        self.tls.replace(tls, Arc::clone(&snapshot));
        if before.log.level != config.log.level {
            log::set_level(config.log.level.as_str());
        }
        running.text.replace(text);
        running.config.replace(Rc::new(config));
        running.snapshot.replace(Arc::clone(&snapshot));
        running.settled.set(false);
        let unconfirmed = self.shards.configure(snapshot).await;
        if let Some(&(shard, error)) = unconfirmed.first() {
            tracing::error!(
                "shard {} has not confirmed the new configuration: {error}",
                shard.0
            );
            return Err(ChangeError::Unconfirmed { shard, error });
        }
        running.settled.set(true);
        Ok(outcome)
    }

    /// What the calls of all shards hold; `None`: one does not say.
    async fn held(&self) -> Option<Held> {
        let mut held = Held::default();
        for reply in self.shards.broadcast(Command::Held).await.ok()? {
            match reply {
                Reply::Held(of_shard) => held.add(of_shard),
                _ => return None,
            }
        }
        Some(held)
    }
}

/// Log what a change has come to, after `who` has asked for it.
pub(super) fn log_outcome(who: &str, outcome: &Result<Outcome, ChangeError>) {
    match outcome {
        Ok(applied) => {
            applied
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            for change in &applied.changes {
                tracing::info!("{who}: {change}");
            }
            let (changes, certificates) = (applied.changes.len(), applied.certificates);
            tracing::info!(
                changes,
                certificates,
                "{who}: the configuration and its files are read again"
            );
        }
        Err(ChangeError::Unconfirmed { .. }) => {}
        Err(error) => tracing::error!("{who}: the configuration stays as it is: {error}"),
    }
}
