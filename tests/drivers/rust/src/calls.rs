//! Which operation makes which call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pgque::runtime::{time_limit, wait};
use pgque::{
    BATCH_HANDLING_DEFAULT, Client, Connection, DLQ_LIMIT_DEFAULT, DLQ_OLDER_THAN_DEFAULT, Interval,
    MAX_MESSAGES_DEFAULT, RETRY_AFTER_DEFAULT, Settings,
};
use serde_json::{Value, json};

use crate::args::Args;
use crate::background::RunningTicker;
use crate::caller::CallerConnection;
use crate::consumer::RunningConsumer;
use crate::json::{messages, table};
use crate::pipeline::pipelined;
use crate::producer::Producers;
use crate::{Answer, Fault};

const OPERATIONS: &[&str] = &[
    "hello",
    "connect",
    "connect_caller",
    "caller_execute",
    "close",
    "begin",
    "commit",
    "rollback",
    "execute",
    "listen",
    "unlisten",
    "notification",
    "capabilities",
    "version",
    "send",
    "send_batch",
    "pipelined",
    "subscribe",
    "unsubscribe",
    "subscribe_subconsumer",
    "unsubscribe_subconsumer",
    "touch_subconsumer",
    "receive",
    "receive_coop",
    "ack",
    "nack",
    "finish",
    "ticker",
    "ticker_all",
    "force_next_tick",
    "force_tick",
    "maint",
    "maint_retry_events",
    "install",
    "uninstall",
    "status",
    "create_queue",
    "drop_queue",
    "set_queue_config",
    "queue_info",
    "consumer_info",
    "batch_info",
    "dlq_inspect",
    "dlq_replay",
    "dlq_replay_all",
    "dlq_redeliver",
    "dlq_redeliver_all",
    "dlq_purge",
    "consumer_start",
    "consumer_seen",
    "consumer_stop",
    "consumer_ask_stop",
    "consumer_stats",
    "consumer_health",
    "consumer_hooks",
    "ticker_start",
    "ticker_stop",
    "ticker_stats",
    "producer_start",
    "producer_send",
    "producer_send_many",
    "producer_submit",
    "producer_flush",
    "producer_close",
    "producer_stats",
];

/// The handles that requests speak of.
#[derive(Default)]
pub struct Driver {
    clients: HashMap<String, Client>,
    callers: HashMap<String, Arc<CallerConnection>>,
    consumers: HashMap<String, RunningConsumer>,
    tickers: HashMap<String, RunningTicker>,
    producers: Producers,
}

impl Driver {
    pub fn call(&mut self, args: &Args) -> Answer {
        match args.text("op")? {
            "hello" => Ok(json!({ "language": "rust", "version": pgque::VERSION, "operations": OPERATIONS })),
            "connect" => self.connect(args),
            "connect_caller" => self.connect_caller(args),
            "caller_execute" => self.caller_execute(args),
            "consumer_start" => {
                let running = RunningConsumer::start(args)?;
                self.consumers.insert(args.text("consumer")?.to_owned(), running);
                Ok(Value::Null)
            }
            "consumer_seen" => {
                let count = args.integer("count").unwrap_or(0) as usize;
                let timeout = timeout("consumer_seen", args)?;
                Ok(known(self.consumers.get(args.text("consumer")?))?.seen(count, timeout))
            }
            "consumer_ask_stop" => Ok(known(self.consumers.get(args.text("consumer")?))?.ask_stop()),
            "consumer_stats" => Ok(known(self.consumers.get(args.text("consumer")?))?.stats()),
            "consumer_health" => Ok(known(self.consumers.get(args.text("consumer")?))?.health()),
            "consumer_hooks" => Ok(known(self.consumers.get(args.text("consumer")?))?.hooks()),
            "consumer_stop" => known(self.consumers.remove(args.text("consumer")?))?.stop(),
            "pipelined" => pipelined(known(self.clients.get(args.text("client")?))?, args),
            op if op.starts_with("producer_") && OPERATIONS.contains(&op) => self.producers.call(op, args),
            "ticker_stats" => Ok(known(self.tickers.get(args.text("ticker")?))?.stats()),
            "ticker_start" => {
                self.tickers.insert(args.text("ticker")?.to_owned(), RunningTicker::start(args)?);
                Ok(Value::Null)
            }
            "ticker_stop" => known(self.tickers.remove(args.text("ticker")?))?.stop(),
            op => {
                let client = known(self.clients.get(args.maybe_text("client").unwrap_or_default()));
                if !OPERATIONS.contains(&op) {
                    return Err(Fault::UnknownOp);
                }
                wait_for(on_client(client?, op, args))
            }
        }
    }

    fn connect(&mut self, args: &Args) -> Answer {
        let mut settings = Settings::parse(args.text("dsn")?)?;
        if let Some(on) = args.flag("autocommit") {
            settings = settings.autocommit(on);
        }
        let client = Client::over(wait(Connection::open(settings))?);
        self.clients.insert(args.text("client")?.to_owned(), client);
        Ok(Value::Null)
    }

    fn connect_caller(&mut self, args: &Args) -> Answer {
        let dsn = args.text("dsn")?;
        let caller = Arc::new(wait_for(async { Ok(CallerConnection::open(dsn).await?) })?);
        let name = args.text("client")?;
        self.clients.insert(name.to_owned(), Client::over_foreign(caller.clone()));
        self.callers.insert(name.to_owned(), caller);
        Ok(Value::Null)
    }

    fn caller_execute(&self, args: &Args) -> Answer {
        let caller = known(self.callers.get(args.text("client")?))?;
        let sql = args.text("sql")?;
        wait_for(async { Ok(caller.0.batch_execute(sql).await?) })?;
        Ok(Value::Null)
    }
}

/// The library's own wait knows only the library's errors.
fn wait_for<T>(call: impl Future<Output = Answer<T>>) -> Answer<T> {
    wait(async { Ok(call.await) })?
}

fn known<T>(handle: Option<T>) -> Answer<T> {
    handle.ok_or_else(|| Fault::Driver("no such handle".into()))
}

fn timeout(op: &'static str, args: &Args) -> Answer<Duration> {
    let limit = time_limit(op, "timeout", args.number("timeout").unwrap_or(0.0))?;
    Ok(limit.unwrap_or(Duration::MAX))
}

fn id_or_null(id: Option<i64>) -> Value {
    id.map_or(Value::Null, |id| id.to_string().into())
}

async fn on_client(client: &Client, op: &str, args: &Args) -> Answer {
    match op {
        "close" | "begin" | "commit" | "rollback" | "execute" | "listen" | "unlisten" | "notification"
        | "capabilities" | "version" => connection_call(client, op, args).await,
        "send"
        | "send_batch"
        | "subscribe"
        | "unsubscribe"
        | "subscribe_subconsumer"
        | "unsubscribe_subconsumer"
        | "touch_subconsumer" => produce_call(client, op, args).await,
        "receive" | "receive_coop" | "ack" | "nack" | "finish" => consume_call(client, op, args).await,
        "dlq_inspect" | "dlq_replay" | "dlq_replay_all" | "dlq_redeliver" | "dlq_redeliver_all" | "dlq_purge" => {
            dead_letter_call(client, op, args).await
        }
        _ => admin_call(client, op, args).await,
    }
}

async fn connection_call(client: &Client, op: &str, args: &Args) -> Answer {
    match op {
        "close" => client.close().await,
        "begin" => client.own_connection("begin")?.begin().await?,
        "commit" => client.own_connection("commit")?.commit().await?,
        "rollback" => client.own_connection("rollback")?.rollback().await?,
        "execute" => {
            let connection = client.own_connection("execute")?;
            return Ok(table(&connection.execute(args.text("sql")?, &args.params()).await?));
        }
        "listen" => client.own_connection("listen")?.listen(args.text("channel")?).await?,
        "unlisten" => client.own_connection("unlisten")?.unlisten(args.text("channel")?).await?,
        "notification" => {
            let connection = client.own_connection("notification")?;
            let found = connection.notification(timeout("notification", args)?).await?;
            return Ok(found.map_or(Value::Null, |n| json!({ "channel": n.channel, "payload": n.payload })));
        }
        "capabilities" => {
            let c = client.capabilities().await?;
            return Ok(json!({
                "server_version": c.server_version, "finish": c.finish, "ticker_pending": c.ticker_pending, "pages": c.pages
            }));
        }
        _ => return Ok(client.version().await?.into()),
    }
    Ok(Value::Null)
}

async fn produce_call(client: &Client, op: &str, args: &Args) -> Answer {
    let queue = args.text("queue")?;
    Ok(match op {
        "send" => client.send(queue, &args.event()?).await?.to_string().into(),
        "send_batch" => {
            let ids = client.send_batch(queue, args.maybe_text("type"), args.payloads()).await?;
            ids.iter().map(i64::to_string).collect()
        }
        "subscribe" => client.subscribe(queue, args.text("consumer")?).await?.into(),
        "unsubscribe" => client.unsubscribe(queue, args.text("consumer")?).await?.into(),
        _ => return member_call(client, op, args).await,
    })
}

async fn member_call(client: &Client, op: &str, args: &Args) -> Answer {
    let (queue, consumer, member) = (args.text("queue")?, args.text("consumer")?, args.text("subconsumer")?);
    let count = match op {
        "subscribe_subconsumer" => {
            let convert_normal = args.flag("convert_normal").unwrap_or_default();
            client.subscribe_subconsumer(queue, consumer, member, convert_normal).await?
        }
        "unsubscribe_subconsumer" => {
            let batch_handling = args.integer("batch_handling").unwrap_or(BATCH_HANDLING_DEFAULT);
            client.unsubscribe_subconsumer(queue, consumer, member, batch_handling).await?
        }
        _ => client.touch_subconsumer(queue, consumer, member).await?,
    };
    Ok(count.into())
}

async fn consume_call(client: &Client, op: &str, args: &Args) -> Answer {
    let max_messages = args.integer("max_messages").unwrap_or(MAX_MESSAGES_DEFAULT);
    Ok(match op {
        "receive" => messages(&client.receive(args.text("queue")?, args.text("consumer")?, max_messages).await?),
        "receive_coop" => {
            let (queue, consumer, member) = (args.text("queue")?, args.text("consumer")?, args.text("subconsumer")?);
            let dead_interval = args.interval("dead_interval");
            messages(&client.receive_coop(queue, consumer, member, max_messages, dead_interval.as_ref()).await?)
        }
        "ack" => client.ack(args.id("batch_id")?).await?.into(),
        "finish" => client.finish(args.id("batch_id")?, &args.verdicts()?).await?.into(),
        _ => {
            let after = args.interval("retry_after").unwrap_or_else(|| RETRY_AFTER_DEFAULT.into());
            client.nack(args.id("batch_id")?, args.id("msg_id")?, &after, args.maybe_text("reason")).await?;
            Value::Null
        }
    })
}

async fn dead_letter_call(client: &Client, op: &str, args: &Args) -> Answer {
    Ok(match op {
        "dlq_inspect" => {
            let limit = args.integer("limit").unwrap_or(DLQ_LIMIT_DEFAULT);
            table(&client.dlq_inspect(args.text("queue")?, limit).await?)
        }
        "dlq_replay" => client.dlq_replay(args.id("dead_letter_id")?).await?.to_string().into(),
        "dlq_redeliver" => client.dlq_redeliver(args.id("dead_letter_id")?).await?.to_string().into(),
        "dlq_redeliver_all" => client.dlq_redeliver_all(args.text("queue")?, args.maybe_text("consumer")).await?.into(),
        "dlq_replay_all" => {
            let done = client.dlq_replay_all(args.text("queue")?).await?;
            json!({ "replayed": done.replayed, "failed": done.failed, "first_error": done.first_error })
        }
        _ => {
            let older_than =
                args.interval("older_than").unwrap_or_else(|| Interval::Text(DLQ_OLDER_THAN_DEFAULT.into()));
            client.dlq_purge(args.text("queue")?, &older_than).await?.into()
        }
    })
}

async fn admin_call(client: &Client, op: &str, args: &Args) -> Answer {
    Ok(match op {
        "ticker" => id_or_null(client.ticker(args.text("queue")?).await?),
        "ticker_all" => client.ticker_all().await?.into(),
        "force_next_tick" => id_or_null(client.force_next_tick(args.text("queue")?).await?),
        "force_tick" => id_or_null(client.force_tick(args.text("queue")?).await?),
        "maint" => client.maint().await?.into(),
        "maint_retry_events" => client.maint_retry_events().await?.into(),
        "install" => pgque::install(client).await.map(|()| Value::Null)?,
        "uninstall" => pgque::uninstall(client).await.map(|()| Value::Null)?,
        "status" => table(&client.status().await?),
        "create_queue" => client.create_queue(args.text("queue")?).await?.into(),
        "drop_queue" => client.drop_queue(args.text("queue")?, args.flag("force").unwrap_or_default()).await?.into(),
        "set_queue_config" => {
            let value = args.maybe_text("value");
            client.set_queue_config(args.text("queue")?, args.text("name")?, value).await?.into()
        }
        "queue_info" => table(&client.queue_info(args.maybe_text("queue")).await?),
        "consumer_info" => table(&client.consumer_info(args.maybe_text("queue"), args.maybe_text("consumer")).await?),
        "batch_info" => table(&client.batch_info(args.id("batch_id")?).await?),
        _ => return Err(Fault::UnknownOp),
    })
}
