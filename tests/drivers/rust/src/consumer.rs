//! Consumers, which run on threads of their own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgque::runtime::wait;
use pgque::{Batch, Consumer, ConsumerOptions, Interval, Kind, Message, Outcome, Settings, Verdict};
use serde_json::{Value, json};

use crate::args::Args;
use crate::background::{joined, object, plain};
use crate::{Answer, json as to};

const HANG: Duration = Duration::from_secs(60);
const SLOW: Duration = Duration::from_secs(3);
const NAP: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// The messages that handlers were given so far, and what the hooks were.
#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<Value>>,
    changed: Condvar,
    hooks: Mutex<Vec<String>>,
}

pub struct RunningConsumer {
    consumer: Consumer,
    seen: Arc<Seen>,
    thread: JoinHandle<pgque::Result<()>>,
}

impl RunningConsumer {
    pub fn start(args: &Args) -> Answer<RunningConsumer> {
        let mut options = ConsumerOptions::new(args.text("queue")?, args.text("name")?);
        for (name, value) in object(args, "options") {
            options.set(name, &plain(value))?;
        }
        let consumer = Consumer::new(Settings::parse(args.text("dsn")?)?, options)?;
        let seen = Arc::new(Seen::default());
        register_callbacks(args, &consumer, &seen);
        let thread = match args.maybe_text("batch_handler") {
            Some(behaviour) => run_batches(&consumer, behaviour.to_owned(), seen.clone())?,
            None => run(args, &consumer, seen.clone())?,
        };
        Ok(RunningConsumer { consumer, seen, thread })
    }

    pub fn seen(&self, count: usize, timeout: Duration) -> Value {
        self.seen.wait(count, timeout)
    }

    pub fn stats(&self) -> Value {
        self.consumer.stats().entries().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    pub fn health(&self) -> Value {
        let health = self.consumer.health();
        json!({
            "status": health.status.name(),
            "alive": health.is_alive(),
            "since": health.since.as_unix_micros().to_string(),
            "last_error": health.last_error,
        })
    }

    pub fn hooks(&self) -> Value {
        self.seen.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone().into()
    }

    pub fn ask_stop(&self) -> Value {
        self.consumer.stop();
        Value::Null
    }

    pub fn stop(self) -> Answer {
        self.consumer.stop();
        joined(self.thread)
    }
}

fn register_callbacks(args: &Args, consumer: &Consumer, seen: &Arc<Seen>) {
    match args.maybe_text("on_failure") {
        Some("dead") => consumer.on_failure(|_, _| Some(Verdict::Dead { reason: None })),
        Some("retry") => {
            let after = Some(Interval::Seconds(0.0));
            consumer.on_failure(move |_, _| Some(Verdict::Retry { after: after.clone(), reason: None }));
        }
        _ => {}
    }
    if args.flag("hooks") == Some(true) {
        let (before, after) = (seen.clone(), seen.clone());
        consumer.before_message(move |message| before.hook(format!("before {}", message.msg_id)));
        consumer.after_message(move |message, outcome, _| {
            after.hook(format!("after {} {}", message.msg_id, outcome.name()));
        });
    }
}

fn run(args: &Args, consumer: &Consumer, seen: Arc<Seen>) -> Answer<JoinHandle<pgque::Result<()>>> {
    let mut behaviours = Vec::new();
    for (event_type, behaviour) in object(args, "handlers") {
        // The first handler has the number 0, the next 1, for the types are distinct.
        consumer.on(event_type)?;
        behaviours.push(plain(behaviour));
    }
    let consumer = consumer.clone();
    let handlers = Handlers::default();
    Ok(std::thread::spawn(move || {
        wait(consumer.run(async |number, message, batch| {
            seen.note(message);
            handlers.behave(&behaviours[number], message, batch).await
        }))
    }))
}

fn run_batches(consumer: &Consumer, behaviour: String, seen: Arc<Seen>) -> Answer<JoinHandle<pgque::Result<()>>> {
    consumer.on_batch()?;
    let consumer = consumer.clone();
    Ok(std::thread::spawn(move || {
        wait(consumer.run_batches(async |messages, _| {
            messages.iter().for_each(|message| seen.note(message));
            let answer = |index: usize| match behaviour.as_str() {
                "ack" => Some(Verdict::Ack.into()),
                "ack_even" => index.is_multiple_of(2).then(|| Verdict::Ack.into()),
                _ => Some(failed()),
            };
            (0..messages.len()).map(answer).collect()
        }))
    }))
}

impl Seen {
    fn note(&self, message: &Message) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(to::message(message));
        self.changed.notify_all();
    }

    fn hook(&self, line: String) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn wait(&self, count: usize, timeout: Duration) -> Value {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let too_few = |messages: &mut Vec<Value>| messages.len() < count;
        let waited = self.changed.wait_timeout_while(messages, timeout, too_few);
        let (messages, _) = waited.unwrap_or_else(PoisonError::into_inner);
        messages.clone().into()
    }
}

/// What the handlers of one consumer remember.
#[derive(Default)]
struct Handlers {
    failed_before: Mutex<HashSet<i64>>,
    inside: AtomicUsize,
}

impl Handlers {
    async fn behave(&self, behaviour: &str, message: &Message, batch: &Batch) -> Outcome {
        match behaviour {
            "fail" => failed(),
            "fail_once" if self.failed_before.lock().unwrap_or_else(PoisonError::into_inner).insert(message.msg_id) => {
                failed()
            }
            "retry" => Verdict::Retry { after: Some(Interval::Seconds(0.0)), reason: Some("later".into()) }.into(),
            "dead" => Verdict::Dead { reason: Some("beyond repair".into()) }.into(),
            "hang" => after(HANG).await,
            "slow" => after(SLOW).await,
            "nap" => after(NAP).await,
            "record" => record(message, batch).await,
            "record_fail" => {
                record(message, batch).await;
                failed()
            }
            "commit" => commit(batch).await,
            _ => match behaviour.strip_prefix("meet:").and_then(|n| n.parse().ok()) {
                Some(count) => self.meet(count).await,
                None => Verdict::Ack.into(),
            },
        }
    }

    /// Waits until so many handlers are inside at once.
    async fn meet(&self, count: usize) -> Outcome {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let end = Instant::now() + PATIENCE;
        while self.inside.load(Ordering::SeqCst) < count {
            if Instant::now() > end {
                return failed();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Verdict::Ack.into()
    }
}

async fn record(message: &Message, batch: &Batch) -> Outcome {
    let connection = batch.client().and_then(|client| client.connection());
    let Some(connection) = connection else {
        return Outcome::Failed { error: "there is no transaction".into() };
    };
    let sql = "insert into conformance_effects (msg_id) values ($1)";
    match connection.execute(sql, &[Some(message.msg_id.to_string())]).await {
        Ok(_) => Verdict::Ack.into(),
        Err(error) => Outcome::Failed { error: error.to_string() },
    }
}

async fn commit(batch: &Batch) -> Outcome {
    match batch.client().and_then(|client| client.connection()) {
        Some(connection) if connection.commit().await.is_err_and(|e| e.kind() == Kind::Conflict) => Verdict::Ack.into(),
        _ => Verdict::Dead { reason: Some("commit was not refused".into()) }.into(),
    }
}

fn failed() -> Outcome {
    Outcome::Failed { error: "handler failed on purpose".into() }
}

async fn after(pause: Duration) -> Outcome {
    tokio::time::sleep(pause).await;
    Verdict::Ack.into()
}
