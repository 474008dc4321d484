//! SRTP and SRTCP: arbitrary packets into a receiver, and between them good ones, all of which must pass.
//!
//! The first octet chooses the suite, and from 128 on that packets name their key. The rest is a series of `meta, length, packet`.

use sbc_media::srtp::{MKI_LEN_MAX, MasterKey, Mki, OVERHEAD_MAX, Receiver, Sender, Suite};

/// Feeds every packet to a receiver, or to a sender whose packets it gets.
pub(crate) fn run(bytes: &[u8]) {
    let [choice, rest @ ..] = bytes else { return };
    let suite = Suite::ALL[usize::from(*choice) % Suite::ALL.len()];
    let key = |suite, generation| key(suite, generation, choice & 0x80 != 0);
    let mut generation = 0;
    let (mut sender, mut receiver) = {
        let key = key(suite, generation);
        (Sender::new(&key), Receiver::new(&key))
    };
    let mut rest = rest;
    while let [meta, len, tail @ ..] = rest {
        let (packet, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let rtcp = meta & 1 != 0;
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + OVERHEAD_MAX, 0x55);
        let refused = if rtcp {
            receiver.unprotect_rtcp(&mut buffer, packet.len()).is_err()
        } else {
            receiver.unprotect(&mut buffer, packet.len()).is_err()
        };
        // A tag of 32 bits can be met by chance.
        let short = matches!(suite, Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32);
        assert!(refused || short && !rtcp);
        if meta & 2 != 0 {
            good(&mut sender, &mut receiver, packet, rtcp);
        }
        if meta & 0x1c == 0x1c {
            generation += 1;
            sender.rekey(&key(suite, generation));
            receiver.rekey(&key(suite, generation));
        }
    }
}

/// What the sender protects, the receiver reads: nothing in between has moved it.
fn good(sender: &mut Sender, receiver: &mut Receiver, packet: &[u8], rtcp: bool) {
    let mut plain = packet.to_vec();
    // Few sources, so that none is forgotten.
    let ssrc = if rtcp { 4..8 } else { 8..12 };
    if let Some(ssrc) = plain.get_mut(ssrc) {
        ssrc[..3].fill(0);
        ssrc[3] &= 7;
    }
    let mut buffer = plain.clone();
    buffer.resize(plain.len() + OVERHEAD_MAX + MKI_LEN_MAX, 0xaa);
    let protected = if rtcp {
        sender.protect_rtcp(&mut buffer, plain.len())
    } else {
        sender.protect(&mut buffer, plain.len())
    };
    let Ok(len) = protected else { return };
    assert!(len <= buffer.len());
    let opened = if rtcp {
        receiver.unprotect_rtcp(&mut buffer, len)
    } else {
        receiver.unprotect(&mut buffer, len)
    };
    assert_eq!(opened, Ok(plain.len()));
    assert_eq!(buffer[..plain.len()], plain);
}

fn key(suite: Suite, generation: u8, named: bool) -> MasterKey {
    let octets = [generation; 46];
    let key =
        MasterKey::new(suite, &octets[..suite.key_bytes() + suite.salt_bytes()]).expect("of its length");
    match Mki::new(&[1, generation]).filter(|_| named) {
        Some(mki) => key.identified(mki),
        None => key,
    }
}
