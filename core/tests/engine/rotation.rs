//! Rotation and maintenance: space comes back, and nothing undelivered goes with it.

use crate::support::{Ask, Database, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.set_queue_config('q', 'rotation_period', '1 hour')");
    (database, client)
}

/// The period is over.
fn elapse(client: &mut postgres::Client) {
    client.run("update pgque.queue set queue_switch_time = queue_switch_time - interval '1 day'");
}

/// Whether a rotation took place; both steps, and a tick so that consumers can pass it.
fn rotate(client: &mut postgres::Client) -> bool {
    let before = current(client);
    elapse(client);
    client.run("select pgque.maint_rotate_tables_step1('q')");
    client.run("select pgque.maint_rotate_tables_step2()");
    client.tick("q");
    current(client) != before
}

fn current(client: &mut postgres::Client) -> i32 {
    client.get("select queue_cur_table from pgque.queue where queue_name = 'q'")
}

fn drain(client: &mut postgres::Client) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let messages = client.messages("receive('q', 'c', 100000)");
        let Some(first) = messages.first() else { return found };
        found.extend(payloads(&messages).iter().map(ToString::to_string));
        client.run(&format!("select pgque.ack({})", first.batch));
    }
}

#[test]
fn tables_take_turns_and_old_events_and_ticks_go() {
    let (_database, mut client) = queue();
    for expected in [1, 2, 0, 1] {
        client.run("select pgque.send('q', 'x')");
        client.tick("q");
        assert_eq!(drain(&mut client), ["x"]);
        assert!(rotate(&mut client));
        drain(&mut client);
        assert_eq!(current(&mut client), expected);
        assert_eq!(client.get::<i64>("select last_value % 3 from pgque.event_1_table_seq"), i64::from(expected));
    }
    assert!(client.get::<i64>("select count(*) from pgque.event_1") <= 2);
    assert!(client.get::<i64>("select count(*) from pgque.tick") <= 6);
}

#[test]
fn a_slow_consumer_holds_the_table_it_needs() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', 'needed')");
    client.tick("q");
    assert!(rotate(&mut client));
    assert!(!rotate(&mut client));
    assert_eq!(drain(&mut client), ["needed"]);
    assert!(rotate(&mut client));
}

#[test]
fn a_members_open_window_holds_the_table_too() {
    let (_database, mut client) = queue();
    client
        .run("select pgque.unsubscribe('q', 'c'), pgque.subscribe_subconsumer('q', 'g', 'w'), pgque.send('q', 'held')");
    client.tick("q");
    assert!(rotate(&mut client));
    let held = client.messages("receive_coop('q', 'g', 'w')");
    assert!(client.messages("receive_coop('q', 'g', 'other')").is_empty());
    assert!(!rotate(&mut client));
    assert_eq!(client.messages("receive_coop('q', 'g', 'w')"), held);
    client.run(&format!("select pgque.ack({})", held[0].batch));
    client.run("select * from pgque.receive_coop('q', 'g', 'w')");
    assert!(rotate(&mut client));
}

#[test]
fn an_open_transaction_postpones_the_rotation() {
    let (database, mut client) = queue();
    let mut producer = database.client();
    producer.run("begin; select pgque.send('q', 'open')");
    assert!(rotate(&mut client));
    drain(&mut client);
    assert!(!rotate(&mut client), "its table would no longer be read");
    drain(&mut client);
    assert!(!rotate(&mut client));
    producer.run("commit");
    assert!(!rotate(&mut client), "committed, not delivered");
    assert_eq!(drain(&mut client), ["open"]);
    assert!(rotate(&mut client));
}

/// The producer's snapshot is older than one, two or three rotations; it inserts after them.
#[test]
fn a_repeatable_read_producer_across_rotations_loses_nothing() {
    for rotations in 1..=4 {
        let (database, mut client) = queue();
        let mut producer = database.client();
        producer.run("begin isolation level repeatable read; select 1 from pgque.queue");
        for _ in 0..rotations {
            assert!(rotate(&mut client));
            drain(&mut client);
        }
        producer.run("select pgque.send('q', 'old snapshot'), pgque.send_batch('q', array['batch'])");
        assert_eq!(
            producer.get::<String>("select pgque.current_event_table('q')"),
            format!("pgque.event_1_{}", current(&mut client))
        );
        producer.run("commit");
        client.tick("q");
        assert_eq!(drain(&mut client), ["old snapshot", "batch"], "{rotations} rotations");
    }
}

/// A row that got into a table other than the current one, whatever the way.
#[test]
fn truncation_keeps_away_from_an_undelivered_row() {
    let (_database, mut client) = queue();
    assert!(rotate(&mut client));
    drain(&mut client);
    client.run("insert into pgque.event_1_0 (ev_time, ev_data) values (now(), 'late row in the previous table')");
    assert!(!rotate(&mut client));
    assert_eq!(drain(&mut client), ["late row in the previous table"]);
    assert!(rotate(&mut client));
    drain(&mut client);
    client.run("insert into pgque.event_1_0 (ev_time, ev_data) values (now(), 'in the one to be truncated')");
    assert!(!rotate(&mut client));
}

#[test]
fn a_rolled_back_rotation_loses_nothing() {
    let (database, mut client) = queue();
    let mut producer = database.client();
    producer.run("begin isolation level repeatable read; select 1 from pgque.queue");
    elapse(&mut client);
    client.run("begin; select pgque.maint_rotate_tables_step1('q'); rollback");
    assert_eq!(current(&mut client), 0);
    client.run("select pgque.send('q', 'read committed')");
    producer.run("select pgque.send('q', 'repeatable read'); commit");
    client.tick("q");
    assert_eq!(drain(&mut client), ["read committed", "repeatable read"]);
    client.tick("q");
    drain(&mut client);
    assert!(rotate(&mut client));
    client.run("select pgque.send('q', 'after')");
    client.tick("q");
    assert_eq!(drain(&mut client), ["after"]);
}

#[test]
fn maint_alone_keeps_rotating() {
    let (_database, mut client) = queue();
    for expected in [1, 2, 0] {
        elapse(&mut client);
        client.run("select pgque.maint()");
        assert_eq!(current(&mut client), expected);
        client.run("select pgque.maint()");
        assert!(client.get::<bool>("select queue_switch_step2 is not null from pgque.queue"));
        client.tick("q");
        drain(&mut client);
    }
}

#[test]
fn step_two_does_not_complete_the_rotation_of_its_own_transaction() {
    let (_database, mut client) = queue();
    elapse(&mut client);
    client.run("begin; select pgque.maint_rotate_tables_step1('q'), pgque.maint_rotate_tables_step2(); commit");
    assert!(client.get::<bool>("select queue_switch_step2 is null from pgque.queue"));
    client.run("select pgque.maint_rotate_tables_step2()");
    assert!(client.get::<bool>("select queue_switch_step2 > queue_switch_step1 from pgque.queue"));
}

#[test]
fn a_queue_without_consumers_rotates_freely_and_keeps_its_newest_tick() {
    let (_database, mut client) = queue();
    client.run("select pgque.unsubscribe('q', 'c'), pgque.send('q', 'nobody wants it')");
    for _ in 0..4 {
        elapse(&mut client);
        client.run("select pgque.maint()");
    }
    assert_eq!(client.get::<i32>("select pgque.subscribe('q', 'c')"), 1);
}

#[test]
fn one_queue_that_cannot_be_maintained_does_not_stop_the_others() {
    let (_database, mut client) = queue();
    client.run("select pgque.create_queue('a')");
    client.run("update pgque.queue set queue_switch_step1 = 9000000000000000 where queue_name = 'a'");
    elapse(&mut client);
    client.run("update pgque.queue set queue_rotation_period = '1 s'");
    client.run("select pgque.maint()");
    assert_eq!(current(&mut client), 1);
}

#[test]
fn operations_are_listed_in_order() {
    let (_database, mut client) = queue();
    elapse(&mut client);
    client.run("update pgque.queue set queue_extra_maint = '{pgque.hook}'");
    assert_eq!(
        client.column::<String>(
            "select concat_ws(' ', func_name, func_arg) from pgque.maint_operations() where func_name <> 'vacuum'"
        ),
        ["pgque.maint_rotate_tables_step1 q", "pgque.maint_rotate_tables_step2", "pgque.hook q"]
    );
}
