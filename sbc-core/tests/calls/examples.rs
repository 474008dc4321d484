//! The configurations under `docs/examples`, each with a call through it.

use crate::{
    desk::*,
    login::{proof, with},
    routes::invited,
};
use sbc_core::{
    config,
    digest::{Account, Credentials, Proof, Question},
    shard::Event,
};
use std::{fs, path::Path, time::Duration};

/// A desk with the configuration `text` of the example `name`. Its certificates, which a shard does not look at, are
/// somewhere else.
fn example(name: &str, text: &str) -> Desk {
    let certified = rcgen::generate_simple_self_signed(vec!["sbc.example".to_owned()]).unwrap();
    let files = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(files.join("chain.pem"), certified.cert.pem()).unwrap();
    fs::write(files.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let text = text.replace("/etc/sbcd/tls", &files.display().to_string());
    let config = config::parse(&text, name).unwrap_or_else(|error| panic!("{error}"));
    let (snapshot, admission) = config.compile().unwrap();
    Desk::of(snapshot, admission)
}

/// An INVITE to `number` from `caller` at the address `host`.
fn call(id: &str, host: &str, caller: &str, number: &str) -> String {
    let number = format!("sip:{number}@192.0.2.1");
    request("INVITE", &number, 1, id, "", &OFFER.replace("127.0.0.2", host))
        .replace("sip:1000@127.0.0.1", &number)
        .replace("sip:4930123@127.0.0.2", &format!("sip:{caller}@{host}"))
        .replace("127.0.0.2", host)
        .replace("caller-call-id", id)
}

/// `status` to `request`, from whom it went to.
fn refuse(desk: &mut Desk, request: &Sent, status: u16) -> Vec<Sent> {
    let answer = response(request, status, "t", "", "");
    desk.deliver(&request.to.to_string(), &answer)
}

/// The last response that the caller at `host` is sent.
fn heard<'s>(sent: &'s [Sent], host: &str) -> &'s Sent {
    let mut sent = sent.iter().rev();
    let to_host = |sent: &&Sent| sent.to.ip().to_string() == host && sent.start().starts_with("SIP");
    sent.find(to_host).expect("a response")
}

/// Answer the INVITE `out`, acknowledge, and hang up as the caller at `host`, whose call is `id`. Both sides must hear of it.
fn talk(desk: &mut Desk, out: &Sent, id: &str, host: &str) {
    let callee = out.to;
    let answer = response(out, 200, "calleetag", &format!("sip:x@{callee}"), ANSWER);
    let sent = desk.deliver(&callee.to_string(), &answer);
    assert_eq!(only(&sent, "ACK").to, callee);
    let ok = heard(&sent, host).clone();
    assert_eq!(ok.kind(), "200");
    let (tag, contact) = (
        tag_of(ok.header("To")),
        ok.header("Contact").trim_matches(['<', '>']),
    );
    let ask = |method: &str, cseq: u32, branch: &str| {
        request(method, contact, cseq, branch, &tag, "")
            .replace("127.0.0.2", host)
            .replace("caller-call-id", id)
    };
    let cseq: u32 = ok.header("CSeq").split(' ').next().unwrap().parse().unwrap();
    let from = ok.to.to_string();
    desk.deliver(&from, &ask("ACK", cseq, &format!("{id}ack")));
    let sent = desk.deliver(&from, &ask("BYE", cseq + 1, &format!("{id}bye")));
    assert_eq!(heard(&sent, host).kind(), "200");
    let bye = only(&sent, "BYE");
    assert_eq!(bye.to, callee);
    desk.deliver(&callee.to_string(), &response(bye, 200, "", "", ""));
}

const SRTP_OFFER: &str = "v=0\r\no=caller 1 1 IN IP4 203.0.113.20\r\ns=-\r\nc=IN IP4 203.0.113.20\r\nt=0 0\r\n\
    m=audio 4000 RTP/SAVP 0 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\r\n";

#[test]
fn a_virtual_trunk_over_tls() {
    let text = include_str!("../../../docs/examples/virtual-trunk.toml");
    let mut desk = example("virtual-trunk.toml", text);
    // The carrier calls a DID.
    let invite = request("INVITE", "sip:442079460123@192.0.2.1", 1, "inv1", "", OFFER)
        .replace("sip:1000@127.0.0.1", "sip:442079460123@192.0.2.1")
        .replace("sip:4930123@127.0.0.2", "sip:33142685300@198.51.100.7")
        .replace("127.0.0.2", "198.51.100.7")
        .replacen(
            "Contact:",
            "P-Asserted-Identity: <sip:33142685301@198.51.100.7>\r\nX-Campaign: spring\r\n\
             Diversion: <sip:442079460199@198.51.100.7>;reason=no-answer\r\nUser-to-User: 00a1;encoding=hex\r\nContact:",
            1,
        );
    let sent = desk.deliver("198.51.100.7:5060", &invite);
    let out = only(&sent, "INVITE").clone();
    assert!(out.over.is_some() && out.to == "203.0.113.20:5061".parse().unwrap());
    assert_eq!(
        out.start(),
        "INVITE sip:+442079460123@tenant7.voice.example;user=phone SIP/2.0"
    );
    assert!(
        out.header("From").contains("<sip:+33142685300@192.0.2.1:5061>"),
        "{}",
        out.text
    );
    assert_eq!(
        out.header("P-Asserted-Identity"),
        "<sip:+33142685301@192.0.2.1:5061>"
    );
    assert_eq!(
        out.header("History-Info"),
        "<sip:+442079460199@192.0.2.1:5061>;index=1, \
         <sip:+442079460123@tenant7.voice.example;user=phone;cause=408>;index=1.1;mp=1"
    );
    for (name, value) in [
        ("X-Campaign", "spring"),
        ("X-Tenant", "7"),
        ("X-Voice-Token", "change-me-outbound"),
        ("User-to-User", "00a1;encoding=hex"),
    ] {
        assert_eq!(out.header(name), value);
    }
    assert!(
        out.body().contains("RTP/SAVP") && !out.text.contains("198.51.100"),
        "{}",
        out.text
    );

    // The platform calls out, once without its secret.
    let line = desk
        .try_accept(sbc_core::shard::ListenerId(1), "203.0.113.20:40000")
        .unwrap();
    desk.prove(line, &[]);
    let call = |token: &str, branch: &str| {
        request("INVITE", "sip:+33142685300@192.0.2.1", 1, branch, "", SRTP_OFFER)
            .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
            .replace("sip:1000@127.0.0.1", "sip:+33142685300@192.0.2.1")
            .replace("sip:4930123@127.0.0.2", "sip:+442079460777@203.0.113.20")
            .replace("127.0.0.2", "203.0.113.20")
            .replace("caller-call-id", &format!("call-{branch}"))
            .replacen("Contact:", &format!("{token}Contact:"), 1)
    };
    let sent = desk.write(line, call("", "out1"));
    only(&sent, "403");
    let sent = desk.write(line, call("X-Voice-Token: change-me-inbound\r\n", "out2"));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, "198.51.100.7:5060".parse().unwrap());
    assert_eq!(out.start(), "INVITE sip:33142685300@198.51.100.7 SIP/2.0");
    // Its number is none of ours.
    assert!(
        out.header("From").contains("<sip:442079460100@192.0.2.1>"),
        "{}",
        out.text
    );
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:442079460100@192.0.2.1>");
    assert!(
        !out.text.contains("change-me") && !out.text.contains("SAVP"),
        "{}",
        out.text
    );
}

#[test]
fn a_contact_centre_with_carriers_of_its_own() {
    const CENTRE: &str = "203.0.113.20";
    const BRITAIN: &str = "198.51.100.7:5060";
    const AMERICA: &str = "198.51.100.20:5060";
    const WHOLESALE: &str = "198.51.100.40:5060";
    let text = include_str!("../../../docs/examples/contact-centre.toml");
    let mut desk = example("contact-centre.toml", text);
    let at_once = |desk: &mut Desk, id: &str, caller: &str, number: &str| {
        desk.deliver(&format!("{CENTRE}:5060"), &call(id, CENTRE, caller, number))
    };
    let from_centre = |desk: &mut Desk, id: &str, caller: &str, number: &str| {
        desk.pass(Duration::from_secs(1));
        at_once(desk, id, caller, number)
    };
    // To Britain, by who is there for that, in its own way of writing; the agent's own number is shown.
    let sent = from_centre(&mut desk, "gb", "+442079460123", "+441632960001");
    let out = invited(&sent, BRITAIN);
    assert_eq!(out.start(), "INVITE sip:01632960001@198.51.100.7 SIP/2.0");
    assert_eq!(out.header("To"), "<sip:01632960001@198.51.100.7>");
    assert!(
        out.header("From").contains("<sip:02079460123@192.0.2.1>"),
        "{}",
        out.text
    );
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:+442079460123@192.0.2.1>");
    assert!(!out.text.contains("203.0.113"), "{}", out.text);
    talk(&mut desk, &out, "gb", CENTRE);
    // When that carrier fails, the third takes it, which wants its tech prefix; a number that is none of ours is not shown.
    let sent = from_centre(&mut desk, "over", "+15550199", "+441632960001");
    let out = invited(&sent, BRITAIN);
    assert!(
        out.header("From").contains("<sip:02079460100@192.0.2.1>"),
        "{}",
        out.text
    );
    let sent = refuse(&mut desk, &out, 503);
    let out = invited(&sent, WHOLESALE);
    assert_eq!(
        out.start(),
        "INVITE sip:7788%23441632960001@198.51.100.40 SIP/2.0"
    );
    talk(&mut desk, &out, "over", CENTRE);
    // Busy is busy.
    let sent = from_centre(&mut desk, "busy", "+442079460123", "+441632960001");
    let out = invited(&sent, BRITAIN);
    let sent = refuse(&mut desk, &out, 486);
    assert_eq!(heard(&sent, CENTRE).kind(), "486");
    // North America and the rest of the world.
    let sent = from_centre(&mut desk, "na", "+12025550123", "+12025550199");
    let out = invited(&sent, AMERICA);
    assert_eq!(out.start(), "INVITE sip:12025550199@198.51.100.20 SIP/2.0");
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:12025550123@192.0.2.1>");
    refuse(&mut desk, &out, 603);
    let sent = from_centre(&mut desk, "fr", "+442079460123", "+33199000001");
    let out = invited(&sent, WHOLESALE);
    assert_eq!(out.start(), "INVITE sip:7788%2333199000001@198.51.100.40 SIP/2.0");
    assert!(
        out.header("From").contains("<sip:+442079460123@192.0.2.1>"),
        "{}",
        out.text
    );
    refuse(&mut desk, &out, 404);
    // A customer calls one of our numbers, as Britain writes it. What is no number of ours goes nowhere: above all not out
    // again by another carrier.
    let sent = desk.deliver(
        BRITAIN,
        &call("did", "198.51.100.7", "01632960001", "02079460107"),
    );
    let out = invited(&sent, "203.0.113.20:5060");
    assert_eq!(
        out.start(),
        "INVITE sip:+442079460107@acme.centre.example SIP/2.0"
    );
    assert!(
        out.header("From").contains("<sip:+441632960001@192.0.2.1>"),
        "{}",
        out.text
    );
    talk(&mut desk, &out, "did", "198.51.100.7");
    let sent = desk.deliver(
        BRITAIN,
        &call("fraud", "198.51.100.7", "01632960001", "0033199000001"),
    );
    assert_eq!(
        kinds(&sent).len(),
        2,
        "a 100 and the refusal alone: {:?}",
        kinds(&sent)
    );
    assert_eq!(heard(&sent, "198.51.100.7").kind(), "404");

    // Three calls to Britain at once, and then ten a second: the next goes to the third carrier, and what is above its own
    // limit is refused.
    desk.pass(Duration::from_secs(40));
    let mut went = Vec::new();
    for n in 0..5 {
        let sent = at_once(
            &mut desk,
            &format!("burst{n}"),
            "+442079460123",
            &format!("+44163296010{n}"),
        );
        went.extend(sent.into_iter().filter(|sent| sent.kind() != "100"));
    }
    assert_eq!(
        went.iter()
            .map(|sent| (sent.kind(), sent.to.to_string()))
            .collect::<Vec<_>>(),
        [
            ("INVITE", BRITAIN.to_owned()),
            ("INVITE", BRITAIN.to_owned()),
            ("INVITE", BRITAIN.to_owned()),
            ("INVITE", WHOLESALE.to_owned()),
            ("503", format!("{CENTRE}:5060"))
        ]
    );
    assert!(went[4].has("Retry-After"));
}

/// What the only REGISTER of a machine of the PBX at `host`, once proven with `password`, is answered.
fn pbx_registers(desk: &mut Desk, host: &str, q: &str, password: &str) -> Sent {
    let register = |cseq: u32| {
        format!(
            "REGISTER sip:sbc.example.com SIP/2.0\r\nVia: SIP/2.0/UDP {host};rport;branch=z9hG4bK{host}-{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:pbx-berlin@sbc.example.com>;tag=t\r\nTo: <sip:pbx-berlin@sbc.example.com>\r\n\
             Call-ID: register-{host}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:pbx-berlin@{host}>;q={q}\r\n\
             Expires: 600\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let sent = desk.deliver(host, &register(1));
    let refusal = only(&sent, "401").clone();
    let pbx = Account::new(b"pbx-berlin", password.as_bytes());
    let again = register(2);
    let sent = desk.deliver(host, &with(&again, &proof(&pbx, &refusal, &again, 1)));
    sent.last().unwrap().clone()
}

/// Whether the Authorization of a request to the provider is right for its account.
fn proves_account(sent: &Sent, field: &str, name: &str, password: &str) -> bool {
    let credentials = Credentials::parse(sent.header(field).as_bytes()).unwrap();
    let question = Question {
        method: sent.kind().as_bytes(),
        uri: sent.start().split(' ').nth(1).unwrap().as_bytes(),
        body: sent.body().as_bytes(),
    };
    let account = Account::new(name.as_bytes(), password.as_bytes());
    account.vouches(&credentials, &question) == Proof::Right
}

/// `status` to `request` with the header field `field`.
fn answer_with(request: &Sent, status: u16, field: &str) -> String {
    response(request, status, "t", "", "").replacen(
        "Content-Length",
        &format!("{field}\r\nContent-Length"),
        1,
    )
}

#[test]
fn a_pbx_behind_an_account() {
    const PROVIDER: &str = "198.51.100.7:5060";
    const PBX: &str = "10.9.8.7:5060";
    const STANDBY: &str = "10.9.8.8:5060";
    let text = include_str!("../../../docs/examples/pbx-account.toml");
    let mut desk = example("pbx-account.toml", text);
    // We register at the provider, which wants SHA-256, and see by OPTIONS whether it is there.
    let mut sent = Vec::new();
    while !sent.iter().any(|sent: &Sent| sent.kind() == "REGISTER") {
        sent.extend(desk.pass(Duration::from_millis(100)));
    }
    let register = only(&sent, "REGISTER").clone();
    assert_eq!(register.to.to_string(), PROVIDER);
    assert_eq!(register.start(), "REGISTER sip:sip.provider.example SIP/2.0");
    assert_eq!(register.header("To"), "<sip:acme4711@sip.provider.example>");
    let challenge =
        "WWW-Authenticate: Digest realm=\"provider\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
    let sent = desk.deliver(PROVIDER, &answer_with(&register, 401, challenge));
    let proven = only(&sent, "REGISTER").clone();
    assert!(proves_account(
        &proven,
        "Authorization",
        "acme4711",
        "change-me-provider"
    ));
    let granted = format!("Contact: {}", proven.header("Contact"));
    desk.deliver(PROVIDER, &answer_with(&proven, 200, &granted));
    let told = |event: &Event| event.text == "trunk provider: registered, for 600 s";
    assert!(desk.events.iter().any(told), "{:?}", desk.events);
    let contact = register.header("Contact");
    let ours = contact
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap()
        .to_owned();

    // Both machines of the PBX register with us; a stranger with a wrong password does not.
    assert_eq!(
        pbx_registers(&mut desk, STANDBY, "0.5", "change-me-pbx").kind(),
        "200"
    );
    assert_eq!(
        pbx_registers(&mut desk, PBX, "1.0", "change-me-pbx").kind(),
        "200"
    );
    assert_eq!(
        pbx_registers(&mut desk, "10.6.6.6:5060", "1.0", "guess").kind(),
        "403"
    );

    // A call from the provider, for our Contact and the number in To: to the first machine, and when that fails to the second.
    let invite = call("in", "198.51.100.7", "030901820", "03023125042").replacen(
        "INVITE sip:03023125042@192.0.2.1",
        &format!("INVITE {ours}"),
        1,
    );
    let sent = desk.deliver(PROVIDER, &invite);
    let out = invited(&sent, PBX);
    assert_eq!(out.start(), "INVITE sip:+493023125042@10.9.8.7:5060 SIP/2.0");
    assert!(
        out.header("From").contains("<sip:+4930901820@192.0.2.1>"),
        "{}",
        out.text
    );
    let sent = refuse(&mut desk, &out, 503);
    let out = invited(&sent, STANDBY);
    assert_eq!(out.start(), "INVITE sip:+493023125042@10.9.8.8:5060 SIP/2.0");
    talk(&mut desk, &out, "in", "198.51.100.7");

    // A call from the PBX: it proves itself to us, we prove ourselves to the provider.
    let outbound = call("out", "10.9.8.7", "03023125042", "0308182000");
    let refusal = only(&desk.deliver(PBX, &outbound), "401").clone();
    let again = outbound
        .replacen("CSeq: 1 ", "CSeq: 2 ", 1)
        .replace("z9hG4bKout", "z9hG4bKout2");
    let pbx = Account::new(b"pbx-berlin", b"change-me-pbx");
    let sent = desk.deliver(PBX, &with(&again, &proof(&pbx, &refusal, &again, 1)));
    let first = invited(&sent, PROVIDER);
    assert_eq!(
        first.start(),
        "INVITE sip:0308182000@sip.provider.example SIP/2.0"
    );
    assert!(
        first
            .header("From")
            .contains("<sip:03023125042@sip.provider.example>"),
        "{}",
        first.text
    );
    assert_eq!(
        first.header("P-Asserted-Identity"),
        "<sip:+493023125042@sip.provider.example>"
    );
    assert!(!first.has("Authorization"), "{}", first.text);
    let challenge =
        "Proxy-Authenticate: Digest realm=\"provider\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"";
    let sent = desk.deliver(PROVIDER, &answer_with(&first, 407, challenge));
    let second = invited(&sent, PROVIDER);
    assert!(proves_account(
        &second,
        "Proxy-Authorization",
        "acme4711",
        "change-me-provider"
    ));
    assert!(!second.text.contains("pbx-berlin"), "{}", second.text);
    talk(&mut desk, &second, "out", "10.9.8.7");

    // OPTIONS without answer: it is down, and calls are refused at once.
    let sent = desk.pass(Duration::from_secs(180));
    assert!(
        sent.iter()
            .any(|sent| sent.kind() == "OPTIONS" && sent.to.to_string() == PROVIDER)
    );
    let outbound = outbound.replace("caller-call-id", "down").replace("out", "down");
    let refusal = only(&desk.deliver(PBX, &outbound), "401").clone();
    let again = outbound
        .replacen("CSeq: 1 ", "CSeq: 2 ", 1)
        .replace("z9hG4bKdown", "z9hG4bKdown2");
    let sent = desk.deliver(PBX, &with(&again, &proof(&pbx, &refusal, &again, 1)));
    assert_eq!(heard(&sent, "10.9.8.7").kind(), "500");
}

#[test]
fn a_voice_ai_platform_in_three_regions() {
    const CARRIER: &str = "198.51.100.7";
    const REGIONS: [&str; 3] = ["203.0.113.10:5060", "203.0.113.20:5060", "203.0.113.30:5060"];
    let text = include_str!("../../../docs/examples/voice-ai-regions.toml");
    let mut desk = example("voice-ai-regions.toml", text);
    let from_carrier = |desk: &mut Desk, id: &str, number: &str| {
        desk.deliver(
            &format!("{CARRIER}:5060"),
            &call(id, CARRIER, "33199000001", number),
        )
    };
    // Each call to an agent begins at the next region.
    for (n, region) in REGIONS.into_iter().enumerate() {
        let id = format!("agent{n}");
        let out = invited(&from_carrier(&mut desk, &id, "442079460123"), region);
        assert_eq!(out.start(), "INVITE sip:+442079460123@acme.voice.example SIP/2.0");
        assert!(
            out.header("From").contains("<sip:+33199000001@192.0.2.1>"),
            "{}",
            out.text
        );
        assert_eq!(out.header("P-Asserted-Identity"), "<sip:+33199000001@192.0.2.1>");
        talk(&mut desk, &out, &id, CARRIER);
    }
    desk.records.clear();
    // One does not ring, one rings and does not answer, one answers.
    let sent = from_carrier(&mut desk, "slow", "442079460123");
    invited(&sent, REGIONS[0]);
    let sent = desk.pass(Duration::from_secs(4));
    let out = invited(&sent, REGIONS[1]);
    let ringing = response(&out, 180, "t", &format!("sip:x@{}", REGIONS[1]), "");
    assert_eq!(heard(&desk.deliver(REGIONS[1], &ringing), CARRIER).kind(), "180");
    let sent = desk.pass(Duration::from_secs(16));
    assert!(
        sent.iter()
            .any(|sent| sent.kind() == "CANCEL" && sent.to.to_string() == REGIONS[1])
    );
    let out = invited(&sent, REGIONS[2]);
    talk(&mut desk, &out, "slow", CARRIER);
    let attempts = &desk.records[0].attempts;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| (attempt.trunk.as_str(), attempt.reason.as_deref()))
            .collect::<Vec<_>>(),
        [
            ("ai-london", Some("no_ringback")),
            ("ai-dublin", Some("no_answer")),
            ("ai-virginia", Some("answered"))
        ]
    );
    // An agent that is busy is not looked for elsewhere.
    let sent = from_carrier(&mut desk, "busy", "442079460124");
    let out = only(&sent, "INVITE").clone();
    let sent = refuse(&mut desk, &out, 486);
    assert_eq!(heard(&sent, CARRIER).kind(), "486");
    // The hotline begins in London each time; a 500 there is for Dublin.
    for n in 0..2 {
        let sent = from_carrier(&mut desk, &format!("hot{n}"), "442079460200");
        let out = invited(&sent, REGIONS[0]);
        let sent = refuse(&mut desk, &out, 500);
        let out = invited(&sent, REGIONS[1]);
        refuse(&mut desk, &out, 603);
    }
    // Trials have one region, and numbers that nobody has are refused.
    invited(&from_carrier(&mut desk, "trial", "442079460250"), REGIONS[2]);
    let sent = from_carrier(&mut desk, "none", "442079460299");
    assert_eq!(heard(&sent, CARRIER).kind(), "404");

    // A region calls out with an agent's number; the carrier wants to know who we are.
    let invite = call("out", "203.0.113.20", "+442079460123", "+33199000002");
    let sent = desk.deliver(REGIONS[1], &invite);
    let first = invited(&sent, "198.51.100.7:5060");
    assert_eq!(first.start(), "INVITE sip:33199000002@198.51.100.7 SIP/2.0");
    assert_eq!(
        first.header("P-Asserted-Identity"),
        "<sip:442079460123@192.0.2.1>"
    );
    let challenge = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";
    let sent = desk.deliver("198.51.100.7:5060", &answer_with(&first, 407, challenge));
    let second = invited(&sent, "198.51.100.7:5060");
    assert!(proves_account(
        &second,
        "Proxy-Authorization",
        "acme-trunk",
        "change-me-carrier"
    ));
    talk(&mut desk, &second, "out", "203.0.113.20");
}

#[test]
fn what_the_page_shows_is_in_the_files() {
    let files = [
        include_str!("../../../docs/examples/virtual-trunk.toml"),
        include_str!("../../../docs/examples/contact-centre.toml"),
        include_str!("../../../docs/examples/pbx-account.toml"),
        include_str!("../../../docs/examples/voice-ai-regions.toml"),
    ];
    let page = include_str!("../../../docs/TRUNKS.md");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        assert!(
            files.iter().any(|file| file.contains(block)),
            "in no file:\n{block}"
        );
    }
}
