//! The RTP view against `rtp-rs`, and that no bytes can make a view panic.

use proptest::prelude::*;
use sbc_media::{rtcp, rtp};

/// Bytes that are often nearly RTP.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(any::<u8>(), 0..120),
        any::<bool>(),
        0u8..64,
        0u16..8,
    )
        .prop_map(|(mut bytes, likely, flags, words)| {
            if likely && !bytes.is_empty() {
                bytes[0] = 0x80 | flags;
                let extension = 12 + 4 * usize::from(flags & 0x0f);
                if let Some(length) = bytes.get_mut(extension + 2..extension + 4) {
                    length.copy_from_slice(&words.to_be_bytes());
                }
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn rtp_agrees_with_the_oracle(bytes in datagram()) {
        let ours = rtp::Packet::new_checked(&bytes[..]);
        let theirs = rtp_rs::RtpReader::new(&bytes);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs.as_ref().err());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.marker(), theirs.mark());
            prop_assert_eq!(ours.payload_type(), theirs.payload_type());
            prop_assert_eq!(ours.sequence(), u16::from(theirs.sequence_number()));
            prop_assert_eq!(ours.timestamp(), theirs.timestamp());
            prop_assert_eq!(ours.ssrc(), theirs.ssrc());
            prop_assert_eq!(ours.csrcs().collect::<Vec<_>>(), theirs.csrc().collect::<Vec<_>>());
            prop_assert_eq!(ours.header_len(), theirs.payload_offset());
            prop_assert_eq!(ours.payload(), theirs.payload());
        }
    }

    #[test]
    fn rtcp_views_stay_inside(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        kinds in prop::collection::vec((0u8..64, 198u8..210, 0u8..12), 0..6),
    ) {
        // Lay plausible headers one behind the other.
        let mut at = 0;
        for (flags, kind, words) in kinds {
            let Some(header) = bytes.get_mut(at..at + 4) else { break };
            header.copy_from_slice(&[0x80 | flags, kind, 0, words]);
            at += 4 + 4 * usize::from(words);
        }
        for bytes in [&bytes[..], bytes.get(..at).unwrap_or_default()] {
            let _ = rtcp::Kind::of(bytes);
            let Ok(compound) = rtcp::Compound::new_checked(bytes) else { continue };
            for packet in compound.packets() {
                let reports = packet.reports().inspect(|report| {
                    let _ = (report.ssrc(), report.fraction_lost(), report.highest_sequence(), report.jitter());
                    assert!((-(1 << 23)..1 << 23).contains(&report.lost()));
                });
                let promised = matches!(packet.packet_type(), 200 | 201).then_some(usize::from(packet.count()));
                prop_assert_eq!(reports.count(), promised.unwrap_or(0));
                let _ = packet.ssrc();
            }
        }
    }
}
