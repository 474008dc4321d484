//! Text in pieces, appended to octets without the machinery of `fmt`: every message that we send is written so, and
//! a piece costs tens of instructions where `write!` takes hundreds.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// What can be a piece.
pub(crate) trait Put {
    /// Append it to `out`.
    fn put(&self, out: &mut Vec<u8>);
}

/// Append pieces in order: `put!(out, "a=ptime:", ptime, "\r\n")`.
macro_rules! put {
    ($out:expr, $($piece:expr),+ $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        $($crate::text::Put::put(&$piece, out);)+
    }};
}
pub(crate) use put;

impl Put for &str {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Put for &[u8] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

macro_rules! put_numbers {
    ($($number:ty),+) => {$(
        impl Put for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )+};
}
put_numbers!(u8, u16, u32, u64, usize);

impl Put for Ipv4Addr {
    fn put(&self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.octets();
        put!(out, a, ".", b, ".", c, ".", d);
    }
}

impl Put for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => address.put(out),
            // Writing to a Vec cannot fail.
            Self::V6(address) => drop(write!(out, "{address}")),
        }
    }
}

impl Put for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => put!(out, *address.ip(), ":", address.port()),
            Self::V6(_) => drop(write!(out, "{self}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_written_as_fmt_writes_them() {
        for address in [
            "0.0.0.0:0",
            "192.0.2.1:5060",
            "255.255.255.255:65535",
            "[2001:db8::1]:5061",
            "[fe80::1%3]:1",
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let mut out = Vec::new();
            put!(&mut out, "<", address, ">", address.ip(), &b"\0"[..]);
            assert_eq!(out, format!("<{address}>{}\0", address.ip()).into_bytes());
        }
        for number in [0, 9, 10, u64::MAX] {
            let mut out = Vec::new();
            put!(
                &mut out,
                number,
                number as u8,
                number as u16,
                number as u32,
                number as usize
            );
            let (a, b, c) = (number as u8, number as u16, number as u32);
            assert_eq!(out, format!("{number}{a}{b}{c}{number}").into_bytes());
        }
    }
}
