//! send, send_batch and the insert functions.

use crate::support::{Ask, Database, error, payloads};

/// Sends in one session, ticks, and receives everything as consumer `c` of queue `q`.
fn deliver(client: &mut postgres::Client) -> Vec<crate::support::Message> {
    client.tick("q");
    let messages = client.messages("receive('q', 'c', 100000)");
    if let Some(first) = messages.first() {
        client.run(&format!("select pgque.ack({})", first.batch));
    }
    messages
}

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    (database, client)
}

#[test]
fn payload_text_arrives_byte_for_byte_and_jsonb_canonical() {
    let (_database, mut client) = queue();
    client.run(r#"select pgque.send('q', '{"b":1,  "a":"\\"}')"#);
    client.run(r#"select pgque.send('q', 'kind', '{"b":1,"a":2}'::jsonb)"#);
    client.run(r#"select pgque.send('q', '{"b":1,"a":2}'::jsonb)"#);
    client.run("select pgque.send('q', 'kind', 'not json'), pgque.send('q', null, null::text)");
    client.run("select pgque.send(queue_name => 'q', type_name => '', payload => 'x'::text)");
    let messages = deliver(&mut client);
    assert_eq!(
        payloads(&messages),
        [r#"{"b":1,  "a":"\\"}"#, r#"{"a": 2, "b": 1}"#, r#"{"a": 2, "b": 1}"#, "not json", "<null>", "x"]
    );
    let kinds: Vec<_> = messages.iter().map(|message| message.kind.as_deref()).collect();
    assert_eq!(kinds, [Some("default"), Some("kind"), Some("default"), Some("kind"), None, Some("")]);
    assert!(messages.iter().all(|message| message.retry.is_none()));
    assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn send_batch_keeps_positions_and_null_elements() {
    let (_database, mut client) = queue();
    let ids: Vec<i64> = client.get(
        "select pgque.send_batch('q', 'many', array(select 'payload ' || i || E'\\'\"\\\\' from generate_series(1, 1000) i))",
    );
    assert_eq!(ids.len(), 1000);
    let nulls: Vec<i64> = client.get("select pgque.send_batch('q', array['a', null, 'b'])");
    let json: Vec<i64> =
        client.get("select pgque.send_batch('q', 'j', array['null', null, '{\"b\":1,\"a\":2}']::jsonb[])");
    let flat: Vec<i64> = client.get("select pgque.send_batch('q', 'f', array[['1', '2'], ['3', '4']])");
    let messages = deliver(&mut client);
    let of = |id: i64| messages.iter().find(|message| message.id == id).unwrap();
    for (position, id) in ids.iter().enumerate() {
        assert_eq!(of(*id).payload.as_deref().unwrap(), format!("payload {}'\"\\", position + 1));
    }
    let texts = |ids: &[i64]| -> Vec<_> { ids.iter().map(|id| of(*id).payload.clone()).collect() };
    assert_eq!(texts(&nulls), [Some("a".into()), None, Some("b".into())]);
    assert_eq!(of(nulls[0]).kind.as_deref(), Some("default"));
    assert_eq!(texts(&json), [Some("null".into()), None, Some(r#"{"a": 2, "b": 1}"#.into())]);
    assert_eq!(texts(&flat).len(), 4);
}

#[test]
fn errors_name_the_queue_and_insert_nothing() {
    let (_database, mut client) = queue();
    assert_eq!(client.fails("select pgque.send('no', 'x')"), error("PQ001", "queue not found: no"));
    assert_eq!(client.fails("select pgque.send(null, 'x')"), error("PQ001", "queue not found: <NULL>"));
    assert_eq!(client.fails("select pgque.send_batch('no', 't', array['x'])"), error("PQ001", "queue not found: no"));
    assert_eq!(
        client.fails("select pgque.send_batch('q', 't', null::text[])"),
        error("22023", "payloads must not be null")
    );
    assert_eq!(client.get::<Vec<i64>>("select pgque.send_batch('no', 't', '{}'::text[])"), [] as [i64; 0]);
    client.run("update pgque.queue set queue_disable_insert = true");
    let refused = error("PQ005", "Insert into queue disallowed");
    assert_eq!(client.fails("select pgque.send('q', 'x')"), refused);
    assert_eq!(client.fails("select pgque.send_batch('q', array['x'])"), refused);
    assert_eq!(client.fails("select pgque.current_event_table('q')"), error("PQ005", "Writing to queue disabled"));
    client.run("set session_replication_role = replica");
    assert_eq!(client.get::<i64>("select pgque.send('q', 'x')"), 1);
}

#[test]
fn a_rolled_back_send_never_appears() {
    let (_database, mut client) = queue();
    client.run("begin; select pgque.send('q', 'gone'); rollback");
    client.run(
        "begin; savepoint s; select pgque.send('q', 'gone too'); rollback to s; select pgque.send('q', 'kept'); commit",
    );
    assert_eq!(payloads(&deliver(&mut client)), ["kept"]);
}

#[test]
fn insert_event_forms_store_what_they_are_given() {
    let (_database, mut client) = queue();
    client
        .run("select pgque.insert_event('q', 't', 'three'), pgque.insert_event('q', 't', 'seven', 'a', 'b', 'c', 'd')");
    assert_eq!(
        client.get::<i64>(
            "select pgque.insert_event_raw('q', 77, '2020-01-01', null, 3, 't', 'raw', null, null, null, null)"
        ),
        77
    );
    client
        .run("select pgque.insert_event_raw('q', null, now(), 4711, null, 't', 'for another', null, null, null, null)");
    let messages = deliver(&mut client);
    assert_eq!(payloads(&messages), ["three", "seven", "raw"]);
    assert_eq!(messages[2].retry, Some(3));
    assert_eq!(client.get::<String>("select pgque.current_event_table('q')"), "pgque.event_1_0");
}

/// Queues beyond the ones with static inserts take the dynamic branch.
#[test]
fn the_fortieth_queue_is_sent_to_like_the_first() {
    let (_database, mut client) = queue();
    client.run("select pgque.create_queue('q' || i) from generate_series(1, 40) i");
    for queue in ["q1", "q31", "q32", "q40"] {
        client.run(&format!("select pgque.subscribe('{queue}', 'c'), pgque.send('{queue}', '{queue}')"));
        client.tick(queue);
        let messages = client.messages(&format!("receive('{queue}', 'c')"));
        assert_eq!(payloads(&messages), [queue]);
        assert_eq!(messages[0].id, 1);
    }
}
