//! The doctor: what it finds, and that its repairs mend it.

use std::time::Duration;

use pgque::runtime;

use crate::support::Database;

#[test]
fn a_new_installation_is_well_and_stays_as_it_is() {
    let database = Database::installed();
    let before = database.picture();
    assert_eq!(database.examine(), []);
    assert_eq!(database.picture(), before);
}

#[test]
fn every_repair_mends() {
    let database = Database::installed();
    let mut sql = database.sql();
    sql.run("select pgque.create_queue('q')");
    for damage in [
        "drop index pgque.rq_retry_idx",
        "alter table pgque.config drop column ticker_job_id",
        "alter table pgque.retry_queue drop constraint retry_queue_ev_queue_fkey",
        "create or replace function pgque.ack(i_batch_id bigint) returns int language sql as 'select 1'",
        "create or replace function pgque.send(queue_name text, payload text) returns bigint language plpgsql
           security definer set search_path = pg_catalog, pg_temp as 'begin return 1; end'",
        "alter function pgque.send(text, text) security invoker",
        "drop trigger queue_changed on pgque.queue",
        "drop function pgque.touch_subconsumer(text, text, text)",
        "drop function pgque.touch_subconsumer(text, text, text);
         create function pgque.touch_subconsumer(a text, b text, c text) returns text language sql as 'select a'",
        "create function pgque.send(queue_name text, payload xml) returns int language sql as 'select 1'",
        "grant select on pgque.retry_queue to public",
        "grant update (queue_name) on pgque.queue to pgque_reader",
        "grant execute on function pgque.uninstall() to pgque_admin",
        "create function public.evil() returns trigger language plpgsql as 'begin return new; end';
         create trigger evil before insert on pgque.tick for each row execute function public.evil()",
        "drop index pgque.event_1_2_txid_idx",
        "drop index pgque.event_1_2_txid_idx; create index event_1_2_txid_idx on pgque.event_1_2 (ev_txid)",
        "drop sequence pgque.event_1_table_seq",
        "grant insert on pgque.event_1_0 to pgque_admin",
    ] {
        sql.run(damage);
        let findings = database.examine();
        assert_eq!(findings.len(), 1, "{damage}: {findings:?}");
        for repair in findings[0].repair.split("; ") {
            match repair {
                "pgque install" => assert!(database.install(false).is_ok(), "{damage}"),
                statement => sql.run(statement),
            }
        }
        assert_eq!(database.examine(), [], "{damage}: {findings:?}");
    }
}

#[test]
fn functions_of_the_owner_s_own_are_left_alone() {
    let database = Database::installed();
    database.sql().run("create function pgque.my_hook(text) returns int language sql as 'select 1'");
    assert_eq!(database.examine(), []);
}

#[test]
fn what_keeps_the_engine_from_working_is_named() {
    let database = Database::installed();
    let mut sql = database.sql();
    sql.run("select pgque.create_queue('q'), pgque.subscribe('q', 'slow')");
    for event in 1..4 {
        sql.run(&format!("select pgque.send('q', 'event {event}')"));
        sql.tick();
        sql.run("update pgque.queue set queue_switch_time = now() - interval '3 hours'");
        sql.run("select pgque.maint()");
        sql.run("select pgque.maint()");
    }
    sql.run(
        "update pgque.tick set tick_time = tick_time - interval '3 hours';
         update pgque.subscription set sub_active = now() - interval '3 hours';
         update pgque.queue set queue_switch_time = now() - interval '3 hours';
         insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner)
         values (now() - interval '1 hour', 1, 1, now(), 1)",
    );
    let found = database.examine();
    let problem = |component: &str| {
        let finding = found.iter().find(|f| f.component == component);
        finding.map(|f| format!("{}: {}", f.object, f.problem)).unwrap_or_default()
    };
    assert!(problem("ticker").starts_with("q: no tick for 03:00"), "{found:?}");
    assert!(problem("ticker").ends_with("no ticker is running"), "{found:?}");
    assert!(problem("retries").contains("1 retries are overdue, the oldest for 01:00"), "{found:?}");
    assert!(problem("rotation").contains("held by consumer: consumer \"slow\" has not passed"), "{found:?}");
    assert!(problem("consumer").starts_with("q/slow: has stopped: 03:00"), "{found:?}");
}

#[test]
fn a_held_rotation_names_its_holder() {
    let database = Database::installed();
    let mut sql = database.sql();
    let info = "select concat_ws(' ', due, held_by, detail) from pgque.get_rotation_info()";
    sql.run("select pgque.create_queue('q')");
    assert_eq!(sql.get::<String>(info), "f");
    sql.run("update pgque.queue set queue_switch_time = now() - interval '3 hours'");
    assert_eq!(sql.get::<String>(info), "t");
    let mut other = database.sql();
    other.run("set application_name = 'pg_dump'; begin; select * from pgque.event_1_1");
    let held: String = sql.get(info);
    assert!(held.starts_with("t lock AccessShareLock on pgque.event_1_1, held by process"), "{held}");
    assert!(held.ends_with("(pg_dump, idle in transaction)"), "{held}");
    other.run("commit; begin; insert into pgque.event_1_2 (ev_time) values (now())");
    assert!(sql.get::<String>(info).starts_with("t transaction RowExclusiveLock on pgque.event_1_2"));
    other.run("rollback");
    sql.run("select pgque.maint()");
    assert!(sql.get::<String>(info).starts_with("f step2 "));
    sql.run("select pgque.maint()");
    assert_eq!(sql.get::<String>(info), "f");
    assert!(sql.get::<bool>(
        "select has_function_privilege('pgque_reader', 'pgque.get_rotation_info()', 'execute')
            and not has_function_privilege('pgque_writer', 'pgque.get_rotation_info()', 'execute')"
    ));
}

#[test]
fn a_role_without_rights_is_told_what_could_not_be_looked_at() {
    let database = Database::installed();
    let client = database.client();
    runtime::wait(client.connection().unwrap().execute_script("set role pgque_reader")).unwrap();
    let found = runtime::wait(pgque::examine(&client)).unwrap();
    assert!(found[0].problem.starts_with("could not be compared"), "{found:?}");
    assert!(runtime::wait(client.status()).is_err(), "status is the admin's");
}

#[test]
fn status_knows_the_ticker_of_the_library() {
    let database = Database::installed();
    let mut sql = database.sql();
    let status = "select string_agg(status, ' ' order by component)
                    from pgque.status() where component in ('ticker', 'maintenance')";
    assert_eq!(sql.get::<String>(status), "stopped stopped");
    let client = database.client();
    runtime::wait(
        client
            .connection()
            .unwrap()
            .execute("select pg_advisory_lock('pgque'::regnamespace::oid::integer, 1)::text", &[]),
    )
    .unwrap();
    assert_eq!(sql.get::<String>(status), "running running");
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(sql.get::<String>(status), "stopped stopped");
}

/// With the command: text or JSON, and an exit code for scripts.
#[test]
fn the_command_tells_by_its_exit_code() {
    let database = Database::installed();
    let doctor = |json: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgque"));
        let output = command.args(["doctor", "--dsn", &database.dsn()]).args(json).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(doctor(&[]), (Some(0), "nothing is wrong\n".to_owned()));
    assert_eq!(doctor(&["--json"]), (Some(0), "[]\n".to_owned()));
    database.sql().run("grant execute on function pgque.uninstall() to public");
    let (code, text) = doctor(&[]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("grants pgque.uninstall(): is `public execute`") && text.contains("\n    pgque install"));
    let (code, json) = doctor(&["--json"]);
    assert_eq!(
        (code, json.starts_with(r#"[{"component":"grants","object":"pgque.uninstall()""#)),
        (Some(1), true),
        "{json}"
    );
}
