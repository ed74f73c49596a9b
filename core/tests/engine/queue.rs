//! Creating, configuring and dropping queues; registering consumers.

use crate::support::{Ask, Database, error};

#[test]
fn a_queue_is_created_once_with_its_tables_and_first_tick() {
    let database = Database::new();
    let mut client = database.client();
    assert_eq!(client.get::<i32>("select pgque.create_queue('q')"), 1);
    assert_eq!(client.get::<i32>("select pgque.create_queue('q')"), 0);
    assert_eq!(
        client.column::<String>(
            "select relname::text from pg_class where relnamespace = 'pgque'::regnamespace and relname ~ '^event_1(_|$)' order by 1"
        ),
        [
            "event_1", "event_1_0", "event_1_0_txid_idx", "event_1_1", "event_1_1_txid_idx", "event_1_2",
            "event_1_2_txid_idx", "event_1_id_seq", "event_1_table_seq", "event_1_tick_seq"
        ]
    );
    assert_eq!(client.get::<String>("select tick_id || ' ' || tick_event_seq from pgque.tick"), "1 1");
    assert_eq!(
        client.get::<String>("select queue_data_pfx || '_' || queue_cur_table from pgque.queue"),
        "pgque.event_1_0"
    );
}

#[test]
fn any_text_up_to_57_bytes_is_a_name() {
    let database = Database::new();
    let mut client = database.client();
    for name in ["", "a b", "it's", "\"q\"", "A.b.C", "ÄÖ€", &"x".repeat(57), &"€".repeat(19)] {
        let literal = name.replace('\'', "''");
        assert_eq!(client.get::<i32>(&format!("select pgque.create_queue('{literal}')")), 1, "{name}");
        client.run(&format!("select pgque.subscribe('{literal}', 'c'), pgque.send('{literal}', 'x')"));
        client.tick(&literal);
        assert_eq!(client.messages(&format!("receive('{literal}', 'c')")).len(), 1, "{name}");
        assert_eq!(client.get::<i32>(&format!("select pgque.drop_queue('{literal}', true)")), 1, "{name}");
    }
    for name in ["x".repeat(58), "x".repeat(63), "€".repeat(20)] {
        let (code, message) = client.fails(&format!("select pgque.create_queue('{name}')"));
        assert_eq!(code, "22023");
        assert!(message.starts_with(&format!("queue name too long: {} bytes", name.len())), "{message}");
    }
    assert_eq!(client.fails("select pgque.create_queue(null)"), error("22023", "Invalid NULL value"));
    assert_eq!(client.get::<i64>("select count(*) from pgque.queue"), 0);
}

#[test]
fn parameters_are_set_checked_and_reset() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    for (parameter, value, stored) in [
        ("ticker_max_count", "7", "7"),
        ("ticker_max_lag", "1 min", "00:01:00"),
        ("ticker_idle_period", "2 min", "00:02:00"),
        ("ticker_paused", "true", "true"),
        ("rotation_period", "1 s", "00:00:01"),
        ("external_ticker", "on", "true"),
        ("max_retries", "0", "0"),
    ] {
        client.run(&format!("select pgque.set_queue_config('q', '{parameter}', '{value}')"));
        let sql = format!("select queue_{parameter}::text from pgque.queue");
        assert_eq!(client.get::<String>(&sql), stored, "{parameter}");
        client.run(&format!("select pgque.set_queue_config('q', '{parameter}', null)"));
    }
    assert_eq!(
        client.get::<String>("select concat_ws(' ', queue_ticker_max_count, queue_ticker_max_lag, queue_ticker_idle_period, queue_ticker_paused, queue_rotation_period, queue_external_ticker, queue_max_retries) from pgque.queue"),
        "500 00:00:03 00:01:00 f 02:00:00 f"
    );
    for (parameter, value, rule) in [
        ("max_retries", "-1", ">= 0"),
        ("ticker_max_count", "0", "> 0"),
        ("ticker_max_lag", "0", "> 0"),
        ("ticker_idle_period", "-1 s", "> 0"),
        ("rotation_period", "0 s", "> 0"),
    ] {
        assert_eq!(
            client.fails(&format!("select pgque.set_queue_config('q', '{parameter}', '{value}')")),
            error("22023", &format!("set_queue_config: {parameter} must be {rule}, got {value}"))
        );
    }
    assert_eq!(client.fails("select pgque.set_queue_config('q', 'ticker_max_count', 'x')").0, "22P02");
    let (code, message) = client.fails("select pgque.set_queue_config('q', 'queue_name', 'x')");
    assert_eq!((code.as_str(), message.starts_with("cannot change parameter \"queue_name")), ("22023", true));
    assert_eq!(
        client.fails("select pgque.set_queue_config('no', 'max_retries', '1')"),
        error("PQ001", "No such event queue")
    );
    assert_eq!(client.fails("select pgque.set_queue_config('q', null, '1')"), error("22023", "Invalid NULL value"));
}

#[test]
fn dropping_needs_force_while_consumers_are_attached() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.create_queue('other'), pgque.subscribe('q', 'c'), pgque.subscribe('other', 'shared'), pgque.subscribe('q', 'shared')");
    client.run("select pgque.subscribe_subconsumer('q', 'group', 'w1'), pgque.send('q', 'x')");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    assert_eq!(client.messages("receive_coop('q', 'group', 'w1')").len(), 1);
    client.run(&format!("select pgque.nack({batch}, row(1,1,'','',0,now(),'','','','')::pgque.message)"));
    assert_eq!(
        client.fails("select pgque.drop_queue('q')"),
        error("PQ005", "cannot drop queue, consumers still attached")
    );
    assert_eq!(client.get::<i32>("select pgque.drop_queue('q', true)"), 1);
    assert_eq!(client.column::<String>("select co_name from pgque.consumer"), ["shared"]);
    assert_eq!(
        client.get::<i64>(
            "select count(*) from pg_class where relnamespace = 'pgque'::regnamespace and relname ~ '^event_1(_|$)'"
        ),
        0
    );
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 0);
    assert_eq!(client.fails("select pgque.drop_queue('q')"), error("PQ001", "No such event queue"));
    assert_eq!(client.get::<i32>("select pgque.drop_queue('other', true)"), 1);
}

#[test]
fn subscriptions_begin_at_the_newest_tick() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    client.run("select pgque.send('q', 'before the tick')");
    client.tick("q");
    client.run("select pgque.send('q', 'after the tick')");
    assert_eq!(client.get::<i32>("select pgque.subscribe('q', 'c')"), 1);
    assert_eq!(client.get::<i32>("select pgque.subscribe('q', 'c')"), 0);
    client.tick("q");
    let messages = client.messages("receive('q', 'c')");
    assert_eq!(crate::support::payloads(&messages), ["after the tick"]);
    assert_eq!(client.fails("select pgque.subscribe('no', 'c')"), error("PQ001", "Event queue not created yet"));
    assert_eq!(client.get::<i32>("select pgque.unsubscribe('q', 'c')"), 1);
    assert_eq!(client.get::<i32>("select pgque.unsubscribe('q', 'c')"), 0);
    assert_eq!(client.get::<i32>("select pgque.unsubscribe('no', 'c')"), 0);
    assert_eq!(client.get::<i64>("select count(*) from pgque.consumer"), 0);
}

#[test]
fn a_consumer_can_be_moved_to_an_existing_tick() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.send('q', 'again')");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    assert_eq!(client.get::<i32>("select pgque.register_consumer_at('q', 'c', 1)"), 0);
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({batch})")), 0);
    assert_eq!(client.messages("receive('q', 'c')").len(), 1);
    assert_eq!(client.get::<i32>("select pgque.register_consumer_at('q', 'late', 1)"), 1);
    assert_eq!(client.messages("receive('q', 'late')").len(), 1);
    assert_eq!(
        client.fails("select pgque.register_consumer_at('q', 'c', 99)"),
        error("22023", "cannot reposition, tick not found: 99")
    );
}
