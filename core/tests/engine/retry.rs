//! nack, the retry queue, and the mover.

use crate::support::{Ask, Database, error, payloads};

fn nack(batch: i64, id: &str, after: &str) -> String {
    format!(
        "select pgque.nack({batch}, row({id},null,'forged','forged',99,now(),'f','f','f','f')::pgque.message, {after}, 'why')"
    )
}

fn received(count: i32) -> (Database, postgres::Client, i64) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.subscribe('q', 'other')");
    client.run(&format!("select pgque.send('q', 't', i::text) from generate_series(1, {count}) i"));
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    (database, client, batch)
}

#[test]
fn a_nacked_message_returns_to_its_consumer_only_with_its_stored_values() {
    let (_database, mut client, batch) = received(3);
    assert_eq!(client.get::<i32>(&nack(batch, "2", "'0 s'")), 1);
    client.run(&format!("select pgque.ack({batch})"));
    client.tick("q");
    assert!(client.messages("receive('q', 'c')").is_empty());
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 0);
    client.tick("q");
    let again = client.messages("receive('q', 'c')");
    assert_eq!(payloads(&again), ["2"]);
    assert_eq!((again[0].id, again[0].retry, again[0].kind.as_deref()), (2, Some(1), Some("t")));
    let others = client.messages("receive('q', 'other')");
    assert_eq!(payloads(&others), ["1", "2", "3"]);
    client.run(&format!("select pgque.ack({})", others[0].batch));
    assert!(client.messages("receive('q', 'other')").is_empty());
}

#[test]
fn the_first_due_time_stays_and_seconds_are_rounded() {
    let (_database, mut client, batch) = received(3);
    client.run(&nack(batch, "1", "'0.5 s'"));
    client.run(&nack(batch, "1", "'1 h'"));
    client.run(&nack(batch, "2", "null"));
    client.run(&format!("select pgque.nack({batch}, row(3,1,'','',0,now(),'','','','')::pgque.message)"));
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || round(extract(epoch from ev_retry_after - now()) + 0.3) from pgque.retry_queue order by 1"),
        ["1 1", "2 60", "3 60"]
    );
}

#[test]
fn messages_that_are_not_in_the_batch_are_refused() {
    let (_database, mut client, batch) = received(1);
    let missing = |id: &str| error("PQ004", &format!("msg_id {id} not found in batch {batch}"));
    assert_eq!(client.fails(&nack(batch, "7", "'0 s'")), missing("7"));
    assert_eq!(client.fails(&nack(batch, "null", "'0 s'")), missing("<NULL>"));
    assert_eq!(client.fails(&format!("select pgque.nack({batch}, null)")), missing("<NULL>"));
    assert_eq!(client.fails(&nack(4711, "1", "'0 s'")), error("PQ003", "batch not found: 4711"));
    client.run(&format!("select pgque.ack({batch})"));
    assert_eq!(client.fails(&nack(batch, "1", "'0 s'")).0, "PQ003");
}

#[test]
fn a_disabled_queue_with_due_retries_does_not_stop_the_others() {
    let (_database, mut client, batch) = received(1);
    client.run(&nack(batch, "1", "'0 s'"));
    client.run("select pgque.create_queue('z'), pgque.subscribe('z', 'c'), pgque.send('z', 'x')");
    client.tick("z");
    let other = client.messages("receive('z', 'c')")[0].batch;
    client.run(&nack(other, "1", "'0 s'"));
    client.run("update pgque.queue set queue_disable_insert = true where queue_name = 'q'");
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    client.run("update pgque.queue set queue_disable_insert = false");
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
}

#[test]
fn moving_ticking_and_receiving_need_three_transactions() {
    let (_database, mut client, batch) = received(1);
    client.run(&nack(batch, "1", "'0 s'"));
    client.run(&format!("select pgque.ack({batch})"));
    client.run("begin; select pgque.maint_retry_events(), pgque.force_next_tick('q')");
    client.run("select pgque.ticker('q')");
    assert!(client.messages("receive('q', 'c')").is_empty());
    client.run("commit");
    client.tick("q");
    assert_eq!(client.messages("receive('q', 'c')")[0].retry, Some(1));
}
