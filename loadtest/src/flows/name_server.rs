//! A DNS server on loopback that knows what a flow's plan says (RFC 1035, RFC 2782).
//!
//! In: questions over UDP. Out: the A, AAAA and SRV records of the name; without one of the wanted
//! type an answer that is empty. It ends when it is dropped.

use crate::{Error, Result};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How long answers hold: longer than a flow.
const TTL_S: u32 = 300;
const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// Names and the records of each, as they are written in zones.
pub(crate) type Zone = BTreeMap<String, Vec<String>>;

/// A running server.
#[derive(Debug)]
pub(crate) struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Answer with what `zone` has, at `at`.
    pub(crate) fn start(at: SocketAddr, zone: Zone) -> Result<Self> {
        let io = |source| Error::Io {
            what: format!("starting a name server at {at}"),
            source,
        };
        let socket = UdpSocket::bind(at).map_err(io)?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .map_err(io)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            let mut query = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                // Nothing came in time, or it cannot be read: the next one will.
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                if let Some(answer) = answer(&query[..length], &zone) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("name-server".into())
            .spawn(serve)
            .map_err(io)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer to the only question of `query`; `None`: it is not understood.
fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, length) = name_of(query.get(12..)?)?;
    let question = query.get(12..12 + length + 4)?;
    let wanted = u16::from_be_bytes([question[length], question[length + 1]]);
    let records: Vec<Vec<u8>> = zone
        .get(&name)
        .into_iter()
        .flatten()
        .filter_map(|text| record(text))
        .filter(|(kind, _)| *kind == wanted)
        .map(|(kind, data)| {
            // The name is that of the question, which begins at byte 12.
            let mut record = vec![0xC0, 12];
            record.extend(kind.to_be_bytes());
            record.extend(1_u16.to_be_bytes());
            record.extend(TTL_S.to_be_bytes());
            record.extend((data.len() as u16).to_be_bytes());
            record.extend(data);
            record
        })
        .collect();
    let mut answer = query.get(..2)?.to_vec();
    // A response, authoritative, to a recursive question; no error.
    answer.extend([0x85, 0x80, 0, 1]);
    answer.extend((records.len() as u16).to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(question);
    answer.extend(records.concat());
    Some(answer)
}

/// The name that `bytes` begin with, and how many they are.
fn name_of(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if !name.is_empty() {
            name.push('.');
        }
        let label = bytes.get(at..at + length)?;
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

/// Type and data of a record.
fn record(text: &str) -> Option<(u16, Vec<u8>)> {
    match text.parse() {
        Ok(IpAddr::V4(ip)) => return Some((A, ip.octets().to_vec())),
        Ok(IpAddr::V6(ip)) => return Some((AAAA, ip.octets().to_vec())),
        Err(_) => {}
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [numbers @ .., target] = &words[..] else {
        return None;
    };
    let mut data = Vec::new();
    for number in numbers {
        data.extend(number.parse::<u16>().ok()?.to_be_bytes());
    }
    for label in target.split('.') {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    (numbers.len() == 3).then_some((SRV, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kind: u16) -> Vec<u8> {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x04Host\x04test\0");
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        query
    }

    #[test]
    fn records_of_the_wanted_type_are_told() {
        let records = ["127.0.0.1", "::1", "1 2 5060 a.test"].map(str::to_owned);
        let zone = Zone::from([("host.test".to_owned(), records.to_vec())]);
        for (kind, data) in [
            (A, &[127, 0, 0, 1][..]),
            (AAAA, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            (SRV, b"\0\x01\0\x02\x13\xC4\x01a\x04test\0"),
        ] {
            let answer = answer(&ask(kind), &zone).unwrap();
            assert_eq!(
                answer[..8],
                [7, 9, 0x85, 0x80, 0, 1, 0, 1],
                "one answer to one question"
            );
            assert!(answer.ends_with(data), "{answer:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_an_empty_answer() {
        let answer = answer(&ask(SRV), &Zone::new()).unwrap();
        assert_eq!(answer[6..8], [0, 0]);
        assert_eq!(answer.len(), ask(SRV).len());
    }

    #[test]
    fn a_cut_question_is_ignored() {
        for length in 0..ask(A).len() {
            assert_eq!(super::answer(&ask(A)[..length], &Zone::new()), None);
        }
    }
}
