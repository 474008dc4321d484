//! RTCP: what is taken out of a compound, and SSRCs exchanged in it.

use sbc_media::rtcp::{
    Compound,
    hide::{Cname, hide},
    item_kind, packet_type,
    translate::translate,
};

/// Hides and translates one datagram, and looks at what is left.
pub(crate) fn run(bytes: &[u8]) {
    let cname = Cname::new(*b"twelve bytes");
    let mut buffer = bytes.to_vec();
    let Ok(hidden) = hide(&mut buffer, bytes.len(), &cname) else {
        assert_eq!(buffer, bytes, "a malformed compound stays as it is");
        assert!(translate(&mut buffer, |ssrc: u32| !ssrc).is_err());
        assert_eq!(buffer, bytes);
        return;
    };
    assert!(hidden.len <= bytes.len());
    assert_eq!(
        buffer[hidden.len..],
        bytes[hidden.len..],
        "nothing is written behind it"
    );
    buffer.truncate(hidden.len);
    if !buffer.is_empty() {
        let compound = Compound::new_checked(&buffer).expect("what is left is a compound");
        for packet in compound.packets() {
            assert!(packet.application().is_none());
            assert!(packet.reason().is_empty());
            assert_ne!(packet.packet_type(), packet_type::PAYLOAD_FEEDBACK);
            assert!(packet.xr_blocks().all(|block| block.is_known()));
            for (kind, text) in packet.chunks().flat_map(|chunk| chunk.items()) {
                assert_eq!(kind, item_kind::CNAME);
                assert!(cname.text().starts_with(text));
            }
            for block in packet.xr_blocks().filter_map(|block| block.voip_metrics()) {
                assert!((0.0..1.0).contains(&block.loss));
            }
        }
        let mut again = buffer.clone();
        let second = hide(&mut again, buffer.len(), &cname).expect("valid");
        assert_eq!((second.len, second.removed), (buffer.len(), 0));
        assert_eq!(again, buffer, "what is hidden stays as it is");
    }
    let mut there_and_back = bytes.to_vec();
    for _ in 0..2 {
        translate(&mut there_and_back, |ssrc: u32| !ssrc).expect("valid");
    }
    assert_eq!(there_and_back, bytes);
}
