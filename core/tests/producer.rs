//! The producer against a real server: who gets which answer, and what is stored, whatever happens to the connection.
//!
//! `PGQUE_TEST_DSN` names a server where the role may create databases and end other sessions.

#![allow(clippy::unwrap_used)]

#[path = "ticker/link.rs"]
mod link;
#[path = "engine/support.rs"]
#[allow(dead_code)]
mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use link::Link;
use pgque::runtime::wait;
use pgque::{Call, Error, Event, Kind, Payload, Producer, ProducerOptions, Settings};
use support::{Ask, Database, until};

/// `id`, `type`, `payload`, `extra1`.
type Stored = (i64, Option<String>, Option<String>, Option<String>);

const NAME: &str = "the_producer";

/// A database with the queue `q`.
struct Bench {
    _database: Database,
    sql: postgres::Client,
    dsn: String,
}

impl Bench {
    fn new() -> Bench {
        let database = Database::new();
        let mut sql = database.client();
        sql.run("select pgque.create_queue('q')");
        let server = std::env::var("PGQUE_TEST_DSN").unwrap();
        let name: String = sql.get("select current_database()::text");
        let dsn = format!("{}/{name}?application_name={NAME}", server.rsplit_once('/').expect("a URI").0);
        Bench { _database: database, sql, dsn }
    }

    fn producer(&self, options: ProducerOptions) -> Producer {
        Producer::new(Settings::parse(&self.dsn).unwrap(), options).unwrap()
    }

    /// In the order of the ids.
    fn stored(&mut self) -> Vec<Stored> {
        let sql = "select ev_id, ev_type, ev_data, ev_extra1 from pgque.event_1 order by ev_id";
        self.sql.query(sql, &[]).unwrap().iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect()
    }

    /// The same without the ids.
    fn contents(&mut self) -> Vec<[Option<String>; 3]> {
        self.stored().into_iter().map(|row| [row.1, row.2, row.3]).collect()
    }

    fn payloads(&mut self) -> Vec<String> {
        self.stored().into_iter().map(|row| row.2.unwrap()).collect()
    }
}

/// A server of the test's own, for settings that would disturb others.
struct OwnServer {
    process: Child,
    dsn: String,
}

impl OwnServer {
    fn start() -> OwnServer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgque"));
        let mut process = command.args(["dev", "--json", "--no-ticker"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        OwnServer { process, dsn: ready["dsn"].as_str().unwrap().to_owned() }
    }

    fn sql(&self) -> postgres::Client {
        postgres::Client::connect(&self.dsn, postgres::NoTls).unwrap()
    }
}

impl Drop for OwnServer {
    /// A request to end, so that it takes its server with it.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

fn json(text: impl Into<String>) -> Event {
    Event { payload: Payload::Json(text.into()), ..Event::default() }
}

/// Sends all at once and gives the answers in order.
fn send_all(producer: &Producer, events: &[(&str, Event)]) -> Vec<Result<i64, Error>> {
    wait(async { Ok(join_all(events.iter().map(|(queue, event)| producer.send(queue, event))).await) }).unwrap()
}

/// Sends from a task of its own.
fn spawn(producer: &Producer, event: Event) -> tokio::task::JoinHandle<Result<i64, Error>> {
    let producer = producer.clone();
    pgque::runtime::handle().unwrap().spawn(async move { producer.send("q", &event).await })
}

fn join<T: Send>(task: tokio::task::JoinHandle<T>) -> T {
    wait(async { Ok(task.await.unwrap()) }).unwrap()
}

#[test]
fn each_sender_gets_the_id_under_which_its_event_is_stored() {
    let mut bench = Bench::new();
    let producer = bench.producer(ProducerOptions::default());
    let texts: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let events: Vec<_> = texts.iter().map(|text| ("q", json(text))).collect();
    let ids: Vec<i64> = send_all(&producer, &events).into_iter().map(Result::unwrap).collect();
    let stored = bench.stored();
    assert_eq!(stored.iter().map(|row| row.0).collect::<Vec<_>>(), ids, "in the order of the calls");
    assert_eq!(stored.iter().map(|row| row.2.clone().unwrap()).collect::<Vec<_>>(), texts);
    assert!(stored.iter().all(|row| row.1.as_deref() == Some("default")));
    let stats = producer.stats();
    assert_eq!((stats.sent, stats.failed, stats.queue_length), (500, 0, 0));
    assert!(stats.batches < 50, "{stats:?}");
}

#[test]
fn a_schema_that_is_made_anew_does_not_disturb_the_statements_that_keep_their_plans() {
    let mut bench = Bench::new();
    let producer = bench.producer(ProducerOptions::default());
    let send = |event: Event| send_all(&producer, &[("q", event)]).remove(0);
    let several = || send_all(&producer, &vec![("q", json("1")); 20]).into_iter().all(|answer| answer.is_ok());
    for _ in 0..10 {
        send(json("1")).unwrap();
        assert!(several());
    }
    bench.sql.run("drop schema pgque cascade");
    assert_eq!(send(json("1")).unwrap_err().kind(), Kind::NotInstalled);
    wait(async { pgque::install(&pgque::Client::connect(&bench.dsn).await?).await }).unwrap();
    bench.sql.run("select pgque.create_queue('q')");
    send(json("2")).unwrap();
    assert!(several());
    assert_eq!(bench.stored().len(), 21);
}

#[test]
fn everything_that_send_can_say_is_stored_as_send_stores_it() {
    let mut bench = Bench::new();
    let producer = bench.producer(ProducerOptions::default());
    let typed = |t: &str, payload| Event { event_type: Some(t.into()), payload, ..Event::default() };
    let mut events = vec![
        typed("", Payload::Json("{\"b\": 1,   \"a\":2}".into())),
        typed("t", Payload::Text(Some("not { json".into()))),
        typed("t", Payload::Text(None)),
        Event { extra: [Some("x".into()), None, None, Some("y".into())], ..json("\"é\"") },
    ];
    // Long enough to go as a batch of its own.
    events.extend((0..20).map(|n| typed("run", Payload::Text(Some(format!("{{{n}"))))));
    let client = pgque::blocking::Client::connect(&bench.dsn).unwrap();
    for event in &events {
        client.send("q", event).unwrap();
    }
    let pairs: Vec<_> = events.iter().map(|event| ("q", event.clone())).collect();
    send_all(&producer, &pairs).into_iter().for_each(|id| assert!(id.is_ok(), "{id:?}"));
    let stored = bench.contents();
    let (singly, together) = stored.split_at(events.len());
    assert_eq!(together, singly);
    for (i, event) in events.iter().enumerate() {
        assert!(join(spawn(&producer, event.clone())).is_ok());
        assert_eq!(bench.contents().last(), Some(&singly[i]), "alone");
    }
}

#[test]
fn a_bad_event_fails_alone_with_its_own_error() {
    let mut bench = Bench::new();
    // Refused by the server only, in the middle of a batch.
    bench.sql.run("alter table pgque.event_1_0 add constraint no_seven check (ev_data <> '7')");
    let producer = bench.producer(ProducerOptions::default());
    let text = |n: usize| Event { payload: Payload::Text(Some(n.to_string())), ..Event::default() };
    let mut events: Vec<(&str, Event)> = (0..200).map(|n| ("q", text(n % 100))).collect();
    events[50] = ("nowhere", text(50));
    events[60] = ("q", json("{"));
    events[70] = ("q", Event { event_type: Some("a\0".into()), ..text(70) });
    let answers = send_all(&producer, &events);
    for (n, answer) in answers.iter().enumerate() {
        let kind = answer.as_ref().map_err(Error::kind);
        match n {
            50 => assert_eq!(kind, Err(Kind::QueueNotFound)),
            60 | 70 => assert_eq!(kind, Err(Kind::InvalidInput)),
            7 | 107 => assert_eq!(answer.as_ref().unwrap_err().sqlstate(), Some("23514")),
            _ => assert!(answer.is_ok(), "{n}: {answer:?}"),
        }
    }
    let good: Vec<String> =
        (0..200).filter(|n| ![7, 107, 50, 60, 70].contains(n)).map(|n| (n % 100).to_string()).collect();
    assert_eq!(bench.payloads(), good, "and the order is kept");
}

#[test]
fn a_batch_behind_one_that_is_refused_does_not_overtake_it() {
    let mut bench = Bench::new();
    bench.sql.run("alter table pgque.event_1_0 add constraint no_seven check (ev_data !~ '7$')");
    // So that the queue holds many full batches, of which two are on their way at a time.
    let producer = bench.producer(ProducerOptions { batch_size_max: 10, ..ProducerOptions::default() });
    let texts: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let text = |text: &String| ("q", Event { payload: Payload::Text(Some(text.clone())), ..Event::default() });
    let answers = send_all(&producer, &texts.iter().map(text).collect::<Vec<_>>());
    for (text, answer) in texts.iter().zip(&answers) {
        assert_eq!(answer.is_err(), text.ends_with('7'), "{text}: {answer:?}");
    }
    let good: Vec<String> = texts.into_iter().filter(|text| !text.ends_with('7')).collect();
    assert_eq!(bench.payloads(), good, "each once, in the order of the calls");
    let ids: Vec<i64> = answers.into_iter().flatten().collect();
    assert_eq!(bench.stored().iter().map(|row| row.0).collect::<Vec<_>>(), ids);
    assert_eq!(producer.stats().reconnects, 0);
}

#[test]
fn a_loss_with_two_batches_on_their_way_loses_doubles_and_reorders_nothing() {
    // The transaction of the first batch, or of one that has another before it, loses its connection at commit.
    for row in [1, 15] {
        let mut bench = Bench::new();
        bench.sql.run("create sequence public.deaths");
        bench.sql.run(&SUICIDE.replace("= 1 then", &format!("= {row} then")));
        let producer = bench.producer(ProducerOptions { batch_size_max: 10, ..ProducerOptions::default() });
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let events: Vec<_> = texts.iter().map(|text| ("q", json(text))).collect();
        let ids: Vec<i64> = send_all(&producer, &events).into_iter().map(Result::unwrap).collect();
        let stored = bench.stored();
        assert_eq!(stored.iter().map(|row| row.0).collect::<Vec<_>>(), ids);
        assert_eq!(bench.payloads(), texts, "each once, in the order of the calls");
        assert_eq!(producer.stats().reconnects, 1);
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_connections_are_ended_under_load() {
    const TASKS: usize = 8;
    const LOSSES: u64 = 6;
    let mut bench = Bench::new();
    // Something that loses a connection after its statement has run, before and after the commit.
    let producer = bench.producer(ProducerOptions { batch_size_max: 50, ..ProducerOptions::default() });
    let over = Arc::new(AtomicBool::new(false));
    let (killer, over_too) = (bench._database.client(), over.clone());
    let killer = std::thread::spawn(move || {
        let mut killer = killer;
        let mut killed = 0;
        while !over_too.load(Ordering::SeqCst) {
            let sql = format!(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
                  where application_name = '{NAME}' and datname = current_database()"
            );
            killed += killer.get::<i64>(&sql);
            std::thread::sleep(Duration::from_millis(100));
        }
        killed
    });
    let mut answers = Vec::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let producer = producer.clone();
            let send = async move {
                let mut answers = Vec::new();
                let begun = Instant::now();
                // Some at once, so that there are batches; until enough connections were lost.
                for chunk in 0.. {
                    if producer.stats().reconnects >= LOSSES || begun.elapsed() > Duration::from_secs(60) {
                        break;
                    }
                    let texts: Vec<_> = (0..25).map(|n| format!("\"{task}-{chunk}-{n}\"")).collect();
                    let events: Vec<_> = texts.iter().map(json).collect();
                    let sent = join_all(events.iter().map(|event| producer.send("q", event))).await;
                    answers.extend(texts.into_iter().zip(sent));
                }
                answers
            };
            pgque::runtime::handle().unwrap().spawn(send)
        })
        .collect();
    for task in tasks {
        answers.extend(join(task));
    }
    over.store(true, Ordering::SeqCst);
    let killed = killer.join().unwrap();
    let stored = bench.stored();
    let mut seen = HashSet::new();
    assert!(stored.iter().all(|row| seen.insert(row.2.clone().unwrap())), "nothing is stored twice");
    let ids: HashMap<i64, String> = stored.into_iter().map(|row| (row.0, row.2.unwrap())).collect();
    let (sent, mut uncertain) = (answers.len(), 0);
    for (text, answer) in answers {
        match answer {
            Ok(id) => assert_eq!(ids.get(&id), Some(&text), "acknowledged and stored under its id"),
            Err(error) => {
                assert!(error.is_uncertain() && !error.is_retriable(), "{error:?}");
                assert_eq!(error.kind(), Kind::Connection);
                uncertain += 1;
            }
        }
    }
    let stats = producer.stats();
    println!("{killed} connections ended, {uncertain} of {sent} uncertain, {stats:?}");
    assert!(stats.reconnects >= LOSSES, "the test did end connections: {killed}, {stats:?}");
    assert_eq!((stats.sent + stats.failed, stats.uncertain), (sent as u64, uncertain));
}

/// A deferred trigger runs at commit, when the ids are already drawn, and ends its own session there.
const SUICIDE: &str = "create function public.die() returns trigger language plpgsql as $$ begin
       if nextval('public.deaths') = 1 then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(5); end if;
       return null; end $$;
     create constraint trigger die after insert on pgque.event_1_0 deferrable initially deferred
       for each row execute function public.die()";

#[test]
fn a_loss_at_the_very_end_is_resolved_by_the_servers_log() {
    let mut bench = Bench::new();
    bench.sql.run("create sequence public.deaths");
    bench.sql.run(SUICIDE);
    let producer = bench.producer(ProducerOptions::default());
    // Rolled back, found out, sent again.
    let id = join(spawn(&producer, json("1"))).unwrap();
    let stored = bench.stored();
    assert_eq!(stored.iter().map(|row| row.0).collect::<Vec<_>>(), [id]);
    assert_eq!(producer.stats().reconnects, 1);
}

#[test]
fn a_loss_after_the_commit_is_resolved_by_the_servers_log() {
    // A commit that waits for a standby has happened; ended there, the server hangs up without another word.
    let server = OwnServer::start();
    let mut sql = server.sql();
    sql.run("select pgque.create_queue('q')");
    sql.run("alter system set synchronous_standby_names = 'nobody'");
    sql.run("set synchronous_commit = local");
    sql.run("select pg_reload_conf()");
    until("it is in force", || sql.get::<String>("show synchronous_standby_names") == "nobody");
    sql.run("alter database pgque set synchronous_commit = on");
    let options = ProducerOptions::default();
    let producer = Producer::new(Settings::parse(&server.dsn).unwrap(), options).unwrap();
    let sender = spawn(&producer, json("1"));
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    until("the commit waits", || sql.get::<i64>(waiting) == 1);
    sql.run("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'");
    let id = join(sender).unwrap();
    assert_eq!(sql.get::<Vec<i64>>("select array_agg(ev_id) from pgque.event_1"), [id]);
    assert_eq!(producer.stats().reconnects, 1);
}

#[test]
fn a_full_queue_makes_senders_wait_and_flush_waits_for_all() {
    let mut bench = Bench::new();
    let options = ProducerOptions { queue_size_max: 4, batch_size_max: 2, ..ProducerOptions::default() };
    let producer = bench.producer(options);
    let mut lock = bench._database.client();
    lock.run("begin; lock table pgque.event_1_0 in access exclusive mode");
    let senders: Vec<_> = (0..50).map(|n| spawn(&producer, json(n.to_string()))).collect();
    until("the queue is full", || producer.stats().queue_length >= 5);
    std::thread::sleep(Duration::from_millis(100));
    assert!(producer.stats().queue_length <= 8, "at most two batches on their way and four events behind them");
    let flushed = wait(async { Ok(tokio::time::timeout(Duration::from_millis(50), producer.flush()).await.is_ok()) });
    assert!(!flushed.unwrap(), "nothing is flushed yet");
    lock.run("rollback");
    for sender in senders {
        join(sender).unwrap();
    }
    wait(producer.flush()).unwrap();
    assert_eq!(bench.payloads().len(), 50);
}

#[test]
fn calls_that_wait_for_room_keep_their_order() {
    let mut bench = Bench::new();
    let options = ProducerOptions { queue_size_max: 8, batch_size_max: 4, ..ProducerOptions::default() };
    let producer = bench.producer(options);
    let (answer, answers) = channel();
    for n in 0..3000 {
        let (producer, answer) = (producer.clone(), answer.clone());
        let send = async move { producer.send("q", &json(n.to_string())).await };
        Call::begin(send, move |id| answer.send(id).unwrap()).unwrap();
    }
    drop(answer);
    wait(producer.flush()).unwrap();
    let stored: Vec<i64> = bench.payloads().iter().map(|text| text.parse().unwrap()).collect();
    assert!(stored.is_sorted(), "{stored:?}");
    assert_eq!(stored.len(), 3000, "flush waits for those that wait as well");
    assert_eq!(answers.iter().map(Result::unwrap).count(), 3000);
}

#[test]
fn who_waits_for_a_server_that_stays_away_is_told_and_nothing_is_sent_later() {
    let mut bench = Bench::new();
    let link = Link::to(&bench.dsn);
    link.refuse(true);
    let options = ProducerOptions { send_timeout: Duration::from_millis(500), ..ProducerOptions::default() };
    let producer = Producer::new(Settings::parse(&link.dsn(&bench.dsn)).unwrap(), options).unwrap();
    let error = join(spawn(&producer, json("1"))).unwrap_err();
    assert_eq!((error.kind(), error.is_uncertain()), (Kind::Timeout, false), "{error}");
    link.refuse(false);
    join(spawn(&producer, json("2"))).unwrap();
    assert_eq!(bench.payloads(), ["2"]);
}

#[test]
fn who_waits_for_a_server_that_is_silent_is_told_in_time() {
    let mut bench = Bench::new();
    let link = Link::to(&bench.dsn);
    link.freeze();
    let options = ProducerOptions { send_timeout: Duration::from_millis(500), ..ProducerOptions::default() };
    let dsn = format!("{}&connect_timeout=0", link.dsn(&bench.dsn));
    let producer = Producer::new(Settings::parse(&dsn).unwrap(), options).unwrap();
    let event = json("1");
    let told = async { tokio::time::timeout(Duration::from_secs(20), producer.send("q", &event)).await.unwrap() };
    let error = wait(told).unwrap_err();
    assert_eq!((error.kind(), error.is_uncertain()), (Kind::Timeout, false), "{error}");
    link.cut();
    join(spawn(&producer, json("2"))).unwrap();
    assert_eq!(bench.payloads(), ["2"]);
}

#[test]
fn close_sends_what_it_can_until_the_deadline() {
    let mut bench = Bench::new();
    let options = ProducerOptions { batch_size_max: 1, ..ProducerOptions::default() };
    let (quick, slow) = (bench.producer(options.clone()), bench.producer(options));
    let send = |producer: &Producer, n: i32| spawn(producer, json(n.to_string()));
    let sender = send(&quick, 0);
    until("it is accepted", || quick.stats().queue_length + quick.stats().sent == 1);
    wait(quick.close(Duration::from_secs(10))).unwrap();
    join(sender).unwrap();
    assert_eq!(join(send(&quick, 1)).unwrap_err().kind(), Kind::Closed);
    wait(quick.close(Duration::ZERO)).unwrap();

    let mut lock = bench._database.client();
    lock.run("begin; lock table pgque.event_1_0 in access exclusive mode");
    let senders = [send(&slow, 1), send(&slow, 2), send(&slow, 3)];
    until("all are accepted", || slow.stats().queue_length == 3);
    assert_eq!(wait(slow.close(Duration::from_millis(300))).unwrap_err().kind(), Kind::Timeout);
    let mut errors: Vec<Error> = senders.into_iter().map(|sender| join(sender).unwrap_err()).collect();
    errors.sort_by_key(Error::is_uncertain);
    assert_eq!((errors[0].kind(), errors[0].is_uncertain()), (Kind::Closed, false), "the one that still waited");
    assert!(errors[2].is_uncertain(), "the first on its way: {errors:?}");
    let sessions = format!(
        "select count(*) from pg_stat_activity where application_name = '{NAME}' and datname = current_database()"
    );
    until("the server has given up what was on its way", || bench.sql.get::<i64>(&sessions) == 0);
    lock.run("rollback");
}

#[test]
fn a_login_that_is_refused_is_everybodys_error_at_once() {
    let bench = Bench::new();
    let dsn = format!("{}&user=nobody_at_all", bench.dsn);
    let producer = Producer::new(Settings::parse(&dsn).unwrap(), ProducerOptions::default()).unwrap();
    let events: Vec<_> = (0..10).map(|n| ("q", json(n.to_string()))).collect();
    for answer in send_all(&producer, &events) {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (Kind::Connection, false), "{error}");
    }
}
