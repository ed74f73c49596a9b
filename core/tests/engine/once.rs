//! Idempotent send.

use std::time::Duration;

use postgres::Client;

use crate::support::{Ask, Database, error, timed, until};

fn queue() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    (database, client)
}

fn send(client: &mut Client, arguments: &str) -> (Option<i64>, bool) {
    let row = client.query_one(&format!("select * from pgque.send_idem({arguments})"), &[]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn a_key_gets_in_once() {
    let (database, mut client) = queue();
    let mut writer = database.client_as("pgque_writer");
    let (first, deduped) = send(&mut writer, "'q', 't', '{\"b\":1}', 'key', '1 hour', 'part'");
    assert!(!deduped);
    assert_eq!(send(&mut writer, "'q', 'other', 'x', 'key'"), (first, true));
    let (second, deduped) = send(&mut writer, "'q', 't', '{\"b\":1}'::jsonb, 'key 2'");
    assert!(!deduped && second > first);
    assert_eq!(
        client.column::<String>(
            "select concat_ws('|', ev_id, ev_type, ev_data, ev_extra1, ev_extra2) from pgque.event_1 order by ev_id"
        ),
        [format!("{}|t|{{\"b\":1}}|part|key", first.unwrap()), format!("{}|t|{{\"b\": 1}}|key 2", second.unwrap())]
    );
    // The same key is another one on another queue, and nobody reads the table.
    client.run("select pgque.create_queue('r')");
    assert!(!send(&mut writer, "'r', 't', 'x', 'key'").1);
    for role in ["pgque_writer", "pgque_reader", "pgque_admin"] {
        let mut other = database.client_as(role);
        for statement in ["select * from pgque.idem", "delete from pgque.idem", "update pgque.idem set event_id = 1"] {
            assert_eq!(other.fails(statement).0, "42501", "{role}: {statement}");
        }
    }
    let mut reader = database.client_as("pgque_reader");
    assert_eq!(reader.fails("select pgque.send_idem('q', 't', 'x', 'k')").0, "42501");
    assert_eq!(writer.fails("select pgque.maint_idem()").0, "42501");
}

#[test]
fn wrong_arguments_are_refused() {
    let (_database, mut client) = queue();
    for (arguments, expected) in [
        ("'q', 't', 'x', null", error("22023", "idem_key must not be null")),
        ("'q', 't', 'x', 'k', null", error("22023", "ttl must be a positive interval")),
        ("'q', 't', 'x', 'k', '0 s'", error("22023", "ttl must be a positive interval")),
        ("'q', 't', 'x', 'k', '-1 s'", error("22023", "ttl must be a positive interval")),
        ("'no', 't', 'x', 'k'", error("PQ001", "queue not found: no")),
        ("null, 't', 'x', 'k'", error("PQ001", "queue not found: <NULL>")),
    ] {
        assert_eq!(client.fails(&format!("select pgque.send_idem({arguments})")), expected);
    }
}

/// Claim and event are one: what undoes the event frees the key.
#[test]
fn a_failed_or_rolled_back_send_frees_the_key() {
    let (_database, mut client) = queue();
    client.run("update pgque.queue set queue_disable_insert = true");
    assert_eq!(
        client.fails("select pgque.send_idem('q', 't', 'x', 'k')"),
        error("PQ005", "Insert into queue disallowed")
    );
    client.run("update pgque.queue set queue_disable_insert = false");
    client.run("begin; select pgque.send_idem('q', 't', 'x', 'k'); rollback");
    assert!(!send(&mut client, "'q', 't', 'x', 'k'").1);
    client.run("begin; savepoint s; select pgque.send_idem('q', 't', 'x', 'k2'); rollback to s");
    assert!(!send(&mut client, "'q', 't', 'x', 'k2'").1);
    assert!(send(&mut client, "'q', 't', 'x', 'k2'").1);
    client.run("commit");
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 2);
}

#[test]
fn of_two_producers_of_one_key_the_second_waits_for_the_first() {
    let (database, mut client) = queue();
    let mut second = database.client();
    for (end, deduped) in [("commit", true), ("rollback", false)] {
        client.run("begin");
        let held = send(&mut client, &format!("'q', 't', 'x', '{end}'"));
        let (time, outcome) = std::thread::scope(|scope| {
            let handle = scope.spawn(|| timed(|| send(&mut second, &format!("'q', 't', 'x', '{end}'"))));
            std::thread::sleep(Duration::from_millis(300));
            client.run(end);
            handle.join().unwrap()
        });
        assert!(time >= Duration::from_millis(250), "{time:?}");
        assert_eq!(outcome.1, deduped, "after {end}");
        assert_eq!(outcome.0 == held.0, deduped, "after {end}");
    }
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 2);
}

/// A transaction with a fixed snapshot cannot be told the id of an event it does not see.
#[test]
fn a_claim_newer_than_the_snapshot_is_a_serialisation_failure() {
    let (database, mut client) = queue();
    let mut second = database.client();
    second.run("begin isolation level repeatable read; select 1");
    let (first, _) = send(&mut client, "'q', 't', 'x', 'k'");
    assert_eq!(second.fails("select pgque.send_idem('q', 't', 'x', 'k')").0, "40001");
    second.run("rollback; begin isolation level repeatable read");
    assert_eq!(send(&mut second, "'q', 't', 'x', 'k'"), (first, true));
    second.run("commit");
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 1);
}

#[test]
fn many_producers_of_the_same_keys_insert_each_once() {
    let (database, mut client) = queue();
    let ids: Vec<Vec<Option<i64>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let mut client = database.client();
                scope.spawn(move || (0..50).map(|k| send(&mut client, &format!("'q', 't', 'x', 'k{k}'")).0).collect())
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|other| *other == ids[0]), "everybody was told the id of the one event");
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 50);
    assert_eq!(client.get::<i32>("select cardinality(queue_extra_maint) from pgque.queue"), 1, "registered once");
}

#[test]
fn an_expired_key_is_free_again_and_collected() {
    let (_database, mut client) = queue();
    client.run("update pgque.queue set queue_extra_maint = '{no.such}'");
    let (first, _) = send(&mut client, "'q', 't', 'x', 'k', '50 ms'");
    send(&mut client, "'q', 't', 'x', 'long'");
    assert_eq!(client.get::<Vec<String>>("select queue_extra_maint from pgque.queue"), ["no.such", "pgque.maint_idem"]);
    until("the claim has expired", || client.get("select expires_at <= now() from pgque.idem where idem_key = 'k'"));
    let (second, deduped) = send(&mut client, "'q', 't', 'x', 'k', '50 ms'");
    assert!(!deduped && second > first);
    until("the claim has expired", || client.get("select expires_at <= now() from pgque.idem where idem_key = 'k'"));
    assert_eq!(client.get::<i32>("select pgque.maint()"), 0);
    assert_eq!(client.column::<String>("select idem_key from pgque.idem"), ["long"]);

    client.run("insert into pgque.idem select 1, 'old ' || g, 1, now() from generate_series(1, 15000) g");
    for (call, full) in [("maint_idem('no')", 0), ("maint_idem('q')", 1), ("maint_idem()", 0)] {
        assert_eq!(client.get::<i32>(&format!("select pgque.{call}")), full, "{call}");
    }
    assert_eq!(client.get::<i64>("select count(*) from pgque.idem"), 1);
    client.run("insert into pgque.idem select 1, 'old ' || g, 1, now() from generate_series(1, 25000) g");
    client.run("select pgque.maint()");
    assert_eq!(client.get::<i64>("select count(*) from pgque.idem"), 1, "maint() goes on until none is left");
    client.run("select pgque.drop_queue('q')");
    assert_eq!(client.get::<i64>("select count(*) from pgque.idem"), 0);
}
