//! A running daemon without its process, and two peers that place a call through it over real
//! sockets.
#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::disallowed_types, reason = "the peers own sockets, too")]

use sbc_core::{
    config,
    counters::ShardCounters,
    driver::{
        backend::BackendKind,
        clock::Clock,
        dns::Dns,
        launch::{Launched, Settings, launch},
        registrar::Registrar,
    },
    shard::{Command, Gauges, Reply},
};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

/// Shards on `127.78.NET.1`, with trunks `carrier` on `.2` and `platform` on `.3`.
pub(crate) struct Daemon {
    pub(crate) launched: Launched,
    pub(crate) listener: SocketAddr,
    pub(crate) net: u8,
}

/// `None` when this system has no such backend; the daemon would say so at start.
pub(crate) fn start(net: u8, backend: BackendKind, shards: u8) -> Option<Daemon> {
    let text = format!(
        r#"
        [[listener]]
        name = "main"
        address = "127.78.{net}.1:5060"
        [media]
        address = "127.78.{net}.1"
        ports = "20000-20999"
        [[trunk]]
        name = "carrier"
        hosts = ["127.78.{net}.2"]
        [[trunk]]
        name = "platform"
        hosts = ["127.78.{net}.3"]
        [[route]]
        from = "carrier"
        to = "platform"
        # A build for tests has enough to do with one call after the other.
        [overload]
        busy_max = 0
        "#
    );
    start_as(&text, net, backend, shards)
}

/// [`start`], configured by `text`.
pub(crate) fn start_as(text: &str, net: u8, backend: BackendKind, shards: u8) -> Option<Daemon> {
    let (snapshot, admission) = config::parse(text, "test").unwrap().compile().unwrap();
    let settings = Settings {
        snapshot: Arc::new(snapshot),
        admission: Arc::new(admission),
        shards: Some(shards),
        pin: false,
        cpus: None,
        backend: Some(backend),
        gather: Duration::from_micros(500),
        seed: Some(u64::from(net)),
    };
    match launch(&settings) {
        Ok(launched) => Some(Daemon {
            launched,
            listener: format!("127.78.{net}.1:5060").parse().unwrap(),
            net,
        }),
        Err(error) if backend == BackendKind::IoUring && error.to_string().contains("permitted") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

impl Daemon {
    pub(crate) fn carrier(&self) -> Peer {
        Peer::new(format!("127.78.{}.2", self.net), self.listener)
    }

    pub(crate) fn platform(&self) -> Peer {
        Peer::new(format!("127.78.{}.3", self.net), self.listener)
    }

    /// Ask the shards until `done` is content with what they hold, then end them.
    pub(crate) fn finish(self, done: impl Fn(&Gauges) -> bool) -> Vec<(ShardCounters, Gauges)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (shards, threads) = self.launched.into_parts();
        let config = config::default_config();
        let dns = Dns::new(&config.dns, &config.compile().unwrap().0);
        let stats = tokio::task::LocalSet::new().block_on(&runtime, async {
            let (failed, _failure) = tokio::sync::oneshot::channel();
            let (registrar, _) = Registrar::in_memory(Clock::start());
            let pump = tokio::task::spawn_local(shards.clone().run(failed, dns, registrar));
            for _ in 0..500 {
                if done(&shards.gauges().await.unwrap()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let stats = shards.broadcast(Command::Stats).await.unwrap();
            pump.abort();
            let _ = pump.await;
            stats
        });
        drop(shards);
        assert!(threads.join(), "a shard thread panicked");
        let stats = stats.into_iter().map(|reply| match reply {
            Reply::Stats(counters, gauges) => (*counters, gauges),
            other => panic!("{other:?}"),
        });
        stats.collect()
    }
}

/// One side: its SIP socket and its media socket.
pub(crate) struct Peer {
    pub(crate) host: String,
    pub(crate) sip: UdpSocket,
    pub(crate) media: UdpSocket,
    daemon: SocketAddr,
}

/// A call that is up, with the daemon's media address towards each side.
pub(crate) struct Call {
    pub(crate) towards_carrier: SocketAddr,
    pub(crate) towards_platform: SocketAddr,
    dialog: String,
}

impl Peer {
    pub(crate) fn new(host: String, daemon: SocketAddr) -> Self {
        let media = host.clone();
        Self::with_media(host, &media, daemon)
    }

    /// One whose media has an address of its own.
    pub(crate) fn with_media(host: String, media: &str, daemon: SocketAddr) -> Self {
        let open = |host: &str, port| {
            let socket = UdpSocket::bind((host, port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            socket
        };
        Self {
            sip: open(&host, 5060),
            media: open(media, 0),
            host,
            daemon,
        }
    }

    fn send(&self, text: &str) {
        self.sip.send_to(text.as_bytes(), self.daemon).unwrap();
    }

    /// The next message whose first line starts with `start`; others are passed over.
    pub(crate) fn expect(&self, start: &str) -> String {
        let mut buffer = [0; 65536];
        loop {
            let (len, _) = receive(&self.sip, &mut buffer).unwrap_or_else(|e| panic!("no {start}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    fn sdp(&self) -> String {
        let media = self.media.local_addr().unwrap();
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
            family = if media.is_ipv4() { "IP4" } else { "IP6" },
            ip = media.ip(),
            port = media.port()
        )
    }
}

/// The lines of a call from `carrier` by which it is known.
fn caller_lines(carrier: &Peer, id: u32) -> (String, String) {
    let host = &carrier.host;
    let via = format!("Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK-");
    let dialog = format!("From: <sip:alice@{host}>;tag=a{id}\r\nCall-ID: {id}@{host}\r\n");
    (via, dialog)
}

/// Send the INVITE of a call, and wait for nothing.
pub(crate) fn invite(carrier: &Peer, id: u32) {
    let (via, dialog) = caller_lines(carrier, id);
    let (host, offer) = (&carrier.host, carrier.sdp());
    carrier.send(&format!(
        "INVITE sip:1000@{daemon} SIP/2.0\r\n{via}i{id}\r\n{dialog}To: <sip:1000@{daemon}>\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:alice@{host}:5060>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
         Content-Length: {len}\r\n\r\n{offer}",
        daemon = carrier.daemon,
        len = offer.len()
    ));
}

/// Set a call up from `carrier` to `platform`.
pub(crate) fn call(carrier: &Peer, platform: &Peer, id: u32) -> Call {
    let (via, dialog) = caller_lines(carrier, id);
    invite(carrier, id);
    let invite = platform.expect("INVITE ");
    let answer = platform.sdp();
    platform.send(&format!(
        "SIP/2.0 200 OK\r\n{copied}To: {to};tag=b{id}\r\nContact: <sip:bob@{host}:5060>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {len}\r\n\r\n{answer}",
        copied = copied(&invite),
        to = header(&invite, "To"),
        host = platform.host,
        len = answer.len()
    ));
    let ok = carrier.expect("SIP/2.0 200");
    let dialog = format!("{dialog}To: {}\r\nMax-Forwards: 70\r\n", header(&ok, "To"));
    let target = header(&ok, "Contact")
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap()
        .to_owned();
    let request = |method: &str, cseq: u32| {
        format!(
            "{method} {target} SIP/2.0\r\n{via}{method}{id}\r\n{dialog}CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    carrier.send(&request("ACK", 1));
    platform.expect("ACK ");
    Call {
        towards_carrier: media_address(&ok),
        towards_platform: media_address(&invite),
        dialog: request("BYE", 2),
    }
}

impl Call {
    /// The caller hangs up.
    pub(crate) fn hang_up(self, carrier: &Peer, platform: &Peer) {
        carrier.send(&self.dialog);
        let bye = platform.expect("BYE ");
        platform.send(&format!(
            "SIP/2.0 200 OK\r\n{}To: {}\r\nContent-Length: 0\r\n\r\n",
            copied(&bye),
            header(&bye, "To")
        ));
        carrier.expect("SIP/2.0 200");
    }
}

fn copied(request: &str) -> String {
    ["Via", "From", "Call-ID", "CSeq"]
        .map(|name| format!("{name}: {}\r\n", header(request, name)))
        .concat()
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{message}"))[name.len() + 1..].trim()
}

fn media_address(message: &str) -> SocketAddr {
    let find = |start| {
        message
            .lines()
            .find_map(|line: &str| line.strip_prefix(start))
            .unwrap()
    };
    let port = find("m=audio ").split(' ').next().unwrap().parse().unwrap();
    let (_, ip) = find("c=IN IP").split_once(' ').unwrap();
    SocketAddr::new(ip.trim().parse().unwrap(), port)
}

/// An RTP packet of 172 bytes.
pub(crate) fn rtp(sequence: u16, ssrc: u32) -> [u8; 172] {
    let mut packet = [0xD5; 172];
    packet[0] = 0x80;
    packet[1] = 8;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

/// The next datagram. Work of a ring in this process may interrupt the wait for it.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}
