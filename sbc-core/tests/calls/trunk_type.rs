//! The type of a trunk is fixed when it is added; everything else of it changes while calls run (T1).

use crate::{desk::*, reload::Reloading};
use sbc_core::config;

const HEAD: &str = r#"[[listener]]
name = "main"
address = "127.0.0.1:5060"
[[listener]]
name = "secure"
transport = "tls"
address = "127.0.0.1:5061"
tls = { certificate = "FILE", key = "FILE", client_auth = "required", client_ca = "FILE" }
[media]
address = "127.0.0.1"
ports = "20000-20999"
[[media.interface]]
name = "second"
address = "127.0.0.9"
ports = "30000-30999"
[[route]]
from = "carrier"
to = "platform"
"#;

/// One of each type; what calls go through is `ip` and `fqdn`.
const CARRIER: &str = "[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n";
const PLATFORM: &str =
    "[[trunk]]\nname = \"platform\"\ntarget = \"127.0.0.3:5060\"\nhosts = [\"127.0.0.3\"]\n";
const NAMED: &str = "[[trunk]]\nname = \"named\"\ntarget = \"sip.named.test\"\n";
const PBX: &str =
    "[[trunk]]\nname = \"pbx\"\nlogin.user = [{ username = \"alice\", password = \"s3cret\" }]\n";

/// Every option of a trunk but its name and type, with another value than before.
const CARRIER_AFTER: &str = r#"[[trunk]]
name = "carrier"
type = "ip"
enabled = false
hosts = ["127.0.0.22", "127.0.0.23", "10.0.0.0/8"]
target = "127.0.0.22:5070"
outbound_proxy = "127.0.0.23:5070"
transport = "udp"
listener = "main"
domain = "carrier.test"
domains = ["carrier.sbc.test"]
domains_from = ["platform"]
options_interval_s = 30
pass_display_name = true
refer = "local"
large_over_tcp = false
reliable = "off"
compact_headers = true
srtp = "optional"
srtp_suites = ["AEAD_AES_256_GCM"]
srtp_offer = "savp"
srtp_roc = "reset"
rtcp_mux = "never"
ptime = 20
codecs = ["PCMA", "telephone-event"]
media = "second"
latch = "relearn"
latch_window_ms = 200
ringback = "tone"
ringback_tone = "DE"
hold = "noise"
dtmf = "rfc4733"
packets_per_s = 1000
account = { username = "us", password = "other" }
register = { user = "us", domain = "reg.test", expires_s = 600 }
session_timer = { expires_s = 600, min_s = 120 }
[trunk.numbers]
country = "DE"
national_prefix = "0"
international_prefix = "00"
received = "national"
inbound_strip = "9"
inbound_add = "8"
destination = "national"
originator = "e164"
asserted = "e164"
prefix_strip = "0"
prefix_add = "7"
user_phone = true
[trunk.identity]
trusted = true
asserted = "always"
accept_preferred = true
send_preferred = true
remote_party_id = true
number = "+4930123400"
verified = ["+49301234*"]
use_account_name = true
from_domain = "us.test"
display_name = "Us"
[trunk.headers]
accept = ["X-One"]
send = ["X-Two"]
count_max = 2
bytes_max = 100
user_to_user = true
diversion = "diversion"
reason = false
location = "never"
[[trunk.headers.rule]]
direction = "in"
action = "add"
header = "X-Three"
value = "3"
[trunk.proof]
inbound = { tech_prefix = "55", token_header = "X-Token", token = "secret" }
outbound = { charge_info = "us" }
[trunk.limits]
reject_code = 480
retry_after_s = 9
inbound = { cps = 5, burst = 2, channels = 1 }
outbound = { cps = 5, max_wait_ms = 100 }
both = { channels = 1 }
"#;

const PLATFORM_AFTER: &str = r#"[[trunk]]
name = "platform"
target = "127.0.0.33:5061"
hosts = ["127.0.0.33"]
transport = "tls"
identity = { from_user = "anybody" }
tls = { server_name = "p.test", ca = "FILE", certificate = "FILE", key = "FILE", client_names = ["p.test"] }
"#;

const NAMED_AFTER: &str = "[[trunk]]\nname = \"named\"\ntype = \"fqdn\"\noutbound_proxy = \"other.named.test\"\ntarget = \"127.0.0.44:5060\"\n";

const PBX_AFTER: &str = r#"[[trunk]]
name = "pbx"
hosts = ["10.1.0.0/16"]
target = "pbx.test"
[trunk.login]
realm = "sbc.test"
algorithms = ["SHA-256"]
inside_calls = true
expires_min_s = 100
expires_max_s = 200
expires_nat_s = 100
contacts_max = 2
number_in_uri = true
[[trunk.login.user]]
username = "bob"
password = "other"
"#;

/// `FILE` is one that can be read: what is in certificates matters to the driver alone.
fn text(parts: &[&str]) -> String {
    let text: String = [HEAD].iter().chain(parts).copied().collect();
    text.replace("FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
}

fn before() -> String {
    text(&[CARRIER, PLATFORM, NAMED, PBX])
}

/// The keys that docs/CONFIG.md has for trunks.
fn documented() -> Vec<String> {
    let page = include_str!("../../../docs/CONFIG.md");
    let section = page
        .split("\n## `[[trunk]]`")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

#[test]
fn everything_but_the_type_of_a_trunk_changes_while_calls_run() {
    let after = text(&[CARRIER_AFTER, PLATFORM_AFTER, NAMED_AFTER, PBX_AFTER]);
    for key in documented() {
        // Other ways to give what the text gives.
        let other_way = key.ends_with("_env") || key.ends_with("_file");
        assert!(
            other_way || after.contains(&format!("{key} = ")),
            "{key} is an option of trunks: change it here, too"
        );
    }
    let mut world = Reloading::of(&before());
    let up = establish(&mut world.desk);
    let ids = |world: &Reloading| {
        ["carrier", "platform", "named", "pbx"].map(|name| world.snapshot.trunk_named(name).map(|(id, _)| id))
    };
    let known = ids(&world);
    for text in [after, before()] {
        world.reload(&text);
        assert_eq!(ids(&world), known, "they are the same trunks");
    }
    let sent = world
        .desk
        .caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
    world.desk.callee(&response(&sent[1], 200, "", "", ""));
    assert_eq!(world.desk.shard.gauges().calls, 0);
}

#[test]
fn no_change_makes_a_trunk_one_of_another_type() {
    let login = "login.user = [{ username = \"u\", password = \"s3cret\" }]\n";
    let name = |text: &str| text.replace("target = \"127.0.0.3:5060\"", "target = \"p.test\"");
    for (from, to, key, [is, becomes]) in [
        (
            CARRIER,
            format!("{CARRIER}{login}"),
            "login",
            ["ip", "credentials"],
        ),
        (
            CARRIER,
            format!("{CARRIER}{login}type = \"credentials\"\n"),
            "type",
            ["ip", "credentials"],
        ),
        (
            CARRIER,
            format!("{CARRIER}target = \"c.test\"\n"),
            "target",
            ["ip", "fqdn"],
        ),
        (PLATFORM, name(PLATFORM), "target", ["ip", "fqdn"]),
        (
            PLATFORM,
            format!("{PLATFORM}outbound_proxy = \"proxy.test\"\n"),
            "outbound_proxy",
            ["ip", "fqdn"],
        ),
        (
            PLATFORM,
            name(PLATFORM) + "type = \"fqdn\"\n",
            "type",
            ["ip", "fqdn"],
        ),
        (
            NAMED,
            NAMED.replace("sip.named.test", "127.0.0.4:5060") + "hosts = [\"127.0.0.4\"]\n",
            "target",
            ["fqdn", "ip"],
        ),
        (
            NAMED,
            "[[trunk]]\nname = \"named\"\nhosts = [\"127.0.0.4\"]\n".to_owned(),
            "hosts",
            ["fqdn", "ip"],
        ),
        (NAMED, format!("{NAMED}{login}"), "login", ["fqdn", "credentials"]),
        (
            PBX,
            "[[trunk]]\nname = \"pbx\"\nhosts = [\"127.0.0.4\"]\n".to_owned(),
            "hosts",
            ["credentials", "ip"],
        ),
        (
            PBX,
            "[[trunk]]\nname = \"pbx\"\ntarget = \"pbx.test\"\n".to_owned(),
            "target",
            ["credentials", "fqdn"],
        ),
    ] {
        // Whether or not it was said before.
        for said in [String::new(), format!("type = \"{is}\"\n")] {
            let running = before().replace(from, &format!("{from}{said}"));
            let candidate = before().replace(from, &to);
            let running = config::parse(&running, "sbcd.toml").unwrap();
            config::parse(&candidate, "sbcd.toml").unwrap();
            let error = config::parse_after(&candidate, "sbcd.toml", Some(&running)).unwrap_err();
            let error = error.to_string();
            let trunk = from.split('"').nth(1).unwrap();
            let told = format!(
                "trunk.{key}: this makes \"{trunk}\" a trunk of type \"{becomes}\", and it is of type \"{is}\", which it \
                 keeps: undo that; or add a trunk with another name, have the rules name that one, and delete this one"
            );
            assert!(error.contains(&told), "{to}{error}\n{told}");
            // Where the operator has changed it.
            let line: usize = error.split(':').nth(1).unwrap().parse().unwrap();
            let changed = candidate.lines().nth(line - 1).unwrap();
            assert!(changed.starts_with(key), "{error}\n{changed}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_trunk_that_was_deleted_can_come_back_as_another() {
    let mut world = Reloading::of(&before());
    let without = text(&[CARRIER, PLATFORM, PBX]);
    world.reload(&without);
    world.reload(&format!(
        "{without}[[trunk]]\nname = \"named\"\nhosts = [\"127.0.0.4\"]\n"
    ));
    assert!(world.snapshot.trunk_named("named").is_some());
}
