//! A daemon with a listener for each transport, a carrier that calls and a platform that answers.
#![allow(dead_code, reason = "each test file uses what it needs")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sbc_core::{
    config,
    counters::ShardCounters,
    driver::{
        backend::BackendKind,
        clock::Clock,
        launch::{Launched, Settings, launch},
        registrar::Registrar,
    },
    shard::{Command, Reply},
};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// How a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Udp,
    Tcp,
    Tls,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The daemon's port for it.
    fn port(self) -> u16 {
        match self {
            Self::Udp => 5060,
            Self::Tcp => 5070,
            Self::Tls => 5061,
        }
    }
}

/// Certificates of one test, in files that go with it.
struct Certificates {
    directory: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Certificates {
    fn new(net: u8) -> Self {
        let directory = std::env::temp_dir().join(format!("sbc-streams-{}-{net}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.join("ca.pem"), ca.pem()).unwrap();
        let certificates = Self { directory, ca };
        for name in ["sbc", "carrier", "platform"] {
            certificates.issue(name, &format!("{name}.test"));
        }
        certificates
    }

    fn issue(&self, file: &str, name: &str) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        fs::write(self.directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn identity(&self, file: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(self.directory.join(format!("{file}.pem")))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(self.directory.join(format!("{file}.key"))).unwrap();
        (chain, key)
    }

    fn client(&self, certified: bool) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        Arc::new(if certified {
            let (chain, key) = self.identity("carrier");
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        })
    }

    fn server(&self) -> Arc<ServerConfig> {
        let (chain, key) = self.identity("platform");
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(config.with_single_cert(chain, key).unwrap())
    }
}

/// Shards on `127.79.NET.1`, the carrier on `.2`, the platform on `.3`.
pub(crate) struct Daemon {
    launched: Launched,
    net: u8,
    certificates: Certificates,
}

/// What came of a test.
pub(crate) struct Worth {
    pub(crate) shards: Vec<ShardCounters>,
}

impl Daemon {
    /// `None` when this system has no such backend; the daemon would say so at start.
    pub(crate) fn start(net: u8, backend: BackendKind, shards: u8, from: Kind, to: Kind) -> Option<Self> {
        let certificates = Certificates::new(net);
        let text = format!(
            r#"
            [[listener]]
            name = "UDP"
            address = "127.79.{net}.1:5060"
            [[listener]]
            name = "TCP"
            transport = "tcp"
            address = "127.79.{net}.1:5070"
            [[listener]]
            name = "TLS"
            transport = "tls"
            address = "127.79.{net}.1:5061"
            [listener.tls]
            certificate = "DIR/sbc.pem"
            key = "DIR/sbc.key"
            client_auth = "required"
            client_ca = "DIR/ca.pem"
            [media]
            address = "127.79.{net}.1"
            ports = "20000-20999"
            [[trunk]]
            name = "carrier"
            hosts = ["127.79.{net}.2"]
            listener = "{from}"
            tls = {{ {names} }}
            [[trunk]]
            name = "platform"
            hosts = ["127.79.{net}.3"]
            target = "127.79.{net}.3:5066"
            listener = "{to}"
            tls = {{ ca = "DIR/ca.pem", server_name = "platform.test" }}
            [[route]]
            from = "carrier"
            to = "platform"
            "#,
            from = from.name(),
            to = to.name(),
            names = if from == Kind::Tls {
                "client_names = [\"carrier.test\"]"
            } else {
                ""
            },
        )
        .replace("DIR", certificates.directory.to_str().unwrap());
        let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
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
            Ok(launched) => Some(Self {
                launched,
                net,
                certificates,
            }),
            Err(error) if backend == BackendKind::IoUring && error.to_string().contains("permitted") => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn address(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 79, self.net, host], port))
    }

    /// Give the platform a certificate for `name`.
    pub(crate) fn platform_is(&mut self, name: &str) {
        self.certificates.issue("platform", name);
    }

    /// A socket of `host` that is not connected yet.
    pub(crate) fn socket(&self, host: u8) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&self.address(host, 0).into()).unwrap();
        socket
    }

    /// A connection to the listener for `kind`.
    pub(crate) fn connected(&self, socket: Socket, kind: Kind) -> TcpStream {
        socket.connect(&self.address(1, kind.port()).into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// A connection from `host` to the listener for `kind`.
    pub(crate) fn connect_from(&self, host: u8, kind: Kind) -> TcpStream {
        self.connected(self.socket(host), kind)
    }

    /// Wait until no call is left, then end the shards.
    pub(crate) fn finish(self) -> Worth {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (shards, threads) = self.launched.into_parts();
        let stats = tokio::task::LocalSet::new().block_on(&runtime, async {
            let (failed, _failure) = tokio::sync::oneshot::channel();
            let config = sbc_core::config::default_config();
            let dns = sbc_core::driver::dns::Dns::new(&config.dns, &config.compile().unwrap().0);
            let (registrar, _) = Registrar::in_memory(Clock::start());
            let pump = tokio::task::spawn_local(shards.clone().run(failed, dns, registrar));
            for _ in 0..500 {
                if shards.gauges().await.unwrap().calls == 0 {
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
        let shards = stats.into_iter().map(|reply| match reply {
            Reply::Stats(counters, gauges) => {
                assert_eq!(gauges.calls, 0);
                *counters
            }
            other => panic!("{other:?}"),
        });
        Worth {
            shards: shards.collect(),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

enum Medium {
    Datagrams(UdpSocket, SocketAddr),
    Stream(Box<dyn Stream>, Vec<u8>),
}

/// The carrier's end: whole messages in, whole messages out.
pub(crate) struct Wire {
    medium: Medium,
    kind: Kind,
    host: SocketAddr,
    daemon: SocketAddr,
}

impl Wire {
    pub(crate) fn open(daemon: &Daemon, kind: Kind) -> Self {
        let to = daemon.address(1, kind.port());
        let (medium, host) = match kind {
            Kind::Udp => {
                let socket = UdpSocket::bind(daemon.address(2, 5060)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                (Medium::Datagrams(socket, to), daemon.address(2, 5060))
            }
            Kind::Tcp | Kind::Tls => {
                let stream = daemon.connect_from(2, kind);
                let host = stream.local_addr().unwrap();
                let stream: Box<dyn Stream> = if kind == Kind::Tls {
                    let name = ServerName::try_from("sbc.test").unwrap();
                    let tls = ClientConnection::new(daemon.certificates.client(true), name).unwrap();
                    Box::new(StreamOwned::new(tls, stream))
                } else {
                    Box::new(stream)
                };
                (Medium::Stream(stream, Vec::new()), host)
            }
        };
        Self {
            medium,
            kind,
            host,
            daemon: to,
        }
    }

    /// What becomes of a TLS connection whose client shows no certificate.
    pub(crate) fn try_without_certificate(daemon: &Daemon) -> io::Result<usize> {
        let name = ServerName::try_from("sbc.test").unwrap();
        let tls = ClientConnection::new(daemon.certificates.client(false), name).unwrap();
        let mut stream = StreamOwned::new(tls, daemon.connect_from(2, Kind::Tls));
        stream.write_all(b"\r\n\r\n")?;
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).map(|()| 2)
    }

    fn send(&mut self, text: &str) {
        match &mut self.medium {
            Medium::Datagrams(socket, to) => drop(socket.send_to(text.as_bytes(), *to).unwrap()),
            Medium::Stream(stream, _) => stream.write_all(text.as_bytes()).unwrap(),
        }
    }

    fn receive(&mut self) -> io::Result<String> {
        match &mut self.medium {
            Medium::Datagrams(socket, _) => {
                let mut buffer = [0; 65536];
                let (len, _) = socket.recv_from(&mut buffer)?;
                Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
            }
            Medium::Stream(stream, rest) => next_message(&mut **stream, rest),
        }
    }

    /// The next final response.
    pub(crate) fn expect_final(&mut self) -> String {
        loop {
            match self.receive() {
                Ok(text) if text.starts_with("SIP/2.0 1") => {}
                Ok(text) => return text,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no final response: {error}"),
            }
        }
    }

    fn request(&self, method: &str, target: &str, to: &str, id: u32, cseq: u32, rest: &str) -> String {
        let (host, transport) = (self.host, self.kind.name());
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {host};branch=z9hG4bK-{method}{id}\r\n\
             From: <sip:alice@{host}>;tag=a{id}\r\nTo: {to}\r\nCall-ID: {id}@{host}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:alice@{host};transport={transport}>\r\nMax-Forwards: 70\r\n{rest}"
        )
    }

    pub(crate) fn invite(&mut self, id: u32) {
        let target = format!("sip:1000@{}", self.daemon);
        let sdp = sdp(self.host);
        let body = format!(
            "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        let text = self.request("INVITE", &target, &format!("<{target}>"), id, 1, &body);
        self.send(&text);
    }
}

/// A call that is answered and hung up by the caller.
pub(crate) fn call(carrier: &mut Wire, id: u32) {
    carrier.invite(id);
    let ok = carrier.expect_final();
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    let contact = header(&ok, "Contact");
    let target = contact.trim_start_matches('<').split('>').next().unwrap();
    let to = header(&ok, "To");
    let empty = "Content-Length: 0\r\n\r\n";
    let ack = carrier.request("ACK", target, to, id, 1, empty);
    carrier.send(&ack);
    let bye = carrier.request("BYE", target, to, id, 2, empty);
    carrier.send(&bye);
    let done = carrier.expect_final();
    assert!(done.starts_with("SIP/2.0 200"), "{done}");
    assert!(header(&done, "CSeq").ends_with("BYE"), "{done}");
}

/// A platform that answers every call, on every connection that it is given.
pub(crate) struct Answering {
    acknowledged: Arc<AtomicU32>,
}

impl Answering {
    pub(crate) fn start(daemon: &Daemon, kind: Kind) -> Self {
        let acknowledged = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&acknowledged);
        let at = daemon.address(3, 5066);
        match kind {
            Kind::Udp => {
                let socket = UdpSocket::bind(at).unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 65536];
                    loop {
                        // Work of a ring in this process may interrupt the wait.
                        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                            continue;
                        };
                        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                        if let Some(answer) = answer(&text, at, kind, &count) {
                            socket.send_to(answer.as_bytes(), from).unwrap();
                        }
                    }
                });
            }
            Kind::Tcp | Kind::Tls => {
                let listener = TcpListener::bind(at).unwrap();
                let config = daemon.certificates.server();
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let (config, count) = (Arc::clone(&config), Arc::clone(&count));
                        thread::spawn(move || {
                            let mut stream: Box<dyn Stream> = if kind == Kind::Tls {
                                let tls = ServerConnection::new(config).unwrap();
                                Box::new(StreamOwned::new(tls, stream))
                            } else {
                                Box::new(stream)
                            };
                            let mut rest = Vec::new();
                            while let Ok(text) = next_message(&mut *stream, &mut rest) {
                                if let Some(answer) = answer(&text, at, kind, &count)
                                    && stream.write_all(answer.as_bytes()).is_err()
                                {
                                    break;
                                }
                            }
                        });
                    }
                });
            }
        }
        Self { acknowledged }
    }

    /// Calls that were answered and acknowledged.
    pub(crate) fn acknowledged(&self) -> u32 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

fn answer(request: &str, at: SocketAddr, kind: Kind, acknowledged: &AtomicU32) -> Option<String> {
    let to = header(request, "To");
    let copied = ["From", "Call-ID", "CSeq"]
        .map(|name| format!("{name}: {}\r\n", header(request, name)))
        .concat();
    let via = header(request, "Via");
    assert!(via.contains(kind.name()), "{via}");
    if request.starts_with("INVITE ") {
        let sdp = sdp(at);
        return Some(format!(
            "SIP/2.0 200 OK\r\nVia: {via}\r\n{copied}To: {to};tag=b1\r\nContact: <sip:bob@{at};transport={}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            kind.name(),
            sdp.len()
        ));
    }
    if request.starts_with("ACK ") {
        acknowledged.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    assert!(request.starts_with("BYE "), "{request}");
    Some(format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\n{copied}To: {to}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn sdp(host: SocketAddr) -> String {
    let ip = host.ip();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{message}"))[name.len() + 1..].trim()
}

/// The next whole message of a stream (RFC 3261 §18.3); what follows it stays in `rest`.
fn next_message(stream: &mut dyn Stream, rest: &mut Vec<u8>) -> io::Result<String> {
    loop {
        while rest.starts_with(b"\r\n") {
            rest.drain(..2);
        }
        if let Some(head) = rest.windows(4).position(|part| part == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&rest[..head + 2]).into_owned();
            let len = head + 4 + header(&text, "Content-Length").parse::<usize>().unwrap();
            if rest.len() >= len {
                return Ok(String::from_utf8_lossy(&rest.drain(..len).collect::<Vec<_>>()).into_owned());
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => rest.extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
