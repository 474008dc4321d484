//! Telephone events (RFC 4733) in the formats of a side: whether it has them, and how it is offered them though the
//! other side has none.
//!
//! In: the formats that a side is about to be told. Out: the same with telephone-event, by a number that is free and
//! stays what it was, or without.

use super::{Codec, Format};

/// The name of telephone events in SDP (RFC 4733 §7.1.1).
pub const TELEPHONE_EVENT: &str = "telephone-event";
/// The events that we offer: the digits (RFC 4733 §2.4.1).
pub(super) const EVENTS_OFFERED: &str = "0-15";
/// The number that nearly everybody uses for them.
const NUMBER_USUAL: u8 = 101;
/// Dynamic payload types (RFC 3551 §3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
/// Events have the clock of the audio that they stand in for (RFC 4733 §2.1); digits are converted at this one.
const CLOCK_RATE: u32 = 8000;

impl Codec {
    /// Telephone events with the clock of telephony, 8 kHz.
    pub fn telephone_events() -> Self {
        Self::Other(TELEPHONE_EVENT.into(), CLOCK_RATE, 1)
    }

    fn is_telephone_events(&self) -> bool {
        matches!(self, Self::Other(name, ..) if **name == *TELEPHONE_EVENT)
    }

    /// Whether speech in it has the clock of telephony.
    fn is_narrow_audio(&self) -> bool {
        let narrow = match self {
            Self::Pcmu | Self::Pcma => true,
            Self::Other(_, clock_rate, _) => *clock_rate == CLOCK_RATE,
        };
        narrow && self.is_speech()
    }
}

/// The payload type of telephone events at 8 kHz among `formats`.
pub fn events_in(formats: &[Format]) -> Option<u8> {
    let events = Codec::telephone_events();
    let found = formats.iter().find(|format| format.codec == events);
    found.map(|format| format.number)
}

/// Take telephone events, at whatever clock, from what a side is told.
pub fn remove_events(told: &mut Vec<Format>) {
    told.retain(|format| !format.codec.is_telephone_events());
}

/// Tell a side of telephone events, unless it is already or there is no audio that they could stand in for. `usual`: by
/// the number that it knows them by, if it does; otherwise, and where `taken` says that this stands for something
/// else, by another one.
pub fn add_events(told: &mut Vec<Format>, usual: Option<u8>, taken: impl Fn(u8) -> bool) {
    if events_in(told).is_some() || !told.iter().any(|format| format.codec.is_narrow_audio()) {
        return;
    }
    let free = |number: &u8| !taken(*number) && told.iter().all(|format| format.number != *number);
    let mut numbers = usual.into_iter().chain([NUMBER_USUAL]).chain(DYNAMIC);
    if let Some(number) = numbers.find(free) {
        told.push(Format {
            number,
            codec: Codec::telephone_events(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(number: u8, codec: Codec) -> Format {
        Format { number, codec }
    }

    fn wide(name: &str) -> Codec {
        Codec::Other(name.into(), 48_000, 1)
    }

    #[test]
    fn events_come_behind_what_there_is_by_a_free_number() {
        let mut told = vec![format(0, Codec::Pcmu)];
        add_events(&mut told, None, |_| false);
        assert_eq!(told[1], format(101, Codec::telephone_events()));
        add_events(&mut told, Some(96), |_| false);
        assert_eq!(told.len(), 2, "once");
        for (usual, taken, expected) in [
            (Some(96), vec![], Some(96)),
            (Some(96), vec![96], Some(101)),
            (None, vec![101], Some(96)),
            (None, vec![101, 96, 97], Some(98)),
            (None, (96..=127).collect(), None),
        ] {
            let mut told = vec![format(0, Codec::Pcmu)];
            add_events(&mut told, usual, |number| taken.contains(&number));
            assert_eq!(events_in(&told), expected, "{usual:?} {taken:?}");
        }
    }

    #[test]
    fn a_number_that_is_told_for_something_else_is_not_free() {
        let mut told = vec![format(101, Codec::Other("ilbc".into(), 8000, 1))];
        add_events(&mut told, Some(101), |_| false);
        assert_eq!(events_in(&told), Some(96));
    }

    #[test]
    fn events_without_audio_at_their_clock_are_not_told() {
        let mut told = vec![
            format(97, wide("opus")),
            format(13, Codec::Other("cn".into(), 8000, 1)),
        ];
        add_events(&mut told, None, |_| false);
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn all_clocks_are_removed() {
        let mut told = vec![
            format(0, Codec::Pcmu),
            format(101, Codec::telephone_events()),
            format(102, wide(TELEPHONE_EVENT)),
        ];
        remove_events(&mut told);
        assert_eq!(told, [format(0, Codec::Pcmu)]);
    }
}
