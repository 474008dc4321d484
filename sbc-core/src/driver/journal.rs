//! The file that bindings are kept in, and the thread that writes it.
//!
//! In: lines as they change, or all of them. Out: whether they are on the disk, also for a machine whose power fails the
//! moment after. Lines are added at the end, and one `fdatasync` serves all that came while the one before was under way.
//! When the file has grown to four times what it says, and after any failure, all of it is written anew: another file, which
//! is on the disk before it takes the name, as is the name before anybody is told.
//!
//! ```text
//!            ┌──────── written ────────┐
//!            ▼                         │
//!  whole ──lines──► the thread writes ─┤
//!                    ▲                 ├─ failed ──────────► behind ──after a pause: all──┐
//!                    │                 └─ takes too long ──► late ◄───────────────────────┘
//!                    └─ all, if there were changes since ─────┘ it has ended
//! ```
//!
//! While the file is behind or a write is late, nobody waits for it: users go on to be registered, and each such answer is
//! counted.

use super::persist::{beside, sync_directory};
use crate::{bindings::Record, time::Timestamp};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// Below this the file is not written anew.
pub(super) const SMALL: u64 = 1 << 20;

/// What a journal needs of a disk. None of it may return before it is done.
pub(super) trait Disk: Send + 'static {
    /// Add to the end of the file.
    fn append(&mut self, text: &[u8]) -> io::Result<()>;
    /// Have all of the file on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Write another file, beside it.
    fn write_beside(&mut self, text: &[u8]) -> io::Result<()>;
    /// Have all of the other file on the disk.
    fn sync_beside(&mut self) -> io::Result<()>;
    /// The other file takes the name, and is the file from now on.
    fn take_name(&mut self) -> io::Result<()>;
    /// Have the name on the disk.
    fn sync_name(&mut self) -> io::Result<()>;
    /// Leave nothing of the other file: what it takes up may be what is missing.
    fn remove_beside(&mut self);
}

/// The file system.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    file: Option<File>,
    other: Option<File>,
}

impl Files {
    /// Of the file at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            other: None,
        }
    }
}

/// The order in which a [`Journal`] asks sees to it that there is one.
fn opened(file: &mut Option<File>) -> io::Result<&mut File> {
    file.as_mut()
        .ok_or_else(|| io::Error::other("the file is not open"))
}

impl Disk for Files {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        opened(&mut self.file)?.write_all(text)
    }

    fn sync(&mut self) -> io::Result<()> {
        opened(&mut self.file)?.sync_data()
    }

    fn write_beside(&mut self, text: &[u8]) -> io::Result<()> {
        let path = beside(&self.path);
        // One that an end in the middle has left behind.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        // Contacts tell where people are.
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        self.other.insert(file).write_all(text)
    }

    fn sync_beside(&mut self) -> io::Result<()> {
        opened(&mut self.other)?.sync_all()
    }

    fn take_name(&mut self) -> io::Result<()> {
        fs::rename(beside(&self.path), &self.path)?;
        self.file = self.other.take();
        Ok(())
    }

    fn sync_name(&mut self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn remove_beside(&mut self) {
        self.other = None;
        // It may never have been there.
        let _ = fs::remove_file(beside(&self.path));
    }
}

/// The file, as it is written.
#[derive(Debug)]
pub(super) struct Journal<D> {
    disk: D,
    /// Each addition is synced.
    sync: bool,
    bytes: u64,
    /// Beyond so many bytes it is written anew.
    anew_beyond: u64,
    /// What it says at its end, or whether it has the name, is not known.
    broken: bool,
}

impl<D: Disk> Journal<D> {
    /// A new file on `disk` that says `text`.
    pub(super) fn begin(disk: D, sync: bool, text: &[u8]) -> io::Result<Self> {
        let mut journal = Self {
            disk,
            sync,
            bytes: 0,
            anew_beyond: SMALL,
            broken: true,
        };
        journal.write_anew(text)?;
        Ok(journal)
    }

    /// Whether the next write must, or had better, say all.
    pub(super) fn wants_all(&self) -> bool {
        self.broken || self.bytes > self.anew_beyond
    }

    /// Add `changed`, or write `all`, in which that is, anew. `Ok`: it survives whatever happens to the machine. `Err`: it
    /// may not, but what was written before does, and the next must say all.
    pub(super) fn write(&mut self, changed: &[u8], all: Option<&[u8]>) -> io::Result<()> {
        if let Some(all) = all {
            match self.write_anew(all) {
                Ok(()) => return Ok(()),
                Err(error) if self.broken => return Err(error),
                // There is no room for two, it may be: the file as it is can be added to.
                Err(error) => {
                    tracing::warn!("registrations: their file stays as large as it is: {error}");
                    self.anew_beyond = self.bytes + SMALL;
                }
            }
        }
        if self.broken {
            return Err(io::Error::other("only part of it is known"));
        }
        self.bytes += changed.len() as u64;
        let mut written = self.disk.append(changed);
        if self.sync {
            written = written.and_then(|()| self.disk.sync());
        }
        // Half a line may be there. And a sync that has failed forgets what was to be written: the next would say that
        // all is well.
        self.broken = written.is_err();
        written
    }

    fn write_anew(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.disk.write_beside(text);
        if let Err(error) = written.and_then(|()| self.disk.sync_beside()) {
            self.disk.remove_beside();
            return Err(error);
        }
        self.broken = true;
        if let Err(error) = self.disk.take_name() {
            self.disk.remove_beside();
            return Err(error);
        }
        self.bytes = text.len() as u64;
        self.anew_beyond = SMALL.max(4 * self.bytes);
        self.disk.sync_name()?;
        self.broken = false;
        Ok(())
    }
}

/// How records are written: into the buffer, as they are at these readings of both clocks.
pub(super) type Scribe = Box<dyn Fn(&mut Vec<u8>, &[Arc<Record>], (Timestamp, SystemTime)) + Send>;

/// What the thread writes.
struct Job {
    changed: Vec<Arc<Record>>,
    all: Option<Vec<Arc<Record>>>,
    at: (Timestamp, SystemTime),
    done: oneshot::Sender<Outcome>,
}

/// Whether the next is better to say all; or what went wrong.
type Outcome = io::Result<bool>;

/// How long a write is waited for, and how long a disk that has failed is left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) write: Duration,
    pub(super) pause: Duration,
}

impl Default for Patience {
    /// Less than the shards wait, and than a telephone does.
    fn default() -> Self {
        Self {
            write: Duration::from_secs(4),
            pause: Duration::from_secs(1),
        }
    }
}

/// The control thread's end of the thread that writes.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    state: State,
    patience: Patience,
    /// Operators were told that it is behind.
    told: bool,
}

#[derive(Debug)]
enum State {
    /// The file says all; whether it wants to be written anew.
    Whole { wants_all: bool },
    /// A write is under way that nobody waits for; whether there were changes since, which it does not say.
    Late {
        outcome: oneshot::Receiver<Outcome>,
        missed: bool,
    },
    /// A write has failed; none before then.
    Behind(Instant),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Start the thread. `path` is for the log.
    pub(super) fn start<D: Disk>(
        path: PathBuf,
        mut journal: Journal<D>,
        scribe: Scribe,
        patience: Patience,
    ) -> io::Result<Self> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let write = move || {
            let (mut changed, mut all) = (Vec::new(), Vec::new());
            while let Ok(job) = to_do.recv() {
                changed.clear();
                all.clear();
                scribe(&mut changed, &job.changed, job.at);
                if let Some(records) = &job.all {
                    scribe(&mut all, records, job.at);
                }
                let written = journal.write(&changed, job.all.is_some().then_some(&all));
                // Nobody waits any more when the daemon ends.
                let _ = job.done.send(written.map(|()| journal.wants_all()));
            }
        };
        // It ends with the sender. Nobody waits for it: a disk that hangs must not keep the process from ending.
        thread::Builder::new().name("registrations".into()).spawn(write)?;
        Ok(Self {
            path,
            jobs,
            state: State::Whole { wants_all: false },
            patience,
            told: false,
        })
    }

    /// Have `changed` on the disk; `all` says everything, with `changed`, as it is now. `false`: it is not there, because
    /// the disk fails or takes too long. It will be when [`Self::catch_up`] succeeds.
    pub(super) async fn save(
        &mut self,
        changed: Vec<Arc<Record>>,
        all: impl FnOnce() -> Vec<Arc<Record>>,
        at: (Timestamp, SystemTime),
    ) -> bool {
        let wants_all = match &mut self.state {
            _ if changed.is_empty() => return true,
            State::Whole { wants_all } => *wants_all,
            State::Late { missed, .. } => {
                *missed = true;
                return false;
            }
            State::Behind(_) => return false,
        };
        self.write(changed, wants_all.then(all), at).await
    }

    /// How long until [`Self::catch_up`] makes sense; `None`: the file says all.
    pub(super) fn behind(&self) -> Option<Duration> {
        match &self.state {
            State::Whole { .. } => None,
            State::Late { .. } => Some(self.patience.pause / 20),
            State::Behind(until) => Some(until.saturating_duration_since(now())),
        }
    }

    /// When the file does not say all and it is time, write all. It is waited for only if the write before has succeeded.
    pub(super) async fn catch_up(
        &mut self,
        all: impl FnOnce() -> Vec<Arc<Record>>,
        at: (Timestamp, SystemTime),
    ) {
        match &mut self.state {
            State::Behind(until) if *until <= now() => {
                let outcome = self.send(Vec::new(), Some(all()), at);
                self.state = State::Late {
                    outcome,
                    missed: false,
                };
            }
            State::Late { outcome, missed } => match outcome.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {}
                // Whoever comes now waits, or it would never say all.
                Ok(Ok(_)) if *missed => {
                    self.write(Vec::new(), Some(all()), at).await;
                }
                outcome => {
                    self.settle(outcome.ok());
                }
            },
            _ => {}
        }
    }

    async fn write(
        &mut self,
        changed: Vec<Arc<Record>>,
        all: Option<Vec<Arc<Record>>>,
        at: (Timestamp, SystemTime),
    ) -> bool {
        let mut outcome = self.send(changed, all, at);
        if let Ok(outcome) = timeout(self.patience.write, &mut outcome).await {
            return self.settle(outcome.ok());
        }
        let patience = self.patience.write;
        self.tell(&format!("it has not been written within {patience:?}"));
        self.state = State::Late {
            outcome,
            missed: false,
        };
        false
    }

    fn send(
        &self,
        changed: Vec<Arc<Record>>,
        all: Option<Vec<Arc<Record>>>,
        at: (Timestamp, SystemTime),
    ) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        let job = Job {
            changed,
            all,
            at,
            done,
        };
        // If the thread is gone, so is the other end of `done`.
        let _ = self.jobs.send(job);
        outcome
    }

    /// A write has ended; `None`: the thread has. Whether the file says all.
    fn settle(&mut self, outcome: Option<Outcome>) -> bool {
        let what = match outcome {
            Some(Ok(wants_all)) => {
                self.state = State::Whole { wants_all };
                if std::mem::take(&mut self.told) {
                    tracing::info!("{}: registrations are stored again", self.path.display());
                }
                return true;
            }
            Some(Err(error)) => error.to_string(),
            None => "the thread that writes it has ended".to_owned(),
        };
        self.tell(&what);
        self.state = State::Behind(now() + self.patience.pause);
        false
    }

    /// Once, until it is over.
    fn tell(&mut self, what: &str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(
                "{}: {what}: registrations are not stored; they go on, but those made from now on would not survive a restart \
                 (registers_unsaved). See to the disk; they are stored by themselves when it writes again",
                self.path.display()
            );
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the driver reads clocks")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A disk whose power may fail, and that fails when it is told to.
    #[derive(Clone, Debug, Default)]
    pub(in super::super) struct Model(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        /// The file that has the name, as programs see it.
        file: Content,
        other: Option<Content>,
        /// What had the name before, as long as the new one may not be known to the disk.
        before: Option<Content>,
        /// Operations until one fails, and whether all after it do.
        fails_after: Option<(usize, bool)>,
        log: Vec<&'static str>,
        /// Syncs wait as long as this is locked.
        gate: Arc<Mutex<()>>,
    }

    #[derive(Clone, Debug, Default)]
    struct Content {
        text: Vec<u8>,
        /// So much of it is on the disk.
        synced: usize,
        /// A sync has failed: what was not on the disk will not be.
        forgotten: bool,
    }

    impl Content {
        fn add(&mut self, text: &[u8]) {
            self.text.extend_from_slice(text);
        }

        fn sync(&mut self) {
            if !self.forgotten {
                self.synced = self.text.len();
            }
        }
    }

    impl Model {
        pub(in super::super) fn fail_after(&self, operations: Option<(usize, bool)>) {
            self.0.lock().unwrap().fails_after = operations;
        }

        /// What the disk says then, one of all that it may.
        pub(in super::super) fn after_power_failure(&self, cut: u64) -> Vec<u8> {
            let state = self.0.lock().unwrap();
            let file = match &state.before {
                Some(before) if cut.is_multiple_of(2) => before,
                _ => &state.file,
            };
            let more = (file.text.len() - file.synced) as u64;
            let len = file.synced + (cut / 2 % (more + 1)) as usize;
            file.text[..len].to_vec()
        }

        pub(in super::super) fn gate(&self) -> Arc<Mutex<()>> {
            Arc::clone(&self.0.lock().unwrap().gate)
        }

        pub(in super::super) fn log(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().log.clone()
        }

        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().file.text.clone()).unwrap()
        }

        fn run(&self, what: &'static str, change: impl FnOnce(&mut State, bool)) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            let fails = matches!(state.fails_after, Some((0, _)));
            state.fails_after = match state.fails_after {
                Some((0, false)) | None => None,
                Some((left, lasting)) => Some((left.saturating_sub(1), lasting)),
            };
            change(&mut state, fails);
            state.log.push(what);
            match fails {
                true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                false => Ok(()),
            }
        }
    }

    impl Disk for Model {
        fn append(&mut self, text: &[u8]) -> io::Result<()> {
            let half = &text[..text.len() / 2];
            self.run("append", |state, fails| {
                state.file.add(if fails { half } else { text })
            })
        }

        fn sync(&mut self) -> io::Result<()> {
            let gate = self.gate();
            let _open = gate.lock().unwrap();
            self.run("sync", |state, fails| match fails {
                true => state.file.forgotten = true,
                false => state.file.sync(),
            })
        }

        fn write_beside(&mut self, text: &[u8]) -> io::Result<()> {
            let half = &text[..text.len() / 2];
            self.run("write beside", |state, fails| {
                let mut other = Content::default();
                other.add(if fails { half } else { text });
                state.other = Some(other);
            })
        }

        fn sync_beside(&mut self) -> io::Result<()> {
            self.run("sync beside", |state, fails| {
                if let Some(other) = state.other.as_mut().filter(|_| !fails) {
                    other.sync();
                }
            })
        }

        fn take_name(&mut self) -> io::Result<()> {
            self.run("take name", |state, fails| {
                if !fails {
                    let other = state.other.take().expect("there is one");
                    let before = std::mem::replace(&mut state.file, other);
                    // The oldest that the disk may still know.
                    state.before.get_or_insert(before);
                }
            })
        }

        fn sync_name(&mut self) -> io::Result<()> {
            self.run("sync name", |state, fails| {
                if !fails {
                    state.before = None;
                }
            })
        }

        fn remove_beside(&mut self) {
            self.0.lock().unwrap().other = None;
        }
    }

    const ANEW: [&str; 4] = ["write beside", "sync beside", "take name", "sync name"];

    #[test]
    fn a_write_is_on_the_disk_before_it_is_done() {
        for (sync, expected) in [(true, &["append", "sync"][..]), (false, &["append"])] {
            let disk = Model::default();
            let mut journal = Journal::begin(disk.clone(), sync, b"").unwrap();
            assert_eq!(disk.log(), ANEW);
            journal.write(b"a\n", None).unwrap();
            assert_eq!(&disk.log()[4..], expected);
            journal.write(b"b\n", Some(b"a\nb\n")).unwrap();
            assert_eq!(
                &disk.log()[4 + expected.len()..],
                ANEW,
                "also where lines are not synced"
            );
        }
    }

    #[test]
    fn a_file_that_there_is_no_room_to_write_anew_is_added_to() {
        let disk = Model::default();
        let mut journal = Journal::begin(disk.clone(), true, b"").unwrap();
        journal.write(&vec![b'x'; SMALL as usize], None).unwrap();
        assert!(!journal.wants_all());
        journal.write(b"x", None).unwrap();
        assert!(journal.wants_all());
        disk.fail_after(Some((0, false)));
        journal.write(b"a\n", Some(b"all\n")).unwrap();
        assert!(disk.text().ends_with("xa\n") && !journal.wants_all());
        // Nor is it tried each time.
        journal.write(&vec![b'y'; SMALL as usize], None).unwrap();
        assert!(journal.wants_all());
        journal.write(b"b\n", Some(b"a\nb\n")).unwrap();
        assert_eq!(disk.text(), "a\nb\n");
    }

    #[test]
    fn after_a_failure_all_is_written_anew() {
        let disk = Model::default();
        let mut journal = Journal::begin(disk.clone(), true, b"").unwrap();
        for operation in 0..2 {
            disk.fail_after(Some((operation, true)));
            assert!(journal.write(b"a\n", None).is_err());
            disk.fail_after(None);
            assert!(journal.wants_all());
            assert!(
                journal.write(b"b\n", None).is_err(),
                "one line would follow a hole"
            );
            journal.write(b"", Some(b"a\nb\n")).unwrap();
            assert_eq!(disk.text(), "a\nb\n");
        }
    }
}
