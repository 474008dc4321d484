//! Where bindings survive the process: all records, and the lines that stand for them in the file that `journal` writes.
//!
//! In: records as they change. Out: a line for each, with a checksum, and at start the records that still hold. A line
//! says all of a user's bindings and takes the place of that user's line before. What was being written when the process was
//! killed, or was damaged since, has a wrong checksum and is passed over; the line before it holds then.
//!
//! Bindings over connections are not restored: the connections are gone.

use super::journal::{Disk, Files, Journal, Scribe};
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
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Largest file that is read: beyond any that we write.
const FILE_MAX: u64 = 1 << 30;
/// Hexadecimal digits of a checksum.
const SUM: usize = 16;

/// All records of the process.
#[derive(Debug, Default)]
pub(crate) struct Store {
    records: BTreeMap<(Box<str>, Box<str>), Arc<Record>>,
    /// Names of listeners, by index.
    listeners: Arc<[String]>,
}

/// A file that records are kept in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    /// What is written is on the disk before it counts as written.
    pub(crate) sync: bool,
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
    pub(super) path: PathBuf,
    pub(super) error: io::Error,
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
    /// Empty, or what the file at `place` says, and that file, written anew.
    pub(super) fn open(
        place: Option<Place<'_>>,
        snapshot: &Snapshot,
        at: (Timestamp, SystemTime),
    ) -> Result<(Self, Option<Journal<Files>>, Found), StoreError> {
        let mut store = Self {
            records: BTreeMap::new(),
            listeners: snapshot
                .listeners
                .iter()
                .map(|listener| listener.name.clone())
                .collect(),
        };
        let Some(Place { path, sync }) = place else {
            return Ok((store, None, Found::default()));
        };
        let failed = |error| StoreError {
            path: path.to_owned(),
            error,
        };
        let text = read(path).map_err(failed)?;
        let found = store.take_over(&text, at);
        let journal = store
            .begin(Files::at(path.to_owned()), sync, at)
            .map_err(failed)?;
        Ok((store, Some(journal), found))
    }

    /// A journal on `disk` that says all.
    pub(super) fn begin<D: Disk>(
        &mut self,
        disk: D,
        sync: bool,
        at: (Timestamp, SystemTime),
    ) -> io::Result<Journal<D>> {
        let mut text = Vec::new();
        self.scribe()(&mut text, &self.all(at.0), at);
        Journal::begin(disk, sync, &text)
    }

    /// What writes lines.
    pub(super) fn scribe(&self) -> Scribe {
        let listeners = Arc::clone(&self.listeners);
        Box::new(move |out, records, (now, wall)| {
            for record in records {
                write_line(out, &listeners, record, now, wall);
            }
        })
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

    /// These hold from now on; those of them that the file must say.
    pub(super) fn put(&mut self, records: &[Arc<Record>]) -> Vec<Arc<Record>> {
        let mut changed = Vec::new();
        for record in records {
            let key = (record.trunk.clone(), record.user.clone());
            let before = if record.bindings.is_empty() {
                self.records.remove(&key)
            } else {
                self.records.insert(key, Arc::clone(record))
            };
            // Who comes by connections alone is not in the file.
            if is_kept(record) || before.is_some_and(|before| is_kept(&before)) {
                changed.push(Arc::clone(record));
            }
        }
        changed
    }

    /// All that hold.
    pub(super) fn all(&mut self, now: Timestamp) -> Vec<Arc<Record>> {
        self.records.retain(|_, record| record.live(now).next().is_some());
        let kept = self.records.values().filter(|record| is_kept(record));
        kept.cloned().collect()
    }

    fn take_over(&mut self, text: &[u8], (now, wall): (Timestamp, SystemTime)) -> Found {
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
        found
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
}

/// Whether there is something in it that the file can say.
fn is_kept(record: &Record) -> bool {
    record.bindings.iter().any(by_datagrams)
}

fn by_datagrams(binding: &Binding) -> bool {
    binding.way.flow.is_none()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(text)
}

fn write_line(out: &mut Vec<u8>, listeners: &[String], record: &Record, now: Timestamp, wall: SystemTime) {
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
            listener: listeners
                .get(usize::from(binding.way.listener.0))
                .cloned()
                .unwrap_or_default(),
            peer: binding.way.peer.to_string(),
            agent: binding.agent.to_string(),
        }
    };
    let kept = record.live(now).filter(|binding| by_datagrams(binding));
    let line = Line {
        trunk: record.trunk.to_string(),
        user: record.user.to_string(),
        bindings: kept.map(entry).collect(),
    };
    // Text and numbers always can be written as JSON.
    let json = serde_json::to_vec(&line).unwrap_or_default();
    out.extend_from_slice(sum(&json).as_bytes());
    out.push(b' ');
    out.extend_from_slice(&json);
    out.push(b'\n');
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
    use super::{
        super::journal::{SMALL, tests::Model},
        *,
    };
    use proptest::prelude::*;
    use std::fs;

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

    fn open(path: &Path, wall_s: u64) -> Result<(Store, Journal<Files>, Found), StoreError> {
        // What is synced, and when, the model of a disk tells.
        let place = Place { path, sync: false };
        let (store, journal, found) = Store::open(Some(place), &snapshot(), (at(0), wall(wall_s)))?;
        Ok((store, journal.unwrap(), found))
    }

    /// The records after a restart at this second of both clocks.
    fn reopened(path: &Path, wall_s: u64) -> (Vec<Record>, Found) {
        let (store, _, found) = open(path, wall_s).unwrap();
        (store.records().map(|record| (**record).clone()).collect(), found)
    }

    /// As the control thread and that of the journal do it together.
    fn put<D: Disk>(
        store: &mut Store,
        journal: &mut Journal<D>,
        records: &[Arc<Record>],
        s: u64,
    ) -> io::Result<()> {
        let (mut changed, mut all) = (Vec::new(), Vec::new());
        let records = store.put(records);
        store.scribe()(&mut changed, &records, (at(s), wall(s)));
        let records = store.all(at(s));
        store.scribe()(&mut all, &records, (at(s), wall(s)));
        let all = journal.wants_all().then_some(&*all);
        journal.write(&changed, all)
    }

    #[test]
    fn what_was_put_is_there_after_a_restart() {
        let path = file("restart");
        let (mut store, mut journal, found) = open(&path, 0).unwrap();
        assert_eq!(found, Found::default());
        let mut put = |records: &[Arc<Record>], s| put(&mut store, &mut journal, records, s).unwrap();
        put(
            &[
                record("a", &[("sip:a@h", 100), ("sip:a@i", 50)]),
                record("b", &[("sip:b@h", 10)]),
            ],
            0,
        );
        put(&[record("c", &[("sip:c@h", 100)])], 1);
        put(&[record("c", &[])], 2);
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
        let (mut store, mut journal, _) = open(&path, 0).unwrap();
        let mut put = |records: &[Arc<Record>]| put(&mut store, &mut journal, records, 0).unwrap();
        put(&[record("a", &[("sip:a@h", 100)])]);
        let first = fs::read(&path).unwrap().len();
        put(&[record("a", &[("sip:a@moved", 100)])]);
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
        let (mut store, mut journal, _) = open(&path, 0).unwrap();
        let mut put = |records: &[Arc<Record>]| put(&mut store, &mut journal, records, 0).unwrap();
        for n in 0..10_000 {
            put(&[record("a", &[("sip:a@h", 100 + n)])]);
            assert!(fs::metadata(&path).unwrap().len() <= SMALL + 1000);
        }
        let (records, found) = reopened(&path, 0);
        assert_eq!(records, [(*record("a", &[("sip:a@h", 100 + 9_999)])).clone()]);
        assert_eq!(found.damaged, 0);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let error = open(Path::new("/nonexistent/registrations"), 0);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("/nonexistent/registrations: No such file"),
            "{text}"
        );
        assert!(text.contains("login.store"), "{text}");
    }

    #[test]
    fn who_comes_by_connections_alone_costs_the_disk_nothing() {
        let mut store = Store::default();
        let by_connection = |user: &str| {
            let mut record = (*record(user, &[("sip:a@h", 100)])).clone();
            record.bindings[0].way.flow = Some(crate::transport::Flow {
                shard: crate::id::ShardId(0),
                connection: crate::id::ConnectionId {
                    slot: 7,
                    generation: 1,
                },
            });
            Arc::new(record)
        };
        assert!(store.put(&[by_connection("a"), record("a", &[])]).is_empty());
        assert_eq!(store.put(&[record("a", &[("sip:a@h", 100)])]).len(), 1);
        assert_eq!(store.put(&[by_connection("a")]).len(), 1, "it is there no longer");
        assert!(store.put(&[by_connection("a")]).is_empty());
    }

    /// A user's bindings, or none, by the step that made them.
    fn made(user: u8, step: usize, none: bool) -> Arc<Record> {
        let contact = format!("sip:{step}@h");
        match none {
            true => record(&user.to_string(), &[]),
            false => record(&user.to_string(), &[(&contact, 100)]),
        }
    }

    proptest! {
        /// Whatever fails and wherever the power does: what was confirmed is there, or what came after it.
        #[test]
        fn what_was_confirmed_survives_a_power_failure(
            steps in prop::collection::vec((0..4u8, any::<bool>(), prop::option::weighted(0.3, (0..6usize, any::<bool>()))), 1..40),
            cut: u64,
        ) {
            let disk = Model::default();
            let mut store = Store { listeners: open_listeners(), ..Store::default() };
            let clocks = (at(0), wall(0));
            let mut journal = store.begin(disk.clone(), true, clocks).unwrap();
            // Of each user, all states since the one that was confirmed last.
            let mut possible: BTreeMap<u8, Vec<Option<String>>> = BTreeMap::new();
            for (step, (user, none, fails)) in steps.into_iter().enumerate() {
                disk.fail_after(fails);
                let written = put(&mut store, &mut journal, &[made(user, step, none)], 0);
                let states = possible.entry(user).or_insert_with(|| vec![None]);
                states.push((!none).then(|| format!("sip:{step}@h")));
                if written.is_ok() {
                    possible.values_mut().for_each(|states| drop(states.drain(..states.len() - 1)));
                }
            }
            let mut after = Store { listeners: open_listeners(), ..Store::default() };
            after.take_over(&disk.after_power_failure(cut), clocks);
            for (user, states) in possible {
                let found = after.records.get(&("t".into(), user.to_string().into()));
                let found = found.map(|record| String::from_utf8(record.bindings[0].contact.to_vec()).unwrap());
                prop_assert!(states.contains(&found), "user {user}: {found:?} of {states:?}");
            }
        }
    }

    fn open_listeners() -> Arc<[String]> {
        let names = snapshot().listeners.into_iter();
        names.map(|listener| listener.name).collect()
    }
}
