//! Names looked up with a real DNS server, and a daemon whose trunk is a name (S8).
#![cfg(all(feature = "driver", target_os = "linux"))]
#![allow(clippy::disallowed_methods, reason = "time must pass")]

mod driver_support;
#[path = "driver_support/name_server.rs"]
mod name_server;

use driver_support::{Peer, call};
use hickory_proto::rr::RecordType;
use name_server::*;
use sbc_core::{
    config,
    driver::dns::Dns,
    resolve::{Candidate, Query, ResolveError, Resolved},
    transport::Transport,
};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

/// A server, and a resolver that asks it for `sbcd` with these listeners.
struct Lab {
    server: NameServer,
    dns: Dns,
}

fn lab(address: &str, listeners: &[(&str, &str)]) -> Lab {
    let server = NameServer::start(address);
    let mut text = format!(
        "[dns]\nservers = [\"{}\"]\ntimeout_ms = 200\n[media]\naddress = \"127.0.0.1\"\n\
         [[trunk]]\nname = \"t\"\nhosts = []\ntarget = \"t.test\"\nmedia = \"default\"\n",
        server.at
    );
    for (n, (transport, bind)) in listeners.iter().enumerate() {
        text +=
            &format!("[[listener]]\nname = \"l{n}\"\ntransport = \"{transport}\"\naddress = \"{bind}\"\n");
    }
    let config = config::parse(&text, "test").unwrap();
    let (snapshot, _) = config.compile().unwrap();
    Lab {
        dns: Dns::new(&config.dns, &snapshot),
        server,
    }
}

const UDP4: (&str, &str) = ("udp", "127.0.0.1:5060");
const UDP6: (&str, &str) = ("udp", "[::1]:5060");
const TCP4: (&str, &str) = ("tcp", "127.0.0.1:5062");

impl Lab {
    fn ask(&self, query: &Query) -> Result<Resolved, ResolveError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(self.dns.look_up(query))
    }

    fn found(&self, query: &Query) -> Vec<Candidate> {
        self.ask(query).unwrap().candidates
    }
}

fn query(host: &str) -> Query {
    Query {
        host: host.into(),
        port: None,
        transport: None,
        secure: false,
    }
}

fn over(transport: Transport, host: &str) -> Query {
    Query {
        transport: Some(transport),
        ..query(host)
    }
}

fn with_port(host: &str, port: u16) -> Query {
    Query {
        port: Some(port),
        ..query(host)
    }
}

fn addresses(candidates: &[Candidate]) -> Vec<SocketAddr> {
    candidates.iter().map(|c| c.address).collect()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_port_means_addresses_alone() {
    let lab = lab("127.79.1.1:0", &[UDP4]);
    lab.server.a("sip.test", 60, &["192.0.2.1", "192.0.2.2"]);
    lab.server
        .set("_sip._udp.sip.test", 60, vec![srv(0, 0, 5090, "sip.test")]);
    let found = lab.found(&with_port("sip.test", 5070));
    assert_eq!(addresses(&found), [at("192.0.2.1:5070"), at("192.0.2.2:5070")]);
    assert_eq!(lab.server.asked(), [("sip.test.".to_owned(), RecordType::A)]);
}

#[test]
fn a_transport_means_its_services() {
    let lab = lab("127.79.1.2:0", &[UDP4, TCP4]);
    lab.server.a("a.sip.test", 60, &["192.0.2.1"]);
    lab.server.a("b.sip.test", 60, &["192.0.2.2"]);
    lab.server.set(
        "_sip._tcp.sip.test",
        60,
        vec![srv(2, 7, 5070, "b.sip.test"), srv(1, 9, 5080, "a.sip.test")],
    );
    let found = lab.found(&over(Transport::Tcp, "sip.test"));
    assert_eq!(addresses(&found), [at("192.0.2.1:5080"), at("192.0.2.2:5070")]);
    assert!(found.iter().all(|c| c.transport == Transport::Tcp));
    assert_eq!(found.iter().map(|c| c.weight).collect::<Vec<_>>(), [9, 7]);
    assert!(found[0].priority < found[1].priority);
    assert!(
        lab.server
            .asked()
            .iter()
            .all(|(_, kind)| *kind != RecordType::NAPTR)
    );
}

#[test]
fn without_services_the_name_itself_is_the_host() {
    let lab = lab("127.79.1.3:0", &[UDP4, TCP4]);
    lab.server.a("sip.test", 60, &["192.0.2.1"]);
    for (query, transport) in [
        (query("sip.test"), Transport::Udp),
        (over(Transport::Tcp, "sip.test"), Transport::Tcp),
    ] {
        let found = lab.found(&query);
        assert_eq!(addresses(&found), [at("192.0.2.1:5060")]);
        assert_eq!(found[0].transport, transport);
    }
}

#[test]
fn naptr_says_which_transport_is_best() {
    let lab = lab("127.79.1.4:0", &[UDP4, TCP4]);
    lab.server.set(
        "sip.test",
        60,
        vec![
            naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.sip.test"),
            naptr(90, 50, "S", "sip+d2t", "_sip._tcp.other.test"),
            naptr(100, 50, "s", "SIP+D2U", "_sip._udp.sip.test"),
            naptr(10, 10, "u", "E2U+sip", "."),
            naptr(10, 20, "s", "SIP+D2S", "_sip._sctp.sip.test"),
        ],
    );
    lab.server
        .set("_sip._tcp.other.test", 60, vec![srv(0, 0, 5080, "t.test")]);
    lab.server
        .set("_sip._udp.sip.test", 60, vec![srv(0, 0, 5070, "u.test")]);
    lab.server.a("t.test", 60, &["192.0.2.1"]);
    lab.server.a("u.test", 60, &["192.0.2.2"]);
    let found = lab.found(&query("sip.test"));
    assert_eq!(addresses(&found), [at("192.0.2.1:5080"), at("192.0.2.2:5070")]);
    assert_eq!(
        (found[0].transport, found[1].transport),
        (Transport::Tcp, Transport::Udp)
    );
    assert!(found[0].priority < found[1].priority);
    // We have no TLS listener: nobody asks for what cannot be used.
    assert!(
        lab.server
            .asked()
            .iter()
            .all(|(name, _)| !name.starts_with("_sips"))
    );
}

#[test]
fn without_naptr_each_transport_is_asked_for() {
    let lab = lab("127.79.1.5:0", &[UDP4, TCP4]);
    lab.server
        .set("_sip._tcp.sip.test", 60, vec![srv(0, 0, 5080, "t.test")]);
    lab.server.a("t.test", 60, &["192.0.2.1"]);
    lab.server.a("sip.test", 60, &["192.0.2.9"]);
    assert_eq!(addresses(&lab.found(&query("sip.test"))), [at("192.0.2.1:5080")]);
}

#[test]
fn a_service_that_is_not_offered_is_absent() {
    let lab = lab("127.79.1.6:0", &[UDP4]);
    lab.server.set("_sip._udp.sip.test", 60, vec![srv(0, 0, 0, ".")]);
    lab.server.a("sip.test", 60, &["192.0.2.9"]);
    assert!(matches!(
        lab.ask(&query("sip.test")),
        Err(ResolveError::Absent { .. })
    ));
}

#[test]
fn secure_is_tls_or_nothing() {
    let lab = lab("127.79.1.7:0", &[UDP4, TCP4]);
    lab.server.a("sip.test", 60, &["192.0.2.9"]);
    let secure = Query {
        secure: true,
        ..query("sip.test")
    };
    assert!(matches!(lab.ask(&secure), Err(ResolveError::Absent { .. })));
}

#[test]
fn both_families_count_when_there_are_listeners_for_them() {
    for (listeners, expected) in [
        (&[UDP4][..], &["192.0.2.1:5070"][..]),
        (&[UDP6], &["[2001:db8::1]:5070"]),
        (&[UDP4, UDP6], &["192.0.2.1:5070", "[2001:db8::1]:5070"]),
        (&[UDP4, ("tcp", "[::1]:5062")], &["192.0.2.1:5070"]),
    ] {
        let lab = lab("127.79.1.8:0", listeners);
        lab.server.a("sip.test", 60, &["2001:db8::1", "192.0.2.1"]);
        let expected: Vec<_> = expected.iter().map(|a| at(a)).collect();
        assert_eq!(addresses(&lab.found(&with_port("sip.test", 5070))), expected);
    }
}

#[test]
fn a_server_on_ipv6_is_asked() {
    let lab = lab("[::1]:0", &[UDP6]);
    lab.server.a("sip.test", 60, &["2001:db8::1"]);
    assert_eq!(
        addresses(&lab.found(&query("sip.test"))),
        [at("[2001:db8::1]:5060")]
    );
}

#[test]
fn aliases_are_followed_and_the_shortest_ttl_holds() {
    let lab = lab("127.79.1.9:0", &[UDP4]);
    lab.server
        .set("_sip._udp.sip.test", 300, vec![srv(0, 0, 5070, "alias.test")]);
    lab.server.set("alias.test", 20, vec![cname("host.test")]);
    lab.server.a("host.test", 100, &["192.0.2.1"]);
    let resolved = lab.ask(&over(Transport::Udp, "sip.test")).unwrap();
    assert_eq!(addresses(&resolved.candidates), [at("192.0.2.1:5070")]);
    assert_eq!(resolved.ttl, Duration::from_secs(20));
}

#[test]
fn the_weight_of_a_host_is_shared_by_its_addresses() {
    let lab = lab("127.79.1.10:0", &[UDP4]);
    lab.server.set(
        "_sip._udp.sip.test",
        60,
        vec![srv(0, 50, 5060, "two.test"), srv(0, 50, 5060, "one.test")],
    );
    lab.server.a("two.test", 60, &["192.0.2.1", "192.0.2.2"]);
    lab.server.a("one.test", 60, &["192.0.2.3"]);
    let found = lab.found(&query("sip.test"));
    let weights: Vec<_> = found.iter().map(|c| c.weight).collect();
    assert_eq!(weights[0], weights[1]);
    assert_eq!(weights[0] * 2, weights[2]);
}

#[test]
fn many_addresses_are_cut_to_64() {
    let lab = lab("127.79.1.11:0", &[UDP4]);
    // Several hosts, so that each answer fits a datagram.
    let hosts: Vec<String> = (0..10).map(|h| format!("h{h}.test")).collect();
    for (h, host) in hosts.iter().enumerate() {
        let addresses: Vec<String> = (0..10).map(|n| format!("192.0.{h}.{n}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        lab.server.a(host, 60, &addresses);
    }
    let services = hosts.iter().map(|host| srv(1, 1, 5060, host)).collect();
    lab.server.set("_sip._udp.sip.test", 60, services);
    assert_eq!(lab.found(&over(Transport::Udp, "sip.test")).len(), 64);
}

#[test]
fn an_unknown_name_is_absent_for_the_negative_ttl() {
    let lab = lab("127.79.1.12:0", &[UDP4]);
    let ttl = Duration::from_secs(NEGATIVE_TTL_S.into());
    assert_eq!(lab.ask(&query("none.test")), Err(ResolveError::Absent { ttl }));
}

#[test]
fn a_lost_query_is_sent_again() {
    let lab = lab("127.79.1.13:0", &[UDP4]);
    lab.server.a("sip.test", 60, &["192.0.2.1"]);
    lab.server.mode(Mode::Drops(1));
    assert_eq!(lab.found(&with_port("sip.test", 5060)).len(), 1);
}

#[test]
fn silence_and_failure_are_no_absence() {
    let lab = lab("127.79.1.14:0", &[UDP4]);
    lab.server.a("sip.test", 60, &["192.0.2.1"]);
    for mode in [Mode::Silent, Mode::Fails] {
        lab.server.mode(mode);
        assert_eq!(
            lab.ask(&with_port("sip.test", 5060)),
            Err(ResolveError::Failed),
            "{mode:?}"
        );
        assert_eq!(lab.ask(&query("sip.test")), Err(ResolveError::Failed), "{mode:?}");
    }
}

#[test]
fn a_change_is_seen_at_the_next_question() {
    let lab = lab("127.79.1.15:0", &[UDP4]);
    for address in ["192.0.2.1", "192.0.2.2"] {
        lab.server.a("sip.test", 3600, &[address]);
        let found = lab.found(&with_port("sip.test", 5060));
        assert_eq!(addresses(&found), [at(&format!("{address}:5060"))]);
    }
}

/// `sbcd` with these trunk lines for the platform, on addresses of its own; killed when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sbcd(net: u8, server: SocketAddr) -> Process {
    let directory = std::env::temp_dir().join(format!("sbcd-dns-{net}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("sbc.toml");
    let text = format!(
        r#"
        [shards]
        count = 2
        pin = false
        [dns]
        servers = ["{server}"]
        timeout_ms = 200
        [sip]
        failover_ms = 200
        [[listener]]
        name = "main"
        address = "127.79.{net}.1:5060"
        [media]
        address = "127.79.{net}.1"
        ports = "20000-20999"
        [[trunk]]
        name = "carrier"
        hosts = ["127.79.{net}.2"]
        [[trunk]]
        name = "platform"
        hosts = []
        target = "platform.test"
        [[route]]
        from = "carrier"
        to = "platform"
        [admin]
        socket = "{}"
        "#,
        directory.join("admin.sock").display()
    );
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sbcd"))
        .args(["--config".as_ref(), file.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Logged once by one shard: after it, calls find the name resolved.
    let log = BufReader::new(child.stderr.take().unwrap());
    let process = Process(child);
    assert!(
        log.lines()
            .map_while(Result::ok)
            .any(|line| line.contains("platform.test stands for 2 addresses"))
    );
    process
}

#[test]
fn a_daemon_calls_the_addresses_behind_a_name_and_fails_over() {
    let server = NameServer::start("127.79.20.9:0");
    server.set(
        "_sip._udp.platform.test",
        60,
        vec![
            srv(1, 0, 5060, "dead.platform.test"),
            srv(2, 0, 5060, "live.platform.test"),
        ],
    );
    // Nobody listens at the better one.
    server.a("dead.platform.test", 1, &["127.79.20.4"]);
    server.a("live.platform.test", 1, &["127.79.20.3"]);
    let _sbcd = sbcd(20, server.at);
    let daemon = at("127.79.20.1:5060");
    let carrier = Peer::new("127.79.20.2".to_owned(), daemon);
    let platform = Peer::new("127.79.20.3".to_owned(), daemon);
    for id in 1..=4 {
        // Both shards must have learned the name, whichever owns the call.
        call(&carrier, &platform, id).hang_up(&carrier, &platform);
    }
    // The servers are gone, and the TTL is over: what was known serves on.
    server.mode(Mode::Silent);
    std::thread::sleep(Duration::from_secs(7));
    call(&carrier, &platform, 5).hang_up(&carrier, &platform);
    // They are back and name another host.
    let moved = Peer::new("127.79.20.5".to_owned(), daemon);
    server.a("live.platform.test", 1, &["127.79.20.5"]);
    server.mode(Mode::Answers);
    server.asked();
    let mut asked = 0;
    for _ in 0..100 {
        asked += server
            .asked()
            .iter()
            .filter(|(name, _)| name == "live.platform.test.")
            .count();
        // Once for each shard.
        if asked >= 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(500));
    call(&carrier, &moved, 6).hang_up(&carrier, &moved);
}
