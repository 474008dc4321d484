//! What the daemon prints when it runs: where it listens, what moves its packets, what to try next.

use super::launch::Launched;
use crate::{
    config,
    snapshot::{MediaInterface, Snapshot, Trunk},
    trunk::TrunkId,
};
use std::{
    env,
    fmt::{Display, Write},
    net::SocketAddr,
    path::Path,
};

/// The lines to print. `admin` is the path of the admin socket.
pub fn greeting(snapshot: &Snapshot, launched: &Launched, admin: &Path) -> String {
    let mut text = format!("sbcd {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: &dyn Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<7} {value}");
    };
    for listener in &snapshot.listeners {
        let mut value = format!(
            "{} {} ({})",
            listener.transport.via(),
            listener.bind,
            listener.name
        );
        if listener.advertised != listener.bind {
            let _ = write!(value, ", advertised as {}", listener.advertised);
        }
        line("SIP", &value);
    }
    for value in media(snapshot, launched) {
        line("media", &value);
    }
    line("shards", &launched.shards());
    line(
        "I/O",
        &format_args!("{}: {}", launched.backend.kind.name(), launched.backend.why),
    );
    line("admin", &admin.display());
    for (id, trunk) in (0..).map(TrunkId).zip(&snapshot.trunks) {
        match snapshot.calls_go_to(id) {
            Some(to) => line(
                "trunk",
                &format_args!("{} ({}): its calls go to {to}", trunk.name, trunk.target),
            ),
            None => line(
                "trunk",
                &format_args!(
                    "{} ({}): it has no route, its calls are refused",
                    trunk.name, trunk.target
                ),
            ),
        }
    }
    text.push_str(&try_next(snapshot, admin));
    text
}

/// A line for each media interface.
fn media(snapshot: &Snapshot, launched: &Launched) -> Vec<String> {
    let pairs = launched
        .media_pairs_max
        .iter()
        .zip(&launched.media_pairs_configured);
    let interfaces = snapshot.media.interfaces.iter().zip(pairs);
    let line = |(interface, (&pairs, &configured)): (&MediaInterface, (&usize, &usize))| {
        let mut value = format!(
            "UDP {} ports {}-{}",
            interface.bind, interface.ports.0, interface.ports.1
        );
        if snapshot.media.interfaces.len() > 1 {
            let _ = write!(value, " ({})", interface.name);
        }
        if interface.advertised != interface.bind {
            let _ = write!(value, ", advertised as {}", interface.advertised);
        }
        let _ = write!(value, ": room for {} calls", pairs / 2);
        if pairs < configured {
            let _ = write!(
                value,
                "; {} ports are unused because of the limit on open files (raise LimitNOFILE, or `ulimit -n`)",
                2 * (configured - pairs)
            );
        }
        value
    };
    interfaces.map(line).collect()
}

/// Commands that work when pasted on this machine: SIPp on both sides when the trunks are local,
/// and `sbc-ctl`.
fn try_next(snapshot: &Snapshot, admin: &Path) -> String {
    let mut text = String::from("\nTry, each in a terminal of its own:\n");
    let local = (0..).map(TrunkId).zip(&snapshot.trunks).find_map(|(id, from)| {
        let to = route(snapshot, id)?;
        let listener = snapshot.listeners.get(usize::from(from.listener.0))?.bind;
        let (from, to) = (from.target.address()?, to.target.address()?);
        (from.ip().is_loopback() && to.ip().is_loopback()).then_some((from, to, listener))
    });
    if let Some((from, to, listener)) = local {
        let (uas, uac) = (sipp_address(to), sipp_address(from));
        let _ = writeln!(text, "  sipp -sn uas {uas}");
        let _ = writeln!(
            text,
            "  sipp -sn uac {uac} {listener} -s 1000 -r 10 -d 5000 -m 100"
        );
    }
    // `cargo run` says so in the environment; there sbc-ctl is started in the same way.
    let from_source = env::var_os("CARGO_MANIFEST_DIR").is_some();
    let ctl = if from_source {
        "cargo run --release -p sbc-ctl --"
    } else {
        "sbc-ctl"
    };
    let socket = if config::default_socket() == admin {
        String::new()
    } else {
        format!(" --socket '{}'", admin.display())
    };
    let _ = writeln!(text, "  {ctl}{socket} calls --watch");
    text
}

fn sipp_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("-i {} -p {}", v4.ip(), v4.port()),
        SocketAddr::V6(v6) => format!("-i [{}] -p {}", v6.ip(), v6.port()),
    }
}

fn route(snapshot: &Snapshot, from: TrunkId) -> Option<&Trunk> {
    let found = snapshot.routes.fallback(from, || 0)?;
    snapshot
        .trunks
        .get(usize::from(found.rule.targets.first()?.trunk.0))
}
