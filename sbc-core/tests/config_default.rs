//! The embedded default configuration is what the documentation says, and its commented lines
//! are the defaults of the code.

use sbc_core::{
    config::{DEFAULT_TOML, default_config, parse},
    time::Timestamp,
    trunk::TrunkId,
};
use std::time::Duration;

#[test]
fn two_trunks_on_this_machine_call_each_other() {
    let (snapshot, admission) = default_config().compile().unwrap();
    assert_eq!(snapshot.listeners.len(), 1);
    assert_eq!(snapshot.listeners[0].bind, "127.0.0.1:5060".parse().unwrap());
    assert_eq!(snapshot.listeners[0].advertised, snapshot.listeners[0].bind);

    let names: Vec<_> = snapshot.trunks.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["carrier", "platform"]);
    assert_eq!(snapshot.trunks[0].target.address(), "127.0.0.2:5060".parse().ok());
    assert_eq!(snapshot.trunks[1].target.address(), "127.0.0.3:5060".parse().ok());
    assert_eq!(snapshot.calls_go_to(TrunkId(0)).as_deref(), Some("platform"));
    assert_eq!(snapshot.calls_go_to(TrunkId(1)).as_deref(), Some("carrier"));
    assert_eq!(
        snapshot.sources.lookup("127.0.0.2:9".parse().unwrap()),
        Some(TrunkId(0))
    );
    assert_eq!(
        snapshot.sources.lookup("127.0.0.3:9".parse().unwrap()),
        Some(TrunkId(1))
    );
    assert_eq!(snapshot.sources.lookup("127.0.0.4:9".parse().unwrap()), None);

    let [interface] = &snapshot.media.interfaces[..] else {
        panic!("one interface")
    };
    assert_eq!(interface.ports, (20_000, 59_999));
    assert_eq!(interface.bind, interface.advertised);
    assert_eq!(
        (interface.dscp, snapshot.listeners[0].dscp),
        (46, 40),
        "EF and CS5"
    );
    assert_eq!(snapshot.media.quarantine, Duration::from_secs(1));
    assert_eq!(snapshot.sip.t1, Duration::from_millis(500));
    assert_eq!(snapshot.reject_code, 503);

    // Unlimited: a thousand calls at one instant, under every limit there is.
    let trunk = &snapshot.trunks[0];
    let limits = [snapshot.limits, trunk.inbound, trunk.outbound, trunk.both];
    for _ in 0..1_000 {
        let permit = admission.admit(Timestamp::ZERO, &limits).unwrap();
        admission.release(permit);
    }
}

#[test]
fn the_commented_lines_are_the_defaults() {
    // Those that show how to use an option instead of its default.
    let examples = [
        "#advertise",
        "#[trunk.limits]",
        "#inbound",
        "#both",
        "#socket",
        "#target",
    ];
    let mut uncommented = 0;
    let text: String = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if !option.starts_with(' ') && !examples.iter().any(|e| line.starts_with(e)) => {
                uncommented += 1;
                format!("{option}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(uncommented > 15, "only {uncommented} options are shown");
    assert_eq!(parse(&text, "uncommented").unwrap(), default_config());
}

#[test]
fn the_examples_in_it_are_valid() {
    let text: String = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if !option.starts_with(' ') => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    parse(&text, "uncommented").unwrap().compile().unwrap();
}

#[test]
fn limits_and_names_reach_their_places() {
    let text = r#"
        [[listener]]
        name = "v4"
        address = "0.0.0.0:5060"
        advertise = "192.0.2.10:5060"
        [[listener]]
        name = "v6"
        address = "[2001:db8::10]:5060"
        [media]
        address = "127.0.0.1"
        timeout_s = 0
        [[media.interface]]
        name = "v6"
        address = "2001:db8::10"
        [limits]
        cps = 7
        reject_code = 486
        [[trunk]]
        name = "a"
        hosts = ["10.0.0.0/8", "192.0.2.1:5080", "192.0.2.2"]
        limits.inbound = { cps = 3, burst = 2 }
        limits.both.channels = 1
        [[trunk]]
        name = "b"
        hosts = ["[2001:db8::1]:5070", "10.0.0.5"]
        pass_display_name = true
        [[route]]
        from = "a"
        to = "b"
    "#;
    let (snapshot, admission) = parse(text, "text").unwrap().compile().unwrap();
    assert_eq!(snapshot.reject_code, 486);
    assert_eq!(
        snapshot.listeners[0].advertised,
        "192.0.2.10:5060".parse().unwrap()
    );
    let (a, b) = (&snapshot.trunks[0], &snapshot.trunks[1]);
    assert_eq!(
        (a.target.address(), a.listener.0),
        ("192.0.2.1:5080".parse().ok(), 0)
    );
    assert_eq!(
        (b.target.address(), b.listener.0),
        ("[2001:db8::1]:5070".parse().ok(), 1)
    );
    assert_eq!(snapshot.calls_go_to(TrunkId(0)).as_deref(), Some(b.name.as_str()));
    assert_eq!(snapshot.calls_go_to(TrunkId(1)), None);
    assert!(b.pass_display_name && !a.pass_display_name);
    assert_eq!(snapshot.media.timeout, Duration::ZERO);
    for (peer, trunk) in [
        ("10.1.1.1:1", Some(0)),
        ("10.0.0.5:1", Some(1)),
        ("192.0.2.1:1", None),
        ("192.0.2.2:1", Some(0)),
    ] {
        assert_eq!(
            snapshot.sources.lookup(peer.parse().unwrap()),
            trunk.map(TrunkId),
            "{peer}"
        );
    }

    let views: Vec<_> = admission
        .iter()
        .map(|v| (v.name.to_owned(), v.cps, v.burst, v.channels_max))
        .collect();
    let view = |name: &str, cps, burst, channels| (name.to_owned(), cps, burst, channels);
    assert!(views.contains(&view("global", 7, 1, 0)), "{views:?}");
    assert!(views.contains(&view("a.inbound", 3, 2, 0)), "{views:?}");
    assert_eq!(admission.view(a.both).unwrap().name, "a.both");
    assert_eq!(admission.view(a.both).unwrap().channels_max, 1);
    assert_eq!(admission.view(b.outbound).unwrap().name, "b.outbound");
    assert_eq!(admission.view(snapshot.limits).unwrap().name, "global");
}
