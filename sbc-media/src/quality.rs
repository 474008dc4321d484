//! How a direction of a call sounds, by the E-model of ITU-T G.107.
//!
//! In: loss, how it is spread, delay, and the codec. Out: the transmission rating R (0 to 100) and the
//! mean opinion score of a conversation that G.107 Annex B makes of it. All parameters that a relay
//! cannot know (loudness, room noise, echo, side tone) have G.107's default values, with which an
//! undisturbed call has R = 93.2 and a score of 4.41.
//!
//! What is assumed where it cannot be measured:
//! - one-way delay is half of the round-trip times of both peers, where known, plus
//!   [`path_delay_ms`]'s packet and jitter buffer;
//! - a jitter buffer loses nothing: packets count as lost when they never arrive;
//! - receivers of G.711 conceal losses as its Appendix I does, those of G.729 use annexes A and B;
//! - G.722 is rated as G.711: on the narrow-band scale its wider band cannot be said.

/// What a codec costs by itself and how it bears loss (ITU-T G.113 Appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// Equipment impairment factor Ie.
    pub impairment: f64,
    /// Packet-loss robustness factor Bpl.
    pub robustness: f64,
}

impl Codec {
    /// G.711 where a lost packet is silence.
    pub const G711_BARE: Self = Self::new(0.0, 4.3);
    /// G.711 with packet-loss concealment (its Appendix I).
    pub const G711: Self = Self::new(0.0, 25.1);
    /// G.729 with annexes A and B.
    pub const G729: Self = Self::new(11.0, 19.0);
    /// G.722, see the assumptions above.
    pub const G722: Self = Self::G711;

    const fn new(impairment: f64, robustness: f64) -> Self {
        Self {
            impairment,
            robustness,
        }
    }

    /// The codec of an encoding name of SDP, in any case; `None` when its factors are not known.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        const KNOWN: [(&[u8], Codec); 4] = [
            (b"PCMU", Codec::G711),
            (b"PCMA", Codec::G711),
            (b"G722", Codec::G722),
            (b"G729", Codec::G729),
        ];
        let known = KNOWN.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map(|(_, codec)| *codec)
    }

    /// The codec of a static payload type (RFC 3551 §6).
    pub fn of_static(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 | 8 => Some(Self::G711),
            9 => Some(Self::G722),
            18 => Some(Self::G729),
            _ => None,
        }
    }

    /// Ie,eff of G.107 §3.5: the impairment with `loss` (0 to 1) in runs of `burst_ratio`.
    fn effective(&self, loss: f64, burst_ratio: f64) -> f64 {
        let percent = 100.0 * loss;
        if percent <= 0.0 {
            return self.impairment;
        }
        self.impairment
            + (95.0 - self.impairment) * percent / (percent / burst_ratio.max(1.0) + self.robustness)
    }
}

/// What is known of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// From mouth to ear in milliseconds.
    pub delay_ms: f64,
    /// Part of the packets lost, 0 to 1.
    pub loss: f64,
    /// See [`BurstLoss::ratio`](crate::stream::BurstLoss::ratio); 1: losses are independent.
    pub burst_ratio: f64,
    /// What is spoken.
    pub codec: Codec,
}

/// A direction's rating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Transmission rating factor, 0 to 100.
    pub r: f64,
    /// Mean opinion score, conversational quality estimated, 1 to 4.5.
    pub mos: f64,
}

/// One-way delay in milliseconds of a direction whose ends are `round_trips_ms` away from us: half
/// of each, one packet that must be full before it is sent, and a jitter buffer of one packet and
/// twice the jitter, which holds what nearly every packet needs.
pub fn path_delay_ms(round_trips_ms: [Option<f64>; 2], packet_ms: f64, jitter_ms: f64) -> f64 {
    let network: f64 = round_trips_ms.iter().flatten().map(|time| time / 2.0).sum();
    network + 2.0 * packet_ms + 2.0 * jitter_ms
}

/// What [`path_delay_ms`] takes for a packet where those of `packet_ms` leave with `leaving_ms`: filling the longer of the
/// two is waited for, and the receiver buffers one that leaves.
pub fn reframed_ms(packet_ms: f64, leaving_ms: f64) -> f64 {
    (packet_ms.max(leaving_ms) + leaving_ms) / 2.0
}

/// G.107 §3.1: R = Ro − Is − Id − Ie,eff, with an advantage factor of 0.
pub fn rate(path: &Path) -> Rating {
    let simultaneous = simultaneous_impairment();
    let delay = delay_impairment(path.delay_ms.clamp(0.0, 10_000.0));
    let equipment = path.codec.effective(path.loss.clamp(0.0, 1.0), path.burst_ratio);
    let r = (basic_ratio() - simultaneous - delay - equipment).clamp(0.0, 100.0);
    Rating { r, mos: mos(r) }
}

/// The mean opinion score that goes with a rating (G.107 Annex B).
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    // The polynomial is a little below 1 for ratings under 6.5.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

/// Default values of G.107 table 2, in dB unless said otherwise.
mod default {
    pub(super) const SEND_LOUDNESS: f64 = 8.0;
    pub(super) const RECEIVE_LOUDNESS: f64 = 2.0;
    pub(super) const SIDETONE_MASKING: f64 = 15.0;
    pub(super) const D_SEND: f64 = 3.0;
    pub(super) const D_RECEIVE: f64 = 3.0;
    pub(super) const TALKER_ECHO_LOUDNESS: f64 = 65.0;
    pub(super) const ECHO_PATH_LOSS: f64 = 110.0;
    /// In quantisation units.
    pub(super) const DISTORTION: f64 = 1.0;
    pub(super) const CIRCUIT_NOISE_DBM: f64 = -70.0;
    pub(super) const NOISE_FLOOR_DBM: f64 = -64.0;
    /// In dB(A), at both ends.
    pub(super) const ROOM_NOISE: f64 = 35.0;
}

/// Sum of powers given in dB.
fn power_sum<const N: usize>(levels: [f64; N]) -> f64 {
    10.0 * levels
        .iter()
        .map(|level| 10f64.powf(level / 10.0))
        .sum::<f64>()
        .log10()
}

/// No: all noise, as a level at the 0 dBr point (§3.2).
fn noise() -> f64 {
    use default::*;
    let overall = SEND_LOUDNESS + RECEIVE_LOUDNESS;
    let sent =
        ROOM_NOISE - SEND_LOUDNESS - D_SEND - 100.0 + 0.004 * (ROOM_NOISE - overall - D_SEND - 14.0).powi(2);
    let listener = SIDETONE_MASKING + D_RECEIVE;
    let room = ROOM_NOISE + 10.0 * (1.0 + 10f64.powf((10.0 - listener) / 10.0)).log10();
    let received = RECEIVE_LOUDNESS - 121.0 + room + 0.008 * (room - 35.0).powi(2);
    let floor = NOISE_FLOOR_DBM + RECEIVE_LOUDNESS;
    power_sum([CIRCUIT_NOISE_DBM, sent, received, floor])
}

/// Ro: signal to noise (§3.2).
fn basic_ratio() -> f64 {
    15.0 - 1.5 * (default::SEND_LOUDNESS + noise())
}

/// Is: what comes with the voice itself, too loud, side tone, quantisation (§3.3).
fn simultaneous_impairment() -> f64 {
    use default::*;
    let loudness = SEND_LOUDNESS + RECEIVE_LOUDNESS + 0.2 * (64.0 + noise() - RECEIVE_LOUDNESS);
    let eighth = loudness / 8.0;
    let loud = 20.0 * ((1.0 + eighth.powi(8)).powf(1.0 / 8.0) - eighth);
    // Echo without delay adds to the side tone.
    let sidetone = -power_sum([-SIDETONE_MASKING, -TALKER_ECHO_LOUDNESS]);
    let root = |value: f64, centre: f64, width: f64, power: i32| {
        (1.0 + ((value - centre) / width).powi(power)).powf(1.0 / f64::from(power))
    };
    let side = 12.0 * root(sidetone, 13.0, 6.0, 8)
        - 28.0 * root(sidetone, -1.0, 19.4, 35)
        - 13.0 * root(sidetone, 3.0, 33.0, 13)
        + 29.0;
    let q = 37.0 - 15.0 * DISTORTION.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (basic_ratio() - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let quantising = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    loud + side + quantising
}

/// Id: talker's echo, listener's echo, and delay itself (§3.4); `delay` one-way in milliseconds.
fn delay_impairment(delay: f64) -> f64 {
    use default::*;
    let noise = noise();
    let talker = if delay < 1.0 {
        0.0
    } else {
        let echo = TALKER_ECHO_LOUDNESS - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
            + 6.0 * (-0.3 * delay * delay).exp();
        let rating = 80.0 + 2.5 * (echo - 14.0);
        let half = (-1.5 * (noise - RECEIVE_LOUDNESS) - rating) / 2.0;
        (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp())
    };
    let rating = 10.5 * (ECHO_PATH_LOSS + 7.0) * (2.0 * delay + 1.0).powf(-0.25);
    let half = (basic_ratio() - rating) / 2.0;
    let listener = half + (half * half + 169.0).sqrt();
    let absolute = if delay <= 100.0 {
        0.0
    } else {
        let x = (delay / 100.0).log2();
        let root = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
        25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
    };
    talker + listener + absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value} is not {expected}");
    }

    fn path(delay_ms: f64, loss: f64, codec: Codec) -> Path {
        Path {
            delay_ms,
            loss,
            burst_ratio: 1.0,
            codec,
        }
    }

    /// The figures that G.107 gives for its default values.
    #[test]
    fn an_undisturbed_call() {
        near(noise(), -61.179, 0.001);
        near(basic_ratio(), 94.7688, 0.0001);
        near(simultaneous_impairment(), 1.4136, 0.0001);
        let rating = rate(&path(0.0, 0.0, Codec::G711));
        near(rating.r, 93.2, 0.05);
        near(rating.mos, 4.41, 0.005);
    }

    /// G.107 Annex B, and the limits of G.109's classes.
    #[test]
    fn scores_of_ratings() {
        for (r, score) in [
            (0.0, 1.0),
            (50.0, 2.575),
            (60.0, 3.1),
            (70.0, 3.597),
            (80.0, 4.024),
            (90.0, 4.339),
        ] {
            near(mos(r), score, 0.0005);
        }
        assert_eq!(
            (mos(-3.0), mos(3.0), mos(100.0), mos(120.0)),
            (1.0, 1.0, 4.5, 4.5)
        );
    }

    /// Ie,eff by hand: 95 · 1 / (1 + 25.1) = 3.64; 95 · 5 / 30.1 = 15.78; bare, 95 · 1 / 5.3 = 17.92;
    /// G.729 with 2 %, 11 + 84 · 2 / 21 = 19.
    #[test]
    fn loss_costs_what_the_codec_lets_it() {
        for (codec, loss, burst_ratio, expected) in [
            (Codec::G711, 0.01, 1.0, 3.640),
            (Codec::G711, 0.05, 1.0, 15.781),
            (Codec::G711_BARE, 0.01, 1.0, 17.925),
            (Codec::G729, 0.0, 1.0, 11.0),
            (Codec::G729, 0.02, 1.0, 19.0),
            // In runs of twice the length: 95 · 5 / (2.5 + 25.1).
            (Codec::G711, 0.05, 2.0, 17.210),
            // Runs cannot be shorter than those of independent losses.
            (Codec::G711, 0.05, 0.5, 15.781),
        ] {
            near(codec.effective(loss, burst_ratio), expected, 0.001);
        }
    }

    /// Worked out apart from this code. Users are very satisfied (90 and more) to 100 ms, satisfied
    /// (80) to 200 ms, and some are dissatisfied (70) at 300 ms, as G.114 figure 1 has it.
    #[test]
    fn delay_costs_little_up_to_150_ms_and_much_beyond() {
        near(delay_impairment(0.0), 0.149, 0.001);
        for (delay_ms, expected) in [
            (50.0, 91.756),
            (100.0, 90.664),
            (150.0, 89.539),
            (200.0, 85.805),
            (250.0, 79.177),
            (300.0, 72.666),
            (400.0, 62.247),
            (1000.0, 39.077),
        ] {
            near(rate(&path(delay_ms, 0.0, Codec::G711)).r, expected, 0.001);
        }
    }

    #[test]
    fn nothing_can_be_worse_than_bad() {
        let rating = rate(&path(9_999.0, 1.0, Codec::G729));
        assert!(rating.r < 1.0 && rating.mos == 1.0, "{rating:?}");
        let wild = Path {
            delay_ms: f64::MAX,
            loss: 7.0,
            burst_ratio: 1e300,
            codec: Codec::G711_BARE,
        };
        assert_eq!(rate(&wild), Rating { r: 0.0, mos: 1.0 });
    }

    #[test]
    fn codecs_by_name_and_by_number() {
        assert_eq!(Codec::of_name(b"pcma"), Some(Codec::G711));
        assert_eq!(Codec::of_name(b"G729"), Codec::of_static(18));
        assert_eq!(Codec::of_name(b"opus"), None);
        assert_eq!(
            (Codec::of_static(0), Codec::of_static(96)),
            (Some(Codec::G711), None)
        );
    }

    #[test]
    fn delay_is_half_of_both_ways_and_what_buffers_hold() {
        assert_eq!(path_delay_ms([None, None], 20.0, 0.0), 40.0);
        assert_eq!(path_delay_ms([Some(60.0), None], 20.0, 5.0), 80.0);
        assert_eq!(path_delay_ms([Some(60.0), Some(100.0)], 30.0, 1.5), 143.0);
        let reframed = |packet, leaving| path_delay_ms([None, None], reframed_ms(packet, leaving), 0.0);
        assert_eq!((reframed(20.0, 20.0), reframed(20.0, 60.0)), (40.0, 120.0));
        assert_eq!(reframed(60.0, 20.0), 80.0);
    }
}
