//! What the differentiated services code points of packets are on the wire, by what a receiver sees.
#![allow(clippy::disallowed_types, reason = "the receiver has ordinary sockets")]

use super::sockets::{self, MediaPorts};
use crate::{
    snapshot::{Listener, MediaInterface},
    transport::Transport,
};
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

const EF: u8 = 46;
const CS5: u8 = 40;

fn listener(bind: &str, transport: Transport) -> Listener {
    let bind: SocketAddr = bind.parse().unwrap();
    Listener {
        name: "test".to_owned(),
        bind,
        advertised: bind,
        transport,
        dscp: CS5,
        tls: None,
    }
}

/// A socket on `ip` that tells how what it receives is marked.
fn receiver(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let (level, option) = match ip {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVTOS),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    };
    let on: libc::c_int = 1;
    // SAFETY: the pointer and length describe one live integer; the descriptor is open.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    socket
}

/// The code point of the next datagram.
fn received(socket: &UdpSocket) -> u8 {
    let mut payload = [0_u8; 64];
    let mut control = [0_u64; 16];
    let mut piece = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: all-zero is an empty header; what it is pointed at lives and is as long as it says.
    // The kernel writes whole control messages, which the macros walk.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut piece;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let len = libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0);
        assert!(len > 0, "{}", io::Error::last_os_error());
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        assert!(!message.is_null(), "the receiver was told nothing");
        // The type of service is an octet, the traffic class an integer.
        let class = match (*message).cmsg_level {
            libc::IPPROTO_IP => *libc::CMSG_DATA(message),
            _ => libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned() as u8,
        };
        assert_eq!(class & 3, 0, "congestion notification is not ours");
        class >> 2
    }
}

/// The code point that a socket sends with.
fn set_on(socket: &impl AsRawFd, ipv4: bool) -> u8 {
    let (level, option) = match ipv4 {
        true => (libc::IPPROTO_IP, libc::IP_TOS),
        false => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    };
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointers describe one live integer and its length; the descriptor is open.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    assert_eq!(got, 0, "{}", io::Error::last_os_error());
    (value >> 2) as u8
}

fn send(from: OwnedFd, to: &UdpSocket) {
    let from = UdpSocket::from(from);
    from.send_to(b"marked", to.local_addr().unwrap()).unwrap();
}

#[test]
fn media_and_signalling_arrive_with_their_marks() {
    for (ip, sip) in [("127.78.230.1", "127.78.230.1:5060"), ("::1", "[::1]:35060")] {
        let ip: IpAddr = ip.parse().unwrap();
        let receiver = receiver(ip);
        let interface = MediaInterface {
            name: "test".to_owned(),
            bind: ip,
            advertised: ip,
            ports: (35_100, 35_103),
            dscp: EF,
        };
        let mut ports = MediaPorts::split(&interface, 1, usize::MAX).remove(0);
        let pair = ports.bind_next(8).unwrap().unwrap();
        send(pair.rtp, &receiver);
        assert_eq!(received(&receiver), EF, "RTP from {ip}");
        send(pair.rtcp, &receiver);
        assert_eq!(received(&receiver), EF, "RTCP from {ip}");

        let mut listeners = sockets::listener_sockets(&listener(sip, Transport::Udp), 1).unwrap();
        send(listeners.remove(0), &receiver);
        assert_eq!(received(&receiver), CS5, "SIP from {ip}");
    }
}

#[test]
fn no_mark_is_none() {
    let ip = IpAddr::from([127, 78, 230, 2]);
    let receiver = receiver(ip);
    let unmarked = Listener {
        dscp: 0,
        ..listener("127.78.230.2:5060", Transport::Udp)
    };
    send(
        sockets::listener_sockets(&unmarked, 1).unwrap().remove(0),
        &receiver,
    );
    assert_eq!(received(&receiver), 0);
}

#[test]
fn connections_are_marked_in_both_directions() {
    for address in ["127.78.230.3:5060", "[::1]:35062"] {
        let bind: SocketAddr = address.parse().unwrap();
        let accepting = sockets::listener_sockets(&listener(address, Transport::Tcp), 1).unwrap();
        let _client = TcpStream::connect(bind).unwrap();
        let accepted = loop {
            // SAFETY: the descriptor is open, and no address is asked for.
            let fd = unsafe {
                libc::accept(
                    accepting[0].as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                )
            };
            if fd >= 0 {
                // SAFETY: just opened, and nobody else's.
                break unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
            }
            assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::WouldBlock);
            std::thread::yield_now();
        };
        assert_eq!(
            set_on(&accepted.as_fd(), bind.is_ipv4()),
            CS5,
            "accepted at {address}"
        );
        let opened = sockets::tcp_client(bind, bind, CS5).unwrap();
        assert_eq!(
            set_on(&opened.as_fd(), bind.is_ipv4()),
            CS5,
            "opened from {address}"
        );
    }
}
