//! The ticker against a real server, as a process of its own where that is how it would die.
//!
//! `PGQUE_TEST_DSN` names a server where the role may create databases and end other sessions.

#![allow(clippy::unwrap_used)]

#[path = "ticker/link.rs"]
mod link;
#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;

use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use link::Link;
use pgque::{Settings, Ticker, TickerOptions, TickerState};
use support::{Ask, Database, until};

/// A database with the queue `q` and its consumer `c`.
struct Bench {
    _database: Database,
    sql: postgres::Client,
}

impl Bench {
    fn new() -> Bench {
        let database = Database::new();
        let mut sql = database.client();
        sql.run("select pgque.create_queue('q')");
        sql.run("select pgque.subscribe('q', 'c')");
        Bench { _database: database, sql }
    }

    fn dsn(&mut self) -> String {
        let (server, _) = std::env::var("PGQUE_TEST_DSN").unwrap().rsplit_once('/').map(own).expect("a URI");
        format!("{server}/{}", self.sql.get::<String>("select current_database()::text"))
    }

    fn send(&mut self) {
        self.sql.run("select pgque.send('q', '1'::jsonb)");
    }

    fn last_tick(&mut self) -> i64 {
        self.sql.get("select max(tick_id) from pgque.tick")
    }

    /// How long it takes until what is sent now can be received.
    fn time_to_tick(&mut self) -> Duration {
        let (before, begin) = (self.last_tick(), Instant::now());
        self.send();
        until("the event is ticked", || self.last_tick() > before);
        begin.elapsed()
    }

    /// Messages of the consumer's next batches; an empty window ends it.
    fn receive(&mut self) -> i64 {
        let rows = self.sql.query("select msg_id, batch_id from pgque.receive('q', 'c', 10000)", &[]).unwrap();
        if let Some(row) = rows.first() {
            self.sql.execute("select pgque.ack($1)", &[&row.get::<_, i64>(1)]).unwrap();
        }
        rows.len() as i64
    }

    fn process(&mut self) -> Child {
        let dsn = self.dsn();
        Command::new(env!("CARGO_BIN_EXE_pgque")).args(["ticker", "--dsn", &dsn]).stderr(Stdio::null()).spawn().unwrap()
    }
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.into(), b.into())
}

/// A ticker on a thread of its own, stopped when dropped.
struct Running(Ticker, Option<JoinHandle<pgque::Result<()>>>);

impl Running {
    fn start(dsn: &str, options: TickerOptions) -> Running {
        let ticker = Ticker::new(Settings::parse(dsn).unwrap(), options);
        let clone = ticker.clone();
        let thread = std::thread::spawn(move || pgque::runtime::wait(clone.run()));
        Running(ticker, Some(thread))
    }

    fn until(&self, state: TickerState) {
        until(state.name(), || self.0.stats().state == state);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
        let result = self.1.take().unwrap().join();
        if !std::thread::panicking() {
            result.unwrap().unwrap();
        }
    }
}

#[test]
fn an_idle_database_sees_at_most_two_commits_a_second() {
    const SECONDS: u64 = 10;
    let mut bench = Bench::new();
    let ticker = Running::start(&bench.dsn(), TickerOptions::default());
    ticker.until(TickerState::Leading);
    let name: String = bench.sql.get("select current_database()::text");
    // Counted from another database, which adds nothing.
    let elsewhere = Database::new();
    let mut observer = elsewhere.client();
    let mut commits =
        move || observer.get::<i64>(&format!("select xact_commit from pg_stat_database where datname = '{name}'"));
    let mut window = || {
        let before = commits();
        std::thread::sleep(Duration::from_secs(SECONDS));
        commits() - before
    };
    // Autovacuum commits as well, above all in a database this young: one window without it is what counts.
    let least = std::iter::repeat_with(&mut window).take(6).find(|n| *n <= 2 * SECONDS as i64);
    assert!(least.expect("a window of few commits") > 0, "the ticker looks now and then");
}

#[test]
fn the_first_event_wakes_a_sleeping_ticker() {
    let mut bench = Bench::new();
    let options = TickerOptions { tick_interval_max: Duration::from_secs(5), ..TickerOptions::default() };
    let _ticker = Running::start(&bench.dsn(), options);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(1000));
        let taken = bench.time_to_tick();
        assert!(taken < Duration::from_secs(2), "{taken:?}");
    }
}

#[test]
fn a_standby_takes_over_within_seconds_of_a_leader_that_was_killed() {
    let mut bench = Bench::new();
    let mut leader = bench.process();
    bench.time_to_tick();
    let standby = Running::start(&bench.dsn(), TickerOptions::default());
    standby.until(TickerState::Standby);
    leader.kill().unwrap();
    leader.wait().unwrap();
    let taken = bench.time_to_tick();
    assert!(taken < Duration::from_secs(3), "{taken:?}");
    assert_eq!(standby.0.stats().state, TickerState::Leading);
}

#[test]
fn nothing_sent_while_no_ticker_ran_is_lost() {
    let mut bench = Bench::new();
    let running = Running::start(&bench.dsn(), TickerOptions::default());
    bench.time_to_tick();
    drop(running);
    while bench.receive() > 0 {}
    (0..100).for_each(|_| bench.send());
    bench.sql.run("update pgque.tick set tick_time = tick_time - interval '1 hour'");
    bench.sql.run("update pgque.queue set queue_switch_time = queue_switch_time - interval '1 hour'");
    let _ticker = Running::start(&bench.dsn(), TickerOptions::default());
    let mut received = 0;
    until("all of it is received", || {
        received += bench.receive();
        received >= 100
    });
    assert_eq!((received, bench.receive()), (100, 0));
}

#[test]
fn a_lost_connection_is_replaced_and_everything_counted() {
    let mut bench = Bench::new();
    let dsn = format!("{}?application_name=victim", bench.dsn());
    let options = TickerOptions { maint_interval: Duration::from_millis(100), ..TickerOptions::default() };
    let ticker = Running::start(&dsn, options);
    for n in 1..=3 {
        bench.time_to_tick();
        bench.sql.run("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'victim'");
        until("the loss is counted", || ticker.0.stats().reconnects >= n);
        ticker.until(TickerState::Leading);
        assert!(ticker.0.stats().last_error.is_some());
    }
    let first = bench.sql.messages("receive('q', 'c', 100)").remove(0);
    bench.sql.run(&format!("select pgque.finish({}, array[{}], array[interval '0'])", first.batch, first.id));
    until("the retry is counted", || ticker.0.stats().retries == 1);
    bench.sql.run("update pgque.queue set queue_switch_time = now() - interval '1 day'");
    until("the rotation is counted", || ticker.0.stats().rotations == 1);
    let stats = ticker.0.stats();
    assert!(stats.ticks >= 3, "{stats:?}");
    ticker.0.stop();
    ticker.until(TickerState::Stopped);
    assert!(ticker.0.stats().since >= stats.since);
}

#[test]
fn a_server_that_vanished_without_a_word_is_noticed_soon() {
    let mut bench = Bench::new();
    let dsn = bench.dsn();
    let link = Link::to(&dsn);
    let ticker = Running::start(&link.dsn(&dsn), TickerOptions::default());
    ticker.until(TickerState::Leading);
    link.freeze();
    let begin = Instant::now();
    while ticker.0.stats().reconnects == 0 {
        assert!(begin.elapsed() < Duration::from_secs(15), "not noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    link.cut();
    ticker.until(TickerState::Leading);
    bench.time_to_tick();
}
