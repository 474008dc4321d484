//! Every mistake an operator can make in the file, and the exact text he is told.

use proptest::prelude::*;
use sbc_core::config::{ConfigError, DEFAULT_TOML, default_config, load, parse};

/// A good file; the cases replace one line of it.
const GOOD: &str = r#"[[listener]]
name = "main"
address = "127.0.0.1:5060"
[media]
address = "127.0.0.1"
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]
[[trunk]]
name = "platform"
hosts = ["127.0.0.3", "10.0.0.0/8"]
[[route]]
from = "carrier"
to = "platform"
"#;

/// What `text` is refused with.
fn errors(text: &str) -> String {
    match parse(text, "sbc.toml") {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(error) => error.to_string(),
    }
}

/// (part of `GOOD` to replace, what with, the error)
const CASES: &[(&str, &str, &str)] = &[
    // Keys.
    (
        "hosts = [\"127.0.0.2\"]",
        "hots = [\"127.0.0.2\"]",
        "sbc.toml:8:1: trunk.hots: unknown key; did you mean \"hosts\"?",
    ),
    (
        "[media]",
        "[medai]",
        "sbc.toml:4:2: medai: unknown key; did you mean \"media\"?",
    ),
    (
        "[media]",
        "[media]\nfoo = 1",
        "sbc.toml:5:1: media.foo: unknown key; known here are: address, advertise, ports, dscp, quarantine_ms, timeout_s, latch, latch_window_ms, unlatched_timeout_s, rtcp_interval_s, interface",
    ),
    (
        "[media]",
        "[shards]\ncuont = 2\npni = false\n[media]",
        "sbc.toml:5:1: shards.cuont: unknown key; did you mean \"count\"?\nsbc.toml:6:1: shards.pni: unknown key; did you mean \"pin\"?",
    ),
    (
        "address = \"127.0.0.1\"\n",
        "\n",
        "sbc.toml:4:1: media.address: missing; it has no default and must be an IP address, unless there is a [[media.interface]]",
    ),
    (
        "name = \"carrier\"",
        "",
        "sbc.toml:6:1: trunk.name: missing; it has no default and must be text without control characters, at most 128 bytes",
    ),
    (
        "[media]",
        "[media]\ntimeout_s = 1\ntimeout_s = 2",
        "sbc.toml:6:1: not valid TOML: duplicate key, at `timeout_s`",
    ),
    (
        "[[listener]]",
        "[listener]",
        "sbc.toml:1:1: listener: expected sections [[listener]] with double brackets, found a table",
    ),
    (
        "[media]",
        "[[media]]",
        "sbc.toml:4:1: media: expected one section [media] with single brackets, found an array",
    ),
    (
        "[media]",
        "sip = 5\n[media]",
        "sbc.toml:4:1: listener.sip: unknown key; known here are: name, transport, address, advertise, dscp, tls",
    ),
    // Syntax.
    (
        "name = \"carrier\"",
        "name = carrier",
        "sbc.toml:7:8: not valid TOML: string values must be quoted, expected literal string, at `carrier`",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier",
        "sbc.toml:7:16: not valid TOML: invalid basic string, expected `\"`",
    ),
    (
        "[media]",
        "[media",
        "sbc.toml:4:7: not valid TOML: unclosed table, expected `]`\nsbc.toml:9:3: not valid TOML: duplicate key, at `trunk`",
    ),
    // Types and ranges.
    (
        "[media]",
        "[media]\ntimeout_s = \"60\"",
        "sbc.toml:5:13: media.timeout_s: expected a whole number (without quotes or unit), found \"60\"",
    ),
    (
        "[media]",
        "[media]\ntimeout_s = 60.5",
        "sbc.toml:5:13: media.timeout_s: expected a whole number (without quotes or unit), found 60.5",
    ),
    (
        "[media]",
        "[media]\ntimeout_s = -1",
        "sbc.toml:5:13: media.timeout_s: -1 is out of range; allowed is 0 to 86400",
    ),
    (
        "[media]",
        "[media]\ntimeout_s = 99999999999999999999999999999999999999999999",
        "sbc.toml:5:13: media.timeout_s: 99999999999999999999999999999999999999999999 is out of range; allowed is 0 to 86400",
    ),
    (
        "[media]",
        "[media]\nlatch = \"loose\"",
        "sbc.toml:5:9: media.latch: expected \"strict\", \"once\" or \"relearn\", found \"loose\"",
    ),
    (
        "[media]",
        "[media]\nstrict_source = true",
        "sbc.toml:5:1: media.strict_source: no longer known: in place of strict_source = true write latch = \"strict\", and leave it out in place of strict_source = false",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlatch = \"once\"\nlatch_window_ms = 100",
        "sbc.toml:9:19: trunk.latch_window_ms: has no effect with latch = \"once\": remove it, or set latch = \"relearn\"",
    ),
    (
        "[media]",
        "[limits]\nreject_code = 200\n[media]",
        "sbc.toml:5:15: limits.reject_code: 200 is out of range; allowed is 400 to 699",
    ),
    (
        "[media]",
        "[limits]\nreject_code = 700\n[media]",
        "sbc.toml:5:15: limits.reject_code: 700 is out of range; allowed is 400 to 699",
    ),
    (
        "[media]",
        "[sip]\ncalls_max = 0\n[media]",
        "sbc.toml:5:13: sip.calls_max: 0 is out of range; allowed is 1 to 1000000",
    ),
    (
        "[media]",
        "[sip]\nt1_ms = 5000\n[media]",
        "sbc.toml:4:1: sip.t2_ms: 4000 is less than t1_ms (5000)",
    ),
    (
        "[media]",
        "[sip]\nserver_name = \"a\\r\\nVia: x\"\n[media]",
        "sbc.toml:5:15: sip.server_name: expected text without control characters, at most 128 bytes, found \"a\\r\\nVia: x\": it has a control character",
    ),
    (
        "[media]",
        "[log]\nlevel = \"verbose\"\n[media]",
        "sbc.toml:5:9: log.level: expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found \"verbose\"",
    ),
    (
        "[media]",
        "[shards]\nbackend = \"epoll\"\n[media]",
        "sbc.toml:5:11: shards.backend: expected \"auto\", \"io_uring\" or \"syscall\", found \"epoll\"",
    ),
    (
        "[media]",
        "[shards]\ncount = 0\n[media]",
        "sbc.toml:5:9: shards.count: expected \"auto\" or a number from 1 to 255, found 0",
    ),
    (
        "[media]",
        "[shards]\ncount = 256\n[media]",
        "sbc.toml:5:9: shards.count: expected \"auto\" or a number from 1 to 255, found 256",
    ),
    (
        "[media]",
        "[shards]\ncount = 2\ncpus = [1]\n[media]",
        "sbc.toml:6:8: shards.cpus: it has 1 for 2 shards (shards.count): list one core for each",
    ),
    (
        "[media]",
        "[shards]\ncpus = [1, 1]\n[media]",
        "sbc.toml:5:12: shards.cpus: core 1 is listed twice",
    ),
    (
        "[media]",
        "[shards]\ncpus = []\n[media]",
        "sbc.toml:5:8: shards.cpus: the list is empty: name cores, or leave it out to use all",
    ),
    (
        "[media]",
        "[shards]\npin = false\ncpus = [0]\n[media]",
        "sbc.toml:6:8: shards.cpus: has no effect with pin = false: remove one of them",
    ),
    (
        "[media]",
        "[admin]\nsocket = \"run/sbcd.sock\"\n[media]",
        "sbc.toml:5:10: admin.socket: expected an absolute path of at most 107 bytes (the most a Unix socket's can have), found \"run/sbcd.sock\"",
    ),
    (
        "[media]",
        "[admin]\nmode = \"0666\"\n[media]",
        "sbc.toml:5:8: admin.mode: expected an octal file mode such as \"0600\", found \"0666\": every local user could hang up calls: grant a group instead, \"0660\"",
    ),
    (
        "[media]",
        "[admin]\nmode = \"rw\"\n[media]",
        "sbc.toml:5:8: admin.mode: expected an octal file mode such as \"0600\", found \"rw\": three octal digits after the 0",
    ),
    (
        "[media]",
        "[admin]\nmode = 0o600\n[media]",
        "sbc.toml:5:8: admin.mode: expected an octal file mode such as \"0600\", found 0o600",
    ),
    // Addresses.
    (
        "\"127.0.0.1:5060\"",
        "\"127.0.0.1\"",
        "sbc.toml:3:11: listener.address: expected address:port or [IPv6]:port, found \"127.0.0.1\": the port is missing: write 127.0.0.1:5060",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"::1\"",
        "sbc.toml:3:11: listener.address: expected address:port or [IPv6]:port, found \"::1\": the port is missing: write [::1]:5060",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"sip.example.net:5060\"",
        "sbc.toml:3:11: listener.address: expected address:port or [IPv6]:port, found \"sip.example.net:5060\": host names are not looked up: write the IP address",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"127.0.0.1:0\"",
        "sbc.toml:3:11: listener.address: expected address:port or [IPv6]:port, found \"127.0.0.1:0\": port 0 cannot be used",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"0.0.0.0:5060\"",
        "sbc.toml:1:1: listener.advertise: missing; peers cannot be told 0.0.0.0: set the address that they reach us at, such as \"192.0.2.1:5060\"",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"0.0.0.0:5060\"\nadvertise = \"[2001:db8::1]:5060\"",
        "sbc.toml:4:13: listener.advertise: 2001:db8::1 and address 0.0.0.0 are not of the same family",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"224.0.0.1:5060\"",
        "sbc.toml:3:11: listener.address: expected address:port or [IPv6]:port, found \"224.0.0.1:5060\": 224.0.0.1 is a multicast or broadcast address",
    ),
    (
        "\"127.0.0.1:5060\"",
        "\"127.0.0.1:20000\"",
        "sbc.toml:3:11: listener.address: port 20000 is one of media.ports (20000-59999): use another port, or another range",
    ),
    (
        "address = \"127.0.0.1\"\n",
        "address = \"0.0.0.0\"\n",
        "sbc.toml:4:1: media.advertise: missing; peers cannot be told 0.0.0.0: set the address that they reach us at, such as \"192.0.2.1\"",
    ),
    (
        "address = \"127.0.0.1\"\n",
        "address = \"::ffff:127.0.0.1\"\n",
        "sbc.toml:5:11: media.address: expected an IP address, found \"::ffff:127.0.0.1\": it is an IPv4 address in IPv6 form: write 127.0.0.1",
    ),
    // Media ports.
    (
        "[media]",
        "[media]\nports = \"20000\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"20000\": a - between two ports is missing",
    ),
    (
        "[media]",
        "[media]\nports = \"20001-20010\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"20001-20010\": it must begin with an even port (RTP), such as 20002",
    ),
    (
        "[media]",
        "[media]\nports = \"20000-20010\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"20000-20010\": it must end with an odd port (RTCP), such as 20009",
    ),
    (
        "[media]",
        "[media]\nports = \"20010-20001\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"20010-20001\": the last port is before the first",
    ),
    (
        "[media]",
        "[media]\nports = \"500-1001\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"500-1001\": ports below 1024 are reserved for services",
    ),
    (
        "[media]",
        "[media]\nports = \"20000-70001\"",
        "sbc.toml:5:9: media.ports: expected a port range such as \"20000-59999\", found \"20000-70001\": a port is 1024 to 65535",
    ),
    (
        "[media]",
        "[media]\nports = \"20000-20001\"",
        "sbc.toml:5:9: media.ports: one pair of ports is too few: a call takes two",
    ),
    (
        "[media]",
        "[shards]\ncount = 4\n[media]\nports = \"20000-20013\"",
        "sbc.toml:7:9: media.ports: 7 pairs of ports are too few for 4 shards: a call takes two, and each shard has its own",
    ),
    // Trunks.
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = \"127.0.0.2\"",
        "sbc.toml:8:9: trunk.hosts: expected an array [ ], each an address, address:port, [IPv6]:port or network/prefix, found \"127.0.0.2\"",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = []",
        "sbc.toml:8:9: trunk.hosts: there are 0; allowed are 1 to 1000",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"sip.example.com:0\"",
        "sbc.toml:8:10: trunk.target: expected address:port, [IPv6]:port, a host name or name:port, found \"sip.example.com:0\": \"0\" is no port",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"192.0.2.1\"",
        "sbc.toml:8:10: trunk.target: expected address:port, [IPv6]:port, a host name or name:port, found \"192.0.2.1\": the port is missing: write 192.0.2.1:5060",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\noutbound_proxy = \"a..b\"",
        "sbc.toml:8:18: trunk.outbound_proxy: expected address:port, [IPv6]:port, a host name or name:port, found \"a..b\": it is neither an address nor a host name",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntransport = \"sctp\"",
        "sbc.toml:8:13: trunk.transport: expected \"udp\", \"tcp\", \"tls\" or \"auto\", found \"sctp\"",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"sip.example.com\"\ntransport = \"tcp\"",
        "sbc.toml:9:13: trunk.transport: no listener is tcp: add a [[listener]] for it",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlistener = \"main\"\ntransport = \"tls\"",
        "sbc.toml:9:13: trunk.transport: listener \"main\" is udp, not tls",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ndomains = [\"a.test\"]",
        "sbc.toml:8:11: trunk.domains: has no effect without domains_from: set domains_from, too, or remove it",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ndomains_from = [\"platfrom\"]\ndomains = [\"a.test\", \"A.test\", \"b.test:5060\"]",
        "sbc.toml:8:17: trunk.domains_from: no trunk is named \"platfrom\"; did you mean \"platform\"?\nsbc.toml:9:22: trunk.domains: a.test is listed twice\nsbc.toml:9:32: trunk.domains: b.test:5060 has a port, which is not looked at: remove it",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ndomain = \"a b\"",
        "sbc.toml:8:10: trunk.domain: expected a host name or an IP address, with or without a port, found \"a b\"",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\noptions_interval_s = 9999",
        "sbc.toml:8:22: trunk.options_interval_s: 9999 is out of range; allowed is 0 to 3600",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"sip.carrier.example\"]",
        "sbc.toml:8:10: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"sip.carrier.example\": host names are not looked up: write the IP address",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"10.1.2.3/16\"]",
        "sbc.toml:8:10: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"10.1.2.3/16\": the address has bits set after the prefix: write 10.1.0.0/16 for the network",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"10.1.0.0/33\"]",
        "sbc.toml:8:10: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"10.1.0.0/33\": a prefix length for this address is a number from 0 to 32",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"10.1.0.0/16\"]",
        "sbc.toml:6:1: trunk.target: missing; with networks alone in hosts it cannot be guessed: set target = \"address:port\"",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0.2:0\"]",
        "sbc.toml:8:10: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"127.0.0.2:0\": port 0 can not send: leave the port out to accept any",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0\", 5, \"255.255.255.255\"]",
        "sbc.toml:8:10: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"127.0.0\": it is not an IP address\nsbc.toml:8:21: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found 5\nsbc.toml:8:24: trunk.hosts: expected an address, address:port, [IPv6]:port or network/prefix, found \"255.255.255.255\": 255.255.255.255 is a multicast or broadcast address",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0.2\", \"127.0.0.2\"]",
        "sbc.toml:8:23: trunk.hosts: 127.0.0.2 is listed twice",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0.2\", \"127.0.0.3\"]",
        "sbc.toml:11:10: trunk.hosts: 127.0.0.3 is also a host of trunk \"carrier\": calls from there could be either's; give one of them something more specific, such as address:port, or each an account of its own ([trunk.account])",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0.2\", \"10.0.0.0/8\"]",
        "sbc.toml:11:23: trunk.hosts: 10.0.0.0/8 is also a host of trunk \"carrier\": calls from there could be either's; give one of them something more specific, such as address:port, or each an account of its own ([trunk.account])",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"127.0.0.1\"]",
        "sbc.toml:8:9: trunk.hosts: requests would go to 127.0.0.1:5060, which is our own listener \"main\": calls would loop",
    ),
    (
        "hosts = [\"127.0.0.2\"]",
        "hosts = [\"2001:db8::5\"]",
        "sbc.toml:8:9: trunk.hosts: the target [2001:db8::5]:5060 is IPv6 and no listener is: add a [[listener]] for it",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"[2001:db8::5]:5060\"\nlistener = \"main\"",
        "sbc.toml:8:10: trunk.target: replies from [2001:db8::5]:5060 would be refused: list it in hosts, too\nsbc.toml:9:12: trunk.listener: listener \"main\" is IPv4, the target [2001:db8::5]:5060 is IPv6",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlistener = \"mian\"",
        "sbc.toml:8:12: trunk.listener: no listener is named \"mian\"; did you mean \"main\"?",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlistener = \"wan\"",
        "sbc.toml:8:12: trunk.listener: no listener is named \"wan\"; there are \"main\"",
    ),
    (
        "name = \"carrier\"",
        "name = \"platform\"",
        "sbc.toml:10:8: trunk.name: a trunk before this one is named \"platform\", too\nsbc.toml:13:8: route.from: no trunk is named \"carrier\"; there are \"platform\", \"platform\"",
    ),
    (
        "name = \"carrier\"",
        "name = \"the carrier\"",
        "sbc.toml:7:8: trunk.name: \"the carrier\" is no name: use 1 to 64 letters, digits, - and _\nsbc.toml:13:8: route.from: no trunk is named \"carrier\"; there are \"the carrier\", \"platform\"",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlimits.inbound.csp = 5",
        "sbc.toml:8:16: trunk.limits.inbound.csp: unknown key; did you mean \"cps\"?",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlimits.inbound.burst = 5",
        "sbc.toml:8:24: trunk.limits.inbound.burst: has no effect without cps: set cps, too, or remove it",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlimits.both = { cps = 5, burst = 0 }",
        "sbc.toml:8:34: trunk.limits.both.burst: 0 is out of range; allowed is 1 to 1000000",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlimits.both = 5",
        "sbc.toml:8:15: trunk.limits.both: expected a table, found 5",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\nlimits.inbuond.cps = 5",
        "sbc.toml:8:8: trunk.limits.inbuond: unknown key; did you mean \"inbound\"?",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"127.0.0.9:5060\"",
        "sbc.toml:8:10: trunk.target: replies from 127.0.0.9:5060 would be refused: list it in hosts, too",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"127.0.0.3:5060\"",
        "sbc.toml:8:10: trunk.target: replies from 127.0.0.3:5060 would be taken for trunk \"platform\"'s, which lists that source: list \"127.0.0.3:5060\" in hosts here",
    ),
    (
        "name = \"carrier\"",
        "name = \"carrier\"\ntarget = \"0.0.0.0:5060\"",
        "sbc.toml:8:10: trunk.target: 0.0.0.0:5060 is no address to send to",
    ),
    // Routes.
    (
        "to = \"platform\"",
        "to = \"plattform\"",
        "sbc.toml:14:6: route.to: no trunk is named \"plattform\"; did you mean \"platform\"?",
    ),
    (
        "to = \"platform\"",
        "to = \"asterisk\"",
        "sbc.toml:14:6: route.to: no trunk is named \"asterisk\"; there are \"carrier\", \"platform\"",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[route]]\nfrom = \"carrier\"\nto = \"carrier\"",
        "sbc.toml:16:8: route.from: calls from \"carrier\" have a route already, to \"platform\": keep one of them",
    ),
    (
        "to = \"platform\"",
        "to = [\"platform\", \"platfrom\"]",
        "sbc.toml:14:19: route.to: no trunk is named \"platfrom\"; did you mean \"platform\"?",
    ),
    (
        "to = \"platform\"",
        "to = []",
        "sbc.toml:14:6: route.to: there are 0 trunks; allowed are 1 to 16",
    ),
    (
        "to = \"platform\"",
        "to = [\"platform\", \"platform\"]",
        "sbc.toml:14:19: route.to: \"platform\" is listed twice",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nprefixes = [\"49a\"]",
        "sbc.toml:15:13: route.prefixes: expected digits as \"4930\", found \"49a\": it may have digits alone, after a \"+\" or without one",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nprefixes = [\"49\", \"+49\"]",
        "sbc.toml:15:12: route.prefixes: 49 is listed twice",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nprefixes = [\"49\"]\n[[route]]\nname = \"de\"\nfrom = [\"carrier\", \"platform\"]\nprefixes = [\"49\"]\nto = \"carrier\"",
        "sbc.toml:19:12: route.prefixes: 49 belongs to \"route 1\" already: keep one of them, or name different trunks in from",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstrategy = \"random\"",
        "sbc.toml:15:12: route.strategy: expected \"sequential\", \"round_robin\" or \"weighted\", found \"random\"",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nweights = [1]",
        "sbc.toml:15:11: route.weights: has no effect without strategy = \"weighted\": add that, or remove it",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstrategy = \"weighted\"",
        "sbc.toml:12:1: route.weights: there are 0 for 1 trunks in to: give each trunk one",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstrategy = \"weighted\"\nweights = [0]",
        "sbc.toml:16:11: route.weights: a weight is at least 1: leave out a trunk that is to get no calls",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstop_on = [200]",
        "sbc.toml:15:12: route.stop_on: 200 is no rejection: allowed are 300 to 699",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstarts = \"tomorrow\"",
        "sbc.toml:15:10: route.starts: expected a date and time as 2026-12-01T00:00:00Z (RFC 3339), found \"tomorrow\"",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstarts = 2026-12-01",
        "sbc.toml:15:10: route.starts: expected a date and time with its distance from UTC, as 2026-12-01T00:00:00Z, found a date",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nstarts = 2026-12-01T00:00:00Z\nends = 2026-12-01T00:00:00Z",
        "sbc.toml:16:8: route.ends: is not after starts: the route would never hold",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\nname = \"a b\"",
        "sbc.toml:15:8: route.name: a name has at least one character, and no space, comma, semicolon or #",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = []\nto = \"platform\"",
        "sbc.toml:16:11: did.numbers: the list is empty: name numbers, or remove the section",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = [\"4930-29\"]\nto = \"platform\"",
        "sbc.toml:16:12: did.numbers: expected a number, a block \"+4930123400-99\" or a prefix \"+4930123*\", found \"4930-29\": the end of a block has as many digits as it replaces, and comes after the beginning: \"+4930123400-99\"",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = [\"4930\"]\nto = \"platform\"\nstop_on = [700]",
        "sbc.toml:18:12: did.stop_on: 700 is no rejection: allowed are 300 to 699",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = [\"4930\"]\nto = \"platform\"\nstop_at = [404]",
        "sbc.toml:18:1: did.stop_at: unknown key; did you mean \"stop_on\"?",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = [\"4930\"]\nto = \"platform\"\nringback_timeout_s = 301",
        "sbc.toml:18:22: did.ringback_timeout_s: 301 is out of range; allowed is 0 to 300",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[did]]\nnumbers = [\"4930\"]\nto = \"platform\"\nstarts = 2026-12-01T00:00:00Z\nends = 2026-12-01T00:00:00Z",
        "sbc.toml:19:8: did.ends: is not after starts: the did would never hold",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[emergency]\nnumbers = [\"112\"]\nto = \"platform\"\nstop_on = [0]",
        "sbc.toml:18:12: emergency.stop_on: 0 is no rejection: allowed are 300 to 699",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[emergency]]\nnumbers = [\"112\"]\nto = \"platform\"\n[[emergency]]\nnumbers = [\"112\"]\nto = \"carrier\"",
        "sbc.toml:19:11: emergency.numbers: 112 is listed already: keep one of them, or name different trunks in from",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[[emergency]]\nnumbers = [\"112\"]\nto = \"platform\"\n[[emergency]]\nnumbers = [\"911\"]\nto = \"carrier\"\nfrom = \"platfrm\"",
        "sbc.toml:21:8: emergency.from: no trunk is named \"platfrm\"; did you mean \"platform\"?",
    ),
    (
        "to = \"platform\"",
        "to = \"platform\"\n[emergency]\nnumbers = [\"112\"]\nto = \"platform\"\nreserve = 5",
        "sbc.toml:18:11: emergency.reserve: has no effect without channels in [limits]: set them, or remove it",
    ),
];

#[test]
fn the_good_file_is_good() {
    parse(GOOD, "sbc.toml").unwrap().compile().unwrap();
    parse(DEFAULT_TOML, "default").unwrap().compile().unwrap();
}

#[test]
fn each_mistake_has_its_message() {
    for (line, with, expected) in CASES {
        assert_eq!(
            GOOD.matches(line).count(),
            1,
            "{line} must be one place of the good file"
        );
        assert_eq!(errors(&GOOD.replace(line, with)), *expected, "for {with}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load("/nonexistent/sbc.toml".as_ref()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert_eq!(
        error.to_string(),
        "/nonexistent/sbc.toml: cannot read the configuration: No such file or directory (os error 2); \
         `sbcd --print-default-config` prints one to start from, and `sbcd` without --config needs none"
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let text = GOOD
        .replace("hosts = [\"127.0.0.2\"]", "hots = [\"127.0.0.2\"]")
        .replace("name = \"main\"", "name = 5")
        .replace("[media]", "[media]\nports = \"1-2\"");
    assert_eq!(
        errors(&text)
            .lines()
            .map(|l| l.split(": ").next().unwrap())
            .collect::<Vec<_>>(),
        ["sbc.toml:2:8", "sbc.toml:5:9", "sbc.toml:9:1"]
    );
}

#[test]
fn a_changed_config_is_checked_again() {
    let mut config = default_config();
    config.routes[0].to.0[0] = "nowhere".to_owned();
    config.trunks[1].hosts.clear();
    assert_eq!(
        config.compile().unwrap_err().to_string(),
        "configuration: trunk[1].hosts: there are 0; allowed are 1 to 1000\n\
         configuration: route[0].to: no trunk is named \"nowhere\"; there are \"carrier\", \"platform\""
    );
}

#[test]
fn too_many_of_a_thing_are_refused() {
    let listeners: String = (0..256)
        .map(|n| format!("[[listener]]\nname = \"l{n}\"\naddress = \"127.0.1.{n}:5060\"\n"))
        .collect();
    assert_eq!(
        errors(&(listeners + GOOD)),
        "sbc.toml:1:1: listener: there are 257; allowed are 1 to 255"
    );
    let trunks: String = (0..10_000)
        .map(|n| {
            format!(
                "[[trunk]]\nname = \"t{n}\"\nhosts = [\"10.9.{}.{}\"]\n",
                n / 256,
                n % 256
            )
        })
        .collect();
    assert_eq!(
        errors(&(GOOD.to_owned() + &trunks)),
        "sbc.toml:6:1: trunk: there are 10002; allowed are 1 to 10000"
    );
}

/// Words that make up configuration files, so that random ones get past the TOML parser.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(
            GOOD.split_inclusive(['\n', ' ', '"', '[', ']'])
                .collect::<Vec<_>>()
        )
        .prop_map(str::to_owned),
        prop::sample::select(vec![
            "\n", "=", "\"", "{", "}", ",", ".", "#", "-1", "0x", "9e9", "é", "\u{0}", "[["
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..60).prop_map(|w| w.concat())
}

/// `GOOD` with a piece cut out and something else put there.
fn mutated() -> impl Strategy<Value = String> {
    (0..GOOD.len(), 0..20usize, "\\PC{0,8}").prop_map(|(at, cut, with)| {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + cut).min(GOOD.len()), &with);
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No text panics; what is accepted compiles; what is refused has a place in the text.
    #[test]
    fn any_text_gets_a_verdict(text in prop_oneof![words(), mutated(), any::<String>()]) {
        match parse(&text, "any") {
            Ok(config) => prop_assert!(config.compile().is_ok()),
            Err(ConfigError::Read { .. }) => prop_assert!(false, "no file was read"),
            Err(ConfigError::Invalid(problems)) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    let lines = text.split('\n').count();
                    prop_assert!((1..=lines).contains(&problem.line), "{problem}");
                    prop_assert!(!problem.message.contains('\n'), "{problem}");
                }
            }
        }
    }
}
