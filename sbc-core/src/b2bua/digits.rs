//! Digits from one side of a call to the other.
//!
//! In: digits that the relay has heard, INFO requests of a side. Out: INFO requests of ours, one after the other, each
//! when the one before has its answer; or sounds and events that the relay plays. Which of them: [`super::dtmf`].
//! Nothing here tells anybody which digits they are: they may be somebody's card number.

use super::{Leg, Phase, Way, setup::check_require};
use crate::{
    counters::ShardCounters,
    shard::{Arrival, Shard},
    sip::{DURATION_MAX_MS, HeaderName, InfoDigit, InfoForm, Message, Method, OptionTags},
    snapshot::Dtmf,
    time::Timestamp,
    transaction::{Reply, Side},
};
use sbc_media::{
    dtmf::{
        Digit, Full, Report, Timing,
        event::Sender,
        inband::{Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    relay::{PairIndex, Voice, Yield},
    source::Sound,
};
use std::{collections::VecDeque, time::Duration};

/// Most digits that wait to be sent by INFO to one side; as many as wait to be played.
const WAITING_MAX: usize = sbc_media::dtmf::PENDING_MAX;
/// Units of the RTP clock in a millisecond: digits are told at 8 kHz.
const TICKS_PER_MS: u32 = 8;
/// What events of ours claim to be loud, in -dBm0 (RFC 4733 §2.3.3): about what a telephone sends.
const VOLUME: u8 = 10;
/// A digit that comes by INFO so soon after the same one was heard as a tone is that one: peers send the INFO when the key
/// is let go.
const TWIN_MAX: Duration = Duration::from_secs(2);

/// The digits of one leg.
#[derive(Debug)]
pub(crate) struct Digits {
    /// What its trunk wants.
    pub(super) dtmf: Dtmf,
    /// How they go between us and the peer.
    pub(super) way: Option<Way>,
    /// The other side has another way.
    pub(super) converts: bool,
    /// The peer has sent digits by INFO, in this form.
    pub(super) by_info: Option<InfoForm>,
    /// The peer has sent digits in its media.
    by_media: bool,
    /// The digit that it holds down.
    pressed: Option<(Digit, Timestamp)>,
    /// The last that it sent in its media, and when.
    last: Option<(Digit, Timestamp)>,
    /// For the peer: to be sent by INFO. The first one is under way while `asked` is there.
    waiting: VecDeque<InfoDigit>,
    asked: Option<u32>,
    /// Digits that the peer has sent, and that went on to the other side or were lost there.
    pub(super) heard: u64,
    /// Digits that the peer was told.
    pub(super) told: u64,
    /// Digits that the peer sent by a second method; the first brought them already.
    pub(super) ignored: u64,
    /// Digits for the peer that it was not told.
    pub(super) missed: u64,
}

impl Default for Digits {
    fn default() -> Self {
        Self {
            dtmf: Dtmf::Pass,
            way: None,
            converts: false,
            by_info: None,
            by_media: false,
            pressed: None,
            last: None,
            waiting: VecDeque::new(),
            asked: None,
            heard: 0,
            told: 0,
            ignored: 0,
            missed: 0,
        }
    }
}

impl Digits {
    /// So many for the peer were lost.
    pub(super) fn lost(&mut self, digits: usize, counters: &mut ShardCounters) {
        self.missed += digits as u64;
        counters.digits_lost += digits as u64;
    }

    fn heard(&mut self, counters: &mut ShardCounters) {
        self.heard += 1;
        counters.digits_heard += 1;
    }

    fn told(&mut self, counters: &mut ShardCounters) {
        self.told += 1;
        counters.digits_told += 1;
    }

    fn ignored(&mut self, counters: &mut ShardCounters) {
        self.ignored += 1;
        counters.digits_ignored += 1;
    }

    /// Whether a digit that the peer begins in its media counts. Some peers send each by several methods: of those
    /// one counts, and INFO before tones.
    fn takes_media(&self) -> bool {
        self.by_info.is_none() || self.dtmf != Dtmf::Auto
    }

    /// The same of a digit that came by INFO.
    fn takes_info(&self, now: Timestamp, digit: Digit) -> bool {
        match self.dtmf {
            Dtmf::Auto => match self.way {
                Some(Way::Events { .. }) => !self.by_media,
                // The tone of the same key was heard before it was known that there are INFOs.
                _ => !(self.last).is_some_and(|(last, at)| last == digit && now.since(at) <= TWIN_MAX),
            },
            Dtmf::InfoRelay | Dtmf::InfoPlain => true,
            Dtmf::Pass | Dtmf::Events | Dtmf::Inband => false,
        }
    }
}

/// A digit for a side, or its beginning or end.
#[derive(Clone, Copy, Debug)]
enum Press {
    Began(Digit),
    Ended(InfoDigit),
    /// All of it is known.
    Whole(InfoDigit),
}

impl Press {
    /// Have `sound` play it; one that plays no digits does not.
    fn play(self, sound: &mut Sound) -> Option<Result<(), Full>> {
        let ticks = |digit: InfoDigit| digit.duration_ms * TICKS_PER_MS;
        match (sound, self) {
            (Sound::Events(sender, _), Self::Began(digit)) => Some(sender.begin(digit)),
            (Sound::Events(sender, _), Self::Whole(digit)) => Some(sender.send(digit.digit, ticks(digit))),
            (Sound::Events(sender, _), Self::Ended(digit)) => {
                sender.end(ticks(digit));
                Some(Ok(()))
            }
            (Sound::Digits(generator), Self::Began(digit)) => Some(generator.begin(digit)),
            (Sound::Digits(generator), Self::Whole(digit)) => Some(generator.send(digit.digit, ticks(digit))),
            (Sound::Digits(generator), Self::Ended(digit)) => {
                generator.end(ticks(digit));
                Some(Ok(()))
            }
            _ => None,
        }
    }
}

impl Shard {
    /// The relay heard a digit of the peer of `pair`.
    pub(super) fn digit_heard(&mut self, now: Timestamp, pair: PairIndex, report: Report) {
        let Some(slot) = self.ports.owner(pair) else {
            return;
        };
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(media) = call.media.filter(|_| call.phase != Phase::Over) else {
            return;
        };
        let side = match media.pairs {
            [a, _] if a == pair => Side::A,
            [_, b] if b == pair => Side::B,
            _ => return,
        };
        let Some(digits) = call.leg_mut(side).digits.as_deref_mut() else {
            return;
        };
        let counters = &mut self.io.counters;
        let press = match report {
            Report::Began(_) if !digits.takes_media() => return digits.ignored(counters),
            Report::Began(digit) => {
                digits.heard(counters);
                digits.by_media = true;
                digits.pressed = Some((digit, now));
                digits.last = Some((digit, now));
                Press::Began(digit)
            }
            Report::Ended { digit, duration } => {
                // Of one that did not count.
                let Some((digit, _)) = digits.pressed.take_if(|(pressed, _)| *pressed == digit) else {
                    return;
                };
                digits.last = Some((digit, now));
                Press::Ended(InfoDigit {
                    digit,
                    duration_ms: (duration / TICKS_PER_MS).min(DURATION_MAX_MS),
                })
            }
        };
        // One that cannot be told is counted there.
        let _ = self.tell(now, slot, side.other(), press);
    }

    /// Whether an INFO of the peer on `side` is a digit that goes on in another way; it has its answer then.
    pub(super) fn take_info_digit(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> bool {
        // With a package it is something else that happens to look like one (RFC 6086 §3).
        if request.method() != Method::Info
            || request.header(HeaderName::InfoPackage).is_some()
            || check_require(request, OptionTags::NONE).is_err()
        {
            return false;
        }
        let form = InfoForm::of(request.content_type().unwrap_or_default());
        let digit = form.and_then(|form| Some((form, form.read(request.body())?)));
        let Some((form, digit)) = digit else {
            return false;
        };
        let Some(digits) = self.digits_mut(slot, side) else {
            return false;
        };
        if digits.dtmf == Dtmf::Auto && digits.by_info.is_none() && !digits.by_events() {
            digits.by_info = Some(form);
            self.arm_digits(now, slot);
        }
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let Some(digits) = call.leg_mut(side).digits.as_deref_mut() else {
            return false;
        };
        if !digits.converts {
            return false;
        }
        let counters = &mut self.io.counters;
        let reply = if digits.takes_info(now, digit.digit) {
            digits.heard(counters);
            match self.tell(now, slot, side.other(), Press::Whole(digit)) {
                Ok(()) => Reply::new(200),
                Err(Full) => Reply::retry_after(500, 5),
            }
        } else {
            digits.ignored(counters);
            Reply::new(200)
        };
        self.transactions
            .answer(&mut self.io, now, request, from.hop, reply);
        true
    }

    fn digits_mut(&mut self, slot: u32, side: Side) -> Option<&mut Digits> {
        let call = self.calls.get_mut(slot as usize)?;
        call.leg_mut(side).digits.as_deref_mut()
    }

    /// Tell the peer on `side` of a digit by its way. `Err`: it is not told, and counted as lost.
    fn tell(&mut self, now: Timestamp, slot: u32, side: Side, press: Press) -> Result<(), Full> {
        let Some(digits) = self.digits_mut(slot, side) else {
            return Err(Full);
        };
        let told = match (digits.way, press) {
            // By INFO it is told when its duration is known.
            (Some(Way::Info(_)), Press::Began(_)) => return Ok(()),
            (Some(Way::Info(_)), Press::Ended(digit) | Press::Whole(digit)) => {
                if digits.waiting.len() < WAITING_MAX {
                    digits.waiting.push_back(digit);
                    self.send_digit(now, slot, side);
                    return Ok(());
                }
                Err(Full)
            }
            (Some(way), press) => self.play_digit(now, slot, side, way, press),
            (None, _) => Err(Full),
        };
        // A digit counts once: when it begins.
        if !matches!((press, told), (Press::Ended(_), Ok(()))) {
            let counters = &mut self.io.counters;
            let call = self.calls.get_mut(slot as usize);
            if let Some(digits) = call.and_then(|call| call.leg_mut(side).digits.as_deref_mut()) {
                match told {
                    Ok(()) => digits.told(counters),
                    Err(Full) => digits.lost(1, counters),
                }
            }
        }
        told
    }

    /// Have the relay play a digit to the peer on `side`.
    fn play_digit(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        way: Way,
        press: Press,
    ) -> Result<(), Full> {
        let media = self.calls.get(slot as usize).and_then(|call| call.media);
        let pair = media.ok_or(Full)?.pairs[side as usize];
        let known = self.relay.sound_mut(pair).and_then(|sound| press.play(sound));
        if let Press::Ended(_) = press {
            // What could not begin has no end, and was counted.
            return Ok(());
        }
        // To a peer that is on hold nothing is sent: it would hear of it long afterwards.
        if !self.relay.can_send(pair) {
            return Err(Full);
        }
        if let Some(played) = known {
            return played;
        }
        let timing = Timing::default();
        let (law, payload_type, mut sound) = match way {
            Way::Events { to, .. } => (Law::Mu, to, Sound::Events(Sender::new(timing, VOLUME), to)),
            Way::Inband {
                to: (law, number), ..
            } => {
                let generator = Generator::new(law, LOW_DBM0, HIGH_DBM0, timing);
                (law, number, Sound::Digits(generator))
            }
            Way::Info(_) => return Err(Full),
        };
        press.play(&mut sound).unwrap_or(Err(Full))?;
        let voice = Voice {
            law,
            payload_type,
            ptime_ms: super::dtmf::PTIME_MS,
        };
        if self.relay.play(now, pair, voice, sound, Yield::Never) {
            Ok(())
        } else {
            Err(Full)
        }
    }

    /// Send the next digit that waits for the peer on `side`, unless one is under way.
    fn send_digit(&mut self, now: Timestamp, slot: u32, side: Side) {
        let full = self.transactions.is_full();
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let reachable = call.takes_requests(side) && !full;
        let leg = call.leg_mut(side);
        let Some(digits) = leg.digits.as_deref_mut() else {
            return;
        };
        if digits.asked.is_some() {
            return;
        }
        let Some(&digit) = digits.waiting.front() else {
            return;
        };
        let Some(Way::Info(form)) = digits.way.filter(|_| reachable) else {
            let waiting = digits.waiting.len();
            digits.waiting.clear();
            return digits.lost(waiting, &mut self.io.counters);
        };
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let mut body = String::new();
        form.write(digit, &mut body);
        leg.dialog
            .request(&mut self.io.scratch, "INFO", cseq, &branch, ours, 70)
            .body(form.content_type(), body.as_bytes());
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, Method::Info, Some((slot, side)));
        if let Some(digits) = self.digits_mut(slot, side) {
            digits.asked = Some(client);
        }
    }

    /// Whether the INFO in `client` was a digit of ours; it has its final response now.
    pub(crate) fn take_digit(&mut self, slot: u32, side: Side, client: u32) -> bool {
        let digits = self.digits_mut(slot, side);
        digits.is_some_and(|digits| digits.asked.take_if(|asked| *asked == client).is_some())
    }

    /// The final response to a digit of ours; 408: there was none.
    pub(crate) fn digit_answered(&mut self, now: Timestamp, slot: u32, side: Side, status: u16) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(digits) = call.leg_mut(side).digits.as_deref_mut() else {
            return;
        };
        let counters = &mut self.io.counters;
        digits.waiting.pop_front();
        match status {
            200..=299 => digits.told(counters),
            408 => {
                // It does not answer: the others would each take as long, and come when nobody waits for them.
                let waiting = 1 + digits.waiting.len();
                digits.waiting.clear();
                digits.lost(waiting, counters);
            }
            _ => digits.lost(1, counters),
        }
        // RFC 5057 §5.1: the peer knows no such dialog.
        if status == 481 {
            return self.end(now, slot, 200, "dialog_gone");
        }
        self.send_digit(now, slot, side);
    }

    /// The call is over: what waits is not told any more.
    pub(super) fn abort_digits(&mut self, now: Timestamp, slot: u32) {
        self.drop_digits(now, slot, Side::A);
        self.drop_digits(now, slot, Side::B);
    }

    /// What waits for the peer on `side` is not told any more.
    pub(super) fn drop_digits(&mut self, now: Timestamp, slot: u32, side: Side) {
        let call = self.calls.get_mut(slot as usize);
        let Some(digits) = call.and_then(|call| call.leg_mut(side).digits.as_deref_mut()) else {
            return;
        };
        if let Some(client) = digits.asked.take() {
            self.transactions.orphan_client(&mut self.io, now, client);
        }
        let waiting = digits.waiting.len();
        digits.waiting.clear();
        digits.lost(waiting, &mut self.io.counters);
    }

    /// `left` stood on `side` and belongs to the call no more: a key that it held down is let go.
    pub(super) fn leave_digits(&mut self, now: Timestamp, slot: u32, side: Side, left: &Leg) {
        let pressed = left.digits.as_ref().and_then(|digits| digits.pressed);
        if let Some((digit, since)) = pressed {
            let duration_ms = now.since(since).as_millis().min(u128::from(DURATION_MAX_MS)) as u32;
            let ended = Press::Ended(InfoDigit { digit, duration_ms });
            // One that cannot be told is counted there.
            let _ = self.tell(now, slot, side.other(), ended);
        }
    }
}

impl Digits {
    /// The peer sends its digits as events, as far as is known: what it sends by INFO as well is the same again.
    fn by_events(&self) -> bool {
        self.by_media && matches!(self.way, Some(Way::Events { .. }))
    }
}
