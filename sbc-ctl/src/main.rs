//! Operator command line for sbcd: one request or a few to the admin socket, one table or one
//! JSON object out. `docs/ADMIN.md` describes what it says to the daemon.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program of its own with blocking I/O: the rule keeps I/O out of the call core"
)]

mod args;
mod audit;
mod bans;
mod connection;
mod error;
mod limits;
mod provision;
mod registrations;
mod route;
mod show;

use args::{
    Arguments, CallCommand, CallsArguments, Command, DrainArguments, LimitsCommand, RouteCommand, TlsCommand,
};
use bans::BansCommand;
use clap::{CommandFactory, Parser};
use connection::Connection;
use error::Error;
use sbc_core::admin::{
    audit::RunAudit,
    bans::{LiftBan, ListBans},
    failure::{Failure, Reason},
    method::Method,
    protocol::*,
    provision::*,
};
use serde_json::json;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    thread::sleep,
    time::Duration,
};

/// Between rounds of `calls --watch` and questions of `drain --wait`.
const ROUND: Duration = Duration::from_secs(1);
/// Rows of `calls --watch` unless --limit says otherwise: what a screen shows.
const WATCH_ROWS: usize = 40;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe has seen enough.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if standard error is gone, too.
            let _ = writeln!(io::stderr(), "sbc-ctl: {error}");
            error.exit_code()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Error> {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "sbc-ctl", &mut script);
        return print(&String::from_utf8_lossy(&script));
    }
    if let Command::Route(RouteCommand::Test {
        number,
        from,
        config: Some(file),
    }) = &arguments.command
    {
        let test = TestRoute {
            number: number.clone(),
            from: from.clone(),
        };
        return route::test_file(file, &test, arguments.json);
    }
    // Before connecting: a typing mistake is one whether or not a daemon runs.
    let new_limits = match &arguments.command {
        Command::Limits(LimitsCommand::Set { scope, changes }) => limits::parse(scope, changes)?,
        _ => SetLimits::default(),
    };
    let mut sbcd = Client {
        connection: Connection::open(arguments.socket)?,
        json: arguments.json,
    };
    match arguments.command {
        Command::Status => sbcd.show(&GetStatus {}, show::status),
        Command::Calls(wanted) => sbcd.calls(&wanted),
        Command::Call(CallCommand::Show { id }) => sbcd.show(&ShowCall { id }, show::call),
        Command::Call(CallCommand::Hangup { id }) => sbcd.show(&HangupCall { id }, |done| {
            format!("call {} is being ended\n", done.id)
        }),
        Command::Trunks => sbcd.show(&ListTrunks {}, |t| show::trunks(&t.trunks)),
        Command::Registrations(wanted) => sbcd.registrations(&wanted),
        Command::Route(RouteCommand::Test { number, from, .. }) => {
            sbcd.show(&TestRoute { number, from }, show::route)
        }
        Command::Limits(LimitsCommand::Show { trunk }) => {
            sbcd.show(&ShowLimits { trunk }, |l| show::limits(&l.limits))
        }
        Command::Limits(LimitsCommand::Set { .. }) => sbcd.show(&new_limits, |l| show::limits(&l.limits)),
        Command::Stats(wanted) => sbcd.show(&GetStats {}, |s| show::stats(s, wanted.all, wanted.per_shard)),
        Command::Shards => sbcd.show(&ListShards {}, |s| show::shards(&s.shards)),
        Command::Audit => sbcd.audit(),
        Command::Bans { command: None } => sbcd.show(&ListBans {}, bans::list),
        Command::Bans {
            command:
                Some(BansCommand::Add {
                    address,
                    time,
                    reason,
                }),
        } => sbcd.show(&bans::add(address, &time, reason)?, bans::list),
        Command::Bans {
            command: Some(BansCommand::Lift { address }),
        } => sbcd.show(&LiftBan { address }, bans::lifted),
        Command::Drain(wanted) => sbcd.drain(&wanted),
        Command::LogLevel { level } => sbcd.show(&SetLogLevel { level }, show::log_level),
        Command::Tls(TlsCommand::Show) => sbcd.show(&ShowTls {}, show::certificates),
        Command::Tls(TlsCommand::Reload) => sbcd.show(&ReloadTls {}, show::certificates),
        Command::Reload => sbcd.show(&ReloadConfig {}, provision::applied),
        Command::Trunk(command) => command.run(&mut sbcd),
        Command::Route(RouteCommand::Table(command)) => command.run(&mut sbcd, "route"),
        Command::Did(command) => command.run(&mut sbcd, "did"),
        Command::Acl(command) => command.run(&mut sbcd, "acl"),
        Command::Config { section, command } => command.run(&mut sbcd, &section),
        Command::Diff { file } => provision::diff(&mut sbcd, file),
        Command::Apply(candidate) => provision::apply(&mut sbcd, candidate),
        Command::Completions { .. } => Ok(()),
    }
}

struct Client {
    connection: Connection,
    json: bool,
}

impl Client {
    /// One request, its result as JSON or as `text` makes it.
    fn show<M: Method>(&mut self, params: &M, text: impl FnOnce(&M::Answer) -> String) -> Result<(), Error> {
        let (value, answer) = self.connection.call(params)?;
        if self.json {
            print(&format!("{value}\n"))
        } else {
            print(&text(&answer))
        }
    }

    fn audit(&mut self) -> Result<(), Error> {
        let (value, audit) = self.connection.call(&RunAudit {})?;
        print(&if self.json {
            format!("{value}\n")
        } else {
            audit::show(&audit)
        })?;
        if audit.consistent {
            Ok(())
        } else {
            Err(Error::Differs)
        }
    }

    fn trunk(&mut self, name: &str) -> Result<(), Error> {
        let (_, all) = self.connection.call(&ListTrunks {})?;
        let Some(trunk) = all.trunks.iter().find(|trunk| trunk.name == name) else {
            let message = format!("no trunk is called {name:?}; `sbc-ctl trunks` lists them");
            return Err(Failure::new(Reason::NoSuchTrunk, message).into());
        };
        print(&if self.json {
            format!("{}\n", json!(trunk))
        } else {
            show::trunk(trunk)
        })
    }

    fn calls(&mut self, wanted: &CallsArguments) -> Result<(), Error> {
        if !wanted.watch {
            let (calls, next) = self.pages(wanted, wanted.limit.unwrap_or(usize::MAX))?;
            return self.print_calls(&calls, next, "");
        }
        let on_screen = io::stdout().is_terminal() && !self.json;
        let mut rounds = wanted.count.unwrap_or(u64::MAX);
        while rounds > 0 {
            let (calls, next) = self.pages(wanted, wanted.limit.unwrap_or(WATCH_ROWS))?;
            // To the top left, then clear what is below: less flicker than clearing first.
            self.print_calls(&calls, next, if on_screen { "\x1b[H\x1b[J" } else { "" })?;
            rounds -= 1;
            if rounds > 0 {
                sleep(ROUND);
            }
        }
        Ok(())
    }

    /// Up to `most` calls, page by page, and where more would be found.
    fn pages(
        &mut self,
        wanted: &CallsArguments,
        most: usize,
    ) -> Result<(Vec<CallSummary>, Option<Cursor>), Error> {
        let mut calls = Vec::new();
        let mut list = ListCalls {
            after: None,
            limit: Some(PAGE_ROWS_MAX),
            trunk: wanted.trunk.clone(),
            number: wanted.number.clone(),
        };
        loop {
            let (_, page) = self.connection.call(&list)?;
            calls.extend(page.calls);
            if calls.len() > most {
                calls.truncate(most);
                let cut = calls
                    .last()
                    .map_or(Cursor { shard: 0, slot: None }, |last| Cursor {
                        shard: last.shard,
                        slot: Some(last.slot),
                    });
                return Ok((calls, Some(cut)));
            }
            if page.next.is_none() {
                return Ok((calls, None));
            }
            list.after = page.next;
        }
    }

    fn print_calls(&self, calls: &[CallSummary], next: Option<Cursor>, before: &str) -> Result<(), Error> {
        if self.json {
            return print(&format!("{}\n", json!({ "calls": calls, "next": next })));
        }
        print(&format!("{before}{}", show::calls(calls, next.is_some())))
    }

    fn drain(&mut self, wanted: &DrainArguments) -> Result<(), Error> {
        let start = Drain {
            on: Some(!wanted.off),
        };
        if !wanted.wait {
            return self.show(&start, show::drain);
        }
        let (mut value, mut progress) = self.connection.call(&start)?;
        let mut said = None;
        loop {
            if said != Some(progress) {
                print(&if self.json {
                    format!("{value}\n")
                } else {
                    show::drain(&progress)
                })?;
                said = Some(progress);
            }
            if progress.calls == 0 {
                return Ok(());
            }
            sleep(ROUND);
            (value, progress) = self.connection.call(&Drain { on: None })?;
            if !progress.draining {
                let message = "somebody ended the drain: new calls are accepted again";
                return Err(Error::Abandoned(message));
            }
        }
    }
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
