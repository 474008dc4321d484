//! What a peer hears: packets that the relay sends to it, of our own and relayed, in the order in which they leave.

use crate::desk::*;
use sbc_media::{
    g711::Law,
    relay::{DropReason, PairIndex, Verdict},
    rtp,
    time::Timestamp,
};
use std::{f64::consts::TAU, net::SocketAddr, time::Duration};

/// The caller's pair and the callee's, in a desk's first call.
pub(crate) const TO_CALLER: PairIndex = PairIndex(0);
pub(crate) const TO_CALLEE: PairIndex = PairIndex(1);

/// An RTP packet on its way to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) at: Timestamp,
    pub(crate) pair: PairIndex,
    pub(crate) to: Option<SocketAddr>,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    fn of(at: Timestamp, verdict: Verdict, buffer: &[u8]) -> Result<Self, DropReason> {
        match verdict {
            Verdict::Forward { socket, to, len } => Ok(Self {
                at,
                pair: socket.pair(),
                to,
                bytes: buffer[..len].to_vec(),
            }),
            Verdict::Drop(reason) => Err(reason),
        }
    }

    fn view(&self) -> rtp::Packet<&[u8]> {
        rtp::Packet::new_checked(&self.bytes[..]).unwrap()
    }

    pub(crate) fn payload_type(&self) -> u8 {
        self.view().payload_type()
    }

    pub(crate) fn sequence(&self) -> u16 {
        self.view().sequence()
    }

    pub(crate) fn timestamp(&self) -> u32 {
        self.view().timestamp()
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.view().ssrc()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[12..]
    }
}

/// Let time pass. What is sent of our own meanwhile, but for RTCP; SIP messages are put to `sent`.
pub(crate) fn hear_all(desk: &mut Desk, duration: Duration, sent: &mut Vec<Sent>) -> Vec<Packet> {
    desk.own_media.clear();
    sent.extend(desk.pass(duration));
    let heard = std::mem::take(&mut desk.own_media).into_iter();
    heard
        .filter(|own| !own.socket.is_rtcp())
        .map(|own| Packet {
            at: own.at,
            pair: own.socket.pair(),
            to: own.to,
            bytes: own.packet,
        })
        .collect()
}

/// The same where no SIP message is sent.
pub(crate) fn hear(desk: &mut Desk, duration: Duration) -> Vec<Packet> {
    let mut sent = Vec::new();
    let heard = hear_all(desk, duration, &mut sent);
    assert_eq!(kinds(&sent), Vec::<String>::new());
    heard
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Packet `n` of a stream of 20 ms G.711: every octet of the payload is `sample`.
pub(crate) fn rtp(ssrc: u32, payload_type: u8, n: u16, sample: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(n.to_be_bytes());
    packet.extend((u32::from(n) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([sample; 160]);
    packet
}

/// What becomes of a packet that arrives on `pair` from its peer at `from`.
pub(crate) fn arrive(
    desk: &mut Desk,
    pair: PairIndex,
    from: &str,
    packet: &[u8],
) -> Result<Packet, DropReason> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + 256, 0);
    let from = from.parse().unwrap();
    let verdict = desk
        .shard
        .relay
        .forward(desk.now, pair.rtp(), from, &mut buffer, packet.len());
    let packet = Packet::of(desk.now, verdict, &buffer);
    assert!(desk.run_media().is_empty());
    packet
}

/// Nothing is played to anybody.
pub(crate) fn assert_silent(desk: &Desk) {
    let mut pairs = (0..16).map(PairIndex);
    assert!(pairs.all(|pair| desk.shard.relay.sound(pair).is_none()));
}

/// `packets` are one stream: one SSRC, each number once and in order, and time that goes on as the clock does, to within
/// a packet of 20 ms.
pub(crate) fn assert_one_stream(packets: &[Packet]) {
    for pair in packets.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(before.ssrc(), after.ssrc());
        assert_eq!(
            after.sequence(),
            before.sequence().wrapping_add(1),
            "{before:?}\n{after:?}"
        );
        let clock = after.timestamp().wrapping_sub(before.timestamp());
        let passed = after.at.since(before.at).as_millis() as u32 * 8;
        assert!(clock > 0 && clock.abs_diff(passed) <= 160, "{clock} for {passed}");
    }
}

/// Power of `samples` in dBm0 within a few Hz around `hz`, and in all.
pub(crate) fn levels(law: Law, samples: &[u8], hz: f64) -> (f64, f64) {
    let full = f64::from(law.amplitude(0.0)).powi(2) / 2.0;
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, octet) in samples.iter().enumerate() {
        let sample = f64::from(law.decoder()[usize::from(*octet)]);
        let angle = TAU * hz * n as f64 / 8000.0;
        re += sample * angle.cos();
        im += sample * angle.sin();
        all += sample * sample;
    }
    let n = samples.len() as f64;
    let power = 2.0 * (re * re + im * im) / (n * n);
    (10.0 * (power / full).log10(), 10.0 * (all / n / full).log10())
}
