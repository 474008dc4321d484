//! The command line.

use crate::bans::BansCommand;
use crate::provision::{Candidate, SectionCommand, TableCommand, TrunkCommand};
use clap::{Args, Parser, Subcommand};
use sbc_core::admin::protocol::LogLevel;
use std::path::PathBuf;

/// See and steer a running sbcd.
#[derive(Debug, Parser)]
#[command(
    name = "sbc-ctl",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit codes: 0 done, 1 sbcd refused, 2 wrong usage, 3 sbcd not reachable, \
                  4 no such call, trunk or ban, 5 an audit found a difference.\nEnvironment: SBC_SOCKET is used when --socket is not given."
)]
pub(crate) struct Arguments {
    /// Admin socket of the sbcd to talk to [default: $SBC_SOCKET, else where sbcd makes it]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print the result as JSON (docs/ADMIN.md), one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What runs, since when and with how many calls
    Status,
    /// List calls
    Calls(CallsArguments),
    /// Show or end one call
    #[command(subcommand)]
    Call(CallCommand),
    /// List trunks with their calls and limits
    Trunks,
    /// List users of trunks that have registered, and where they are
    Registrations(RegistrationsArguments),
    /// Add, change and delete routes, and explain where calls go
    #[command(subcommand)]
    Route(RouteCommand),
    /// Show or change call limits
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Counters since start-up, and what is held now
    Stats(StatsArguments),
    /// What each shard does
    Shards,
    /// Count everything in use in two ways; exit code 5 when they differ
    Audit,
    /// List who is banned, and why; ban somebody, or lift a ban
    Bans {
        #[command(subcommand)]
        command: Option<BansCommand>,
    },
    /// Refuse new calls and let running ones end
    Drain(DrainArguments),
    /// Show or change how much is logged
    LogLevel {
        /// error, warn, info, debug or trace; shows the level when left out
        #[arg(value_parser = parse_level)]
        level: Option<LogLevel>,
    },
    /// Show our TLS certificates, or read them again
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Read the configuration file again, and the files that it names; when something is wrong, nothing changes
    Reload,
    /// Add, change, switch and delete trunks, and what to tell a carrier
    #[command(subcommand)]
    Trunk(TrunkCommand),
    /// Add, change and delete DIDs
    #[command(subcommand)]
    Did(TableCommand),
    /// Add, change and delete source rules
    #[command(subcommand)]
    Acl(TableCommand),
    /// Add, change and delete tables of any section of the configuration
    Config {
        /// The section, such as limits
        section: String,
        #[command(subcommand)]
        command: SectionCommand,
    },
    /// Check a file, and say what would change if it were applied
    Diff {
        /// The candidate [default: the configuration file as it is on the disk]
        file: Option<std::path::PathBuf>,
    },
    /// Put a file in the place of the configuration file, and use it
    Apply(Candidate),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CallsArguments {
    /// Only calls from or to this trunk
    #[arg(long)]
    pub(crate) trunk: Option<String>,
    /// Only calls whose calling or called number contains this
    #[arg(long)]
    pub(crate) number: Option<String>,
    /// Show at most so many [default: all; 40 with --watch]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Refresh every second until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// End --watch after so many rounds
    #[arg(long, value_name = "N", requires = "watch")]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RegistrationsArguments {
    /// Only users of this trunk
    #[arg(long)]
    pub(crate) trunk: Option<String>,
    /// Only this user
    pub(crate) user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CallCommand {
    /// Both legs and their media
    Show {
        /// The call's id as `sbc-ctl calls` shows it
        id: String,
    },
    /// End it: BYE or CANCEL to both sides
    Hangup {
        /// The call's id as `sbc-ctl calls` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Which rule takes a number, why the others do not, and what would be sent where
    Test {
        /// The called number
        number: String,
        /// Trunk that the call comes from [default: none, so that only rules for all trunks apply]
        #[arg(long, value_name = "TRUNK")]
        from: Option<String>,
        /// Ask this configuration file instead of a running sbcd
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    #[command(flatten)]
    Table(TableCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// The certificates in use: names and expiry
    Show,
    /// Read all files again, for new connections; when one is bad, nothing changes
    Reload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Show limits and how often they refused
    Show {
        /// Only the limits of this trunk
        trunk: Option<String>,
    },
    /// Change limits at once, until sbcd is started again
    #[command(after_help = "Examples:\n  \
        sbc-ctl limits set global cps=500 channels=20000\n  \
        sbc-ctl limits set carrier inbound.cps=100 inbound.burst=20\n  \
        sbc-ctl limits set carrier both.channels=unlimited")]
    Set {
        /// `global`, the name of a trunk (`trunk:NAME` for a trunk called global), or `limit:NAME`
        scope: String,
        /// cps=N, burst=N or channels=N; for a trunk with inbound., outbound. or both. in front. 0 or `unlimited`: no limit
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    /// Show counters that are 0, too
    #[arg(long)]
    pub(crate) all: bool,
    /// A column for each shard
    #[arg(long)]
    pub(crate) per_shard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// Accept new calls again
    #[arg(long, conflicts_with = "wait")]
    pub(crate) off: bool,
    /// Return when the last call has ended
    #[arg(long)]
    pub(crate) wait: bool,
}

fn parse_level(text: &str) -> Result<LogLevel, String> {
    let known = LogLevel::ALL
        .into_iter()
        .find(|l| l.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("there are {}", LogLevel::ALL.map(LogLevel::as_str).join(", ")))
}
