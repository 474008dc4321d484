//! The media clock behind each payload type.

/// RTP clock rate of G.711, G.722 (by RFC 3551's historic error) and G.729, in Hz.
pub const CLOCK_RATE_DEFAULT: u32 = 8000;

/// RTP clock rates in Hz, by payload type (`a=rtpmap`, RFC 8866 §6.6), where they are not all [`CLOCK_RATE_DEFAULT`].
#[derive(Clone, PartialEq, Eq)]
pub struct ClockRates([u32; 128]);

impl ClockRates {
    /// Those of payload types with their clock rates; of the others it is [`CLOCK_RATE_DEFAULT`]. `None`: of all.
    /// A rate of 0 says nothing, and neither does a payload type above 127.
    pub fn new(formats: impl IntoIterator<Item = (u8, u32)>) -> Option<Self> {
        let mut rates = [CLOCK_RATE_DEFAULT; 128];
        let mut differs = false;
        for (payload_type, rate) in formats {
            if let Some(place) = rates.get_mut(usize::from(payload_type)).filter(|_| rate > 0) {
                *place = rate;
                differs |= rate != CLOCK_RATE_DEFAULT;
            }
        }
        differs.then_some(Self(rates))
    }

    /// That of packets with `payload_type`.
    pub fn of(&self, payload_type: u8) -> u32 {
        let rate = self.0.get(usize::from(payload_type));
        rate.copied().unwrap_or(CLOCK_RATE_DEFAULT)
    }
}

impl core::fmt::Debug for ClockRates {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let rates = (0u8..).zip(&self.0);
        f.debug_map()
            .entries(rates.filter(|(_, rate)| **rate != CLOCK_RATE_DEFAULT))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_usual_makes_a_table() {
        assert_eq!(ClockRates::new([(0, 8000), (9, 8000), (101, 8000)]), None);
        assert_eq!(ClockRates::new([(96, 0), (200, 48_000)]), None);
        let rates = ClockRates::new([(96, 48_000), (97, 16_000), (0, 8000)]).unwrap();
        assert_eq!(
            [96, 97, 0, 98, 255].map(|number| rates.of(number)),
            [48_000, 16_000, 8000, 8000, 8000]
        );
        assert_eq!(format!("{rates:?}"), "{96: 48000, 97: 16000}");
    }
}
