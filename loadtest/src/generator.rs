//! Calls over UDP with caller and callee in one thread, for rates that SIPp cannot offer from the same core.
//!
//! Both sides keep to RFC 3261 §17: they repeat what is not answered, acknowledge every final response, also when it comes
//! again, and give a call up after 64 T1. What became of each call is known: good, refused as overload asks for it (503 with
//! Retry-After), or failed, with the reason.

use crate::{Error, Result, measure, rtp};
use hdrhistogram::Histogram;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    io::{ErrorKind, Write as _},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Calls a second, evenly spaced.
    pub(crate) cps: u32,
    /// For so long.
    pub(crate) time: Duration,
    /// From the 200 to the BYE.
    pub(crate) hold: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Calls that were offered.
    pub(crate) offered: u64,
    /// How long that took: as many of the calls' intervals.
    pub(crate) offering: Duration,
    /// Calls that were set up, held, and ended with a 200 for the BYE.
    pub(crate) good: u64,
    /// Calls that were answered 503 with Retry-After.
    pub(crate) refused: u64,
    /// All others, by reason, of either side.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Messages sent again because nothing came.
    pub(crate) repeated: u64,
    /// Nanoseconds from INVITE to 200.
    pub(crate) setup: Histogram<u64>,
    /// Until the last call ended.
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// Calls offered a second.
    pub(crate) fn offered_cps(&self) -> f64 {
        self.offered as f64 / self.offering.as_secs_f64()
    }

    /// Of those that were offered in a second, how many were good.
    pub(crate) fn good_cps(&self) -> f64 {
        self.good as f64 / self.offering.as_secs_f64()
    }
}

/// T1 and T2 of RFC 3261 in nanoseconds.
const T1: u64 = 500_000_000;
const T2: u64 = 4_000_000_000;
/// As long as either side waits for what must come.
const GIVE_UP: u64 = 64 * T1;
/// No longer asleep than this.
const NAP_MAX_NS: u64 = 1_000_000;
/// Calls offered between two looks at the sockets. After a stall more are due; the rate is made up for, and not in one burst.
const BURST_MAX: u64 = 8;
/// Messages read from one socket between two looks at the clock.
const READ_MAX: usize = 64;
/// Receive and send buffers of the sockets: bursts of the SBC are not to be lost here.
const SOCKET_BUFFER: libc::c_int = 16 << 20;

const SDP_FORMATS: &str =
    "m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

/// Due at a time, if by then what it is about has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    RepeatInvite { call: u32, interval: u64 },
    HangUp { call: u32 },
    RepeatBye { call: u32, interval: u64 },
    CallerGivesUp { call: u32 },
    RepeatOk { call: u32, interval: u64 },
    CalleeGivesUp { call: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallerState {
    Calling,
    Proceeding,
    Up,
    Ending,
    Ended,
}

#[derive(Debug)]
struct CallerCall {
    state: CallerState,
    invited_ns: u64,
    /// Of the callee: To with its tag, and where requests go.
    to: String,
    target: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CalleeState {
    Answered,
    Up,
    Ended,
}

#[derive(Debug)]
struct CalleeCall {
    state: CalleeState,
    /// The 200 for the INVITE, to be repeated.
    ok: Vec<u8>,
    peer: SocketAddr,
}

/// A load of calls while it runs.
struct Generator {
    sbc: SocketAddr,
    /// What tells this load's Call-IDs from those of others.
    label: String,
    hold_ns: u64,
    caller: UdpSocket,
    callee: UdpSocket,
    caller_at: SocketAddr,
    callee_at: SocketAddr,
    calls: Vec<CallerCall>,
    callee_calls: Vec<CalleeCall>,
    /// By Call-ID.
    callee_index: HashMap<String, u32>,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    /// Calls that have not ended, on the caller's side.
    open: u64,
    text: Vec<u8>,
    outcome: Outcome,
}

/// Place `offer` through `sbc` from `caller` to `callee`, and see all of it to its end. Runs on the calling thread, which must
/// have a core of its own at high rates.
pub(crate) fn run(
    label: &str,
    offer: Offer,
    [caller, sbc, callee]: [SocketAddr; 3],
    progress: impl Fn(u64),
) -> Result<Outcome> {
    let mut generator = Generator::new(label, offer, caller, sbc, callee)?;
    let calls = (f64::from(offer.cps) * offer.time.as_secs_f64()) as u64;
    let interval = 1_000_000_000 / u64::from(offer.cps.max(1));
    let started = measure::monotonic_ns();
    measure::precise_timers();
    let mut last_ns = started;
    loop {
        let now = measure::monotonic_ns();
        let mut offered = generator.outcome.offered;
        let until = (offered + BURST_MAX).min(calls);
        while offered < until && started + offered * interval <= now {
            generator.invite(now);
            (offered, last_ns) = (generator.outcome.offered, now);
        }
        generator.fall_due(now);
        let idle = !generator.receive()?;
        progress(offered);
        if offered == calls && generator.open == 0 && generator.callee_is_quiet() {
            break;
        }
        // Whatever goes wrong, it ends.
        if now > last_ns + 2 * GIVE_UP {
            let open = generator.open;
            generator.fail("not ended in time", open);
            break;
        }
        if idle {
            let next = match offered < calls {
                true => started + offered * interval,
                false => now + NAP_MAX_NS,
            };
            generator.nap(next.saturating_sub(measure::monotonic_ns()).min(NAP_MAX_NS));
        }
    }
    let mut outcome = generator.outcome;
    outcome.offering = Duration::from_nanos(last_ns - started + interval);
    outcome.elapsed = Duration::from_nanos(measure::monotonic_ns() - started);
    Ok(outcome)
}

impl Generator {
    fn new(
        label: &str,
        offer: Offer,
        caller_at: SocketAddr,
        sbc: SocketAddr,
        callee_at: SocketAddr,
    ) -> Result<Self> {
        let [caller, callee] = [bind(caller_at)?, bind(callee_at)?];
        Ok(Self {
            sbc,
            label: label.to_owned(),
            hold_ns: offer.hold.as_nanos() as u64,
            caller,
            callee,
            caller_at,
            callee_at,
            calls: Vec::new(),
            callee_calls: Vec::new(),
            callee_index: HashMap::new(),
            due: BinaryHeap::new(),
            open: 0,
            text: Vec::new(),
            outcome: Outcome {
                offered: 0,
                offering: Duration::ZERO,
                good: 0,
                refused: 0,
                failed: BTreeMap::new(),
                repeated: 0,
                setup: rtp::delays(),
                elapsed: Duration::ZERO,
            },
        })
    }

    fn fail(&mut self, reason: &str, calls: u64) {
        if calls > 0 {
            *self.outcome.failed.entry(reason.to_owned()).or_default() += calls;
        }
    }

    fn callee_is_quiet(&self) -> bool {
        self.due.iter().all(|Reverse((_, due))| match due {
            Due::CalleeGivesUp { call } => self.callee_calls[*call as usize].state == CalleeState::Ended,
            _ => true,
        })
    }

    fn at(&mut self, at_ns: u64, due: Due) {
        self.due.push(Reverse((at_ns, due)));
    }

    // The caller.

    fn invite(&mut self, now: u64) {
        let call = self.calls.len() as u32;
        self.calls.push(CallerCall {
            state: CallerState::Calling,
            invited_ns: now,
            to: format!("<sip:+4930123456@{}>", self.sbc),
            target: format!("sip:+4930123456@{}", self.sbc),
        });
        self.outcome.offered += 1;
        self.open += 1;
        self.request(call, "INVITE");
        self.at(now + T1, Due::RepeatInvite { call, interval: T1 });
        self.at(now + GIVE_UP, Due::CallerGivesUp { call });
    }

    /// Send the request of `method` that this call sends or sent. The ACK of a refusal has the INVITE's branch, that of a 200
    /// one of its own (§17.1.1.3, §13.2.2.4).
    fn request(&mut self, call: u32, method: &str) {
        let own = self.caller_at;
        let (label, calls) = (&self.label, &self.calls);
        let CallerCall {
            state, to, target, ..
        } = &calls[call as usize];
        let (branch, cseq) = match (method, state) {
            ("INVITE", _) | ("ACK", CallerState::Ended) => ("invite", 1),
            ("ACK", _) => ("ack", 1),
            _ => ("bye", 2),
        };
        let body = match method {
            "INVITE" => sdp(own),
            _ => String::new(),
        };
        let (contact, content) = match method {
            "INVITE" => (
                format!("Contact: <sip:caller@{own}>\r\n"),
                "Content-Type: application/sdp\r\n",
            ),
            _ => (String::new(), ""),
        };
        self.text.clear();
        let _ = write!(
            self.text,
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {own};branch=z9hG4bK-{label}-{call}-{branch}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:caller@{own}>;tag={call}\r\n\
             To: {to}\r\n\
             Call-ID: {call}-{label}@{own}\r\n\
             CSeq: {cseq} {method}\r\n\
             {contact}{content}Content-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        // What is lost is repeated, as on any network.
        let _ = self.caller.send_to(&self.text, self.sbc);
    }

    fn response(&mut self, now: u64, text: &str) {
        let mine = format!("-{}@{}", self.label, self.caller_at);
        // Others belong to a load before this one.
        let Some(call) = header(text, "Call-ID")
            .and_then(|id| id.strip_suffix(mine.as_str())?.parse::<u32>().ok())
            .filter(|call| (*call as usize) < self.calls.len())
        else {
            return;
        };
        let status: u16 = text
            .get(8..11)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        let invite = header(text, "CSeq").is_some_and(|cseq| cseq.ends_with(" INVITE"));
        let state = self.calls[call as usize].state;
        match (state, invite, status) {
            (CallerState::Calling, true, 100..=199) => {
                self.calls[call as usize].state = CallerState::Proceeding;
            }
            (CallerState::Calling | CallerState::Proceeding, true, 200..=299) => {
                let invited = self.calls[call as usize].invited_ns;
                self.outcome.setup.saturating_record(now - invited);
                self.learn(call, text);
                self.calls[call as usize].state = CallerState::Up;
                self.request(call, "ACK");
                self.at(now + self.hold_ns, Due::HangUp { call });
            }
            (CallerState::Calling | CallerState::Proceeding, true, 300..) => {
                self.learn(call, text);
                self.end(call);
                self.request(call, "ACK");
                match (status, header(text, "Retry-After")) {
                    (503, Some(_)) => self.outcome.refused += 1,
                    _ => self.fail(&format!("INVITE answered {status}"), 1),
                }
            }
            // Once more, for the ACK was lost or late.
            (CallerState::Up | CallerState::Ending | CallerState::Ended, true, 200..) => {
                self.request(call, "ACK")
            }
            (CallerState::Ending, false, 200..=299) => {
                self.end(call);
                self.outcome.good += 1;
            }
            (CallerState::Ending, false, 300..) => {
                self.end(call);
                self.fail(&format!("BYE answered {status}"), 1);
            }
            _ => {}
        }
    }

    fn learn(&mut self, call: u32, text: &str) {
        let call = &mut self.calls[call as usize];
        if let Some(to) = header(text, "To") {
            call.to = to.to_owned();
        }
        let contact = header(text, "Contact").and_then(|value| value.split_once('<')?.1.split_once('>'));
        if let Some((target, _)) = contact {
            call.target = target.to_owned();
        }
    }

    fn end(&mut self, call: u32) {
        self.calls[call as usize].state = CallerState::Ended;
        self.open -= 1;
    }

    // The callee.

    fn asked(&mut self, now: u64, text: &str, from: SocketAddr) {
        let method = text.split(' ').next().unwrap_or("");
        let known = header(text, "Call-ID").and_then(|id| self.callee_index.get(id).copied());
        match (method, known) {
            ("INVITE", None) => self.answer(now, text, from),
            ("INVITE", Some(call)) => self.send_ok(call),
            ("ACK", Some(call)) => {
                let call = &mut self.callee_calls[call as usize];
                if call.state == CalleeState::Answered {
                    call.state = CalleeState::Up;
                }
            }
            ("BYE", Some(call)) => {
                self.callee_calls[call as usize].state = CalleeState::Ended;
                let ok = reply("200 OK", text, "", "");
                let _ = self.callee.send_to(&ok, from);
            }
            // Late copies of what belonged to a load before this one.
            ("ACK" | "BYE", None) => {}
            _ => self.fail(&format!("callee got {method}"), 1),
        }
    }

    fn answer(&mut self, now: u64, invite: &str, from: SocketAddr) {
        let own = self.callee_at;
        let call = self.callee_calls.len() as u32;
        let contact = format!("Contact: <sip:callee@{own}>\r\n");
        let tag = format!(";tag={}-{call}", self.label);
        let ringing = reply("180 Ringing", invite, &tag, &contact);
        let _ = self.callee.send_to(&ringing, from);
        let body = sdp(own);
        let mut ok = reply(
            "200 OK",
            invite,
            &tag,
            &format!("{contact}Content-Type: application/sdp\r\n"),
        );
        let end = ok.len() - b"0\r\n\r\n".len();
        ok.truncate(end);
        let _ = write!(ok, "{}\r\n\r\n{body}", body.len());
        self.callee_calls.push(CalleeCall {
            state: CalleeState::Answered,
            ok,
            peer: from,
        });
        let id = header(invite, "Call-ID").unwrap_or_default();
        self.callee_index.insert(id.to_owned(), call);
        self.send_ok(call);
        self.at(now + T1, Due::RepeatOk { call, interval: T1 });
        self.at(now + GIVE_UP, Due::CalleeGivesUp { call });
    }

    fn send_ok(&mut self, call: u32) {
        let CalleeCall { ok, peer, .. } = &self.callee_calls[call as usize];
        let _ = self.callee.send_to(ok, peer);
    }

    // Both.

    /// What is due by `now`.
    fn fall_due(&mut self, now: u64) {
        while let Some(Reverse((at, due))) = self.due.peek().copied() {
            if at > now {
                return;
            }
            self.due.pop();
            match due {
                Due::RepeatInvite { call, interval } => {
                    if self.calls[call as usize].state == CallerState::Calling {
                        self.outcome.repeated += 1;
                        self.request(call, "INVITE");
                        let interval = 2 * interval;
                        self.at(now + interval, Due::RepeatInvite { call, interval });
                    }
                }
                Due::HangUp { call } => {
                    self.calls[call as usize].state = CallerState::Ending;
                    self.request(call, "BYE");
                    self.at(now + T1, Due::RepeatBye { call, interval: T1 });
                    self.at(now + GIVE_UP, Due::CallerGivesUp { call });
                }
                Due::RepeatBye { call, interval } => {
                    if self.calls[call as usize].state == CallerState::Ending {
                        self.outcome.repeated += 1;
                        self.request(call, "BYE");
                        let interval = (2 * interval).min(T2);
                        self.at(now + interval, Due::RepeatBye { call, interval });
                    }
                }
                Due::CallerGivesUp { call } => {
                    let reason = match self.calls[call as usize].state {
                        CallerState::Calling => "INVITE not answered",
                        CallerState::Proceeding => "no final answer to the INVITE",
                        CallerState::Ending => "BYE not answered",
                        CallerState::Up | CallerState::Ended => continue,
                    };
                    self.end(call);
                    self.fail(reason, 1);
                }
                Due::RepeatOk { call, interval } => {
                    if self.callee_calls[call as usize].state == CalleeState::Answered {
                        self.outcome.repeated += 1;
                        self.send_ok(call);
                        let interval = (2 * interval).min(T2);
                        self.at(now + interval, Due::RepeatOk { call, interval });
                    }
                }
                Due::CalleeGivesUp { call } => {
                    let reason = match self.callee_calls[call as usize].state {
                        CalleeState::Answered => "callee got no ACK",
                        CalleeState::Up if self.hold_ns + T2 < GIVE_UP => "callee got no BYE",
                        CalleeState::Up | CalleeState::Ended => continue,
                    };
                    self.callee_calls[call as usize].state = CalleeState::Ended;
                    self.fail(reason, 1);
                }
            }
        }
    }

    /// Read what has come. Whether there was anything.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 8192];
        let mut any = false;
        for _ in 0..READ_MAX {
            let Some((length, _)) = read(&self.caller, &mut buffer)? else {
                break;
            };
            any = true;
            let text = String::from_utf8_lossy(&buffer[..length]);
            match text.starts_with("SIP/2.0 ") {
                true => self.response(measure::monotonic_ns(), &text),
                false => self.fail("caller got a request", 1),
            }
        }
        for _ in 0..READ_MAX {
            let Some((length, from)) = read(&self.callee, &mut buffer)? else {
                break;
            };
            any = true;
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.asked(measure::monotonic_ns(), &text, from);
        }
        Ok(any)
    }

    /// Sleep until something comes, no longer than `ns`.
    fn nap(&self, ns: u64) {
        let mut sockets = [&self.caller, &self.callee].map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: ns as libc::c_long,
        };
        // SAFETY: all of it is live, and the count is right. Whatever the result, the sockets are read next.
        unsafe {
            libc::ppoll(
                sockets.as_mut_ptr(),
                sockets.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
    }
}

/// A datagram; `None`: there is none.
fn read(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok(read) => Ok(Some(read)),
        // A closed port at the other end: what was sent there is repeated or given up.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused | ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Io {
            what: "reading from the socket of a generated call".into(),
            source,
        }),
    }
}

fn bind(at: SocketAddr) -> Result<UdpSocket> {
    let failed = |source| Error::Io {
        what: format!("binding {at} for generated calls"),
        source,
    };
    let socket = UdpSocket::bind(at).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the descriptor is open, and the option is an int of the given size. Without the privilege the buffers
        // stay as they are, and what is lost in them is repeated.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(&SOCKET_BUFFER).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
    Ok(socket)
}

fn sdp(own: SocketAddr) -> String {
    let ip = own.ip();
    format!("v=0\r\no=load 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n{SDP_FORMATS}")
}

/// The first header field of that name.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A response without a body to `request`, from RFC 3261 §8.2.6. `to_tag` is added to To, `more` are further header fields.
fn reply(status: &str, request: &str, to_tag: &str, more: &str) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n").skip(1).take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or("");
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
        if copied.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            let tag = if name.eq_ignore_ascii_case("To") {
                to_tag
            } else {
                ""
            };
            text.push_str(line);
            text.push_str(tag);
            text.push_str("\r\n");
        }
    }
    text.push_str(more);
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    const OFFER: Offer = Offer {
        cps: 200,
        time: Duration::from_millis(500),
        hold: Duration::from_millis(50),
    };

    /// Addresses of one test: tests run side by side.
    fn addresses(test: u8) -> [SocketAddr; 3] {
        [2, 1, 3].map(|host| SocketAddr::from(([127, 0, 90 + test, host], 5060)))
    }

    /// An SBC that answers what it gets with what `answer` says, until the load has ended.
    fn against(addresses: [SocketAddr; 3], answer: impl Fn(&str) -> Option<Vec<u8>> + Sync) -> Outcome {
        let (stop, socket) = (AtomicBool::new(false), bind(addresses[1]).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 8192];
                while !stop.load(Relaxed) {
                    let Some((length, from)) = read(&socket, &mut buffer).unwrap() else {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    };
                    let text = std::str::from_utf8(&buffer[..length]).unwrap();
                    if let Some(reply) = answer(text) {
                        let _ = socket.send_to(&reply, from);
                    }
                }
            });
            let outcome = run("t", OFFER, addresses, |_| ());
            stop.store(true, Relaxed);
            outcome.unwrap()
        })
    }

    #[test]
    fn calls_without_an_sbc_between_are_good() {
        let [caller, _, callee] = addresses(0);
        let outcome = run("t", OFFER, [caller, callee, callee], |_| ()).unwrap();
        assert_eq!((outcome.offered, outcome.good), (100, 100), "{outcome:?}");
        assert_eq!((outcome.refused, outcome.failed.len()), (0, 0), "{outcome:?}");
        assert_eq!(outcome.setup.len(), 100);
    }

    #[test]
    fn only_503_with_retry_after_counts_as_refused() {
        let outcome = against(addresses(1), |text| {
            let number: u32 = header(text, "From")?.rsplit('=').next()?.parse().ok()?;
            let (status, more) = match number % 4 {
                0 => ("503 Service Unavailable", "Retry-After: 1\r\n"),
                1 => ("503 Service Unavailable", ""),
                _ => ("486 Busy Here", ""),
            };
            text.starts_with("INVITE")
                .then(|| reply(status, text, ";tag=r", more))
        });
        assert_eq!((outcome.good, outcome.refused), (0, 25));
        let failed = BTreeMap::from([
            ("INVITE answered 486".to_owned(), 50),
            ("INVITE answered 503".to_owned(), 25),
        ]);
        assert_eq!(outcome.failed, failed);
    }

    #[test]
    fn what_is_not_answered_is_repeated() {
        let seen = std::sync::Mutex::new(std::collections::HashSet::new());
        let outcome = against(addresses(2), |text| {
            let first = seen.lock().unwrap().insert(text.to_owned());
            (text.starts_with("INVITE") && !first)
                .then(|| reply("503 Service Unavailable", text, ";tag=r", "Retry-After: 1\r\n"))
        });
        assert_eq!((outcome.refused, outcome.repeated), (100, 100), "{outcome:?}");
    }
}
