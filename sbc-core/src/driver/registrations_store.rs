//! Where bindings survive the process: a file that is only ever appended to, and written anew when it has grown.
//!
//! In: records as they change. Out: a line for each, with a checksum, and at start the records that still hold. A line
//! says all of a user's bindings and takes the place of that user's line before. What was being written when the process was
//! killed, or was damaged since, has a wrong checksum and is passed over; the line before it holds then.
//!
//! Written anew is another file that takes the name of the first when all of it is on the disk. Bindings over connections
//! are not restored: the connections are gone.

use crate::{
    bindings::{Binding, Record},
    id::ListenerId,
    snapshot::Snapshot,
    time::Timestamp,
    transport::Hop,
    trunk::TrunkId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Below this the file is not written anew.
const SMALL: u64 = 1 << 20;
/// Largest file that is read: beyond any that we write.
const FILE_MAX: u64 = 1 << 30;
/// Hexadecimal digits of a checksum.
const SUM: usize = 16;

/// All records of the process, in memory and, with a file, on the disk.
#[derive(Debug, Default)]
pub(crate) struct Store {
    records: BTreeMap<(Box<str>, Box<str>), Arc<Record>>,
    journal: Option<Journal>,
    listeners: Vec<String>,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// As it was when it was last written anew.
    fresh: u64,
    /// The last write failed, and that was told.
    broken: bool,
}

/// A record as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line {
    trunk: String,
    user: String,
    bindings: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    contact: String,
    q: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<(String, u32)>,
    call_id: String,
    cseq: u32,
    /// Milliseconds since 1970.
    until_ms: u64,
    listener: String,
    peer: String,
    agent: String,
}

/// Why the file cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: {error}; registrations are kept there (login.store): let the user that sbcd runs as write to it, or name \
     another file"
)]
pub(crate) struct StoreError {
    path: PathBuf,
    error: io::Error,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bindings that still hold.
    pub(crate) bindings: usize,
    /// Lines that were damaged.
    pub(crate) damaged: usize,
}

impl Store {
    /// In memory, or in the file at `path`, whose records are taken over.
    pub(crate) fn open(
        path: Option<&Path>,
        snapshot: &Snapshot,
        now: Timestamp,
        wall: SystemTime,
    ) -> Result<(Self, Found), StoreError> {
        let mut store = Self {
            records: BTreeMap::new(),
            journal: None,
            listeners: snapshot
                .listeners
                .iter()
                .map(|listener| listener.name.clone())
                .collect(),
        };
        let Some(path) = path else {
            return Ok((store, Found::default()));
        };
        let failed = |error| StoreError {
            path: path.to_owned(),
            error,
        };
        let found = store.read(path, now, wall).map_err(failed)?;
        store.journal = Some(store.write_anew(path, now, wall).map_err(failed)?);
        Ok((store, found))
    }

    /// All records, in the order of their trunks' and users' names.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values()
    }

    /// Those of the users of one trunk.
    pub(crate) fn records_of(&self, trunk: &str) -> impl Iterator<Item = &Arc<Record>> {
        let first = (Box::from(trunk), Box::default());
        let theirs = self.records.range(first..).map(|(_, record)| record);
        theirs.take_while(move |record| *record.trunk == *trunk)
    }

    /// These hold from now on.
    pub(crate) fn put(&mut self, records: &[Arc<Record>], now: Timestamp, wall: SystemTime) {
        let mut text = Vec::new();
        for record in records {
            let key = (record.trunk.clone(), record.user.clone());
            if record.bindings.is_empty() {
                self.records.remove(&key);
            } else {
                self.records.insert(key, Arc::clone(record));
            }
            if self.journal.is_some() {
                self.write_line(&mut text, record, now, wall);
            }
        }
        let Some(journal) = &mut self.journal else {
            return;
        };
        let mut written = journal.file.write_all(&text);
        journal.bytes += text.len() as u64;
        if written.is_err() || journal.bytes > SMALL.max(4 * journal.fresh) {
            let path = journal.path.clone();
            let was_broken = journal.broken;
            self.records.retain(|_, record| record.live(now).next().is_some());
            // Also when an append has failed: what is half written is not left in the middle of the file.
            written = self.write_anew(&path, now, wall).map(|journal| {
                self.journal = Some(journal);
            });
            if let (Err(_), Some(journal)) = (&written, &mut self.journal) {
                journal.broken = true;
                journal.fresh = journal.bytes;
            }
            match written {
                Err(error) if !was_broken => tracing::error!(
                    "{}: {error}: registrations are not stored; they go on, but would not survive a restart",
                    path.display()
                ),
                Ok(()) if was_broken => tracing::info!("{}: registrations are stored again", path.display()),
                _ => {}
            }
        }
    }

    fn read(&mut self, path: &Path, now: Timestamp, wall: SystemTime) -> io::Result<Found> {
        let mut text = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(FILE_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
            Err(error) => return Err(error),
        };
        let mut found = Found::default();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            match read_line(line) {
                Some(line) => {
                    let record = self.record_of(line, now, wall);
                    self.records
                        .insert((record.trunk.clone(), record.user.clone()), Arc::new(record));
                }
                None => found.damaged += 1,
            }
        }
        self.records.retain(|_, record| !record.bindings.is_empty());
        found.bindings = self.records.values().map(|record| record.bindings.len()).sum();
        Ok(found)
    }

    /// A record of this run, of a line of one before.
    fn record_of(&self, line: Line, now: Timestamp, wall: SystemTime) -> Record {
        let wall_ms = millis(wall);
        let binding = |entry: Entry| {
            let left = Duration::from_millis(entry.until_ms.saturating_sub(wall_ms));
            let listener = self.listeners.iter().position(|name| *name == entry.listener)?;
            let binding = Binding {
                contact: entry.contact.into_bytes().into(),
                q: entry.q,
                instance: entry.instance.map(|(name, id)| (name.into_bytes().into(), id)),
                call_id: entry.call_id.into_bytes().into(),
                cseq: entry.cseq,
                until: now + left,
                way: Hop {
                    listener: ListenerId(u8::try_from(listener).ok()?),
                    peer: entry.peer.parse().ok()?,
                    trunk: TrunkId::STRANGER,
                    flow: None,
                },
                agent: entry.agent.into(),
            };
            (!left.is_zero()).then_some(binding)
        };
        Record {
            trunk: line.trunk.into(),
            user: line.user.into(),
            bindings: line.bindings.into_iter().filter_map(binding).collect(),
        }
    }

    fn write_line(&self, out: &mut Vec<u8>, record: &Record, now: Timestamp, wall: SystemTime) {
        let wall_ms = millis(wall);
        let entry = |binding: &Binding| {
            let left_ms = u64::try_from(binding.until.since(now).as_millis()).unwrap_or(u64::MAX);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Entry {
                contact: text(&binding.contact),
                q: binding.q,
                instance: binding.instance.as_ref().map(|(name, id)| (text(name), *id)),
                call_id: text(&binding.call_id),
                cseq: binding.cseq,
                until_ms: wall_ms.saturating_add(left_ms),
                listener: self
                    .listeners
                    .get(usize::from(binding.way.listener.0))
                    .cloned()
                    .unwrap_or_default(),
                peer: binding.way.peer.to_string(),
                agent: binding.agent.to_string(),
            }
        };
        let by_datagrams = |binding: &&Binding| binding.way.flow.is_none();
        let line = Line {
            trunk: record.trunk.to_string(),
            user: record.user.to_string(),
            bindings: record.live(now).filter(by_datagrams).map(entry).collect(),
        };
        // Text and numbers always can be written as JSON.
        let json = serde_json::to_vec(&line).unwrap_or_default();
        out.extend_from_slice(sum(&json).as_bytes());
        out.push(b' ');
        out.extend_from_slice(&json);
        out.push(b'\n');
    }

    /// Another file with what holds, in the place of that at `path`.
    fn write_anew(&self, path: &Path, now: Timestamp, wall: SystemTime) -> io::Result<Journal> {
        let mut text = Vec::new();
        for record in self.records.values() {
            self.write_line(&mut text, record, now, wall);
        }
        let beside = path.with_extension("new");
        // Contacts tell where people are.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&beside, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        let bytes = text.len() as u64;
        Ok(Journal {
            path: path.to_owned(),
            file,
            bytes,
            fresh: bytes,
            broken: false,
        })
    }
}

/// A line of the file; `None`: it is damaged.
fn read_line(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\n")?;
    let (told, json) = line.split_at_checked(SUM)?;
    let json = json.strip_prefix(b" ")?;
    (sum(json).as_bytes() == told).then(|| serde_json::from_slice(json).ok())?
}

fn sum(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..SUM / 2].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn millis(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let config = crate::config::default_config();
        config.compile().unwrap().0
    }

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sbcd-store-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(1000 * s)
    }

    fn wall(s: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + s)
    }

    fn record(user: &str, contacts: &[(&str, u64)]) -> Arc<Record> {
        let binding = |&(contact, until): &(&str, u64)| Binding {
            contact: contact.as_bytes().into(),
            q: 500,
            instance: Some((b"<urn:uuid:1>"[..].into(), 2)),
            call_id: b"c"[..].into(),
            cseq: 7,
            until: at(until),
            way: Hop {
                listener: ListenerId(0),
                peer: "10.0.0.1:4000".parse().unwrap(),
                trunk: TrunkId::STRANGER,
                flow: None,
            },
            agent: "phone \"x\"\u{e9}".into(),
        };
        Arc::new(Record {
            trunk: "t".into(),
            user: user.into(),
            bindings: contacts.iter().map(binding).collect(),
        })
    }

    /// The records after a restart at this second of both clocks.
    fn reopened(path: &Path, wall_s: u64) -> (Vec<Record>, Found) {
        let (store, found) = Store::open(Some(path), &snapshot(), at(0), wall(wall_s)).unwrap();
        (store.records().map(|record| (**record).clone()).collect(), found)
    }

    #[test]
    fn what_was_put_is_there_after_a_restart() {
        let path = file("restart");
        let (mut store, found) = Store::open(Some(&path), &snapshot(), at(0), wall(0)).unwrap();
        assert_eq!(found, Found::default());
        store.put(
            &[
                record("a", &[("sip:a@h", 100), ("sip:a@i", 50)]),
                record("b", &[("sip:b@h", 10)]),
            ],
            at(0),
            wall(0),
        );
        store.put(&[record("c", &[("sip:c@h", 100)])], at(1), wall(1));
        store.put(&[record("c", &[])], at(2), wall(2));
        drop(store);
        let (records, found) = reopened(&path, 20);
        assert_eq!(
            found,
            Found {
                bindings: 2,
                damaged: 0
            }
        );
        // Twenty seconds on, as much less is left.
        assert_eq!(
            records,
            [(*record("a", &[("sip:a@h", 80), ("sip:a@i", 30)])).clone()]
        );
        // And again, of the file written anew.
        let (records, _) = reopened(&path, 40);
        assert_eq!(
            records,
            [(*record("a", &[("sip:a@h", 60), ("sip:a@i", 10)])).clone()]
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_cut_anywhere_or_damaged_anywhere_says_nothing_wrong() {
        let path = file("cut");
        let (mut store, _) = Store::open(Some(&path), &snapshot(), at(0), wall(0)).unwrap();
        store.put(&[record("a", &[("sip:a@h", 100)])], at(0), wall(0));
        let first = fs::read(&path).unwrap().len();
        store.put(&[record("a", &[("sip:a@moved", 100)])], at(0), wall(0));
        drop(store);
        let whole = fs::read(&path).unwrap();
        let contact = |records: &[Record]| records.first().map(|r| r.bindings[0].contact.to_vec());
        for len in 0..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let (records, found) = reopened(&path, 0);
            let expected = match len {
                _ if len == whole.len() => Some(&b"sip:a@moved"[..]),
                _ if len >= first => Some(&b"sip:a@h"[..]),
                _ => None,
            };
            assert_eq!(contact(&records).as_deref(), expected, "{len}");
            assert_eq!(
                found.damaged,
                usize::from(!matches!(len, 0) && len != first && len != whole.len())
            );
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let (records, found) = reopened(&path, 0);
            assert!(found.damaged > 0);
            let known: [Option<&[u8]>; 3] = [None, Some(b"sip:a@h"), Some(b"sip:a@moved")];
            assert!(known.contains(&contact(&records).as_deref()), "{at}");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_file_is_written_anew_before_it_is_large() {
        let path = file("anew");
        let (mut store, _) = Store::open(Some(&path), &snapshot(), at(0), wall(0)).unwrap();
        for n in 0..10_000 {
            store.put(&[record("a", &[("sip:a@h", 100 + n)])], at(0), wall(0));
            assert!(fs::metadata(&path).unwrap().len() <= SMALL + 1000);
        }
        drop(store);
        let (records, found) = reopened(&path, 0);
        assert_eq!(records, [(*record("a", &[("sip:a@h", 100 + 9_999)])).clone()]);
        assert_eq!(found.damaged, 0);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let error = Store::open(
            Some(Path::new("/nonexistent/registrations")),
            &snapshot(),
            at(0),
            wall(0),
        );
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("/nonexistent/registrations: No such file"),
            "{text}"
        );
        assert!(text.contains("login.store"), "{text}");
    }
}
