//! The command `pgque`: argument parsing and printing over the public API.

mod admin;
mod args;
mod dead_letter;
mod dev;
mod doctor;
mod failure;
mod install;
mod log;
mod output;
mod send;
mod signals;
mod tail;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

use args::{Cli, Command, Global, Queue, Ticking};
use failure::{Failure, Outcome};

use crate::client::Client;
use crate::connect::Settings;
use crate::runtime;
use crate::ticker::Ticker;

/// Runs the command with its arguments, the program's name first, and gives the exit code.
///
/// Takes over the signals of the process, and its log lines.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Also the way of --help and --version, which are no errors.
            failure::print_usage(&error, &args);
            return error.exit_code();
        }
    };
    log::install(&cli.global, &cli.command);
    signals::install().map_err(Failure::from).and_then(|()| run(cli)).unwrap_or_else(|failure| {
        if !matches!(failure, Failure::BrokenPipe) {
            let _ = writeln!(std::io::stderr(), "pgque: {failure}");
        }
        failure.exit_code()
    })
}

/// The exit code, which is another command's with `dev`.
fn run(cli: Cli) -> Outcome<i32> {
    let Cli { global, command } = cli;
    if let Command::Dev(options) = &command {
        return dev::run(options, global.json);
    }
    match &command {
        Command::Install(options) => install::run(&connect(&global)?, options),
        Command::Doctor => return doctor::run(&connect(&global)?, global.json),
        Command::Uninstall { yes } => admin::uninstall(&global, *yes),
        Command::Status => admin::status(&connect(&global)?, global.json),
        Command::Ticker(ticking) => ticker(&global, ticking),
        Command::Queue(Queue::Create { queue }) => admin::create_queue(&connect(&global)?, queue),
        Command::Queue(Queue::List) => admin::list_queues(&connect(&global)?, global.json),
        Command::Queue(Queue::Set { queue, name, value }) => {
            admin::set_queue_config(&connect(&global)?, queue, name, value.as_deref())
        }
        Command::Queue(Queue::Drop { queue, force }) => admin::drop_queue(&connect(&global)?, queue, *force),
        Command::Dlq(command) => dead_letter::run(&connect(&global)?, command, global.json),
        Command::Subscribe { queue, consumer } => admin::subscribe(&connect(&global)?, queue, consumer),
        Command::Unsubscribe { queue, consumer } => admin::unsubscribe(&connect(&global)?, queue, consumer),
        Command::Send(sending) => send::run(&connect(&global)?, sending),
        Command::Tail(tailing) => tail::run(&settings(&global)?, tailing, global.json),
        Command::Version => admin::version(&global),
        Command::Dev(_) => Ok(()),
    }
    .map(|()| 0)
}

fn settings(global: &Global) -> Outcome<Settings> {
    Ok(Settings::parse(global.dsn.as_deref().unwrap_or_default())?)
}

fn connect(global: &Global) -> Outcome<Client> {
    Ok(runtime::wait(Client::connect(global.dsn.as_deref().unwrap_or_default()))?)
}

fn ticker(global: &Global, ticking: &Ticking) -> Outcome {
    let ticker = Ticker::new(settings(global)?, ticking.options()?);
    signals::graceful();
    Ok(runtime::wait(async {
        tokio::select! {
            result = ticker.run() => result,
            () = async { signals::stopped().await; ticker.stop(); std::future::pending().await } => Ok(()),
        }
    })?)
}
