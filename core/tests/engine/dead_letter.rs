//! Dead letters: burial, inspection, replay, purge.

use crate::support::{Ask, Database, error, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    (database, client)
}

fn bury(client: &mut postgres::Client, payload: &str) -> i64 {
    client.run(&format!("select pgque.send('q', '{payload}')"));
    client.tick("q");
    let message = client.messages("receive('q', 'c')").remove(0);
    client.run(&format!("select pgque.finish({}, '{{{}}}', '{{}}', '{{t}}')", message.batch, message.id));
    client.get("select max(dl_id) from pgque.dead_letter")
}

#[test]
fn the_full_circle_ends_in_the_dead_letters_and_replay_begins_it_again() {
    let (_database, mut client) = queue();
    client.run("select pgque.set_queue_config('q', 'max_retries', '2'), pgque.send('q', 't', 'x')");
    for expected in [None, Some(1), Some(2)] {
        client.run("select pgque.maint_retry_events()");
        client.tick("q");
        let message = client.messages("receive('q', 'c')").remove(0);
        assert_eq!(message.retry, expected);
        for _ in 0..2 {
            let nack = format!(
                "select pgque.nack({}, row({},1,'','',0,now(),'','','','')::pgque.message, '0 s', 'because')",
                message.batch, message.id
            );
            assert_eq!(client.get::<i32>(&nack), 1);
        }
        client.run(&format!("select pgque.ack({})", message.batch));
    }
    assert_eq!(
        client.column::<String>("select concat_ws(' ', dl_id, ev_id, ev_retry, dl_reason, ev_type, ev_data, ev_txid is not null) from pgque.dlq_inspect('q')"),
        ["1 1 2 because t x t"]
    );
    let replayed: i64 = client.get("select pgque.dlq_replay(1)");
    assert_eq!(client.fails("select pgque.dlq_replay(1)"), error("PQ004", "dead letter entry not found: 1"));
    client.tick("q");
    let message = client.messages("receive('q', 'c')").remove(0);
    assert_eq!((message.id, message.retry, message.kind.as_deref()), (replayed, None, Some("t")));
}

#[test]
fn inspect_is_newest_first_and_limited() {
    let (_database, mut client) = queue();
    for payload in ["1", "2", "3"] {
        bury(&mut client, payload);
    }
    assert_eq!(client.column::<String>("select ev_data from pgque.dlq_inspect('q', 2)"), ["3", "2"]);
    assert_eq!(client.get::<i64>("select count(*) from pgque.dlq_inspect('q', null)"), 3);
    assert_eq!(client.get::<i64>("select count(*) from pgque.dlq_inspect('no')"), 0);
}

#[test]
fn replay_all_counts_successes_and_failures() {
    let (_database, mut client) = queue();
    bury(&mut client, "1");
    bury(&mut client, "2");
    client.run("update pgque.queue set queue_disable_insert = true");
    let all = "select concat_ws('|', replayed, failed, first_error) from pgque.dlq_replay_all('q')";
    assert_eq!(client.get::<String>(all), "0|2|dl_id=1: Insert into queue disallowed");
    client.run("update pgque.queue set queue_disable_insert = false");
    assert_eq!(client.get::<String>(all), "2|0");
    assert_eq!(client.get::<String>(all), "0|0");
    client.tick("q");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["1", "2"]);
}

#[test]
fn redelivery_reaches_only_the_consumer_that_failed() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe('q', 'other')");
    let dead = bury(&mut client, "1");
    let id: i64 = client.get("select ev_id from pgque.dead_letter");
    client.run("select pgque.ack(batch_id) from pgque.receive('q', 'other')");

    assert_eq!(client.get::<i64>(&format!("select pgque.dlq_redeliver({dead})")), id);
    let again = format!("select pgque.dlq_redeliver({dead})");
    assert_eq!(client.fails(&again), error("PQ004", &format!("dead letter entry not found: {dead}")));
    client.run("select pgque.maint_retry_events()");
    client.tick("q");
    assert!(client.messages("receive('q', 'other')").is_empty());
    let message = client.messages("receive('q', 'c')").remove(0);
    assert_eq!((message.id, message.retry, message.payload.as_deref()), (id, None, Some("1")));

    // It may die again.
    client.run(&format!("select pgque.finish({}, '{{{id}}}', '{{}}', '{{t}}')", message.batch));
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 1);
}

#[test]
fn redelivery_of_all_leaves_what_nobody_would_receive() {
    let (_database, mut client) = queue();
    client.run("select pgque.create_queue('kept'), pgque.subscribe('kept', 'c'), pgque.subscribe('q', 'd')");
    let dead = bury(&mut client, "1");
    client.run("update pgque.dead_letter set dl_consumer_id = (select co_id from pgque.consumer where co_name = 'd')");
    bury(&mut client, "2");
    let all = |to: &str| format!("select pgque.dlq_redeliver_all('q'{to})");
    assert_eq!(client.fails(&all(", 'nobody'")).0, "PQ002");
    assert_eq!(client.fails("select pgque.dlq_redeliver_all('no')"), error("PQ001", "queue not found: no"));
    assert_eq!(client.get::<i64>(&all(", 'c'")), 1);
    client.run("select pgque.subscribe('kept', 'd'), pgque.unsubscribe('q', 'd')");
    assert_eq!(client.get::<i64>(&all("")), 0);
    assert_eq!(
        client.fails(&format!("select pgque.dlq_redeliver({dead})")),
        error("PQ002", "Not subscriber to queue: q/d")
    );
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 1);
}

#[test]
fn redelivery_to_a_group_goes_to_any_of_its_members() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe_subconsumer('q', 'g', 'a'), pgque.send('q', '1')");
    client.tick("q");
    let message = client.messages("receive_coop('q', 'g', 'a')").remove(0);
    client.run(&format!("select pgque.finish({}, '{{{}}}', '{{}}', '{{t}}')", message.batch, message.id));
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'b'), pgque.unsubscribe_subconsumer('q', 'g', 'a')");
    assert_eq!(client.get::<i64>("select pgque.dlq_redeliver_all('q', 'g')"), 1);
    client.run("select pgque.maint_retry_events()");
    client.tick("q");
    assert_eq!(client.messages("receive_coop('q', 'g', 'b')")[0].id, message.id);
}

#[test]
fn purge_goes_by_age() {
    let (_database, mut client) = queue();
    bury(&mut client, "1");
    bury(&mut client, "2");
    assert_eq!(client.get::<i32>("select pgque.dlq_purge('q')"), 0);
    assert_eq!(client.get::<i32>("select pgque.dlq_purge('q', '1 day')"), 0);
    assert_eq!(client.get::<i32>("select pgque.dlq_purge('no', '0 s')"), 0);
    assert_eq!(client.get::<i32>("select pgque.dlq_purge('q', '0 s')"), 2);
    assert_eq!(client.get::<i32>("select pgque.dlq_purge('q', '0 s')"), 0);
}

#[test]
fn dead_letters_go_with_the_queue_or_the_last_subscription() {
    let (_database, mut client) = queue();
    bury(&mut client, "1");
    client.run("select pgque.unsubscribe('q', 'c')");
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 0);
    client.run("select pgque.subscribe('q', 'c')");
    bury(&mut client, "2");
    client.run("select pgque.drop_queue('q', true)");
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 0);
}

#[test]
fn event_dead_writes_what_it_is_given_once() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    let call = format!("select pgque.event_dead({batch}, 1, 'r', now(), '7'::xid8, 3, 't', 'd')");
    assert_eq!(client.get::<i32>(&call), 1);
    assert_eq!(client.get::<i32>(&call), 1);
    assert_eq!(client.column::<String>("select ev_txid || ' ' || ev_data from pgque.dead_letter"), ["7 d"]);
    let unknown = call.replace(&format!("({batch},"), "(99,");
    assert_eq!(client.fails(&unknown), error("PQ003", "batch not found: 99"));
}
