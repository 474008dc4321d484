//! Codecs behind payload types: what one side may be offered of what the other can do.
//!
//! In: the formats of a description, and the lists of codecs of the two trunks. Out: the formats of the
//! description for the other side, in its order, and how a payload type of one side reads on the other. A
//! law of G.711 stands in for the other one where nothing else is common.

use super::{Sdp, parse::RtpMap};
use sbc_media::{g711::Law, stream::ClockRates};

/// What a payload type stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// G.711 μ-law at 8 kHz.
    Pcmu,
    /// G.711 A-law at 8 kHz.
    Pcma,
    /// Anything else: name in lower case, clock rate in Hz, channels.
    Other(Box<str>, u32, u8),
}

impl Codec {
    fn of(map: &RtpMap<'_>) -> Self {
        match (map.clock_rate, map.channels) {
            (8000, 1) if map.encoding.eq_ignore_ascii_case("PCMU") => Self::Pcmu,
            (8000, 1) if map.encoding.eq_ignore_ascii_case("PCMA") => Self::Pcma,
            (rate, channels) => Self::Other(map.encoding.to_ascii_lowercase().into(), rate, channels),
        }
    }

    /// Whether a list's `name` means it; in any case.
    fn is_named(&self, name: &str) -> bool {
        match self {
            Self::Pcmu => name.eq_ignore_ascii_case("PCMU"),
            Self::Pcma => name.eq_ignore_ascii_case("PCMA"),
            Self::Other(own, ..) => name.eq_ignore_ascii_case(own),
        }
    }

    /// Whether a conversation can be held in it: events and silence alone do not make one.
    pub fn is_speech(&self) -> bool {
        !matches!(self, Self::Other(name, ..) if AUXILIARY.contains(&&**name))
    }

    /// The law, if it is G.711.
    pub fn law(&self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
            Self::Other(..) => None,
        }
    }

    /// Whether it is telephone events (RFC 4733) by the clock of G.711.
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Other(name, 8000, 1) if &**name == "telephone-event")
    }

    /// Whether it is comfort noise (RFC 3389) by the clock of G.711.
    pub fn is_comfort_noise(&self) -> bool {
        matches!(self, Self::Other(name, 8000, 1) if &**name == "cn")
    }

    /// The other law of G.711, with its static payload type (RFC 3551 §6).
    fn other_law(&self) -> Option<Format> {
        match self {
            Self::Pcmu => Some(Format {
                number: 8,
                codec: Self::Pcma,
            }),
            Self::Pcma => Some(Format {
                number: 0,
                codec: Self::Pcmu,
            }),
            Self::Other(..) => None,
        }
    }
}

/// Names of what accompanies audio (RFC 4733, RFC 3389).
const AUXILIARY: [&str; 3] = ["telephone-event", "tone", "cn"];

/// Whether a list that names `name` names audio.
pub fn is_audio_name(name: &str) -> bool {
    !AUXILIARY.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A payload type and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type, 0 to 127.
    pub number: u8,
    /// What it stands for.
    pub codec: Codec,
}

/// Names of codecs in order of preference; `None`: all.
pub type Allowed<'a> = Option<&'a [Box<str>]>;

/// How packets with a payload type of one side read on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The same.
    Same,
    /// The same codec by another number.
    Number(u8),
    /// A-law here, μ-law there, by this number.
    AlawToUlaw(u8),
    /// μ-law here, A-law there, by this number.
    UlawToAlaw(u8),
    /// Not at all: the other side has not agreed to it.
    Unknown,
}

impl Sdp<'_> {
    /// The formats of m-line `index` whose meaning is known, in order.
    pub fn formats_of(&self, index: usize) -> Vec<Format> {
        let Some(media) = self.medias().get(index) else {
            return Vec::new();
        };
        let format = |number| {
            Some(Format {
                number,
                codec: Codec::of(&media.rtpmap(number)?),
            })
        };
        media.payload_types().filter_map(format).collect()
    }

    /// The clock rates of the formats of m-line `index`; `None`: all that are known have 8 kHz.
    pub fn clock_rates_of(&self, index: usize) -> Option<Box<ClockRates>> {
        let media = self.medias().get(index)?;
        let clock_rate = |number| Some((number, media.rtpmap(number)?.clock_rate));
        ClockRates::new(media.payload_types().filter_map(clock_rate)).map(Box::new)
    }
}

/// What of `formats` the trunk that they come from may use.
pub fn allowed(formats: &[Format], list: Allowed<'_>) -> Vec<Format> {
    let may = |format: &&Format| list.is_none_or(|list| place(&format.codec, list).is_some());
    formats.iter().filter(may).cloned().collect()
}

fn place(codec: &Codec, list: &[Box<str>]) -> Option<usize> {
    list.iter().position(|name| codec.is_named(name))
}

/// What a side whose trunk has `list` is offered of `offered`, in the list's order. Where it would be offered
/// no audio, the law of G.711 that is missing is offered in the place of the other one; so, too, where
/// it has agreed to that law alone before (`agreed`). `None`: there is no common codec.
pub fn offer(offered: &[Format], list: Allowed<'_>, agreed: &[Format]) -> Option<Vec<Format>> {
    let mut told = allowed(offered, list);
    if let Some(list) = list {
        told.sort_by_key(|format| place(&format.codec, list));
    }
    let known = |codec: &Codec| agreed.iter().any(|format| format.codec == *codec);
    let is_common =
        |format: &Format| format.codec.is_speech() && (!agreed_audio(agreed) || known(&format.codec));
    if !told.iter().any(is_common) {
        let laws = offered.iter().filter_map(|format| format.codec.other_law());
        let fits = |law: &Format| match list {
            Some(list) => place(&law.codec, list).is_some(),
            None => known(&law.codec),
        };
        let missing = laws.into_iter().find(|law| {
            fits(law)
                && told
                    .iter()
                    .all(|f| f.codec != law.codec && f.number != law.number)
        });
        if let Some(law) = missing {
            let at = match list {
                Some(list) => told
                    .iter()
                    .position(|format| place(&format.codec, list) > place(&law.codec, list))
                    .unwrap_or(told.len()),
                None => 0,
            };
            told.insert(at, law);
        }
    }
    told.iter().any(|format| format.codec.is_speech()).then_some(told)
}

fn agreed_audio(agreed: &[Format]) -> bool {
    agreed.iter().any(|format| format.codec.is_speech())
}

/// What the side that `offered` is answered when the other one `answered`: only what it offered. A law of G.711 that
/// it did not offer is the one that it did. `None`: there is no common codec.
pub fn answer(answered: &[Format], offered: &[Format]) -> Option<Vec<Format>> {
    let has = |codec: &Codec| offered.iter().find(|format| format.codec == *codec);
    let mut told: Vec<Format> = Vec::with_capacity(answered.len());
    for format in answered {
        let own = if has(&format.codec).is_some() {
            Some(format.clone())
        } else {
            let law = format.codec.other_law();
            law.and_then(|law| has(&law.codec).cloned())
        };
        if let Some(own) = own
            && told.iter().all(|told| told.number != own.number)
        {
            told.push(own);
        }
    }
    told.iter().any(|format| format.codec.is_speech()).then_some(told)
}

/// How `format`, by which one side was told to send, reads in what the other side wants.
pub fn reading(format: &Format, wanted: &[Format]) -> Reading {
    let same = |wanted: &&Format| wanted.codec == format.codec;
    // Of several by one name the one with the same number is meant.
    let exact = wanted
        .iter()
        .filter(same)
        .find(|wanted| wanted.number == format.number);
    if let Some(found) = exact.or_else(|| wanted.iter().find(same)) {
        return if found.number == format.number {
            Reading::Same
        } else {
            Reading::Number(found.number)
        };
    }
    let law = format.codec.other_law();
    let other = law.and_then(|law| wanted.iter().find(|wanted| wanted.codec == law.codec));
    match (&format.codec, other) {
        (Codec::Pcma, Some(other)) => Reading::AlawToUlaw(other.number),
        (Codec::Pcmu, Some(other)) => Reading::UlawToAlaw(other.number),
        _ => Reading::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(text: &str) -> Vec<Format> {
        let description = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP {text}\r\n\
             a=rtpmap:96 telephone-event/8000\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:98 PCMA/8000\r\n\
             a=rtpmap:99 PCMA/16000\r\na=rtpmap:101 telephone-event/8000\r\n"
        );
        Sdp::parse(description.as_bytes()).unwrap().formats_of(0)
    }

    fn list(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn numbers(formats: Option<Vec<Format>>) -> Option<Vec<u8>> {
        Some(formats?.iter().map(|format| format.number).collect())
    }

    fn offered(formats_of: &str, names: &[&str]) -> Option<Vec<u8>> {
        numbers(offer(&formats(formats_of), Some(&list(names)), &[]))
    }

    #[test]
    fn the_list_is_the_order_and_the_limit() {
        assert_eq!(offered("0 8 97 101", &["pcma", "PCMU"]), Some(vec![8, 0]));
        assert_eq!(
            offered("0 8 97 101", &["opus", "telephone-event", "PCMA"]),
            Some(vec![97, 101, 8])
        );
        assert_eq!(
            numbers(offer(&formats("97 101 0"), None, &[])),
            Some(vec![97, 101, 0])
        );
        assert_eq!(offered("99", &["G722"]), None);
    }

    #[test]
    fn the_missing_law_is_offered_only_where_nothing_is_common() {
        assert_eq!(offered("0 101", &["telephone-event", "PCMA"]), Some(vec![101, 8]));
        assert_eq!(offered("8 101", &["PCMU", "telephone-event"]), Some(vec![0, 101]));
        assert_eq!(offered("98", &["PCMU"]), Some(vec![0]), "PCMA by another number");
        assert_eq!(
            offered("0 97", &["opus", "PCMA"]),
            Some(vec![97]),
            "opus is common"
        );
        assert_eq!(
            offered("99", &["PCMU"]),
            None,
            "PCMA at 16 kHz is no law of G.711"
        );
        assert_eq!(offered("101 13", &["PCMU", "telephone-event"]), None, "no audio");
    }

    #[test]
    fn a_side_that_has_agreed_to_one_law_is_offered_it_again() {
        let agreed = formats("0 101");
        assert_eq!(
            numbers(offer(&formats("8 101"), None, &agreed)),
            Some(vec![0, 8, 101])
        );
        assert_eq!(numbers(offer(&formats("8 0"), None, &agreed)), Some(vec![8, 0]));
    }

    #[test]
    fn the_answer_is_in_terms_of_the_offer() {
        let answered = |theirs: &str, offered: &str| numbers(answer(&formats(theirs), &formats(offered)));
        assert_eq!(answered("8 101", "0 101"), Some(vec![0, 101]));
        assert_eq!(answered("0", "98 101"), Some(vec![98]));
        assert_eq!(answered("0 8", "0"), Some(vec![0]), "once");
        assert_eq!(answered("97 0", "0 8"), Some(vec![0]), "opus was not offered");
        assert_eq!(answered("96", "0 101"), None, "events alone");
        assert_eq!(answered("97", "0"), None);
    }

    #[test]
    fn each_side_has_numbers_of_its_own() {
        let one = |number: &str, wanted: &str| reading(&formats(number)[0], &formats(wanted));
        assert_eq!(one("0", "8 0"), Reading::Same);
        assert_eq!(one("101", "0 96"), Reading::Number(96));
        assert_eq!(one("101", "96 101"), Reading::Same);
        assert_eq!(one("0", "8"), Reading::UlawToAlaw(8));
        assert_eq!(one("0", "98"), Reading::UlawToAlaw(98));
        assert_eq!(one("98", "0"), Reading::AlawToUlaw(0));
        assert_eq!(one("97", "0"), Reading::Unknown);
    }
}
