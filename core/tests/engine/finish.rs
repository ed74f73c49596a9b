//! finish: verdicts and the end of the batch in one call.

use crate::support::{Ask, Database, error};

fn batch_of_three() -> (Database, postgres::Client, i64) {
    let database = Database::new();
    let mut client = database.client();
    client
        .run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.send_batch('q', array['1', '2', '3'])");
    client.tick("q");
    let batch = client.messages("receive('q', 'c')")[0].batch;
    (database, client, batch)
}

#[test]
fn messages_are_routed_and_the_batch_is_finished() {
    let (_database, mut client, batch) = batch_of_three();
    let call =
        format!("select pgque.finish({batch}, '{{1,2,3}}', '{{0.5 s,null,1 h}}', '{{f,null,t}}', '{{a,b,bad}}')");
    assert_eq!(client.get::<i32>(&call), 1);
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || ev_retry || ' ' || round(extract(epoch from ev_retry_after - now())) from pgque.retry_queue order by 1"),
        ["1 1 1", "2 1 60"]
    );
    assert_eq!(client.column::<String>("select ev_id || ' ' || dl_reason from pgque.dlq_inspect('q')"), ["3 bad"]);
    assert_eq!(client.get::<i32>(&call), 0);
    assert!(client.messages("receive('q', 'c')").is_empty());
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 2);
}

#[test]
fn without_verdicts_it_is_an_ack() {
    let (_database, mut client, batch) = batch_of_three();
    assert_eq!(client.get::<i32>(&format!("select pgque.finish({batch})")), 1);
    assert_eq!(client.get::<i32>(&format!("select pgque.finish({batch})")), 0);
    assert_eq!(client.get::<i32>("select pgque.finish(null)"), 0);
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 0);
}

#[test]
fn one_wrong_id_routes_nothing() {
    let (_database, mut client, batch) = batch_of_three();
    assert_eq!(
        client.fails(&format!("select pgque.finish({batch}, '{{1,99}}')")),
        error("PQ004", &format!("msg_id 99 not found in batch {batch}"))
    );
    assert_eq!(
        client.fails(&format!("select pgque.finish({batch}, '{{1,null}}')")),
        error("PQ004", &format!("msg_id <NULL> not found in batch {batch}"))
    );
    let (code, _) = client.fails(&format!("select pgque.finish({batch}, '{{1,2}}', '{{1 s}}')"));
    assert_eq!(code, "22023");
    let (code, _) = client.fails(&format!("select pgque.finish({batch}, '{{1,2}}', i_counted => '{{f}}')"));
    assert_eq!(code, "22023");
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 0);
    assert_eq!(client.messages("receive('q', 'c')").len(), 3);
}

#[test]
fn a_used_up_budget_buries_and_duplicates_count_once() {
    let (_database, mut client, batch) = batch_of_three();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0')");
    assert_eq!(client.get::<i32>(&format!("select pgque.finish({batch}, '{{2,2}}')")), 1);
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || dl_reason from pgque.dlq_inspect('q')"),
        ["2 max retries exceeded"]
    );
}

/// Of a consumer that stops in the middle of its batch: as often as it likes, at no cost to the message.
#[test]
fn what_is_handed_back_comes_again_at_once_as_it_was() {
    let (_database, mut client, mut batch) = batch_of_three();
    client.run("select pgque.set_queue_config('q', 'max_retries', '1')");
    let counted = format!("select pgque.finish({batch}, '{{1,2}}', '{{0 s,1 h}}', '{{}}', '{{}}', '{{t,f}}')");
    assert_eq!(client.get::<i32>(&counted), 1);
    for _ in 0..3 {
        assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 2);
        client.tick("q");
        let messages = client.messages("receive('q', 'c')");
        assert_eq!(messages.iter().map(|m| (m.id, m.retry)).collect::<Vec<_>>(), [(1, Some(1)), (2, None)]);
        batch = messages[0].batch;
        // Not even when it is called dead, or its budget is used up.
        client.run(&format!("select pgque.finish({batch}, '{{1,2}}', null, '{{f,t}}', null, '{{f,f}}')"));
    }
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 0);
}

#[test]
fn it_finishes_a_members_batch() {
    let (_database, mut client, _) = batch_of_three();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w'), pgque.send('q', '4')");
    client.tick("q");
    let message = client.messages("receive_coop('q', 'g', 'w')").remove(0);
    assert_eq!(
        client.get::<i32>(&format!("select pgque.finish({}, '{{{}}}', '{{0 s}}')", message.batch, message.id)),
        1
    );
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    client.tick("q");
    let again = client.messages("receive_coop('q', 'g', 'other')");
    assert_eq!((again[0].id, again[0].retry), (message.id, Some(1)));
}

#[test]
fn ten_thousand_verdicts_take_one_statement() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.send_batch('q', array_fill('x'::text, array[10000]))");
    client.tick("q");
    let batch = client.messages("receive('q', 'c', 10000)")[0].batch;
    let (time, _) = crate::support::timed(|| {
        client.run(&format!("select pgque.finish({batch}, array(select generate_series(1, 10000)), array_fill('0 s'::interval, array[10000]))"));
    });
    assert!(time.as_secs() < 10, "{time:?}");
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 10_000);
}

#[test]
fn what_is_handed_back_is_charged_no_attempt() {
    let (_database, mut client, batch) = batch_of_three();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0')");
    client.run(&format!("select pgque.finish({batch}, '{{1,2}}', '{{0 s,0 s}}', '{{}}', '{{}}', '{{f,t}}')"));
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || coalesce(ev_retry::text, 'null') from pgque.retry_queue"),
        ["1 null"],
        "past the budget only the counted one is dead"
    );
    assert_eq!(client.column::<i64>("select ev_id from pgque.dead_letter"), [2]);
    client.run("select pgque.maint_retry_events()");
    client.tick("q");
    let again = client.messages("receive('q', 'c')");
    assert_eq!(again.iter().map(|m| m.id).collect::<Vec<_>>(), [1]);
}
