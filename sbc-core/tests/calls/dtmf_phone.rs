//! Two telephones that send and hear digits, each by one method, and a network between them and the shard that loses
//! packets of events.

use crate::{
    desk::*,
    dtmf_sdp::{connect, with},
};
use sbc_core::{
    config,
    sip::{InfoDigit, InfoForm},
};
use sbc_media::{
    dtmf::{
        Digit, Report, Timing,
        event::{Receiver, Sender},
        inband::{Detector, Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    relay::{PairIndex, Verdict},
    rtp,
    splice::Numbers,
    time::Timestamp,
};
use std::{collections::VecDeque, time::Duration};

pub(crate) const TICK: Duration = Duration::from_millis(20);

/// How a telephone sends and hears digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Events,
    Relay,
    Plain,
    Tones,
}

impl Method {
    pub(crate) const ALL: [Self; 4] = [Self::Events, Self::Relay, Self::Plain, Self::Tones];

    /// The value of the option `dtmf`.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Events => "rfc4733",
            Self::Relay => "info",
            Self::Plain => "info-dtmf",
            Self::Tones => "inband",
        }
    }

    fn form(self) -> InfoForm {
        match self {
            Self::Plain => InfoForm::Plain,
            _ => InfoForm::Relay,
        }
    }
}

/// The same numbers every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // PCG's multiplier and increment.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    pub(crate) fn digits(&mut self, length_max: u32) -> String {
        let length = 1 + self.below(length_max);
        let mut digit = || Digit::from_code(self.below(16) as u8).unwrap().as_char();
        (0..length).map(|_| digit()).collect()
    }
}

/// One telephone.
pub(crate) struct Phone {
    method: Method,
    law: Law,
    /// Payload types: of its audio, of events that it sends, and that it wants.
    audio: u8,
    events_out: Option<u8>,
    events_in: Option<u8>,
    sequence: u16,
    timestamp: u32,
    sender: Sender,
    generator: Generator,
    receiver: Receiver,
    detector: Detector,
    /// INFOs to send, one when the one before has its answer.
    infos: VecDeque<InfoDigit>,
    waits: bool,
    cseq: u32,
    /// Digits, as it heard them, and their durations in milliseconds where it was told.
    pub(crate) heard: String,
    pub(crate) durations: Vec<u32>,
    /// SSRC and sequence number of what came last.
    last: Option<(u32, u16)>,
    /// Packets that came out of order, with a gap before them, or from another source.
    pub(crate) breaks: u32,
}

impl Phone {
    fn new(method: Method, law: Law, events_out: Option<u8>, events_in: Option<u8>) -> Self {
        let timing = Timing::default();
        Self {
            method,
            law,
            audio: if law == Law::Mu { 0 } else { 8 },
            events_out,
            events_in,
            sequence: 65_000,
            timestamp: 77,
            sender: Sender::new(timing, 10),
            generator: Generator::new(law, LOW_DBM0, HIGH_DBM0, timing),
            receiver: Receiver::new(),
            detector: Detector::new(law),
            infos: VecDeque::new(),
            waits: false,
            cseq: 100,
            heard: String::new(),
            durations: Vec::new(),
            last: None,
            breaks: 0,
        }
    }

    /// Press keys, one after the other, each for so many milliseconds.
    pub(crate) fn press(&mut self, digits: &str, duration_ms: u32) {
        for digit in digits.chars().map(|c| Digit::from_char(c).unwrap()) {
            match self.method {
                Method::Events => self.sender.send(digit, duration_ms * 8).unwrap(),
                Method::Tones => self.generator.send(digit, duration_ms * 8).unwrap(),
                Method::Relay | Method::Plain => self.infos.push_back(InfoDigit { digit, duration_ms }),
            }
        }
    }

    /// Press a key and hold it down.
    pub(crate) fn hold_down(&mut self, digit: char) {
        self.sender.begin(Digit::from_char(digit).unwrap()).unwrap();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.sender.is_idle() && self.generator.is_idle() && self.infos.is_empty() && !self.waits
    }

    /// Its packet for this packet time, and whether it is an event.
    fn packet(&mut self, ssrc: u32) -> (Vec<u8>, bool) {
        let mut bytes = vec![0; 12];
        let numbers = Numbers {
            ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: false,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        if let (Some(number), Some(update)) = (self.events_out, self.sender.tick(numbers.timestamp)) {
            let numbers = Numbers {
                timestamp: update.timestamp,
                marker: update.marker,
                ..numbers
            };
            numbers.write(number, &mut bytes).unwrap();
            bytes.extend_from_slice(&update.event.to_bytes());
            return (bytes, true);
        }
        numbers.write(self.audio, &mut bytes).unwrap();
        bytes.resize(12 + 160, self.law.silence());
        self.generator.fill(&mut bytes[12..]);
        (bytes, false)
    }

    fn is_event(&self, packet: &[u8]) -> bool {
        Some(packet[1] & 0x7f) == self.events_in
    }

    /// Whether a packet follows on the one before, as one stream.
    fn follow(&mut self, packet: &[u8]) {
        let packet = rtp::Packet::new_checked(packet).unwrap();
        let (ssrc, sequence) = (packet.ssrc(), packet.sequence());
        if self
            .last
            .is_some_and(|(source, last)| (source, last.wrapping_add(1)) != (ssrc, sequence))
        {
            self.breaks += 1;
        }
        self.last = Some((ssrc, sequence));
    }

    fn hear(&mut self, now: Timestamp, packet: &[u8]) {
        let Self {
            heard,
            durations,
            receiver,
            detector,
            ..
        } = self;
        let mut report = |report: Report| match report {
            Report::Began(digit) => heard.push(digit.as_char()),
            Report::Ended { duration, .. } => durations.push(duration / 8),
        };
        let packet = rtp::Packet::new_checked(packet).unwrap();
        match self.method {
            Method::Events => {
                receiver.handle_timeout(now, &mut report);
                if Some(packet.payload_type()) == self.events_in {
                    receiver.receive(now, &packet, &mut report);
                }
            }
            Method::Tones if packet.payload_type() == self.audio => {
                detector.hear(packet.payload(), &mut report);
            }
            _ => {}
        }
    }

    fn hear_info(&mut self, info: &Sent) {
        let form = InfoForm::of(info.header("Content-Type").as_bytes()).unwrap();
        assert_eq!(form, self.method.form());
        let digit = form.read(info.body().as_bytes()).unwrap();
        self.heard.push(digit.digit.as_char());
        self.durations.push(digit.duration_ms);
    }
}

/// A call between two telephones.
pub(crate) struct Line {
    pub(crate) desk: Desk,
    pub(crate) up: Up,
    /// Caller and callee.
    pub(crate) phones: [Phone; 2],
    /// In percent of the packets with events, on the way to the shard and on the way from it.
    lost: u32,
    random: Random,
    /// Telephones leave INFOs without an answer, in `unanswered`.
    pub(crate) mute: bool,
    pub(crate) unanswered: Vec<Sent>,
}

const SOURCES: [&str; 2] = ["127.0.0.2:4000", "127.0.0.3:6000"];

impl Line {
    /// The caller has µ-law, the callee A-law.
    pub(crate) fn new(methods: [Method; 2], options: [&str; 2], lost: u32, seed: u64) -> Self {
        let trunk = |name: &str, option: &str, law: &str| {
            format!("name = \"{name}\"\ndtmf = \"{option}\"\ncodecs = [\"{law}\", \"telephone-event\"]")
        };
        let text = config::DEFAULT_TOML
            .replace("name = \"carrier\"", &trunk("carrier", options[0], "PCMU"))
            .replace("name = \"platform\"", &trunk("platform", options[1], "PCMA"));
        let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
        let mut desk = Desk::of(snapshot, admission);
        let numbers = |audio: &str, events: &str, method| match method {
            Method::Events => format!("{audio} {events}"),
            _ => audio.to_owned(),
        };
        let offer = with(OFFER, &numbers("0", "101", methods[0]));
        let answer = with(ANSWER, &numbers("8", "96", methods[1]));
        let up = connect(&mut desk, &offer, &answer);
        let events = |sent: &Sent| {
            let line = sent
                .body()
                .lines()
                .find(|line| line.contains("telephone-event/8000"))?;
            line.strip_prefix("a=rtpmap:")?
                .split(' ')
                .next()?
                .parse::<u8>()
                .ok()
        };
        let wants = |method, number| (method == Method::Events).then_some(number);
        let phones = [
            Phone::new(methods[0], Law::Mu, events(&up.ok), wants(methods[0], 101)),
            Phone::new(methods[1], Law::A, events(&up.invite), wants(methods[1], 96)),
        ];
        Self {
            desk,
            up,
            phones,
            lost,
            random: Random(seed),
            mute: false,
            unanswered: Vec::new(),
        }
    }

    fn loses(&mut self) -> bool {
        self.lost > 0 && self.random.below(100) < self.lost
    }

    /// A packet time passes.
    pub(crate) fn tick(&mut self) {
        for (at, source) in SOURCES.iter().enumerate() {
            self.send_info(at);
            let (mut packet, is_event) = self.phones[at].packet(1 + at as u32);
            if is_event && self.loses() {
                continue;
            }
            let len = packet.len();
            packet.resize(len + 256, 0);
            let (now, pair) = (self.desk.now, PairIndex(at as u32));
            let from = source.parse().unwrap();
            let verdict = self
                .desk
                .shard
                .relay
                .forward(now, pair.rtp(), from, &mut packet, len);
            if let Verdict::Forward { socket, len, .. } = verdict {
                self.carry(socket.pair(), &packet[..len]);
            }
        }
        let sent = self.desk.run_media();
        self.deliver(sent);
        let sent = self.desk.pass(TICK);
        self.deliver(sent);
    }

    pub(crate) fn ticks(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.tick();
        }
    }

    /// What leaves from `pair` reaches its telephone, or does not.
    fn carry(&mut self, pair: PairIndex, packet: &[u8]) {
        let Some(at) = (pair.0 < 2).then_some(pair.0 as usize) else {
            return;
        };
        self.phones[at].follow(packet);
        if self.phones[at].is_event(packet) && self.loses() {
            return;
        }
        let now = self.desk.now;
        self.phones[at].hear(now, packet);
    }

    /// What the shard has sent reaches the telephones, and they answer. Reports, which come when a call has lasted, do not
    /// belong to what they hear.
    pub(crate) fn deliver(&mut self, sent: Vec<Sent>) {
        let own = std::mem::take(&mut self.desk.own_media).into_iter();
        for own in own.filter(|own| !own.socket.is_rtcp()) {
            self.carry(own.socket.pair(), &own.packet);
        }
        for message in sent {
            let at = usize::from(!message.to_caller());
            match message.kind() {
                "INFO" if self.mute => self.unanswered.push(message),
                "INFO" => self.answer(&message),
                "200" if message.header("CSeq").ends_with("INFO") => self.phones[at].waits = false,
                _ => {}
            }
        }
    }

    /// Answer an INFO of the shard.
    pub(crate) fn answer(&mut self, info: &Sent) {
        let at = usize::from(!info.to_caller());
        self.phones[at].hear_info(info);
        self.reply(info, 200);
    }

    pub(crate) fn reply(&mut self, info: &Sent, status: u16) {
        let text = response(info, status, "", "", "");
        let sent = if info.to_caller() {
            self.desk.caller(&text)
        } else {
            self.desk.callee(&text)
        };
        self.deliver(sent);
    }

    fn send_info(&mut self, at: usize) {
        let phone = &mut self.phones[at];
        if phone.waits {
            return;
        }
        let Some(digit) = phone.infos.pop_front() else {
            return;
        };
        phone.waits = true;
        phone.cseq += 1;
        let (cseq, form) = (phone.cseq, phone.method.form());
        let sent = self.info(at == 0, cseq, form, digit);
        self.deliver(sent);
    }

    /// An INFO of the caller or the callee.
    pub(crate) fn info(&mut self, caller: bool, cseq: u32, form: InfoForm, digit: InfoDigit) -> Vec<Sent> {
        let mut body = String::new();
        form.write(digit, &mut body);
        let branch = format!("info{cseq}");
        if caller {
            let text = request("INFO", &self.up.contact, cseq, &branch, &self.up.tag, &body);
            self.desk
                .caller(&text.replace("application/sdp", form.content_type()))
        } else {
            let text = callee_request(&self.up.invite, "INFO", cseq, &branch, &body);
            self.desk
                .callee(&text.replace("application/sdp", form.content_type()))
        }
    }

    /// Until both have sent all, and what was sent has been played.
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..5_000 {
            self.tick();
            let playing = (0..2).any(|pair| self.desk.shard.relay.sound_mut(PairIndex(pair)).is_some());
            let idle = self.phones.iter().all(Phone::is_idle) && !playing;
            quiet = if idle { quiet + 1 } else { 0 };
            if quiet == 20 {
                return;
            }
        }
        panic!("digits do not end");
    }

    /// End the call; nothing is left of it.
    pub(crate) fn end(mut self) {
        let bye = request("BYE", &self.up.contact, 9_000, "bye", &self.up.tag, "");
        let sent = self.desk.caller(&bye);
        let out = only(&sent, "BYE").clone();
        self.desk.callee(&response(&out, 200, "", "", ""));
        self.desk.assert_quiet();
    }
}
