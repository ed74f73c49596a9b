//! Pipelines against a real server that is stuck, away, or slow.
//!
//! `PGQUE_TEST_DSN` names a server where the role may create databases and end other sessions.

#![allow(clippy::unwrap_used)]

#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pgque::blocking::{Client, Pipeline, wait};
use pgque::{Event, Kind, Payload};
use support::{Ask, Database, until};

/// Whether a statement is stuck behind a lock.
const WAITS: &str = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')";

/// Whether a statement in this database sleeps.
const SLEEPS: &str =
    "select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())";

/// A database with the queue `q`, and a client of it.
struct Bench {
    client: Client,
    sql: postgres::Client,
    database: Database,
}

impl Bench {
    fn new() -> Bench {
        let database = Database::new();
        let mut sql = database.client();
        sql.run("select pgque.create_queue('q')");
        let server = std::env::var("PGQUE_TEST_DSN").unwrap();
        let name: String = sql.get("select current_database()::text");
        let dsn = format!("{}/{name}", server.rsplit_once('/').expect("a URI").0);
        Bench { client: Client::connect(&dsn).unwrap(), sql, database }
    }

    fn ids(&mut self) -> Vec<i64> {
        let rows = self.sql.query("select ev_id from pgque.event_1 order by ev_id", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// A session that keeps every event out until it is dropped.
    fn stuck(&self) -> postgres::Client {
        let mut holder = self.database.client();
        holder.run("begin; lock table pgque.event_1 in access exclusive mode");
        holder
    }
}

fn event(n: usize) -> Event {
    Event { payload: Payload::Json(n.to_string()), ..Event::default() }
}

fn send(pipeline: &Pipeline, n: usize) -> pgque::Pending<i64> {
    pipeline.send("q", event(n)).unwrap()
}

/// Sends so many while nothing is taken: of these, just the most that may be under way are begun.
fn assert_most_under_way(most: usize, count: usize, event: impl Fn(usize) -> Event + Sync) {
    let bench = Bench::new();
    let stuck = bench.stuck();
    let pipeline = bench.client.pipeline().unwrap();
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..count {
                pipeline.send("q", event(n)).unwrap();
                begun.fetch_add(1, Ordering::SeqCst);
            }
            pipeline.flush().unwrap();
        });
        until("the most are under way", || begun.load(Ordering::SeqCst) == most);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(begun.load(Ordering::SeqCst), most);
        drop(stuck);
    });
    assert_eq!(begun.load(Ordering::SeqCst), count);
}

#[test]
fn no_more_than_a_bounded_number_is_under_way() {
    assert_most_under_way(1000, 2500, event);
}

#[test]
fn large_events_count_by_their_bytes() {
    let large = |_| Event { payload: Payload::Text(Some("x".repeat(4 << 20))), ..Event::default() };
    assert_most_under_way(15, 40, large);
}

#[test]
fn a_wait_may_end_before_the_send() {
    let bench = Bench::new();
    let stuck = bench.stuck();
    let pipeline = bench.client.pipeline().unwrap();
    let pending = send(&pipeline, 1);
    let late = pending.wait(Some(Duration::from_millis(50))).unwrap_err();
    assert_eq!(late.kind(), Kind::Timeout);
    drop(stuck);
    let id = pending.wait(None).unwrap();
    assert_eq!(pending.wait(Some(Duration::ZERO)).unwrap(), id, "once known it is known");
    pipeline.flush().unwrap();
}

#[test]
fn a_stuck_statement_is_cancelled_and_the_connection_goes_on() {
    let mut bench = Bench::new();
    let stuck = bench.stuck();
    bench.client.begin().unwrap();
    let pipeline = bench.client.pipeline().unwrap();
    let pending: Vec<_> = (0..50).map(|n| send(&pipeline, n)).collect();
    until("the first one waits", || bench.sql.get::<bool>(WAITS));
    pipeline.cancel();
    assert_eq!(pipeline.flush().unwrap_err().sqlstate(), Some("57014"));
    assert_eq!(pending[0].wait(None).unwrap_err().sqlstate(), Some("57014"));
    assert!(pending[49].wait(None).is_err());
    bench.client.rollback().unwrap();
    drop(stuck);
    let id = bench.client.send("q", &event(1)).unwrap();
    assert_eq!(bench.ids(), [id]);
    pipeline.cancel();
    bench.client.version().unwrap();
}

#[test]
fn a_cancel_does_not_hit_what_comes_after_it() {
    let mut bench = Bench::new();
    let pipeline = bench.client.pipeline().unwrap();
    for n in 0..30 {
        let stuck = bench.stuck();
        bench.client.begin().unwrap();
        send(&pipeline, n);
        until("it waits", || bench.sql.get::<bool>(WAITS));
        // As who leaves a wait and then the block it was in.
        pipeline.cancel();
        pipeline.cancel();
        let _ = pipeline.flush();
        bench.client.rollback().unwrap();
        bench.client.execute("select pg_sleep(0.02)", &[]).unwrap();
        drop(stuck);
    }
}

#[test]
fn a_cancel_is_repeated_until_the_statement_has_ended() {
    let mut bench = Bench::new();
    bench.sql.run(
        "create function public.deaf() returns trigger language plpgsql as $$ begin \
             perform pg_sleep(60); return new; \
         exception when query_canceled then perform pg_sleep(60); return new; end $$; \
         create trigger deaf before insert on pgque.event_1_0 for each row execute function public.deaf()",
    );
    let pipeline = bench.client.pipeline().unwrap();
    let pending = send(&pipeline, 1);
    until("it sleeps", || bench.sql.get::<bool>(SLEEPS));
    pipeline.cancel();
    assert_eq!(pending.wait(Some(Duration::from_secs(20))).unwrap_err().sqlstate(), Some("57014"));
    bench.client.version().unwrap();
}

#[test]
fn what_waits_behind_a_cancel_stays_in_its_transaction() {
    let mut bench = Bench::new();
    let pipeline = bench.client.pipeline().unwrap();
    for _ in 0..100 {
        let stuck = bench.stuck();
        bench.client.begin().unwrap();
        let pending: Vec<_> = (0..50).map(|n| send(&pipeline, n)).collect();
        until("the first one waits", || bench.sql.get::<bool>(WAITS));
        pipeline.cancel();
        bench.client.rollback().unwrap();
        drop(stuck);
        assert!(pending.iter().all(|one| one.wait(None).is_err()));
        assert!(bench.ids().is_empty(), "sent behind the rollback, these were committed");
        pipeline.flush().unwrap_err();
    }
}

#[test]
fn a_cancel_gets_through_while_a_statement_behind_is_given_up() {
    let mut bench = Bench::new();
    let stuck = bench.stuck();
    bench.client.begin().unwrap();
    let pipeline = bench.client.pipeline().unwrap();
    let pending = send(&pipeline, 1);
    until("it waits", || bench.sql.get::<bool>(WAITS));
    let own = bench.client.as_async().connection().unwrap().clone();
    let behind = async { Ok(tokio::time::timeout(Duration::from_millis(50), own.execute("select 1", &[])).await) };
    wait(behind).unwrap().expect_err("it is behind the first");
    pipeline.cancel();
    let ended = pending.wait(Some(Duration::from_secs(10)));
    drop(stuck);
    assert_eq!(ended.unwrap_err().sqlstate(), Some("57014"));
    bench.client.rollback().unwrap();
    bench.client.version().unwrap();
}

#[test]
fn a_rollback_that_waits_for_a_stuck_statement_does_not_keep_the_cancel_waiting() {
    let bench = Bench::new();
    let stuck = bench.stuck();
    bench.client.begin().unwrap();
    let pipeline = bench.client.pipeline().unwrap();
    let pending = send(&pipeline, 1);
    let ended = thread::scope(|scope| {
        let rollback = scope.spawn(|| bench.client.rollback());
        thread::sleep(Duration::from_millis(200));
        pipeline.cancel();
        let ended = pending.wait(Some(Duration::from_secs(10)));
        drop(stuck);
        rollback.join().unwrap().unwrap();
        ended
    });
    assert_eq!(ended.unwrap_err().sqlstate(), Some("57014"));
}

#[test]
fn a_lost_connection_is_told_to_all_that_is_under_way() {
    let mut bench = Bench::new();
    let stuck = bench.stuck();
    let pipeline = bench.client.pipeline().unwrap();
    let pending: Vec<_> = (0..5).map(|n| send(&pipeline, n)).collect();
    let pid = bench.client.as_async().connection().unwrap().backend_pid().unwrap();
    bench.sql.run(&format!("select pg_terminate_backend({pid})"));
    for one in &pending {
        assert_eq!(one.wait(None).unwrap_err().kind(), Kind::Connection);
    }
    assert_eq!(pipeline.flush().unwrap_err().kind(), Kind::Connection);
    pipeline.flush().expect("told once");
    drop(stuck);
    let id = send(&pipeline, 6).wait(None).expect("in autocommit the connection is replaced");
    assert_eq!(bench.ids(), [id]);
}

#[test]
fn what_was_sent_goes_on_without_the_pipeline_and_before_the_close() {
    let mut bench = Bench::new();
    let stuck = bench.stuck();
    bench.client.begin().unwrap();
    let pipeline = bench.client.pipeline().unwrap();
    let pending: Vec<_> = (0..100).map(|n| send(&pipeline, n)).collect();
    drop(pipeline);
    thread::scope(|scope| {
        let commit = scope.spawn(|| bench.client.commit());
        thread::sleep(Duration::from_millis(50));
        drop(stuck);
        commit.join().unwrap().unwrap();
    });
    let ids: Vec<i64> = pending.iter().map(|one| one.wait(None).unwrap()).collect();
    assert_eq!(bench.ids(), ids);

    let pipeline = bench.client.pipeline().unwrap();
    let last: Vec<_> = (0..100).map(|n| send(&pipeline, n)).collect();
    bench.client.close().unwrap();
    assert!(last.iter().all(|one| one.wait(None).is_ok()));
    assert_eq!(pipeline.send("q", event(1)).map(drop).unwrap_err().kind(), Kind::Closed);
    pipeline.flush().unwrap();
    assert_eq!(bench.ids().len(), 200);
}

#[test]
fn each_thread_keeps_its_order() {
    let mut bench = Bench::new();
    bench.client.begin().unwrap();
    let pipeline = bench.client.pipeline().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let pending: Vec<_> = (0..500).map(|n| send(&pipeline, n)).collect();
                let ids: Vec<i64> = pending.iter().map(|one| one.wait(None).unwrap()).collect();
                assert!(ids.is_sorted());
            });
        }
    });
    pipeline.flush().unwrap();
    bench.client.commit().unwrap();
    assert_eq!(bench.ids().len(), 2000);
}

/// Has a commit take its time.
const SLOW: &str = "create table public.slow (); \
    create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return null; end $$; \
    create constraint trigger slow after insert on public.slow deferrable initially deferred \
    for each row execute function public.slow()";

#[test]
fn what_waits_for_the_end_of_a_transaction_keeps_its_order() {
    let mut bench = Bench::new();
    bench.sql.run(SLOW);
    let pipeline = bench.client.pipeline().unwrap();
    for _ in 0..5 {
        bench.client.begin().unwrap();
        bench.client.execute("insert into public.slow default values", &[]).unwrap();
        let client = bench.client.clone();
        let commit = thread::spawn(move || client.commit());
        until("it commits", || bench.sql.get::<bool>(SLEEPS));
        let pending: Vec<_> = (0..100).map(|n| send(&pipeline, n)).collect();
        let ids: Vec<i64> = pending.iter().map(|one| one.wait(None).unwrap()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        commit.join().unwrap().unwrap();
    }
}

#[test]
fn a_statement_whose_plan_was_forgotten_does_not_run_outside_of_its_transaction() {
    let mut bench = Bench::new();
    let pipeline = bench.client.pipeline().unwrap();
    for _ in 0..5 {
        for n in 0..10 {
            bench.client.send("q", &event(n)).unwrap();
        }
        let before = bench.ids();
        bench.client.execute("deallocate all", &[]).unwrap();
        bench.client.begin().unwrap();
        let pending = send(&pipeline, 7);
        bench.client.rollback().unwrap();
        pending.wait(None).unwrap_err();
        pipeline.flush().unwrap_err();
        assert_eq!(bench.ids(), before, "it was rolled back");
    }
}

#[test]
fn what_is_called_next_comes_after_what_was_sent_whatever_other_threads_call() {
    let bench = Bench::new();
    let pipeline = bench.client.pipeline().unwrap();
    bench.client.begin().unwrap();
    let done = AtomicBool::new(false);
    let is_behind = |n| {
        let sent: Vec<_> = (0..6).map(|n| send(&pipeline, n)).collect();
        let next = bench.client.send("q", &event(n)).unwrap();
        sent.iter().all(|one| one.wait(None).unwrap() < next)
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    bench.client.version().unwrap();
                }
            });
        }
        let overtaken = (0..2000).filter(|n| !is_behind(*n)).count();
        done.store(true, Ordering::SeqCst);
        assert_eq!(overtaken, 0);
    });
}
