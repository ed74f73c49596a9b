//! When the ticker ticks, and what a tick does.

use crate::support::{Ask, Database, error, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    (database, client)
}

#[test]
fn a_fresh_queue_ticks_at_once() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', 'first')");
    assert_eq!(client.get::<i64>("select pgque.ticker()"), 1);
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["first"]);
    assert_eq!(client.get::<i64>("select pgque.ticker()"), 0);
}

/// `last_value` alone reads 1 before and after the first event; here the queue has idled before it.
#[test]
fn the_first_event_of_an_idle_queue_counts() {
    let (_database, mut client) = queue();
    client.run("select pgque.ticker('q')");
    client.run("select pgque.set_queue_config('q', 'ticker_max_count', '1'), pgque.send('q', 'first')");
    assert!(client.get::<Option<i64>>("select pgque.ticker('q')").is_some());
    assert_eq!(client.get::<i64>("select ev_new from pgque.get_queue_info('q')"), 0);
}

#[test]
fn events_wait_for_max_count_or_max_lag() {
    let (_database, mut client) = queue();
    client.run("select pgque.ticker('q')");
    client.run("select pgque.set_queue_config('q', 'ticker_max_count', '3'), pgque.send_batch('q', array['1', '2'])");
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), None);
    client.run("select pgque.send('q', '3')");
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), Some(3));
    client.run("select pgque.send('q', '4')");
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), None);
    client.run("update pgque.tick set tick_time = tick_time - interval '4 seconds'");
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), Some(4));
}

#[test]
fn idle_gaps_double_up_to_the_idle_period() {
    let (_database, mut client) = queue();
    client.run("select pgque.ticker('q')");
    let due =
        "select pgque._tick_due(0, make_interval(secs => $LAG), make_interval(secs => $GAP), 500, '3 s', '1 min')";
    for (lag, gap, ticks) in [
        (1.4, 0.0, false),
        (1.5, 0.0, true),
        (1.6, 1.5, false),
        (3.0, 1.5, true),
        (59.0, 40.0, false),
        (60.0, 40.0, true),
    ] {
        let sql = due.replace("$LAG", &lag.to_string()).replace("$GAP", &gap.to_string());
        assert_eq!(client.get::<bool>(&sql), ticks, "lag {lag}, gap {gap}");
    }
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), None);
}

#[test]
fn unknown_paused_and_external_queues_are_refused_or_skipped() {
    let (_database, mut client) = queue();
    client.run("select pgque.create_queue('paused'), pgque.create_queue('external')");
    client.run("select pgque.set_queue_config('paused', 'ticker_paused', 'true'), pgque.set_queue_config('external', 'external_ticker', 'true')");
    assert_eq!(client.fails("select pgque.ticker('no')"), error("PQ001", "no such queue"));
    assert_eq!(client.fails("select pgque.ticker('paused')"), error("PQ005", "Ticker has been paused for this queue"));
    assert_eq!(client.fails("select pgque.ticker('external')"), error("PQ005", "This queue has external tick source."));
    assert_eq!(client.fails("select pgque.force_next_tick('no')"), error("PQ001", "queue not found: no"));
    for (queue, word) in [("paused", "paused"), ("external", "external ticker")] {
        let (code, message) = client.fails(&format!("select pgque.force_tick('{queue}')"));
        assert!(code == "PQ005" && message.contains(word), "{code} {message}");
    }
    assert_eq!(client.get::<i64>("select pgque.ticker()"), 1);
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
}

#[test]
fn forcing_moves_the_sequence_and_inserts_no_tick() {
    let (_database, mut client) = queue();
    client.run("select pgque.ticker('q')");
    let before: i64 = client.get("select last_value from pgque.event_1_id_seq");
    assert_eq!(client.get::<i64>("select pgque.force_next_tick('q')"), 2);
    assert_eq!(client.get::<i64>("select pgque.force_tick('q')"), 2);
    let after: i64 = client.get("select last_value from pgque.event_1_id_seq");
    assert!(after - before >= 2 * 2000, "{before} to {after}");
    assert_eq!(client.get::<Option<i64>>("select pgque.ticker('q')"), Some(3));
}

#[test]
fn external_ticks_must_advance() {
    let (_database, mut client) = queue();
    let (code, _) = client.fails("select pgque.ticker('q', 5, now(), 10)");
    assert_eq!(code, "PQ005");
    client.run("select pgque.set_queue_config('q', 'external_ticker', 'true')");
    assert_eq!(client.get::<i64>("select pgque.ticker('q', 5, '2020-01-01', 10)"), 5);
    assert_eq!(client.get::<i64>("select pgque.ticker('q', 6, now(), 10)"), 6);
    for (call, word) in [("6, now(), 11", "tick_id"), ("5, now(), 11", "tick_id"), ("7, now(), 9", "event_seq")] {
        let (code, message) = client.fails(&format!("select pgque.ticker('q', {call})"));
        assert!(code == "22023" && message.contains(word), "{code} {message}");
    }
    assert_eq!(client.get::<i64>("select last_value from pgque.event_1_tick_seq"), 6);
    assert_eq!(client.get::<i64>("select last_value from pgque.event_1_id_seq"), 10);
}

#[test]
fn pending_ticks_whatever_the_limits_say_and_writes_nothing_otherwise() {
    let (_database, mut client) = queue();
    client.run("select pgque.ticker('q')");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    client.run("select pgque.send('q', 'x')");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 1);
    client.run("begin");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    assert_eq!(client.get::<i64>("select pgque.ticker()"), 0);
    assert!(client.get::<bool>("select pg_current_xact_id_if_assigned() is null"));
    client.run("rollback");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["x"]);
}

/// An id is counted when drawn. A tick between send and commit must not make the event wait.
#[test]
fn pending_notices_an_event_that_committed_after_its_id_was_counted() {
    let (database, mut client) = queue();
    let mut producer = database.client();
    client.run("select pgque.ticker('q')");
    producer.run("begin; select pgque.send('q', 'late')");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 1);
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    producer.run("commit");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 1);
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["late"]);
}

#[test]
fn retries_that_became_due_are_pending() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.run("select pgque.ticker_pending()");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    client.run(&format!("select pgque.finish({batch}, '{{1}}', '{{0 s}}')"));
    client.run("update pgque.tick set tick_time = tick_time - interval '1 hour'");
    client.run("select pgque.ticker('q')");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 1);
    assert_eq!(client.messages("receive('q', 'c')")[0].retry, Some(1));
}

/// A tick of the future, as after a restore into another cluster.
#[test]
fn one_queue_in_a_bad_state_does_not_stop_the_others() {
    let (_database, mut client) = queue();
    client.run("select pgque.create_queue('zz')");
    client.run("insert into pgque.tick (tick_queue, tick_id, tick_snapshot, tick_event_seq) values (1, 9, '900000000:900000000:', 1)");
    assert_eq!(client.get::<i64>("select pgque.ticker()"), 1);
    let (code, message) = client.fails("select pgque.ticker('q')");
    assert!(code == "PQ009" && message.starts_with("Invalid PgQ state: old xmin="), "{code} {message}");
}

#[test]
fn a_tick_notifies_the_channel_of_the_queue() {
    let (database, mut client) = queue();
    client.run("select pgque.create_queue('A b.c')");
    let mut listener = database.client();
    listener.run("listen \"pgque_A b.c\"; listen pgque_q");
    client.tick("A b.c");
    client.run("select pgque.send('q', 'x')");
    client.run("select pgque.ticker('q')");
    let mut seen = Vec::new();
    let mut notifications = listener.notifications();
    let mut incoming = notifications.timeout_iter(std::time::Duration::from_secs(5));
    while seen.len() < 2 {
        let notification = fallible_iterator::FallibleIterator::next(&mut incoming).unwrap().unwrap();
        seen.push(format!("{} {}", notification.channel(), notification.payload()));
    }
    assert_eq!(seen, ["pgque_A b.c 2", "pgque_q 2"]);
}
