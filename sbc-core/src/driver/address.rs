//! Socket addresses as the kernel writes them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes reserved for an address: `sockaddr_in6` (28) rounded up to the alignment of what follows.
pub(crate) const NAME_LEN: usize = 32;

/// An address in the kernel's form, of length [`Self::len`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct RawAddress {
    bytes: [u8; NAME_LEN],
    len: u32,
}

impl RawAddress {
    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8; NAME_LEN] {
        &self.bytes
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; NAME_LEN];
        let len = match address {
            SocketAddr::V4(v4) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self {
            bytes,
            len: len as u32,
        }
    }
}

/// The address in `name`, when it is IPv4 or IPv6 and complete.
#[inline]
pub(crate) fn parse(name: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = name.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (word, rest) = rest.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(*word), port).into()),
        libc::AF_INET6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, u32::from_be_bytes(*word), scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["192.0.2.7:5060", "[2001:db8::7]:40000", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::from(address);
            assert_eq!(parse(&raw.bytes()[..raw.len() as usize]), Some(address));
        }
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 5060, 7, 3));
        assert_eq!(parse(RawAddress::from(scoped).bytes()), Some(scoped));
    }

    #[test]
    fn short_or_foreign_names_are_no_address() {
        assert_eq!(parse(&[]), None);
        assert_eq!(
            parse(&RawAddress::from("192.0.2.7:1".parse::<SocketAddr>().unwrap()).bytes()[..7]),
            None
        );
        assert_eq!(
            parse(&RawAddress::from("[::1]:1".parse::<SocketAddr>().unwrap()).bytes()[..27]),
            None
        );
        assert_eq!(parse(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
