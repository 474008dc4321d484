//! A DNS server on loopback that says what a test tells it, or nothing.
#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::disallowed_types, reason = "a server owns its socket")]
#![allow(clippy::disallowed_methods, reason = "and its thread")]

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV},
    },
};
use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    str::FromStr,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

pub(crate) struct NameServer {
    pub(crate) at: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    records: HashMap<Name, Vec<(u32, RData)>>,
    mode: Mode,
    asked: Vec<(Name, RecordType)>,
    stop: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Answers,
    /// Like a server that is gone.
    Silent,
    /// Drops so many queries, then answers.
    Drops(u32),
    Fails,
}

/// Seconds for which an absence holds.
pub(crate) const NEGATIVE_TTL_S: u32 = 17;

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_str(text).unwrap();
    name.set_fqdn(true);
    name
}

impl NameServer {
    pub(crate) fn start(at: &str) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (at, shared) = (socket.local_addr().unwrap(), Arc::clone(&state));
        let thread = std::thread::spawn(move || serve(&socket, &shared));
        Self {
            at,
            state,
            thread: Some(thread),
        }
    }

    pub(crate) fn set(&self, owner: &str, ttl: u32, records: Vec<RData>) {
        let records = records.into_iter().map(|data| (ttl, data)).collect();
        self.state.lock().unwrap().records.insert(name(owner), records);
    }

    pub(crate) fn a(&self, owner: &str, ttl: u32, addresses: &[&str]) {
        let records = addresses.iter().map(|a| match a.parse().unwrap() {
            std::net::IpAddr::V4(ip) => RData::A(A(ip)),
            std::net::IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
        });
        self.set(owner, ttl, records.collect());
    }

    pub(crate) fn mode(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// What was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<(String, RecordType)> {
        let asked = std::mem::take(&mut self.state.lock().unwrap().asked);
        asked
            .into_iter()
            .map(|(n, t)| (n.to_lowercase().to_string(), t))
            .collect()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state.lock().unwrap().stop = true;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, name(target)))
}

pub(crate) fn naptr(order: u16, preference: u16, flags: &str, services: &str, replacement: &str) -> RData {
    RData::NAPTR(NAPTR::new(
        order,
        preference,
        flags.as_bytes().into(),
        services.as_bytes().into(),
        Box::default(),
        name(replacement),
    ))
}

pub(crate) fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

fn serve(socket: &UdpSocket, state: &Mutex<State>) {
    let mut buffer = [0; 4096];
    loop {
        if state.lock().unwrap().stop {
            return;
        }
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Ok(query) = Message::from_vec(&buffer[..len]) else {
            continue;
        };
        if let Some(answer) = state.lock().unwrap().answer(query) {
            let _ = socket.send_to(&answer.to_vec().unwrap(), from);
        }
    }
}

impl State {
    fn answer(&mut self, query: Message) -> Option<Message> {
        let (wanted, kind) = {
            let question = &query.queries[0];
            (question.name().to_lowercase(), question.query_type())
        };
        self.asked.push((wanted.clone(), kind));
        match &mut self.mode {
            Mode::Silent => return None,
            Mode::Drops(left) if *left > 0 => {
                *left -= 1;
                return None;
            }
            _ => {}
        }
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.metadata.recursion_available = true;
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.queries.clone_from(&query.queries);
        if self.mode == Mode::Fails {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        let mut at = wanted;
        let mut exists = true;
        for _ in 0..8 {
            let Some(records) = self.records.get(&at) else {
                exists = false;
                break;
            };
            let of = |kind: RecordType| records.iter().filter(move |(_, data)| data.record_type() == kind);
            for (ttl, data) in of(kind) {
                answer
                    .answers
                    .push(Record::from_rdata(at.clone(), *ttl, data.clone()));
            }
            let Some((ttl, RData::CNAME(target))) = of(RecordType::CNAME).next() else {
                break;
            };
            let alias = RData::CNAME(target.clone());
            answer.answers.push(Record::from_rdata(at.clone(), *ttl, alias));
            at = target.0.clone();
        }
        if answer.answers.is_empty() {
            if !exists {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let soa = SOA::new(name("ns.test"), name("admin.test"), 1, 60, 60, 60, NEGATIVE_TTL_S);
            answer
                .authorities
                .push(Record::from_rdata(name("test"), NEGATIVE_TTL_S, RData::SOA(soa)));
        }
        Some(answer)
    }
}
