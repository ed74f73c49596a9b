//! A consumer in a process of its own, for the fault campaign (`tests/faults`): it writes down what it handles and when.
//!
//! `pgque-fault-worker JOURNAL DSN QUEUE NAME [OPTION=VALUE …]`: the consumer's options by their names, and of its own
//! `effects=true` (each handler inserts its key into the table `effects`, through the batch's transaction),
//! `touch=true` (each handler touches its member from another connection) and `brief=true` (entries only).
//! A line of the journal is microseconds since 1970, a word, and what belongs to it. The worker stops when its standard
//! input ends.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pgque::runtime::wait;
use pgque::{Batch, Client, Connection, Consumer, ConsumerOptions, Message, Outcome, Result, Settings, Verdict};
use serde_json::Value;

struct Worker {
    journal: Arc<File>,
    settings: Settings,
    effects: bool,
    touch: bool,
    brief: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [journal, dsn, queue, name, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: pgque-fault-worker JOURNAL DSN QUEUE NAME [OPTION=VALUE …]");
        std::process::exit(2);
    };
    let file = File::options().append(true).create(true).open(journal).map(Arc::new);
    let ended = match file {
        Ok(journal) => run(&journal, dsn, ConsumerOptions::new(queue, name), rest),
        Err(error) => Err(pgque::Error::new(pgque::Kind::Configuration, "journal", error.to_string())),
    };
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run(journal: &Arc<File>, dsn: &str, mut options: ConsumerOptions, rest: &[String]) -> Result<()> {
    let sink = journal.clone();
    let line = move |level, logger: &str, text: &str| note(&sink, &format!("log {level} {logger}: {text}"));
    // The type of the level is the log crate's, which is no business of ours.
    let level = "info".parse().unwrap_or_else(|_| unreachable!("info is a level"));
    pgque::logging::set_sink(Some(Box::new(line)), level);
    let settings = Settings::parse(dsn)?;
    let (mut effects, mut touch, mut brief) = (false, false, false);
    for (name, value) in rest.iter().filter_map(|pair| pair.split_once('=')) {
        match name {
            "effects" => effects = value == "true",
            "touch" => touch = value == "true",
            "brief" => brief = value == "true",
            _ => options.set(name, value)?,
        }
    }
    let consumer = Consumer::new(settings.clone(), options)?;
    consumer.on("*")?;
    let stopping = consumer.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.stop();
    });
    let worker = Worker { journal: journal.clone(), settings, effects, touch, brief };
    let result = wait(worker.work(&consumer));
    match &result {
        Ok(()) => note(journal, "end ok"),
        Err(error) => note(journal, &format!("end {} {error}", error.kind().name())),
    }
    result
}

impl Worker {
    /// The loop that every language has, with a note at each step.
    async fn work(&self, consumer: &Consumer) -> Result<()> {
        consumer.begin_run()?;
        let result = async {
            while let Some(batch) = consumer.next_batch().await? {
                note(&self.journal, &format!("batch {} {}", batch.id(), batch.messages().len()));
                while let Some(index) = consumer.take(&batch).await? {
                    batch.settle(index, self.handle(&batch.messages()[index], &batch, consumer).await);
                }
                note(&self.journal, &format!("finish {}", batch.id()));
                consumer.finish(&batch).await?;
                note(&self.journal, &format!("finished {}", batch.id()));
            }
            Ok(())
        }
        .await;
        consumer.close().await;
        result
    }

    async fn handle(&self, message: &Message, batch: &Batch, consumer: &Consumer) -> Outcome {
        let payload: Value =
            message.payload.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let key = payload["key"].as_str().unwrap_or("?");
        note(&self.journal, &format!("enter {} {} {key}", message.msg_id, batch.id()));
        let pause = payload["ms"].as_u64().unwrap_or(0);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let outcome = async {
            if self.effects {
                insert(key, batch).await?;
            }
            if self.touch {
                self.touch(consumer).await?;
            }
            Ok::<_, pgque::Error>(())
        }
        .await;
        if !self.brief {
            note(&self.journal, &format!("leave {} {} {key}", message.msg_id, batch.id()));
        }
        match outcome {
            Ok(()) => Verdict::Ack.into(),
            Err(error) => Outcome::Failed { error: error.to_string() },
        }
    }

    async fn touch(&self, consumer: &Consumer) -> Result<()> {
        let options = consumer.options();
        let client = Client::over(Connection::open(self.settings.clone()).await?);
        let begin = Instant::now();
        let member = options.subconsumer.as_deref().unwrap_or_default();
        client.touch_subconsumer(&options.queue, &options.name, member).await?;
        note(&self.journal, &format!("touched {}", begin.elapsed().as_micros()));
        client.close().await;
        Ok(())
    }
}

async fn insert(key: &str, batch: &Batch) -> Result<()> {
    let connection = batch.client().and_then(Client::connection);
    let none = || pgque::Error::new(pgque::Kind::Internal, "effects", "there is no transaction");
    let sql = "insert into effects (key) values ($1)";
    connection.ok_or_else(none)?.execute(sql, &[Some(key.to_owned())]).await.map(drop)
}

/// One write for a line, so that lines of several threads do not mix.
fn note(mut journal: &File, text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let _ = journal.write_all(format!("{} {text}\n", now.as_micros()).as_bytes());
}
