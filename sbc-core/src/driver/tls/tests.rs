//! Handshakes between two sessions in memory, with certificates made for the test.

use super::*;
use crate::config;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use std::{fs, os::unix::fs::PermissionsExt, sync::atomic::AtomicU32};

/// Files of one test, gone with it.
struct Files {
    directory: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn san(name: &str) -> SanType {
    match name.parse() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) if name.contains(':') => SanType::URI(name.try_into().unwrap()),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }
}

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let directory = std::env::temp_dir().join(format!(
            "sbc-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir(&directory).unwrap();
        let files = Self {
            directory,
            ca: authority(),
        };
        fs::write(files.path("ca.pem"), files.ca.pem()).unwrap();
        files.issue("server", &["sbc.example.com"], |_| {});
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `NAME.pem` and `NAME.key`, for `names`.
    fn issue(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        let path = self.path(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A configuration with these lines in its listener's and its trunk's TLS sections.
    fn snapshot(&self, listener: &str, trunk: &str) -> Snapshot {
        let text = format!(
            r#"
            [[listener]]
            name = "secure"
            transport = "tls"
            address = "127.0.0.1:5061"
            [listener.tls]
            certificate = "DIR/server.pem"
            key = "DIR/server.key"
            {listener}
            [media]
            address = "127.0.0.1"
            [[trunk]]
            name = "carrier"
            hosts = ["127.0.0.2"]
            [trunk.tls]
            {trunk}
            "#
        );
        let text = text.replace("DIR", self.directory.to_str().unwrap());
        config::parse(&text, "test").unwrap().compile().unwrap().0
    }

    fn tls(&self, listener: &str, trunk: &str) -> Tls {
        Tls::load(&self.snapshot(listener, trunk)).unwrap()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut params = CertificateParams::default();
    let name = format!("CA {}", NEXT.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Our trunk trusts the test's CA and wants this name.
const TRUSTING: &str = "ca = \"DIR/ca.pem\"\nserver_name = \"sbc.example.com\"";

/// A client, a server, and what each has received.
struct Ends {
    client: Session,
    server: Session,
    at_client: Vec<u8>,
    at_server: Vec<u8>,
    client_is: Option<PeerIdentity>,
    server_is: Option<PeerIdentity>,
}

use crate::io::PeerIdentity;

impl Ends {
    fn new(client: &Tls, server: &Tls) -> Self {
        Self {
            client: client.connect(TrunkId(0)).unwrap(),
            server: server.accept(ListenerId(0)).unwrap(),
            at_client: Vec::new(),
            at_server: Vec::new(),
            client_is: None,
            server_is: None,
        }
    }

    /// Carry bytes, in pieces of `piece`, until none are left. `Err`: the side that failed, and why.
    fn run(&mut self, piece: usize) -> Result<(), (&'static str, String)> {
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            self.client.take_wire(&mut up);
            self.server.take_wire(&mut down);
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
            for part in up.chunks(piece) {
                let received = self.server.receive(part, &mut self.at_server);
                let received = received.map_err(|why| ("server", why))?;
                self.client_is = received.established.or(self.client_is.take());
            }
            for part in down.chunks(piece) {
                let received = self.client.receive(part, &mut self.at_client);
                let received = received.map_err(|why| ("client", why))?;
                self.server_is = received.established.or(self.server_is.take());
            }
        }
    }

    fn send(&mut self, text: &[u8]) {
        let mut wire = Vec::new();
        self.client.send(text, &mut wire);
        for part in wire.chunks(4096) {
            self.server.receive(part, &mut self.at_server).unwrap();
        }
    }

    fn names(identity: &Option<PeerIdentity>) -> Vec<&str> {
        let identity = identity.as_ref().expect("the handshake is complete");
        identity.names.iter().map(|name| &**name).collect()
    }
}

/// Why a handshake fails.
fn refusal(client: &Tls, server: &Tls) -> (&'static str, String) {
    let mut ends = Ends::new(client, server);
    ends.run(4096).expect_err("the handshake must fail")
}

#[test]
fn a_handshake_succeeds_and_text_passes_both_ways() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    assert_eq!(Ends::names(&ends.server_is), ["sbc.example.com"]);
    assert_eq!(Ends::names(&ends.client_is), [""; 0], "clients are not asked");
    ends.send(b"OPTIONS");
    assert_eq!(ends.at_server, b"OPTIONS");
    let mut wire = Vec::new();
    ends.server.send(b"200 OK", &mut wire);
    ends.client.receive(&wire, &mut ends.at_client).unwrap();
    assert_eq!(ends.at_client, b"200 OK");
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    let mut ends = Ends::new(&tls, &tls);
    ends.run(1).unwrap();
    let mut wire = Vec::new();
    ends.client.send(b"one byte at a time", &mut wire);
    for byte in wire {
        ends.server.receive(&[byte], &mut ends.at_server).unwrap();
    }
    assert_eq!(ends.at_server, b"one byte at a time");
}

#[test]
fn a_large_message_passes_whole() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 7) as u8).collect();
    ends.send(&large);
    assert!(ends.at_server == large);
}

#[test]
fn both_versions_are_spoken_and_no_older_one() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    let mut roots = RootCertStore::empty();
    roots.add(files.ca.der().clone()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from("sbc.example.com").unwrap();
        let mut ends = Ends::new(&tls, &tls);
        ends.client = Session::client(Arc::new(config), name).unwrap();
        ends.run(4096).unwrap();
        ends.send(b"hello");
        assert_eq!(ends.at_server, b"hello");
    }
}

#[test]
fn a_server_with_another_name_is_refused() {
    let files = Files::new();
    let trunk = TRUSTING.replace("sbc.example", "other.example");
    let (side, why) = refusal(&files.tls("", &trunk), &files.tls("", TRUSTING));
    assert_eq!(side, "client");
    assert!(why.contains("not valid for name"), "{why}");
}

#[test]
fn without_a_name_the_address_must_be_in_the_certificate() {
    let files = Files::new();
    let trunk = "ca = \"DIR/ca.pem\"";
    assert_eq!(refusal(&files.tls("", trunk), &files.tls("", trunk)).0, "client");
    files.issue("server", &["127.0.0.2"], |_| {});
    let tls = files.tls("", trunk);
    Ends::new(&tls, &tls).run(4096).unwrap();
}

#[test]
fn a_sip_uri_names_a_server_as_well() {
    let files = Files::new();
    files.issue(
        "server",
        &["sip:SBC.example.com", "sip:bob@other.example.com"],
        |_| {},
    );
    let tls = files.tls("", TRUSTING);
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    assert_eq!(Ends::names(&ends.server_is), ["sbc.example.com"]);
    // A person's certificate is not that of the domain.
    let trunk = TRUSTING.replace("sbc.example", "other.example");
    refusal(&files.tls("", &trunk), &tls);
}

#[test]
fn an_expired_certificate_is_refused_and_warned_about() {
    let files = Files::new();
    files.issue("server", &["sbc.example.com"], |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let tls = files.tls("", TRUSTING);
    let (side, why) = refusal(&tls, &tls);
    assert_eq!(side, "client");
    assert!(why.contains("expired"), "{why}");
    assert_eq!(tls.warnings.len(), 1);
    assert!(tls.warnings[0].contains("has expired"), "{:?}", tls.warnings);
    assert_eq!(tls.certificates[0].validity, (1_546_300_800, 1_577_836_800));
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused() {
    let (ours, theirs) = (Files::new(), Files::new());
    let (side, why) = refusal(&ours.tls("", TRUSTING), &theirs.tls("", TRUSTING));
    assert_eq!(side, "client");
    assert!(why.contains("UnknownIssuer"), "{why}");
}

const ASKING: &str = "client_auth = \"required\"\nclient_ca = \"DIR/ca.pem\"";
const SHOWING: &str = "certificate = \"DIR/client.pem\"\nkey = \"DIR/client.key\"";

#[test]
fn a_client_that_must_show_a_certificate_and_has_none_is_refused() {
    let files = Files::new();
    let tls = files.tls(ASKING, TRUSTING);
    let (side, why) = refusal(&tls, &tls);
    assert_eq!(side, "server");
    assert!(why.contains("no certificates"), "{why}");
    let optional = ASKING.replace("required", "optional");
    let mut ends = Ends::new(&tls, &files.tls(&optional, TRUSTING));
    ends.run(4096).unwrap();
    assert_eq!(Ends::names(&ends.client_is), [""; 0]);
}

#[test]
fn a_client_proves_its_names() {
    let files = Files::new();
    let purposes = [
        vec![],
        vec![ExtendedKeyUsagePurpose::ClientAuth],
        // SIP servers have one certificate for both directions.
        vec![ExtendedKeyUsagePurpose::ServerAuth],
    ];
    for purposes in purposes {
        files.issue(
            "client",
            &["Carrier.example.com", "sip:pop1.carrier.example.com"],
            |params| params.extended_key_usages = purposes,
        );
        let tls = files.tls(ASKING, &format!("{TRUSTING}\n{SHOWING}"));
        let mut ends = Ends::new(&tls, &tls);
        ends.run(4096).unwrap();
        let names = ["carrier.example.com", "pop1.carrier.example.com"];
        assert_eq!(Ends::names(&ends.client_is), names);
    }
}

#[test]
fn a_client_with_a_certificate_of_another_ca_is_refused() {
    let (ours, theirs) = (Files::new(), Files::new());
    theirs.issue("client", &["carrier.example.com"], |_| {});
    fs::write(theirs.path("ca.pem"), ours.ca.pem()).unwrap();
    for auth in ["required", "optional"] {
        let asking = ASKING.replace("required", auth);
        let client = theirs.tls("", &format!("{TRUSTING}\n{SHOWING}"));
        let (side, why) = refusal(&client, &ours.tls(&asking, TRUSTING));
        assert_eq!(side, "server");
        assert!(why.contains("UnknownIssuer"), "{why}");
    }
}

#[test]
fn a_resumed_session_still_knows_its_peer() {
    let files = Files::new();
    files.issue("client", &["carrier.example.com"], |_| {});
    let tls = files.tls(ASKING, &format!("{TRUSTING}\n{SHOWING}"));
    for _ in 0..3 {
        let mut ends = Ends::new(&tls, &tls);
        ends.run(4096).unwrap();
        assert_eq!(Ends::names(&ends.client_is), ["carrier.example.com"]);
        assert_eq!(Ends::names(&ends.server_is), ["sbc.example.com"]);
    }
}

#[test]
fn garbage_is_an_error_and_is_answered_with_an_alert() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    for garbage in [
        &b"OPTIONS sip:sbc SIP/2.0\r\n\r\n"[..],
        &[0; 500],
        &[0x16; 500],
        &[0xFF; 5],
    ] {
        let mut server = tls.accept(ListenerId(0)).unwrap();
        let mut plain = Vec::new();
        assert!(server.receive(garbage, &mut plain).is_err());
        assert!(plain.is_empty());
        // And again: a session that has failed stays so, whatever comes.
        assert!(server.receive(garbage, &mut plain).is_err());
    }
    // A record that nobody has encrypted, after the handshake.
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    ends.send(b"well ");
    let mut wire = Vec::new();
    ends.client.send(b"changed on the way", &mut wire);
    *wire.last_mut().unwrap() ^= 1;
    let mut plain = Vec::new();
    assert!(ends.server.receive(&wire, &mut plain).is_err());
    assert!(plain.is_empty());
    assert!(ends.server.has_wire(), "an alert");
    let mut alert = Vec::new();
    ends.server.take_wire(&mut alert);
    assert!(ends.client.receive(&alert, &mut plain).is_err());
}

#[test]
fn an_orderly_end_is_told() {
    let files = Files::new();
    let tls = files.tls("", TRUSTING);
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    let mut wire = Vec::new();
    ends.client.send(b"last words", &mut wire);
    ends.client.end();
    ends.client.end();
    ends.client.take_wire(&mut wire);
    let received = ends.server.receive(&wire, &mut ends.at_server).unwrap();
    assert!(received.ended);
    assert_eq!(ends.at_server, b"last words");
    wire.clear();
    ends.client.send(b"after the end", &mut wire);
    assert!(wire.is_empty());
}

#[test]
fn certificates_are_replaced_for_new_handshakes_only() {
    let files = Files::new();
    let shared = Arc::new(Shared::load(Arc::new(files.snapshot("", TRUSTING))).unwrap());
    let mut view = View::new(Arc::clone(&shared));
    let client = files.tls("", TRUSTING);
    let mut before = Ends::new(&client, view.current());
    before.run(4096).unwrap();
    files.issue("server", &["sbc.example.com", "new.example.com"], |_| {});
    assert_eq!(
        shared.reload().unwrap().certificates[0].names,
        ["sbc.example.com", "new.example.com"]
    );
    let mut after = Ends::new(&files.tls("", TRUSTING), view.current());
    after.run(4096).unwrap();
    assert_eq!(
        Ends::names(&after.server_is),
        ["sbc.example.com", "new.example.com"]
    );
    before.send(b"still here");
    assert_eq!(before.at_server, b"still here");
}

#[test]
fn a_bad_file_keeps_the_old_certificates_and_is_named() {
    let files = Files::new();
    files.issue("client", &["carrier.example.com"], |_| {});
    let snapshot = files.snapshot(ASKING, &format!("{TRUSTING}\n{SHOWING}"));
    let shared = Arc::new(Shared::load(Arc::new(snapshot)).unwrap());
    let mut view = View::new(Arc::clone(&shared));
    let good = |name: &str| fs::read(files.path(name)).unwrap();
    let (server, key, ca) = (good("server.pem"), good("server.key"), good("ca.pem"));
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cases: [(&str, &[u8], &str); 8] = [
        ("server.pem", b"", "listener \"secure\": tls.certificate"),
        ("server.pem", b"hello", "there is no certificate in it"),
        ("server.pem", &key, "there is no certificate in it"),
        (
            "server.pem",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "no X.509 certificate",
        ),
        (
            "server.pem",
            &ca,
            "the key (tls.key) is not the one of this certificate",
        ),
        ("server.key", &server, "there is no private key in it"),
        ("server.key", encrypted, "store it without one"),
        ("client.key", b"", "trunk \"carrier\": tls.key"),
    ];
    for (name, text, says) in cases {
        let old = good(name);
        fs::write(files.path(name), text).unwrap();
        let error = shared.reload().unwrap_err().to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert!(error.contains(&*files.path(name).to_string_lossy()), "{error}");
        fs::write(files.path(name), old).unwrap();
    }
    fs::remove_file(files.path("ca.pem")).unwrap();
    let error = shared.reload().unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    fs::write(files.path("ca.pem"), ca).unwrap();
    let client = files.tls(ASKING, &format!("{TRUSTING}\n{SHOWING}"));
    Ends::new(&client, view.current()).run(4096).unwrap();
}

#[test]
fn a_key_that_others_may_read_is_warned_about() {
    let files = Files::new();
    assert!(files.tls("", TRUSTING).warnings.is_empty());
    let key = files.path("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(files.tls("", TRUSTING).warnings.is_empty(), "a group is a choice");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = files.tls("", TRUSTING).warnings;
    assert!(warnings[0].contains("may be read by other users"), "{warnings:?}");
}

#[test]
fn a_certificate_that_ends_soon_is_warned_about() {
    let files = Files::new();
    let mut loader = Loader::new(now() + 86_400 * 365 * 2_000);
    loader
        .identity("test", &files.path("server.pem"), &files.path("server.key"))
        .unwrap();
    let end = loader.certificates[0].validity.1;
    for (days, says) in [
        (20, None),
        (10, Some("expires in 10 days")),
        (0, Some("expires in 0 days")),
    ] {
        let mut loader = Loader::new(end - days * 86_400);
        loader
            .identity("test", &files.path("server.pem"), &files.path("server.key"))
            .unwrap();
        assert_eq!(loader.warnings.len(), usize::from(says.is_some()));
        if let (Some(says), Some(warning)) = (says, loader.warnings.first()) {
            assert!(warning.contains(says), "{warning}");
        }
    }
}

#[test]
fn a_wildcard_names_servers_and_no_clients() {
    let files = Files::new();
    files.issue("server", &["*.example.com"], |_| {});
    files.issue("client", &["*.example.com"], |_| {});
    let tls = files.tls(ASKING, &format!("{TRUSTING}\n{SHOWING}"));
    let mut ends = Ends::new(&tls, &tls);
    ends.run(4096).unwrap();
    // The shard compares names as they are: no trunk has this one.
    assert_eq!(Ends::names(&ends.client_is), ["*.example.com"]);
    // It stands for one label.
    let deep = TRUSTING.replace("sbc.example", "a.sbc.example");
    refusal(&files.tls("", &deep), &tls);
}
