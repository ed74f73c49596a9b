//! Several sessions at once on queues and normal consumers.

use std::time::Duration;

use crate::support::{Ask, Database, payloads, timed};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    (database, client)
}

/// Starts `second` while `first` is in a transaction, commits the first, gives the second's outcome.
fn while_open<T: Send>(first: &mut postgres::Client, second: impl FnOnce() -> T + Send) -> (Duration, T) {
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| timed(second));
        std::thread::sleep(Duration::from_millis(300));
        first.run("commit");
        handle.join().unwrap()
    })
}

const WAITED: Duration = Duration::from_millis(250);

#[test]
fn a_second_receive_waits_and_gets_the_same_batch() {
    let (database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let mut second = database.client();
    client.run("begin");
    let held = client.messages("receive('q', 'c')");
    let (time, messages) = while_open(&mut client, || second.messages("receive('q', 'c')"));
    assert!(time >= WAITED, "{time:?}");
    assert_eq!(messages, held);
}

#[test]
fn a_receive_that_waited_for_an_ack_gets_the_next_window_or_nothing() {
    let (database, mut client) = queue();
    let mut second = database.client();
    for payload in ["1", "2"] {
        client.run(&format!("select pgque.send('q', '{payload}')"));
        client.tick("q");
    }
    for expected in [vec!["2"], vec![]] {
        client.run("begin");
        let held = client.messages("receive('q', 'c')");
        if held.is_empty() {
            break;
        }
        client.run(&format!("select pgque.ack({})", held[0].batch));
        let (time, messages) = while_open(&mut client, || second.messages("receive('q', 'c')"));
        assert!(time >= WAITED, "{time:?}");
        assert_eq!(payloads(&messages), expected);
        if let Some(first) = messages.first() {
            client.run(&format!("select pgque.ack({})", first.batch));
            client.run("select pgque.send('q', '3')");
            client.tick("q");
        }
    }
}

#[test]
fn a_next_batch_that_waited_has_its_ticks() {
    let (database, mut client) = queue();
    let mut second = database.client();
    client.run("select pgque.send('q', '1')");
    client.tick("q");
    client.tick("q");
    client.run("begin; select pgque.finish_batch(pgque.next_batch('q', 'c'))");
    let (_, ticks) = while_open(&mut client, || {
        second.get::<String>("select concat_ws(' ', prev_tick_id, cur_tick_id) from pgque.next_batch_info('q', 'c')")
    });
    assert_eq!(ticks, "2 3");
}

#[test]
fn two_acks_of_one_batch_count_once() {
    let (database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    let mut second = database.client();
    client.run(&format!("begin; select pgque.finish({batch}, '{{1}}')"));
    let (_, outcome) = while_open(&mut client, || second.get::<i32>(&format!("select pgque.finish({batch}, '{{1}}')")));
    assert_eq!(outcome, 0);
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 1);
}

#[test]
fn of_two_first_creations_the_loser_sees_zero() {
    let database = Database::new();
    let (mut first, mut second) = (database.client(), database.client());
    first.run("begin; select pgque.create_queue('q')");
    assert_eq!(while_open(&mut first, || second.get::<i32>("select pgque.create_queue('q')")).1, 0);
    first.run("begin; select pgque.subscribe('q', 'c')");
    assert_eq!(while_open(&mut first, || second.get::<i32>("select pgque.subscribe('q', 'c')")).1, 0);
    first.run("begin; select pgque.subscribe_subconsumer('q', 'g', 'w')");
    let (_, outcome) =
        while_open(&mut first, || second.get::<i32>("select pgque.subscribe_subconsumer('q', 'g', 'w')"));
    assert_eq!(outcome, 0);
}

/// Creations wait for each other: both make a child of the template table.
#[test]
fn two_queues_are_created_at_once_and_both_work() {
    let database = Database::new();
    let (mut first, mut second) = (database.client(), database.client());
    first.run("begin; select pgque.create_queue('a')");
    assert_eq!(while_open(&mut first, || second.get::<i32>("select pgque.create_queue('b')")).1, 1);
    for queue in ["a", "b"] {
        assert_eq!(first.get::<i64>(&format!("select pgque.send('{queue}', 'x')")), 1);
        assert_eq!(second.get::<i64>(&format!("select pgque.send('{queue}', 'x')")), 2);
    }
}

#[test]
fn registering_while_the_name_is_being_dropped_works() {
    let (database, mut client) = queue();
    client.run("select pgque.create_queue('p')");
    let mut second = database.client();
    client.run("begin; select pgque.unsubscribe('q', 'c')");
    let (_, outcome) = while_open(&mut client, || second.get::<i32>("select pgque.subscribe('p', 'c')"));
    assert_eq!(outcome, 1);
    second.run("begin; select pgque.unsubscribe('p', 'c')");
    second.run("select pgque.subscribe('q', 'c')");
    second.run("commit");
    assert_eq!(second.get::<i64>("select count(*) from pgque.consumer"), 1);
}

#[test]
fn a_ticker_with_an_old_snapshot_never_goes_backwards() {
    let (database, mut client) = queue();
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select 1 from pgque.tick");
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    old.run("select pgque.force_next_tick('q')");
    assert_eq!(old.get::<Option<i64>>("select pgque.ticker('q')"), None);
    assert_eq!(old.get::<i64>("select pgque.ticker()"), 0);
    old.run("commit");
    // With a fresh snapshot a repeatable read ticker works, also after a tick that was rolled back.
    client.run("begin; select pgque.force_next_tick('q')");
    client.run("select pgque.ticker('q'); rollback");
    old.run("begin isolation level repeatable read; select pgque.force_next_tick('q')");
    assert!(old.get::<Option<i64>>("select pgque.ticker('q')").is_some());
    old.run("commit");
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.tick a join pgque.tick b on b.tick_id > a.tick_id where pg_snapshot_xmax(b.tick_snapshot) < pg_snapshot_xmax(a.tick_snapshot)"),
        0
    );
}

#[test]
fn tickers_at_once_store_snapshots_in_order_and_nothing_is_lost() {
    const SENDS: usize = 200;
    let (database, mut client) = queue();
    client.run("select pgque.set_queue_config('q', 'ticker_max_count', '1')");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let mut ticker = database.client();
            scope.spawn(move || (0..100).for_each(|_| ticker.run("select pgque.ticker('q')")));
        }
        for _ in 0..2 {
            let mut producer = database.client();
            scope.spawn(move || (0..SENDS / 2).for_each(|_| producer.run("select pgque.send('q', 'x')")));
        }
    });
    client.tick("q");
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.tick a join pgque.tick b on b.tick_id > a.tick_id where pg_snapshot_xmin(b.tick_snapshot) < pg_snapshot_xmin(a.tick_snapshot) or pg_snapshot_xmax(b.tick_snapshot) < pg_snapshot_xmax(a.tick_snapshot)"),
        0
    );
    let mut ids = Vec::new();
    loop {
        let messages = client.messages("receive('q', 'c', 1000)");
        let Some(first) = messages.first() else { break };
        client.run(&format!("select pgque.ack({})", first.batch));
        ids.extend(messages.iter().map(|message| message.id));
    }
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (SENDS, SENDS));
}

#[test]
fn two_replays_of_one_dead_letter_make_one_message() {
    let (database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    client.run(&format!("select pgque.finish({batch}, '{{1}}', '{{}}', '{{t}}')"));
    let mut second = database.client();
    client.run("begin; select pgque.dlq_replay(1)");
    assert_eq!(second.get::<String>("select concat_ws(' ', replayed, failed) from pgque.dlq_replay_all('q')"), "0 0");
    let (_, failure) = while_open(&mut client, || second.fails("select pgque.dlq_replay(1)"));
    assert_eq!(failure, crate::support::error("PQ004", "dead letter entry not found: 1"));
    client.tick("q");
    assert_eq!(client.messages("receive('q', 'c')").len(), 1);
}

#[test]
fn two_movers_move_each_retry_once() {
    let (database, mut client) = queue();
    client.run("select pgque.send_batch('q', array['1', '2'])");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    client.run(&format!("select pgque.finish({batch}, '{{1,2}}', '{{0 s,0 s}}')"));
    let mut second = database.client();
    client.run("begin; select pgque.maint_retry_events()");
    assert_eq!(while_open(&mut client, || second.get::<i32>("select pgque.maint_retry_events()")).1, 0);
    client.tick("q");
    assert_eq!(client.messages("receive('q', 'c')").len(), 2);
}

/// The helper is replaced by one that blocks inside the lock, as the contract's own test does.
#[test]
fn conversion_waits_for_a_next_batch_in_progress() {
    let (database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let mut second = database.client();
    client.run("begin; select * from pgque.next_batch_custom('q', 'c', null, 1, null)");
    let (time, failure) =
        while_open(&mut client, || second.fails("select pgque.register_subconsumer('q', 'c', 'w', true)"));
    assert!(time >= WAITED && failure.1.starts_with("cannot convert active normal consumer"), "{failure:?}");
    assert_eq!(client.get::<i64>("select count(*) from pgque.subscription where sub_role = 'coop_main'"), 0);
}
