//! Sending without asking the queue's row: whatever makes that wrong has to end it, in every session.

use std::time::Duration;

use postgres::fallible_iterator::FallibleIterator;

use crate::support::{Ask, Database, payloads};

/// A producer that has sent, and an administrator.
fn queue() -> (Database, postgres::Client, postgres::Client) {
    let database = Database::new();
    let (mut producer, mut admin) = (database.client(), database.client());
    admin.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    producer.run("select pgque.send('q', 'first'), pgque.send_batch('q', array['second'])");
    assert!(is_short(&mut admin), "a new queue has the short way");
    (database, producer, admin)
}

/// Whether the value that `send` was generated for is the queue's.
fn is_short(client: &mut postgres::Client) -> bool {
    client.get(
        "select prosrc like format('%%= ''q'' and pg_sequence_last_value(%%) = %s then%%', last_value)
           from pg_proc, pgque.event_1_table_seq where oid = 'pgque.send(text, text)'::regprocedure",
    )
}

#[test]
fn a_disabled_queue_refuses_at_once_and_an_enabled_one_accepts() {
    let (_database, mut producer, mut admin) = queue();
    admin.run("begin; update pgque.queue set queue_disable_insert = true");
    producer.run("select pgque.send('q', 'before the commit')");
    admin.run("commit");
    assert_eq!(producer.fails("select pgque.send('q', 'x')").0, "PQ005");
    assert_eq!(producer.fails("select pgque.insert_event('q', 't', 'x')").0, "PQ005");
    assert_eq!(producer.fails("select pgque.send_batch('q', array['x'])").0, "PQ005");
    admin.run("begin; update pgque.queue set queue_disable_insert = false; rollback; select pgque.maint()");
    assert_eq!(producer.fails("select pgque.send('q', 'x')").0, "PQ005");
    admin.run("update pgque.queue set queue_disable_insert = false");
    producer.run("select pgque.send('q', 'after')");
    assert!(is_short(&mut admin));
}

/// Also when another session generates the functions while the change is open, or with an old snapshot.
#[test]
fn an_open_change_is_not_overlooked() {
    let (database, mut producer, mut admin) = queue();
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select count(*) from pgque.queue");
    admin.run("begin; update pgque.queue set queue_disable_insert = true");
    database.client().run("select pgque.maint()");
    admin.run("commit");
    database.client().run("select pgque.maint()");
    old.run("select pgque.create_queue('other'), pgque.maint(); commit");
    assert_eq!(producer.fails("select pgque.send('q', 'x')").0, "PQ005");
    assert_eq!(producer.fails("select pgque.send_batch('q', array['x'])").0, "PQ005");
}

#[test]
fn a_name_leads_to_the_queue_that_bears_it_now() {
    let (_database, mut producer, mut admin) = queue();
    admin.run("select pgque.drop_queue('q', true)");
    assert_eq!(producer.fails("select pgque.send('q', 'x')").0, "PQ001");
    assert_eq!(producer.fails("select pgque.send_batch('q', array['x'])").0, "PQ001");
    admin.run("select pgque.create_queue('q'), pgque.create_queue('other')");
    producer.run("select pgque.send('q', 'new'), pgque.send_batch('q', array['newer'])");
    assert_eq!(admin.column::<String>("select ev_data from pgque.event_2 order by ev_id"), ["new", "newer"]);
    admin.run("update pgque.queue set queue_name = case queue_name when 'q' then 'old' else 'q' end");
    producer.run("select pgque.send('q', 'renamed'), pgque.send_batch('q', array['many'])");
    assert_eq!(admin.column::<String>("select ev_data from pgque.event_3 order by ev_id"), ["renamed", "many"]);
}

#[test]
fn a_rotation_moves_everybody_to_the_next_table() {
    let (_database, mut producer, mut admin) = queue();
    let rotate = "update pgque.queue set queue_switch_time = now() - interval '3 hours';
                  select pgque.maint_rotate_tables_step1('q'), ";
    admin.run(&format!("begin; {rotate} pgque.maint_rotate_tables_step2()"));
    producer.run("select pgque.send('q', 'meanwhile'), pgque.send_batch('q', array['many'])");
    admin.run("rollback");
    producer.run("select pgque.send('q', 'rolled back')");
    admin.run(&format!("{rotate} 1"));
    producer.run("select pgque.send('q', 'rotated'), pgque.send_batch('q', array['many'])");
    admin.run("select pgque.maint()");
    assert!(is_short(&mut admin));
    producer.run("select pgque.send('q', 'short again'), pgque.send_batch('q', array['many'])");
    assert_eq!(
        admin.column::<String>("select tableoid::regclass || ' ' || ev_data from pgque.event_1 order by ev_id"),
        [
            "pgque.event_1_0 first",
            "pgque.event_1_0 second",
            "pgque.event_1_0 meanwhile",
            "pgque.event_1_0 many",
            "pgque.event_1_0 rolled back",
            "pgque.event_1_1 rotated",
            "pgque.event_1_1 many",
            "pgque.event_1_1 short again",
            "pgque.event_1_1 many"
        ]
    );
    admin.tick("q");
    assert_eq!(payloads(&admin.messages("receive('q', 'c')")).len(), 9);
}

/// How often the listener was woken within a short time.
fn woken(listener: &mut postgres::Client) -> usize {
    listener.notifications().timeout_iter(Duration::from_millis(300)).count().unwrap()
}

#[test]
fn a_sleeping_ticker_is_woken_by_the_first_event_however_it_is_sent() {
    let (_database, mut producer, mut ticker) = queue();
    ticker.run("listen pgque_ticker");
    producer.run("select pgque.send('q', 'awake')");
    assert_eq!(woken(&mut ticker), 0);
    for call in [
        "send('q', 'x')",
        "send('q', 't', '1'::jsonb)",
        "send_batch('q', array['x', 'y'])",
        "insert_event('q', 't', 'x')",
        "insert_event_raw('q', null, null, null, null, 't', 'x', null, null, null, null)",
        "send_idem('q', 't', 'x', 'key')",
    ] {
        assert!(ticker.get::<bool>("select pgque.ticker_sleep(60)"), "{call}");
        producer.run(&format!("begin; select pgque.{call}; select pgque.send('q', 'more')"));
        assert_eq!(woken(&mut ticker), 0, "{call}");
        producer.run("commit");
        assert_eq!(woken(&mut ticker), 1, "{call}");
        ticker.run("select pgque.ticker_wake()");
    }
    producer.run("select pgque.send('q', 'awake')");
    assert_eq!(woken(&mut ticker), 0);
    ticker.run("select setval('pgque.ticker_sleep', extract(epoch from now())::bigint - 1)");
    producer.run("select pgque.send('q', 'it sleeps no longer')");
    assert_eq!(woken(&mut ticker), 0);
}

/// What it inserted before the ticker lay down, nobody would announce.
#[test]
fn the_ticker_does_not_sleep_while_a_producer_is_at_work() {
    let (_database, mut producer, mut ticker) = queue();
    producer.run("begin; select pgque.send('q', 'x')");
    assert!(!ticker.get::<bool>("select pgque.ticker_sleep(60)"));
    assert_eq!(ticker.get::<i64>("select last_value from pgque.ticker_sleep"), 0);
    producer.run("commit");
    assert!(ticker.get::<bool>("select pgque.ticker_sleep(60)"));
    assert_eq!(ticker.fails("select pgque.ticker_sleep(0)").0, "22023");
    assert_eq!(ticker.fails("select pgque.ticker_sleep(null)").0, "22023");
}
