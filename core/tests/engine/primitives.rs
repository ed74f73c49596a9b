//! The older primitives that the client surface sits on.

use crate::support::{Ask, Database, error, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.register_consumer('q', 'c')");
    (database, client)
}

#[test]
fn next_batch_opens_reopens_and_finishes() {
    let (_database, mut client) = queue();
    assert_eq!(client.get::<Option<i64>>("select pgque.next_batch('q', 'c')"), None);
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let batch: i64 = client.get("select pgque.next_batch('q', 'c')");
    assert_eq!(
        client.get::<String>("select concat_ws(' ', batch_id, cur_tick_id, prev_tick_id, cur_tick_event_seq > prev_tick_event_seq, cur_tick_time > prev_tick_time) from pgque.next_batch_info('q', 'c')"),
        format!("{batch} 2 1 t t")
    );
    let events = format!("select ev_data from pgque.get_batch_events({batch})");
    assert_eq!(client.column::<String>(&events), ["x"]);
    let sql: String = client.get(&format!("select pgque.batch_event_sql({batch})"));
    assert_eq!(client.query(&sql, &[]).unwrap().len(), 1);
    assert_eq!(client.get::<i32>(&format!("select pgque.finish_batch({batch})")), 1);
    assert_eq!(client.get::<i32>(&format!("select pgque.finish_batch({batch})")), 0);
    assert_eq!(client.fails(&events), error("PQ003", &format!("Cannot find data for batch {batch}")));
    assert_eq!(client.fails(&format!("select pgque.batch_event_sql({batch})")), error("PQ003", "batch not found"));
}

#[test]
fn min_count_and_min_interval_merge_ticks_within_bounds() {
    let (_database, mut client) = queue();
    for _ in 0..10 {
        client.run("select pgque.send_batch('q', array['1', '2', '3'])");
        client.run("select pgque.ticker_pending()");
    }
    let merged = "select cur_tick_id from pgque.next_batch_custom('q', 'c', null, 100, null)";
    assert_eq!(client.get::<Option<i64>>(merged), None);
    let merged = "select cur_tick_id from pgque.next_batch_custom('q', 'c', null, 7, null)";
    assert_eq!(client.get::<Option<i64>>(merged), Some(4), "the first tick with at least 7 events");
    client.run("select pgque.finish_batch((select sub_batch from pgque.subscription))");
    let lag = "select cur_tick_id from pgque.next_batch_custom('q', 'c', '1 hour', null, null)";
    assert_eq!(client.get::<Option<i64>>(lag), None);
    client.run("update pgque.tick set tick_time = tick_time - (11 - tick_id) * interval '1 hour'");
    let interval = "select cur_tick_id from pgque.next_batch_custom('q', 'c', '1 hour', null, '3 hours')";
    assert_eq!(client.get::<Option<i64>>(interval), Some(7));
}

#[test]
fn event_and_batch_retry_ignore_the_budget() {
    let (_database, mut client) = queue();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0'), pgque.send_batch('q', array['1', '2', '3'])");
    client.tick("q");
    let batch: i64 = client.get("select pgque.next_batch('q', 'c')");
    assert_eq!(client.get::<i32>(&format!("select pgque.event_retry({batch}, 1, 0)")), 1);
    assert_eq!(client.get::<i32>(&format!("select pgque.event_retry({batch}, 1, now())")), 0);
    assert_eq!(client.fails(&format!("select pgque.event_retry({batch}, 99, 0)")), error("PQ004", "event not found"));
    assert_eq!(client.fails("select pgque.event_retry(99, 1, 0)"), error("PQ004", "event not found"));
    assert_eq!(client.get::<i32>(&format!("select pgque.batch_retry({batch}, 0)")), 2);
    assert_eq!(client.get::<i32>(&format!("select pgque.batch_retry({batch}, 0)")), 0);
    assert_eq!(client.fails("select pgque.batch_retry(99, 0)"), error("PQ003", "batch_retry: batch 99 not found"));
    client.run(&format!("select pgque.finish_batch({batch}), pgque.maint_retry_events()"));
    client.tick("q");
    let again = client.messages("receive('q', 'c')");
    assert_eq!(payloads(&again), ["1", "2", "3"]);
    assert!(again.iter().all(|message| message.retry == Some(1)));
}

#[test]
fn event_retry_raw_inserts_for_a_named_consumer() {
    let (_database, mut client) = queue();
    let raw = |consumer: &str| {
        format!(
            "select pgque.event_retry_raw('q', '{consumer}', now(), null, now(), 2, 't', 'raw', null, null, null, null)"
        )
    };
    assert_eq!(client.fails(&raw("no")), error("PQ002", "consumer not registered"));
    client.run(&raw("c"));
    client.run("select pgque.maint_retry_events()");
    client.tick("q");
    let messages = client.messages("receive('q', 'c')");
    assert_eq!((payloads(&messages), messages[0].retry), (vec!["raw"], Some(2)));
}

#[test]
fn quote_fqname_splits_at_the_first_dot() {
    let (_database, mut client) = queue();
    for (name, quoted) in [("a", "public.a"), ("A.b.c", "\"A\".\"b.c\""), ("pgque.event_1", "pgque.event_1")] {
        assert_eq!(client.get::<String>(&format!("select pgque.quote_fqname('{name}')")), quoted);
    }
}

/// Clients pass untyped parameters: each of these must find exactly one function.
#[test]
fn untyped_calls_are_not_ambiguous() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', '1'), pgque.send('q', 't', '1')");
    client.tick("q");
    client.run("prepare r as select * from pgque.receive($1, $2, $3); execute r('q', 'c', 10::smallint)");
    client.run("prepare a as select pgque.ack($1); execute a(1::smallint)");
    client.run("prepare s as select pgque.subscribe_subconsumer($1, $2, $3); execute s('q', 'g', 'w')");
    client.run(
        "prepare u as select pgque.unsubscribe_subconsumer($1, $2, $3, $4); execute u('q', 'g', 'w', 0::smallint)",
    );
    client.run("prepare n2 as select pgque.next_batch($1, $2); execute n2('q', 'c')");
    client.run("prepare n3 as select pgque.next_batch($1, $2, $3); execute n3('q', 'g', 'w')");
    client.run("prepare n4 as select pgque.next_batch($1, $2, $3, $4); execute n4('q', 'g', 'w', '1 s')");
    client.run("prepare b as select pgque.send_batch($1, $2, $3::jsonb[]); execute b('q', 't', '{1}')");
}
