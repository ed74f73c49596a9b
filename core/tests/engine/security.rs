//! Who may do what: catalogue scans, and real sessions of each role.

use crate::support::{Ask, Database, installer, payloads};

#[test]
fn nothing_is_executable_by_the_public() {
    let database = Database::new();
    let mut client = database.client();
    client.run("do $$ begin create role pgque_test_nobody; exception when duplicate_object then null; end $$");
    client.run("select pgque.create_queue('q')");
    assert_eq!(
        client.column::<String>("select oid::regprocedure::text from pg_proc where pronamespace = 'pgque'::regnamespace and has_function_privilege('pgque_test_nobody', oid, 'execute')"),
        [] as [String; 0]
    );
    assert_eq!(
        client.column::<String>("select relname::text from pg_class where relnamespace = 'pgque'::regnamespace and relkind in ('r', 'S') and has_table_privilege('pgque_test_nobody', oid, 'select') order by 1"),
        ["consumer", "coop_window", "event_1_id_seq", "event_1_table_seq", "event_1_tick_seq", "event_template", "queue", "subscription", "tick"]
    );
}

#[test]
fn definer_functions_pin_a_search_path_without_writable_schemas() {
    let database = Database::new();
    let mut client = database.client();
    assert_eq!(
        client.column::<String>("select oid::regprocedure::text from pg_proc where pronamespace = 'pgque'::regnamespace and prosecdef and proconfig is distinct from array['search_path=pg_catalog, pg_temp']"),
        [] as [String; 0]
    );
    assert_eq!(
        client.column::<String>("select oid::regprocedure::text from pg_proc where pronamespace = 'pgque'::regnamespace and proname !~ '^_' and not prosecdef and proname not in ('get_batch_cursor', 'ticker_loop', 'jsontriga', 'logutriga', 'sqltriga', 'quote_fqname')"),
        [] as [String; 0],
        "the contract runs these six as their caller, and no other"
    );
}

#[test]
fn each_role_has_its_functions_and_not_the_others() {
    let database = Database::new();
    let mut client = database.client();
    let mut may = |role: &str, name: &str| {
        client.get::<bool>(&format!("select bool_and(has_function_privilege('{role}', oid, 'execute')) from pg_proc where pronamespace = 'pgque'::regnamespace and proname = '{name}'"))
    };
    for name in [
        "ack",
        "nack",
        "finish",
        "receive",
        "finish_batch",
        "next_batch",
        "next_batch_info",
        "next_batch_custom",
        "get_batch_events",
        "register_consumer",
        "register_consumer_at",
        "unregister_consumer",
        "event_retry",
        "subscribe",
        "unsubscribe",
        "receive_coop",
        "touch_subconsumer",
        "dlq_inspect",
    ] {
        assert!(may("pgque_reader", name) && may("pgque_admin", name) && !may("pgque_writer", name), "{name}");
    }
    for name in ["send", "send_batch", "dlq_replay", "dlq_replay_all", "dlq_redeliver", "insert_event"] {
        assert!(may("pgque_writer", name) && may("pgque_admin", name) && !may("pgque_reader", name), "{name}");
    }
    for name in [
        "create_queue",
        "drop_queue",
        "set_queue_config",
        "ticker",
        "ticker_pending",
        "force_tick",
        "maint",
        "maint_retry_events",
        "event_dead",
        "batch_retry",
        "dlq_purge",
        "status",
    ] {
        assert!(may("pgque_admin", name) && !may("pgque_reader", name) && !may("pgque_writer", name), "{name}");
    }
    for name in ["version", "schema_version"] {
        assert!(may("pgque_admin", name) && may("pgque_reader", name) && may("pgque_writer", name), "{name}");
    }
    for name in ["uninstall", "insert_event_bulk", "_store", "_tick", "_route_events"] {
        assert!(!may("pgque_admin", name) && !may("pgque_reader", name) && !may("pgque_writer", name), "{name}");
    }
}

#[test]
fn the_three_roles_work_together() {
    let database = Database::new();
    let mut admin = database.client_as("pgque_admin");
    let mut reader = database.client_as("pgque_reader");
    let mut writer = database.client_as("pgque_writer");
    admin.run("select pgque.create_queue('q')");
    assert_eq!(reader.get::<i32>("select pgque.subscribe('q', 'c')"), 1);
    writer.run("select pgque.send('q', '1'), pgque.send('q', 't', '2'::jsonb), pgque.send_batch('q', array['3', '4']), pgque.send_batch('q', 't', array['5', '6', '7']::jsonb[])");
    admin.tick("q");
    let messages = reader.messages("receive('q', 'c')");
    assert_eq!(payloads(&messages), ["1", "2", "3", "4", "5", "6", "7"]);
    let batch = messages[0].batch;
    assert_eq!(reader.get::<i64>(&format!("select count(*) from pgque.get_batch_events({batch})")), 7);
    assert!(reader.get::<Option<i64>>("select ev_new from pgque.get_queue_info('q')").is_some());
    assert!(reader.get::<Option<i64>>("select ev_new from pgque.get_queue_info()").is_some());
    assert_eq!(reader.get::<i32>(&format!("select pgque.finish({batch}, '{{1}}', '{{0 s}}')")), 1);
    assert_eq!(reader.get::<i64>("select count(*) from pgque.retry_queue"), 1);
    assert_eq!(admin.get::<i32>("select pgque.maint_retry_events()"), 1);
    admin.run("select pgque.maint()");
    for (role, call) in [
        ("writer", "select * from pgque.receive('q', 'c')"),
        ("writer", "select pgque.ack(1)"),
        ("writer", "select pgque.insert_event_bulk('q', 't', array['x'])"),
        ("reader", "select pgque.send('q', 'x')"),
        ("reader", "select pgque.ticker()"),
        ("reader", "insert into pgque.event_1_0 (ev_time) values (now())"),
        ("writer", "select * from pgque.event_1"),
        ("writer", "select * from pgque.retry_queue"),
        ("admin", "select pgque.uninstall()"),
        ("admin", "select pgque.insert_event_bulk('q', 't', array['x'])"),
    ] {
        let client = match role {
            "admin" => &mut admin,
            "reader" => &mut reader,
            _ => &mut writer,
        };
        assert_eq!(client.fails(call).0, "42501", "{call}");
    }
}

/// A name that a later release brings: the installer's replacement would keep the admin as its owner.
#[test]
fn a_planted_function_stops_the_installer() {
    let database = Database::new();
    let mut owner = database.client();
    owner.run("drop function pgque._lock_key(text, bigint, bigint, bigint)");
    let mut admin = database.client_as("pgque_admin");
    admin.run("create function pgque._lock_key(i_what text, i_a bigint, i_b bigint, i_c bigint) returns bigint language sql stable return 1");
    let error = owner.batch_execute(installer()).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("PQ009"), "{error:?}");
    owner.run("rollback");
    admin.run("drop function pgque._lock_key(text, bigint, bigint, bigint)");
    admin.run("create function pgque.mine() returns integer language sql return 1");
    owner.run(installer());
}

/// Ways in which an admin, who may create objects in the schema, could make the owner run its code.
#[test]
fn an_admin_cannot_become_the_owner() {
    let database = Database::new();
    let mut admin = database.client_as("pgque_admin");
    admin.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    admin.run("create table pgque.seen (who text)");
    admin.run("create function pgque.spy() returns trigger language plpgsql as $$ begin insert into pgque.seen values (current_user); return new; end $$");
    for table in ["queue", "subscription", "tick", "retry_queue", "dead_letter", "event_1_0", "config"] {
        let create = format!(
            "create trigger spy before insert or update on pgque.{table} for each row execute function pgque.spy()"
        );
        assert_eq!(admin.fails(&create).0, "42501", "{table}");
    }
    // Shadowing what the functions call.
    admin.run("create function pgque.now() returns timestamptz language plpgsql as $$ begin insert into pgque.seen values (current_user); return clock_timestamp(); end $$");
    admin.run("create function pgque.minus(interval, integer) returns interval language sql return $1; create operator pgque./ (leftarg = interval, rightarg = integer, function = pgque.minus)");
    // Pointing the owner at tables of one's own.
    admin.run("create table pgque.event_77_0 (like pgque.event_template)");
    admin.run("create trigger spy before insert on pgque.event_77_0 for each row execute function pgque.spy()");
    for change in [
        "update pgque.queue set queue_id = 77",
        "update pgque.queue set queue_data_pfx = 'pgque.event_77'",
        "update pgque.queue set queue_cur_table = 7",
        "insert into pgque.queue (queue_id, queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq) values (77, 'z', '', '', '')",
    ] {
        assert_eq!(admin.fails(change).0, "42501", "{change}");
    }
    // A hook of one's own, and one that belongs to somebody else.
    admin.run("create function pgque.hook(text) returns integer language sql as $$ insert into pgque.seen values (current_user) returning 1 $$");
    admin.run("update pgque.queue set queue_extra_maint = '{pgque.hook,hook,pg_catalog.pg_read_file,no.such}'");
    admin.run("select pgque.send('q', 'x')");
    admin.tick("q");
    admin.run("select pgque.ack((select batch_id from pgque.receive('q', 'c'))), pgque.maint()");
    assert_eq!(admin.column::<String>("select who from pgque.seen"), [] as [String; 0]);

    let mut owner = database.client();
    owner.run("alter function pgque.hook(text) owner to current_user; grant insert on pgque.seen to public");
    assert_eq!(admin.get::<i32>("select pgque.maint()"), 2, "its own function, listed under two names");
}
