//! Shorthands for queues, delayed send, and figures for dashboards.

use postgres::Client;

use crate::support::{Ask, Database, error, until};

#[test]
fn create_queue_with_options_is_all_or_nothing() {
    let database = Database::new();
    let mut admin = database.client_as("pgque_admin");
    let options =
        "select concat_ws(' ', queue_ticker_max_lag, queue_max_retries, queue_ticker_paused) from pgque.queue";
    assert_eq!(
        admin.get::<i32>("select pgque.create_queue('q', '{\"ticker_max_lag\": \"100 ms\", \"max_retries\": 7}')"),
        1
    );
    assert_eq!(admin.get::<String>(options), "00:00:00.1 7 f");
    assert_eq!(
        admin.get::<i32>("select pgque.create_queue('q', '{\"ticker_max_lag\": null, \"ticker_paused\": true}')"),
        0
    );
    assert_eq!(admin.get::<String>(options), "00:00:03 7 t");
    for (wrong, code) in [
        ("'{\"max_retries\": 1, \"no\": 1}'", "22023"),
        ("'{\"max_retries\": -1}'", "22023"),
        ("'{\"max_retries\": \"x\"}'", "22P02"),
        ("'[]'", "22023"),
    ] {
        assert_eq!(admin.fails(&format!("select pgque.create_queue('r', {wrong})")).0, code);
    }
    assert_eq!(admin.get::<i64>("select count(*) from pgque.queue"), 1);
    assert_eq!(admin.get::<i32>("select pgque.create_queue('r', null)"), 1);
}

#[test]
fn a_queue_pauses_and_resumes() {
    let database = Database::new();
    let mut admin = database.client_as("pgque_admin");
    admin.run("select pgque.create_queue('q')");
    for (call, paused) in
        [("pause_queue", true), ("pause_queue", true), ("resume_queue", false), ("resume_queue", false)]
    {
        admin.run(&format!("select pgque.{call}('q')"));
        assert_eq!(admin.get::<bool>("select queue_ticker_paused from pgque.queue"), paused);
        assert_eq!(admin.fails(&format!("select pgque.{call}('no')")), error("PQ001", "No such event queue"));
    }
}

fn wait_for_due(client: &mut Client) {
    until("everything is due", || client.get("select max(de_deliver_at) <= now() from pgque.delayed_events"));
}

#[test]
fn delayed_events_arrive_in_the_order_of_their_times_and_not_before() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    let mut writer = database.client_as("pgque_writer");
    assert_eq!(writer.get::<i64>("select pgque.send_at('q', 't', '{\"b\":1}', now())"), 1, "the event's id");
    writer.run("select pgque.send_at('q', 't', '\"third\"', now() + interval '1 hour')");
    writer.run("select pgque.send_at('q', 't', '\"second\"', now() + interval '100 ms')");
    writer.run("select pgque.send_at('q', null, null, now() + interval '90 ms')");
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 1);
    until("two are due", || client.get("select count(*) = 2 from pgque.delayed_events where de_deliver_at <= now()"));
    assert_eq!(client.get::<i32>("select pgque.maint()"), 2);
    assert_eq!(client.get::<i32>("select pgque.maint_deliver_delayed()"), 0);
    client.tick("q");
    let messages = client.messages("receive('q', 'c')");
    let seen: Vec<_> = messages.iter().map(|m| (m.kind.as_deref(), m.payload.as_deref())).collect();
    assert_eq!(seen, [(Some("t"), Some("{\"b\": 1}")), (None, None), (Some("t"), Some("\"second\""))]);
    assert_eq!(client.get::<i64>("select count(*) from pgque.delayed_events"), 1);

    for (arguments, expected) in [
        ("'no', 't', '1', now() + interval '1 hour'", error("PQ001", "queue not found: no")),
        ("'no', 't', '1', now()", error("PQ001", "queue not found: no")),
        ("'q', 't', '1', null", error("22023", "deliver_at must not be null")),
    ] {
        assert_eq!(writer.fails(&format!("select pgque.send_at({arguments})")), expected);
    }
    assert_eq!(writer.fails("select * from pgque.delayed_events").0, "42501");
    assert_eq!(writer.fails("select pgque.maint_deliver_delayed()").0, "42501");
    assert_eq!(database.client_as("pgque_reader").fails("select pgque.send_at('q', 't', '1', now())").0, "42501");
}

#[test]
fn one_disabled_or_missing_queue_does_not_hold_up_the_others() {
    let database = Database::new();
    let mut client = database.client();
    for queue in ["a", "b", "c", "d"] {
        client.run(&format!("select pgque.create_queue('{queue}'), pgque.send_at('{queue}', 't', '1', clock_timestamp() + interval '50 ms')"));
    }
    client.run("select pgque.drop_queue('a')");
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.delayed_events"),
        3,
        "a queue takes its delayed events along"
    );
    client.run("insert into pgque.delayed_events (de_queue_name, de_deliver_at) values ('gone', now())");
    client.run("update pgque.queue set queue_disable_insert = true where queue_name = 'b'");
    wait_for_due(&mut client);
    assert_eq!(client.get::<i32>("select pgque.maint()"), 2);
    assert_eq!(client.column::<String>("select de_queue_name from pgque.delayed_events order by 1"), ["b", "gone"]);
    client.run("update pgque.queue set queue_disable_insert = false");
    assert_eq!(client.get::<i32>("select pgque.maint()"), 1);
}

#[test]
fn delayed_events_are_delivered_once_by_two_sessions() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    client.run("insert into pgque.delayed_events (de_queue_name, de_deliver_at, de_data) select 'q', now(), g from generate_series(1, 15000) g");
    let mut second = database.client();
    client.run("begin");
    assert_eq!(client.get::<i32>("select pgque.maint_deliver_delayed()"), 10000, "a bounded piece of work");
    assert_eq!(second.get::<i32>("select pgque.maint_deliver_delayed()"), 5000, "without waiting");
    client.run("commit");
    assert_eq!(client.get::<i32>("select pgque.maint_deliver_delayed()"), 0);
    client.run("insert into pgque.delayed_events (de_queue_name, de_deliver_at) select 'q', now() from generate_series(1, 25000) g");
    assert_eq!(client.get::<i32>("select pgque.maint()"), 25000, "maint() goes on until none is due");
    assert_eq!(client.get::<i64>("select count(distinct ev_data) from pgque.event_1"), 15000);
    assert_eq!(client.get::<i64>("select count(distinct ev_id) from pgque.event_1"), 40000);
}

#[test]
fn dashboards_see_depth_lag_and_batches() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('empty'), pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.subscribe('q', 'idle')");
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    client.run("select pgque.ticker_pending()");
    let message = client.messages("receive('q', 'c')").remove(0);
    client.run(&format!(
        "select pgque.nack({}, row({}, 1, '', '', null, now(), null, null, null, null)::pgque.message)",
        message.batch, message.id
    ));

    let mut reader = database.client_as("pgque_reader");
    assert_eq!(
        reader.column::<String>("select concat_ws(' ', queue_name, depth, oldest_msg_age is null, consumers, events_per_sec > 0, cur_table, rotation_period, ticker_paused, last_tick_id, dlq_count) from pgque.queue_stats()"),
        ["empty 0 t 0 0 02:00:00 f 1 0", "q 3 f 2 t 0 02:00:00 f 2 0"]
    );
    assert_eq!(
        reader.column::<String>("select concat_ws(' ', queue_name, consumer_name, lag > '0', pending_events, batch_active, batch_id) from pgque.consumer_stats()"),
        [format!("q c t 3 t {}", message.batch), "q idle t 3 f".to_owned()]
    );
    assert_eq!(
        reader.column::<String>("select concat_ws(' ', consumer_name, batch_id, batch_age >= '0', estimated_events) from pgque.in_flight('q')"),
        [format!("c {} t 3", message.batch)]
    );
    assert_eq!(reader.get::<i64>("select count(*) from pgque.stuck_consumers()"), 0);
    assert_eq!(
        reader.column::<String>("select consumer_name from pgque.stuck_consumers('0 s') order by 1"),
        ["c", "idle"]
    );
    assert_eq!(
        reader.column::<String>("select concat_ws(' ', queue_name, check_name, status) from pgque.queue_health() where queue_name <> 'empty' order by 1"),
        ["q consumer_lag:c ok", "q consumer_lag:idle ok", "q dlq_health ok", "q rotation_health ok", "q ticker_running ok", "system pg_cron_maint warning", "system pg_cron_ticker warning"]
    );
    client.run("update pgque.tick set tick_time = tick_time - interval '90 minutes'");
    assert_eq!(
        reader.column::<String>("select concat_ws(' ', check_name, status) from pgque.queue_health() where queue_name = 'q' and status <> 'ok' order by 1"),
        ["consumer_lag:c warning", "consumer_lag:idle warning", "ticker_running critical"]
    );
    assert_eq!(
        reader.column::<String>("select distinct concat_ws(' ', metric_name, metric_type, labels) from pgque.otel_metrics() where labels ->> 'queue' = 'q' and labels ->> 'consumer' is distinct from 'idle' order by 1"),
        [
            "pgque.consumer.lag_seconds gauge {\"queue\": \"q\", \"consumer\": \"c\"}",
            "pgque.consumer.pending_events gauge {\"queue\": \"q\", \"consumer\": \"c\"}",
            "pgque.message.dead_lettered gauge {\"queue\": \"q\"}",
            "pgque.queue.depth gauge {\"queue\": \"q\"}",
            "pgque.queue.oldest_message_age_seconds gauge {\"queue\": \"q\"}",
            "pgque.queue.throughput gauge {\"queue\": \"q\"}",
        ]
    );
}

#[test]
fn rates_come_in_buckets_aligned_to_the_epoch() {
    let database = Database::new();
    let mut client = database.client();
    client.run(
        "select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.set_queue_config('q', 'max_retries', '0')",
    );
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    client.run("select pgque.ticker_pending()");
    let message = client.messages("receive('q', 'c')").remove(0);
    client.run(&format!(
        "select pgque.nack({}, row({}, 1, '', '', null, now(), null, null, null, null)::pgque.message)",
        message.batch, message.id
    ));
    client.run(&format!("select pgque.event_retry({}, {}, 60)", message.batch, message.id + 1));
    let mut reader = database.client_as("pgque_reader");
    let buckets = "from pgque.throughput('q', '1 hour', '10 min')";
    assert_eq!(reader.get::<i64>(&format!("select sum(events)::bigint {buckets}")), 3);
    assert_eq!(reader.get::<i64>(&format!("select count(*) {buckets}")), 7);
    assert!(reader.get::<bool>(&format!("select bool_and(extract(epoch from bucket_start)::numeric % 600 = 0 and events_per_sec = round(events / 600.0, 3)) {buckets}")));
    assert_eq!(
        reader.get::<String>(
            "select concat_ws(' ', sum(retries), sum(dead_letters)) from pgque.error_rate('q', '1 hour', '10 min')"
        ),
        "1 1"
    );
    for function in ["throughput", "error_rate"] {
        assert_eq!(
            reader.fails(&format!("select pgque.{function}('no', '1 hour', '1 min')")),
            error("PQ001", "queue not found: no")
        );
        assert_eq!(
            reader.fails(&format!("select pgque.{function}('q', '1 hour', '0')")),
            error("22023", &format!("{function}: bucket size must be > 0, got 00:00:00"))
        );
        assert_eq!(reader.fails(&format!("select pgque.{function}('q', '1 year', '1 ms')")).0, "22023");
    }
}
