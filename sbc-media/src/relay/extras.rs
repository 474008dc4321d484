//! What only some calls need, and which steps that puts into the walks of their packets.

use super::{Crypto, Formats, Keys, Listener, MediaSocket, Outlet, PairIndex, Relay, Socket, Walk};

/// What is too large for every socket. Both sockets of a pair share what the RTP socket has.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// The peer's keys, and ours for it.
    pub(super) crypto: Option<Crypto>,
    /// What becomes of the peer's payload types.
    pub(super) formats: Option<Formats>,
    /// The stream that leaves for the peer.
    pub(super) outlet: Option<Box<Outlet>>,
    /// What hears the digits that the peer sends.
    pub(super) digits: Option<Box<Listener>>,
}

impl Extras {
    /// Whether what leaves for the peer has packets of another length.
    fn reframes(&self) -> bool {
        self.outlet
            .as_ref()
            .is_some_and(|outlet| outlet.repacketizer.is_some())
    }

    fn is_empty(&self) -> bool {
        self.crypto.is_none() && self.formats.is_none() && self.outlet.is_none() && self.digits.is_none()
    }
}

impl Relay {
    /// What to do with the payload types that the peer of `pair` sends, so that the other side gets
    /// its own. `None`: everything passes. Ends with [`Relay::close`].
    pub fn set_formats(&mut self, pair: PairIndex, formats: Option<&Formats>) {
        let formats = formats.filter(|formats| **formats != Formats::PASS);
        self.change_extras(pair, |extras| extras.formats = formats.copied());
    }

    /// Protect what leaves for the peer of `pair` with SRTP and SRTCP, and accept nothing else from
    /// it (RFC 3711). `None`: both are plain. A direction whose key was set before goes on as it is;
    /// another key takes over with its rollover counters, and what the peer has sent before under
    /// its old key still passes for [`GRACE`](super::GRACE). A key must not come back to a
    /// direction that had another one in between. Ends with [`Relay::close`].
    pub fn set_keys(&mut self, pair: PairIndex, keys: Option<&Keys>) {
        self.change_extras(pair, |extras| match (&mut extras.crypto, keys) {
            (Some(crypto), Some(keys)) => crypto.set(keys),
            (crypto, keys) => *crypto = keys.map(Crypto::new),
        });
    }

    pub(super) fn change_extras(&mut self, pair: PairIndex, change: impl FnOnce(&mut Extras)) {
        let slot = self.sockets.get_mut(pair.rtp().0 as usize);
        let Some(slot) = slot.filter(|slot| slot.active) else {
            return;
        };
        let mut extras = slot.extras.take().unwrap_or_default();
        change(&mut extras);
        slot.extras = Some(extras).filter(|extras| !extras.is_empty());
        let partner = MediaSocket(slot.partner);
        self.compose(pair);
        // The other side's packets are numbered, and protected with our key, for this one.
        self.compose(partner.pair());
    }

    /// Find the steps of packets that arrive on `pair`, after one of the two sides has changed.
    pub(super) fn compose(&mut self, pair: PairIndex) {
        let Some(own) = self.socket(pair.rtp()) else {
            return;
        };
        let extras = |slot: &Socket, has: fn(&Extras) -> bool| slot.extras.as_deref().is_some_and(has);
        let other = self.socket(MediaSocket(own.partner));
        let walk = Walk::compose(super::walk::Wanted {
            unprotect: extras(own, |extras| extras.crypto.is_some()),
            listen: extras(own, |extras| extras.digits.is_some()),
            format: extras(own, |extras| extras.formats.is_some()),
            reframe: other.is_some_and(|other| extras(other, Extras::reframes)),
            number: other.is_some_and(|other| extras(other, |extras| extras.outlet.is_some())),
            protect: other.is_some_and(|other| extras(other, |extras| extras.crypto.is_some())),
        });
        if let Some(own) = self.sockets.get_mut(pair.rtp().0 as usize) {
            own.walk = walk;
        }
    }
}
