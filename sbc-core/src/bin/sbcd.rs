//! The daemon.

use clap::Parser;
use sbc_core::{
    config::{self, Backend, ShardCount},
    driver::{
        admin_server::AdminSocket,
        backend::BackendKind,
        daemon::{self, Admin, End},
        greeting,
        launch::{self, Settings},
        log,
        tls::Tls,
    },
};
use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Session Border Controller between SIP trunks.
///
/// Without --config it runs an embedded configuration that works on one machine without any file.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Options {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and exit.
    #[arg(long)]
    check: bool,
    /// Print the embedded configuration, as a start for your own, and exit.
    #[arg(long, conflicts_with = "config")]
    print_default_config: bool,
}

const EXIT_CODES: &str = "\
Signals: SIGTERM or SIGINT refuses new calls and exits when the others have ended, or after
drain.timeout_s; a second one ends all calls with BYE to both sides and exits. SIGHUP reads the
configuration and the files that it names again; when something is wrong there, nothing changes.

Exit codes:
  0  ended by a signal, or the check found nothing wrong
  1  failed while running
  2  wrong usage or configuration
  3  could not start: a port in use, a missing permission, a limit of the system";

/// Exit codes; `docs/CONFIG.md` and `--help` list them.
enum Failure {
    Running(String),
    Configuration(String),
    Starting(String),
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (text, code) = match failure {
                Failure::Running(text) => (text, 1),
                Failure::Configuration(text) => (text, 2),
                Failure::Starting(text) => (text, 3),
            };
            eprintln!("sbcd: {text}");
            ExitCode::from(code)
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    if options.print_default_config {
        return print(config::DEFAULT_TOML).map_err(running);
    }
    let (text, config) = match &options.config {
        Some(path) => config::load_with_text(path).map_err(configuration)?,
        None => (config::DEFAULT_TOML.to_owned(), config::default_config()),
    };
    let (snapshot, admission) = config.compile().map_err(configuration)?;
    if options.check {
        let tls = Tls::load(&snapshot).map_err(configuration)?;
        let warnings = config.warnings();
        tls.warnings
            .iter()
            .chain(&warnings)
            .for_each(|warning| eprintln!("sbcd: {warning}"));
        return print("the configuration is valid\n").map_err(running);
    }

    log::start(config.log.level.as_str());
    config
        .warnings()
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    let settings = Settings {
        snapshot: Arc::new(snapshot),
        admission: Arc::new(admission),
        shards: match config.shards.count {
            ShardCount::Auto => None,
            ShardCount::Fixed(count) => Some(count),
        },
        pin: config.shards.pin,
        cpus: config
            .shards
            .cpus
            .as_ref()
            .map(|cpus| cpus.iter().copied().map(usize::from).collect()),
        backend: match config.shards.backend {
            Backend::Auto => None,
            Backend::IoUring => Some(BackendKind::IoUring),
            Backend::Syscall => Some(BackendKind::Syscall),
        },
        gather: Duration::from_micros(config.shards.coalesce_us.into()),
        seed: None,
    };
    let path = config.admin.socket.clone().unwrap_or_else(config::default_socket);
    // Before the shards: a second sbcd must fail here, not take part of the first one's traffic.
    let socket = AdminSocket::bind(&path, config.admin.mode.0).map_err(starting)?;
    let launched = launch::launch(&settings).map_err(starting)?;
    let greeting = greeting::greeting(&settings.snapshot, &launched, socket.path());

    let admin = Admin {
        socket,
        config,
        config_text: text,
        config_path: options.config.clone(),
    };
    let Settings {
        snapshot, admission, ..
    } = settings;
    match daemon::run(launched, snapshot, admission, admin, || print(&greeting)) {
        Ok(End::Asked) => Ok(()),
        Ok(End::ShardFailed(shard)) => Err(Failure::Running(format!(
            "the thread of shard {} ended; see the log above",
            shard.0
        ))),
        Err(error) => Err(running(error)),
    }
}

fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever read our output has read enough of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn configuration(error: impl Display) -> Failure {
    Failure::Configuration(error.to_string())
}

fn starting(error: impl Display) -> Failure {
    Failure::Starting(error.to_string())
}

fn running(error: impl Display) -> Failure {
    Failure::Running(error.to_string())
}
