//! Media interfaces: which one a trunk uses, and what is refused.

use sbc_core::{
    config::{ConfigError, parse},
    id::InterfaceId,
    snapshot::Snapshot,
};

const FILE: &str = r#"[[listener]]
name = "wan"
address = "192.0.2.1:5060"
[[listener]]
name = "any"
address = "0.0.0.0:5070"
advertise = "10.0.0.1:5070"
[[listener]]
name = "six"
address = "[2001:db8::1]:5060"
[media]
MEDIA
[[trunk]]
name = "carrier"
hosts = ["CARRIER"]
OPTIONS
"#;

fn file(media: &str, carrier: &str, options: &str) -> String {
    FILE.replace("MEDIA", media)
        .replace("CARRIER", carrier)
        .replace("OPTIONS", options)
}

fn compiled(media: &str, carrier: &str, options: &str) -> Result<Snapshot, ConfigError> {
    Ok(parse(&file(media, carrier, options), "f")?.compile()?.0)
}

const LAN: &str = "address = \"10.0.0.1\"";
const WAN: &str = "[[media.interface]]\nname = \"wan\"\naddress = \"192.0.2.1\"";
const SIX: &str = "[[media.interface]]\nname = \"six\"\naddress = \"2001:db8::2\"";

#[test]
fn a_trunk_uses_the_interface_that_goes_with_its_listener() {
    let all = format!("{LAN}\n{SIX}\n{WAN}");
    for (carrier, options, expected) in [
        // The listener's own address, or the first of its family.
        ("192.0.2.9", "", 2),
        ("10.0.0.9", "listener = \"any\"", 0),
        ("2001:db8::9", "", 1),
        // Or as it says, also of the other family.
        ("192.0.2.9", "media = \"default\"", 0),
        ("192.0.2.9", "media = \"six\"", 1),
    ] {
        let snapshot = compiled(&all, carrier, options).unwrap();
        let media = &snapshot.trunks[0].media;
        assert_eq!(media.interface, InterfaceId(expected), "{carrier} {options}");
        assert_eq!(media.ipv6, expected == 1);
    }
}

#[test]
fn an_interface_has_the_ports_and_the_mark_of_all_unless_it_says_otherwise() {
    let own = format!("{WAN}\nports = \"30000-30099\"\ndscp = 0\nadvertise = \"203.0.113.1\"");
    let all = format!("{LAN}\nports = \"40000-40099\"\ndscp = 34\n{SIX}\n{own}");
    let snapshot = compiled(&all, "192.0.2.9", "").unwrap();
    let each = snapshot.media.interfaces.iter();
    let each: Vec<_> = each
        .map(|i| (i.name.as_str(), i.ports, i.dscp, i.advertised.to_string()))
        .collect();
    assert_eq!(
        each,
        [
            ("default", (40_000, 40_099), 34, "10.0.0.1".to_owned()),
            ("six", (40_000, 40_099), 34, "2001:db8::2".to_owned()),
            ("wan", (30_000, 30_099), 0, "203.0.113.1".to_owned()),
        ]
    );
}

#[test]
fn without_an_address_of_its_own_the_first_interface_is_the_default() {
    let snapshot = compiled(&format!("{WAN}\n{SIX}"), "192.0.2.9", "").unwrap();
    assert_eq!(snapshot.media.interfaces[0].name, "wan");
}

#[test]
fn what_cannot_work_is_refused() {
    let twice = format!("{LAN}\n{WAN}\n{WAN}");
    let beside = format!(
        "{LAN}\n{}\nports = \"59998-60999\"",
        WAN.replace("192.0.2.1", "10.0.0.1")
    );
    for (media, carrier, options, expected) in [
        (
            LAN.to_owned(),
            "10.0.0.9",
            "media = \"defualt\"",
            "f:17:9: trunk.media: no media interface is named \"defualt\"; did you mean \"default\"?",
        ),
        (
            LAN.to_owned(),
            "2001:db8::9",
            "",
            "f:13:1: trunk.media: missing; no media interface is IPv6, as its listener \"six\" is: add a \
             [[media.interface]] with such an address, or name the one that its media goes by",
        ),
        (
            String::new(),
            "10.0.0.9",
            "",
            "f:11:1: media.address: missing; it has no default and must be an IP address, unless there is a \
             [[media.interface]]",
        ),
        (
            format!("advertise = \"192.0.2.7\"\n{WAN}"),
            "192.0.2.9",
            "",
            "f:12:13: media.advertise: has no effect without address: set address, too, or remove it",
        ),
        (
            twice,
            "10.0.0.9",
            "",
            "f:16:1: media.interface.ports: 20000-59999 on 192.0.2.1 overlap those of \"wan\" (20000-59999 on \
             192.0.2.1): give each its own ports, or another address\nf:17:8: media.interface.name: a media interface \
             before this one is named \"wan\", too",
        ),
        (
            beside,
            "10.0.0.9",
            "",
            "f:16:9: media.interface.ports: 59998-60999 on 10.0.0.1 overlap those of \"default\" (20000-59999 on \
             10.0.0.1): give each its own ports, or another address",
        ),
        (
            format!("{LAN}\n{}", WAN.replace("\"wan\"", "\"default\"")),
            "10.0.0.9",
            "",
            "f:14:8: media.interface.name: a media interface before this one is named \"default\", too",
        ),
        (
            format!("{LAN}\n{WAN}\nadvertise = \"2001:db8::7\""),
            "10.0.0.9",
            "",
            "f:16:13: media.interface.advertise: 2001:db8::7 and address 192.0.2.1 are not of the same family",
        ),
        (
            format!("{LAN}\n{WAN}\nports = \"5060-5061\""),
            "10.0.0.9",
            "",
            "f:3:11: listener.address: port 5060 is one of media.interface.ports (5060-5061): use another port, or \
             another range\nf:16:9: media.interface.ports: one pair of ports is too few: a call takes two",
        ),
        (
            format!("{LAN}\ndscp = 64"),
            "10.0.0.9",
            "",
            "f:13:8: media.dscp: 64 is out of range; allowed is 0 to 63",
        ),
    ] {
        let options = match carrier {
            "10.0.0.9" => format!("listener = \"any\"\n{options}"),
            _ => options.to_owned(),
        };
        let found = compiled(&media, carrier, &options).unwrap_err().to_string();
        assert_eq!(found, expected);
    }
}
