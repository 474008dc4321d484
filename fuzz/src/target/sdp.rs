//! SDP: reading, and writing the other leg's description.

use sbc_core::sdp::{Rewrite, Sdp};
use std::net::{IpAddr, Ipv4Addr};

/// Reads `bytes` as a description; what can be rewritten reads back as ours, with as many streams.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(sdp) = Sdp::parse(bytes) else { return };
    let _ = (sdp.origin(), sdp.connection());
    for (index, media) in sdp.medias().iter().enumerate() {
        let _ = (sdp.direction_of(index), sdp.remote_of(index));
        let _ = media.formats().count() + media.payload_types().count() + media.rtpmaps().count();
        let _ = (
            media.ptime(),
            media.maxptime(),
            media.rtcp_mux(),
            media.is_rtp(),
            media.rtpmap(0),
        );
    }
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let audio = sdp.first_audio().map(|index| (index, 20_000));
    let with = Rewrite {
        username: "-",
        session_id: 1,
        session_version: 2,
        address,
        audio,
    };
    let mut out = Vec::new();
    match sdp.rewrite(&mut out, &with) {
        Ok(()) => {
            let written = Sdp::parse(&out).expect("what we write can be read");
            assert_eq!(written.medias().len(), sdp.medias().len());
            for (index, media) in written.medias().iter().enumerate() {
                assert!(media.port == 0 || audio == Some((index, media.port)));
            }
        }
        Err(_) => assert!(out.is_empty()),
    }
}
