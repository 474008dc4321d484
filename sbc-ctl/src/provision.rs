//! `trunk`, `route`, `did`, `acl` and `config`: changes of the configuration, and what they have come to.

use crate::{Client, error::Error};
use clap::{Args, Subcommand};
use sbc_core::admin::provision::{
    Action, Applied, ApplyConfig, Assignment, Change, DiffConfig, Difference, Edit, EditConfig, Sheet,
    ShowSheet,
};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// `sbc-ctl trunk …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrunkCommand {
    /// Add one: `sbc-ctl trunk add NAME hosts='["192.0.2.1"]' fallback=platform`
    Add(Table),
    /// Change options of one: `sbc-ctl trunk set NAME limits.inbound.cps=20`
    Set(Table),
    /// Delete one that nothing refers to; its calls go on
    Delete(Which),
    /// Switch it on
    Enable(Name),
    /// Switch it off: no new calls; those that are up go on
    Disable(Name),
    /// Show one: its state, calls, calls a second and answer-seizure ratios
    Show {
        /// The trunk
        name: String,
    },
    /// What to give to the carrier: addresses, ports, codecs, names
    Sheet {
        /// The trunk
        name: String,
    },
}

/// `sbc-ctl route …`, and the like.
#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Add one: KEY=VALUE, with the option `name` in front where it has one
    Add(NewTable),
    /// Change options of one; `KEY=` removes the key
    Set(Table),
    /// Delete one
    Delete(Which),
}

/// `sbc-ctl config SECTION …`
#[derive(Debug, Subcommand)]
pub(crate) enum SectionCommand {
    /// Add a table to an array of such: KEY=VALUE
    Add(NewTable),
    /// Change options of a section that is there once: KEY=VALUE; of one of several with --which
    Set(SectionTable),
    /// Delete one of several
    Delete(Which),
}

/// Values of a section.
#[derive(Debug, Args)]
pub(crate) struct SectionTable {
    /// Options as in the file; VALUE is TOML, or text
    #[arg(required = true, value_name = "KEY=VALUE")]
    values: Vec<String>,
    /// Of several: a name, a number in the file, or KEY=VALUE that it has
    #[arg(long)]
    which: Option<String>,
    #[command(flatten)]
    base: Base,
}

/// A table and values for it.
#[derive(Debug, Args)]
pub(crate) struct Table {
    /// Its name, its number in the file, or KEY=VALUE that it has, such as from=carrier
    which: String,
    /// Options as in the file; VALUE is TOML, or text
    #[arg(required = true, value_name = "KEY=VALUE")]
    values: Vec<String>,
    #[command(flatten)]
    base: Base,
}

/// Values of a table that may have no name.
#[derive(Debug, Args)]
pub(crate) struct NewTable {
    /// Options as in the file; VALUE is TOML, or text
    #[arg(required = true, value_name = "KEY=VALUE")]
    values: Vec<String>,
    #[command(flatten)]
    base: Base,
}

/// A table.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its name, its number in the file, or KEY=VALUE that it has, such as from=carrier
    which: String,
    #[command(flatten)]
    base: Base,
}

/// A trunk.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The trunk
    name: String,
    #[command(flatten)]
    base: Base,
}

/// What a change is based on.
#[derive(Debug, Default, Args)]
pub(crate) struct Base {
    /// Refuse if another revision runs by now
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
}

/// `sbc-ctl apply` and `diff`.
#[derive(Debug, Args)]
pub(crate) struct Candidate {
    /// The candidate
    file: PathBuf,
    #[command(flatten)]
    base: Base,
}

impl TrunkCommand {
    pub(crate) fn run(self, sbcd: &mut Client) -> Result<(), Error> {
        let switch = |name: Name, on: &str| {
            let value = Assignment {
                key: "enabled".to_owned(),
                value: Some(on.to_owned()),
            };
            one(Action::Set, "trunk", Some(name.name), vec![value], name.base)
        };
        match self {
            Self::Add(table) => edit(sbcd, table.into_edit(Action::Add, "trunk")?),
            Self::Set(table) => edit(sbcd, table.into_edit(Action::Set, "trunk")?),
            Self::Delete(which) => edit(
                sbcd,
                one(Action::Delete, "trunk", Some(which.which), Vec::new(), which.base),
            ),
            Self::Enable(name) => edit(sbcd, switch(name, "true")),
            Self::Disable(name) => edit(sbcd, switch(name, "false")),
            Self::Show { name } => sbcd.trunk(&name),
            Self::Sheet { name } => sbcd.show(&ShowSheet { trunk: name }, sheet),
        }
    }
}

impl TableCommand {
    pub(crate) fn run(self, sbcd: &mut Client, kind: &str) -> Result<(), Error> {
        match self {
            Self::Add(table) => {
                let values = assignments(&table.values)?;
                edit(sbcd, one(Action::Add, kind, None, values, table.base))
            }
            Self::Set(table) => edit(sbcd, table.into_edit(Action::Set, kind)?),
            Self::Delete(which) => edit(
                sbcd,
                one(Action::Delete, kind, Some(which.which), Vec::new(), which.base),
            ),
        }
    }
}

impl SectionCommand {
    pub(crate) fn run(self, sbcd: &mut Client, kind: &str) -> Result<(), Error> {
        match self {
            Self::Add(table) => TableCommand::Add(table).run(sbcd, kind),
            Self::Delete(which) => TableCommand::Delete(which).run(sbcd, kind),
            Self::Set(table) => {
                let values = assignments(&table.values)?;
                edit(sbcd, one(Action::Set, kind, table.which, values, table.base))
            }
        }
    }
}

impl Table {
    fn into_edit(self, action: Action, kind: &str) -> Result<EditConfig, Error> {
        Ok(one(
            action,
            kind,
            Some(self.which),
            assignments(&self.values)?,
            self.base,
        ))
    }
}

fn one(action: Action, kind: &str, which: Option<String>, values: Vec<Assignment>, base: Base) -> EditConfig {
    let edit = Edit {
        action,
        kind: kind.to_owned(),
        which,
        values,
    };
    EditConfig {
        edits: vec![edit],
        revision: base.revision,
    }
}

/// KEY=VALUE each; without a value the key is removed.
fn assignments(texts: &[String]) -> Result<Vec<Assignment>, Error> {
    let parse = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("{text:?}: expected KEY=VALUE, like enabled=false")))?;
        Ok(Assignment {
            key: key.trim().to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
        })
    };
    texts.iter().map(parse).collect()
}

fn edit(sbcd: &mut Client, wanted: EditConfig) -> Result<(), Error> {
    sbcd.show(&wanted, applied)
}

pub(crate) fn apply(sbcd: &mut Client, candidate: Candidate) -> Result<(), Error> {
    let file = absolute(&candidate.file)?;
    let revision = candidate.base.revision;
    sbcd.show(&ApplyConfig { file, revision }, applied)
}

pub(crate) fn diff(sbcd: &mut Client, file: Option<PathBuf>) -> Result<(), Error> {
    let file = file.as_deref().map(absolute).transpose()?;
    sbcd.show(&DiffConfig { file }, difference)
}

fn absolute(file: &Path) -> Result<String, Error> {
    let wrong = |why: String| Error::Usage(format!("{}: {why}", file.display()));
    let path = std::path::absolute(file).map_err(|error| wrong(error.to_string()))?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| wrong("the path is not UTF-8".to_owned()))
}

pub(crate) fn applied(applied: &Applied) -> String {
    let mut text = changes(&applied.changes);
    warn(&mut text, &applied.warnings);
    let _ = writeln!(text, "in force: revision {}", applied.revision);
    text
}

fn difference(difference: &Difference) -> String {
    let mut text = changes(&difference.changes);
    warn(&mut text, &difference.warnings);
    let _ = writeln!(
        text,
        "revision {} runs; nothing has been changed",
        difference.revision
    );
    text
}

fn warn(text: &mut String, warnings: &[String]) {
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
}

/// A line for each.
fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "no option has changed\n".to_owned();
    }
    let line =
        |text: String, change: &Change| text + &change.to_string().replace(char::is_control, "?") + "\n";
    changes.iter().fold(String::new(), line)
}

/// The way of requests to who logs in.
const WHERE_REGISTERED: &str = "where you have registered";

/// Whether the other end tells us by REGISTER where it is.
fn registers(sheet: &Sheet) -> bool {
    sheet
        .login
        .as_ref()
        .is_some_and(|login| login.expires_s.is_some())
}

/// Where our requests come from, in words.
fn requests_come_from(sheet: &Sheet) -> String {
    if registers(sheet) {
        return WHERE_REGISTERED.to_owned();
    }
    let transport = sheet.from.transport.to_uppercase();
    match transport.as_str() {
        "UDP" => format!("{} {transport}", sheet.from.address),
        _ => format!("{} {transport}, any port", sheet.from.address),
    }
}

/// Lines that can be sent to a carrier as they are.
fn sheet(sheet: &Sheet) -> String {
    let mut rows: Vec<(&str, String)> = vec![("Connection", sheet.trunk.clone())];
    for (n, way) in sheet.signalling.iter().enumerate() {
        let name = if n == 0 {
            "SIP, send calls to"
        } else {
            "SIP, also at"
        };
        rows.push((name, format!("{} {}", way.address, way.transport.to_uppercase())));
    }
    rows.push(("SIP, our requests come from", requests_come_from(sheet)));
    rows.push(("Request-URI, such as", sheet.uri.clone()));
    rows.push((
        "Media",
        format!(
            "{} UDP ports {}-{}",
            sheet.media.address, sheet.media.ports.0, sheet.media.ports.1
        ),
    ));
    rows.push((
        "Codecs",
        sheet
            .codecs
            .as_ref()
            .map_or_else(|| "all that both sides have".to_owned(), |c| c.join(", ")),
    ));
    rows.push(("SRTP", sheet.srtp.clone()));
    if !sheet.srtp_suites.is_empty() {
        rows.push(("SRTP suites", sheet.srtp_suites.join(", ")));
    }
    if !sheet.certificate_names.is_empty() {
        rows.push(("Names in our certificate", sheet.certificate_names.join(", ")));
    }
    let hosts = match &sheet.login {
        Some(_) if sheet.hosts.is_empty() => "anywhere, by name and password".to_owned(),
        _ => sheet.hosts.join(", "),
    };
    rows.push(("We expect you to send from", hosts));
    if let Some(login) = &sheet.login {
        rows.push(("You log in as", login.users.join(", ")));
        rows.push(("Realm", login.realm.clone()));
        rows.push(("Digest algorithms", login.algorithms.join(", ")));
        if let Some((min, max)) = login.expires_s {
            rows.push(("You register for", format!("{min} to {max} s")));
        }
    }
    let target = match registers(sheet) {
        true => WHERE_REGISTERED.to_owned(),
        false => sheet.target.clone(),
    };
    rows.push(("We send calls to", target));
    if let Some(registration) = &sheet.registration {
        rows.push(("We register as", registration.clone()));
    }
    if let Some(account) = &sheet.account {
        rows.push(("Our account", account.clone()));
    }
    if sheet.options_interval_s > 0 {
        rows.push(("We send OPTIONS", format!("every {} s", sheet.options_interval_s)));
    }
    if sheet.channels > 0 || sheet.cps > 0 {
        let limit = |n: u32, what: &str| {
            if n > 0 {
                format!("{n} {what}")
            } else {
                format!("any number of {what}")
            }
        };
        rows.push((
            "We accept",
            format!(
                "{}, {}",
                limit(sheet.channels, "calls at a time"),
                limit(sheet.cps, "calls a second")
            ),
        ));
    }
    if !sheet.enabled {
        rows.push(("State", "switched off: no calls are accepted".to_owned()));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:width$}  {}", value.replace(char::is_control, "?"));
        text
    })
}
