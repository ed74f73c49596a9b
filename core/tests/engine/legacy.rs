//! Functions kept for programs written against older releases.

use crate::support::{Ask, Database, error};

fn batch() -> (Database, postgres::Client, i64) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.register_consumer('q', 'c')");
    client.run("select pgque.send_batch('q', 'kind', array['1', '2', '3', '4', '5'])");
    client.tick("q");
    let batch = client.get("select pgque.next_batch('q', 'c')");
    (database, client, batch)
}

#[test]
fn a_cursor_reads_a_batch_in_pieces() {
    let (_database, mut client, batch) = batch();
    client.run("begin");
    let first =
        client.column::<String>(&format!("select ev_data from pgque.get_batch_cursor({batch}, 'My Cursor', 2)"));
    assert_eq!(first, ["1", "2"]);
    assert_eq!(
        client
            .query("fetch 2 from \"My Cursor\"", &[])
            .unwrap()
            .iter()
            .map(|row| row.get::<_, String>("ev_data"))
            .collect::<Vec<_>>(),
        ["3", "4"]
    );
    assert!(client.fails("fetch prior from \"My Cursor\"").0 == "55000");
    client.run("rollback; begin");
    assert_eq!(client.query(&format!("select * from pgque.get_batch_cursor({batch}, 'k', 0)"), &[]).unwrap().len(), 0);
    assert_eq!(client.query("fetch all from k", &[]).unwrap().len(), 5);
    client.run("rollback");
    let filtered =
        format!("select ev_id, ev_data from pgque.get_batch_cursor({batch}, 'k', 9, 'ev_data >= ''4'' -- end')");
    assert_eq!(
        client.query(&filtered, &[]).unwrap().iter().map(|row| row.get::<_, String>(1)).collect::<Vec<_>>(),
        ["4", "5"]
    );
    for nothing in [
        "null, 'k', 1",
        "1, null, 1",
        "1, 'k', null",
        "null, 'k', 1, 'true'",
        "1, null, 1, 'true'",
        "1, 'k', null, 'true'",
    ] {
        assert_eq!(client.query(&format!("select * from pgque.get_batch_cursor({nothing})"), &[]).unwrap().len(), 0);
    }
    assert_eq!(client.fails("select * from pgque.get_batch_cursor(99, 'k', 1)"), error("PQ003", "batch not found"));
}

/// The filter is SQL of the admin's: it runs with the admin's rights, in the call and in later fetches.
#[test]
fn a_cursor_is_for_admins_and_runs_with_their_rights() {
    let (database, mut client, batch) = batch();
    for role in ["pgque_reader", "pgque_writer"] {
        let mut other = database.client_as(role);
        for arguments in [format!("{batch}, 'k', 1"), format!("{batch}, 'k', 1, 'true'")] {
            assert_eq!(other.fails(&format!("select * from pgque.get_batch_cursor({arguments})")).0, "42501", "{role}");
        }
    }
    client.run("do $$ begin create role pgque_test_admin; exception when duplicate_object then null; end $$; grant pgque_admin to pgque_test_admin");
    client.run("create table public.secret (x integer)");
    let mut admin = database.client_as("pgque_test_admin");
    assert_eq!(admin.query(&format!("select * from pgque.get_batch_cursor({batch}, 'k', 9)"), &[]).unwrap().len(), 5);
    assert_eq!(
        admin
            .query(
                &format!(
                    "select * from pgque.get_batch_cursor({batch}, 'k', 9, 'current_user = ''pgque_test_admin''')"
                ),
                &[]
            )
            .unwrap()
            .len(),
        5
    );
    let spy =
        format!("select * from pgque.get_batch_cursor({batch}, 'k', 1, 'not exists (select from public.secret)')");
    assert_eq!(admin.fails(&spy).0, "42501");
}

#[test]
fn insert_event_raw_stores_what_it_is_given() {
    let (_database, mut client, _) = batch();
    let row = "'2020-01-01', 7, 3, 'kind', 'data', 'e1', 'e2', 'e3', 'e4'";
    assert_eq!(client.get::<i64>(&format!("select pgque.insert_event_raw('q', 1000000, {row})")), 1_000_000);
    let drawn: i64 = client.get(&format!("select pgque.insert_event_raw('q', null, {row})"));
    assert!(drawn < 1_000_000);
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.event_1 where ev_time = '2020-01-01' and (ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4) = (7, 3, 'kind', 'data', 'e1', 'e2', 'e3', 'e4')"),
        2
    );
    assert_eq!(
        client.fails(&format!("select pgque.insert_event_raw('no', null, {row})")),
        error("PQ001", "queue not found: no")
    );
    client.run("select pgque.insert_event('q', 't', 'd', '1', '2', '3', '4'), pgque.insert_event('q', 't', 'd')");
}

#[test]
fn insert_event_bulk_is_one_statement_for_all() {
    let (_database, mut client, _) = batch();
    assert_eq!(client.get::<Vec<i64>>("select pgque.insert_event_bulk('no', 't', '{}')"), [] as [i64; 0]);
    assert_eq!(client.get::<Vec<i64>>("select pgque.insert_event_bulk('q', 't', array['x'])").len(), 1);
    assert_eq!(client.get::<Vec<i64>>("select pgque.insert_event_bulk('q', 't', array['x', null])").len(), 2);
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1 where ev_data is null"), 1);
    client.run("update pgque.queue set queue_disable_insert = true");
    assert_eq!(
        client.fails("select pgque.insert_event_bulk('q', 't', array['x'])"),
        error("PQ005", "Insert into queue disallowed")
    );
    for (name, arguments) in [("send_batch", 3), ("insert_event_bulk", 3)] {
        let sources = client.column::<String>(&format!(
            "select lower(prosrc) from pg_proc where pronamespace = 'pgque'::regnamespace and proname = '{name}' and pronargs = {arguments}"
        ));
        for source in sources {
            assert!(!source.contains("foreach") && !source.contains("pgque.insert_event("), "{name}");
            assert!(name != "send_batch" || source.contains("pgque.insert_event_bulk("), "{name}");
        }
    }
}

#[test]
fn current_event_table_follows_rotation_and_refuses_disabled_queues() {
    let (_database, mut client, _) = batch();
    assert_eq!(client.get::<String>("select pgque.current_event_table('q')"), "pgque.event_1_0");
    assert_eq!(client.fails("select pgque.current_event_table('no')"), error("PQ001", "Event queue not found"));
    client.run("update pgque.queue set queue_disable_insert = true");
    assert_eq!(client.fails("select pgque.current_event_table('q')"), error("PQ005", "Writing to queue disabled"));
}

#[test]
fn storage_settings_can_be_restored() {
    let (database, mut client, _) = batch();
    let options =
        "select array_to_string(reloptions, ',') from pg_class where relname ~ '^event_1_[012]$' order by relname";
    let before = client.column::<String>(options);
    client.run("alter table pgque.event_1_0 reset (autovacuum_enabled)");
    let mut admin = database.client_as("pgque_admin");
    assert_eq!(admin.get::<i32>("select pgque.tune_storage('q')"), 1);
    assert_eq!(client.get::<i64>("select count(*) from pg_class where relname ~ '^event_1_[012]$' and reloptions @> array['fillfactor=100', 'autovacuum_enabled=false']"), 3);
    assert_eq!(client.column::<String>(options).len(), before.len());
    assert_eq!(admin.fails("select pgque.tune_storage('no')"), error("PQ001", "queue not found: no"));
    assert_eq!(admin.get::<Option<i32>>("select pgque.tune_storage(null)"), None);
    assert_eq!(admin.get::<i32>("select pgque.upgrade_schema()"), 0);
}

#[test]
fn counters_are_read_and_raised_but_never_lowered() {
    let (database, mut client, _) = batch();
    let mut admin = database.client_as("pgque_admin");
    let before: i64 = admin.get("select pgque.seq_getval('pgque.event_1_id_seq')");
    assert_eq!(admin.get::<i64>("select pgque.seq_setval('pgque.event_1_id_seq', 1)"), before);
    assert_eq!(admin.get::<i64>("select pgque.seq_setval('pgque.event_1_id_seq', 5000000)"), 5_000_000);
    assert_eq!(client.get::<i64>("select pgque.send('q', 'x')"), 5_000_001);
    assert!(admin.get::<i64>("select pgque.seq_getval('pgque.batch_id_seq')") > 0);
    // What names tables that the owner writes to, what is not the engine's, and what the admin made.
    client.run("create sequence public.other");
    admin.run("create sequence pgque.event_77_id_seq");
    for name in [
        "pgque.event_1_table_seq",
        "pgque.queue_queue_id_seq",
        "public.other",
        "other",
        "pgque.queue",
        "no.such",
        "pgque.event_77_id_seq",
    ] {
        for call in ["seq_getval('{}')", "seq_setval('{}', 99)"] {
            let call = call.replace("{}", name);
            assert_eq!(admin.fails(&format!("select pgque.{call}")).0, "22023", "{call}");
        }
    }
}
