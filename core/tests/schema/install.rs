//! Installing, upgrading and uninstalling.

use pgque::{Installed, Kind, SCHEMA_VERSION, runtime};

use crate::support::{Database, FIXTURE};

fn uninstall(database: &Database) -> Result<(), Kind> {
    runtime::wait(pgque::uninstall(&database.client())).map_err(|e| e.kind())
}

#[test]
fn installing_again_changes_nothing() {
    let database = Database::installed();
    let before = database.picture();
    assert_eq!(database.install(false), Ok(Installed::Again));
    assert_eq!(database.install(true), Ok(Installed::Again));
    assert_eq!(database.picture(), before);
}

#[test]
fn a_dry_run_leaves_the_database_as_it_is_and_prints_what_would_run() {
    let database = Database::empty();
    let before = database.picture();
    let steps = database.plan(false);
    assert_eq!(database.picture(), before);
    let script = steps.iter().map(|step| step.sql.as_str()).collect::<Vec<_>>().join("\n");
    database.sql().run(&format!("begin;\n{script}\ncommit;"));
    assert_eq!(database.install(false), Ok(Installed::Again));
}

/// The printed script is one for psql, and the session's own search path is no trap.
#[test]
fn the_command_prints_its_script_and_adopts() {
    let database = Database::empty();
    database.sql().run(FIXTURE);
    let install = |options: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgque"));
        command.env("PGOPTIONS", "-c search_path=pgque,public");
        let output = command.args(["install", "--dsn", &database.dsn()]).args(options).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(install(&[]).0, Some(1));
    let (code, script) = install(&["--adopt", "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(script.starts_with("begin;\n\n-- functions whose signature changes\ndrop routine pgque."), "{script:.200}");
    assert!(script.ends_with("\ncommit;\n"));
    assert_eq!(
        install(&["--adopt"]),
        (Some(0), "installed: schema version 1, taken over from PgQue 0.2.2\n".to_owned())
    );
    assert_eq!(install(&[]).1, "installed: schema version 1\n");
}

#[test]
fn a_schema_that_is_not_ours_stays_untouched() {
    for theirs in [
        "create schema pgque",
        "create schema pgque; create table pgque.queue (queue_id int); create table pgque.config (schema_version text)",
        "create schema pgque; create view pgque.config as select 1 as schema_version",
        "create schema pgque; create function pgque.schema_version() returns int language sql as 'select 1'",
    ] {
        let database = Database::empty();
        database.sql().run(theirs);
        let before = database.picture();
        for adopt in [false, true] {
            assert_eq!(database.install(adopt).unwrap_err().0, Kind::Conflict, "{theirs}");
        }
        assert_eq!(uninstall(&database), Err(Kind::Conflict), "{theirs}");
        assert_eq!(database.picture(), before, "{theirs}");
    }
}

#[test]
fn a_newer_schema_is_refused_unchanged() {
    let database = Database::installed();
    database.sql().run("update pgque.config set schema_version = 1000");
    let before = database.picture();
    let (kind, message) = database.install(false).unwrap_err();
    assert_eq!(kind, Kind::Conflict);
    assert!(message.contains("version 1000, newer than"), "{message}");
    assert_eq!(database.picture(), before);
    assert_eq!(database.examine()[0].repair, "upgrade the library");
}

/// An older version, in which a function looked different and another one was built on it.
#[test]
fn an_older_schema_is_brought_up_to_date() {
    let database = Database::installed();
    let mut sql = database.sql();
    sql.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    sql.run("select pgque.send('q', 'kept')");
    sql.run(
        "drop function pgque.force_tick(text); drop function pgque.force_next_tick(text);
         create function pgque.force_next_tick(i_queue text) returns text language sql as 'select i_queue';
         create function pgque.force_tick(i_queue_name text) returns bigint language sql
           begin atomic select length(pgque.force_next_tick(i_queue_name)); end;
         create function pgque.my_hook(text) returns int language sql as 'select 1';
         alter table pgque.subscription drop column sub_group;
         update pgque.config set schema_version = 0",
    );
    assert_eq!(database.examine()[0].problem, format!("version 0, where this library has {SCHEMA_VERSION}"));
    let oid = "select 'pgque.receive(text, text, integer)'::regprocedure::oid";
    let before: u32 = sql.get(oid);
    assert_eq!(database.install(false), Ok(Installed::Upgraded(0)));
    assert_eq!(sql.get::<u32>(oid), before, "unchanged signatures keep their oid");
    assert_eq!(sql.get::<i32>("select schema_version from pgque.config"), SCHEMA_VERSION as i32);
    assert_eq!(sql.get::<i32>("select pgque.my_hook('')"), 1);
    sql.tick();
    assert_eq!(sql.drain("c"), ["kept"]);
    assert_eq!(database.examine(), []);
}

#[test]
fn a_failed_upgrade_leaves_everything_as_it_was() {
    let database = Database::installed();
    database.sql().run(
        "drop function pgque.touch_subconsumer(text, text, text);
         create function pgque.touch_subconsumer(a text, b text, c text) returns int language sql as 'select 1';
         create view public.theirs as select pgque.touch_subconsumer('', '', '');
         update pgque.config set schema_version = 0",
    );
    let before = database.picture();
    assert!(database.install(false).unwrap_err().1.contains("touch_subconsumer"));
    assert_eq!(database.picture(), before);
}

#[test]
fn uninstalling_leaves_the_roles_and_says_when_there_is_nothing() {
    let database = Database::installed();
    assert_eq!(uninstall(&database), Ok(()));
    assert_eq!(uninstall(&database), Err(Kind::NotInstalled));
    let mut sql = database.sql();
    assert!(sql.get::<bool>("select to_regnamespace('pgque') is null"));
    assert_eq!(sql.get::<i64>("select count(*) from pg_roles where rolname ~ '^pgque_(reader|writer|admin)$'"), 3);
}

#[test]
fn a_scheduler_that_cannot_be_stopped_keeps_the_schema() {
    let database = Database::installed();
    database
        .sql()
        .run("create or replace function pgque.stop() returns void language plpgsql as $$ begin raise 'no'; end $$");
    assert_eq!(uninstall(&database), Err(Kind::Server));
    assert!(database.sql().get::<bool>("select to_regnamespace('pgque') is not null"));
}

#[test]
fn pgque_itself_is_neither_replaced_nor_removed_unasked() {
    let database = Database::empty();
    database.sql().run(FIXTURE);
    let before = database.picture();
    let (kind, message) = database.install(false).unwrap_err();
    assert_eq!(kind, Kind::Conflict);
    assert!(message.contains("--adopt"), "{message}");
    assert_eq!(uninstall(&database), Err(Kind::Conflict));
    assert_eq!(database.picture(), before);
}
