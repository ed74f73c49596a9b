//! The ticker's loop, and scheduling with pg_cron: against a stand-in with its tables and functions.

use std::time::Duration;

use crate::support::{Ask, Database, error, timed};

/// Looks like pg_cron 1.6 to whoever calls it: an extension that owns the schema's functions.
const PG_CRON: &str = "
    set allow_system_table_mods = on;
    insert into pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
    values (99999, 'pg_cron', 10, 'pg_catalog'::regnamespace, false, '1.6');
    reset allow_system_table_mods;
    create schema cron;
    create table cron.job (
      jobid bigserial primary key, schedule text not null, command text not null, database text not null,
      username text not null default current_user, active boolean not null, jobname text,
      unique (jobname, username));
    create function cron.schedule_in_database(
      job_name text, schedule text, command text, database text, username text default null,
      active boolean default true) returns bigint language sql as
      $$ insert into cron.job (jobname, schedule, command, database, active) values ($1, $2, $3, $4, $6)
         returning jobid $$;
    create function cron.unschedule(job_id bigint) returns boolean language plpgsql as
      $$ begin
           delete from cron.job where jobid = $1;
           if not found then raise exception 'could not find valid entry for job %', $1; end if;
           return true;
         end $$;
    alter extension pg_cron add function cron.schedule_in_database(text, text, text, text, text, boolean);";

const JOBS: &str = "select jobname || ' | ' || schedule || ' | ' || command from cron.job order by jobname";
const CONFIG: &str =
    "select concat_ws(' ', coalesce(scheduler, 'none'), ticker_job_id, maint_job_id) from pgque.config";

#[test]
fn the_tick_period_divides_a_second() {
    let database = Database::new();
    let mut client = database.client();
    assert_eq!(client.get::<i32>("select tick_period_ms from pgque.config"), 100);
    assert_eq!(client.get::<i32>("select pgque.set_tick_period_ms(250)"), 250);
    for wrong in ["0", "1001", "NULL", "251", "750", "-1"] {
        assert_eq!(
            client.fails(&format!("select pgque.set_tick_period_ms({wrong})")),
            error(
                "22023",
                &format!("tick_period_ms must be an exact divisor of 1000 between 1 and 1000 (got {wrong})")
            )
        );
    }
    assert_eq!(client.get::<i32>("select tick_period_ms from pgque.config"), 250);
}

#[test]
fn the_loop_ticks_for_a_second_each_time_in_a_transaction_of_its_own() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q', '{\"ticker_max_lag\": \"1 ms\", \"ticker_idle_period\": \"1 ms\"}')");
    let mut admin = database.client_as("pgque_admin");
    let ticks = "select count(distinct tick_snapshot::text) from pgque.tick";
    for (period, least, most) in [(1000, 1, 1), (200, 2, 5)] {
        client.run(&format!("select pgque.set_tick_period_ms({period})"));
        let before: i64 = client.get(ticks);
        let (time, ()) = timed(|| admin.run("call pgque.ticker_loop()"));
        let count = client.get::<i64>(ticks) - before;
        assert!((least..=most).contains(&count), "{count} ticks at {period} ms");
        assert!(time < Duration::from_secs(3), "{time:?}");
    }
    admin.run("begin");
    assert_eq!(admin.fails("call pgque.ticker_loop()").0, "2D000", "not inside the caller's transaction");
}

#[test]
fn without_pg_cron_start_says_so_and_stop_clears() {
    let database = Database::new();
    let mut client = database.client();
    // A schema of that name is not the extension.
    client.run("create schema cron; create function cron.schedule_in_database(text, text, text, text, text default null, boolean default true) returns bigint language sql return 1");
    let mut admin = database.client_as("pgque_admin");
    let (code, message) = admin.fails("select pgque.start()");
    assert_eq!(code, "PQ005");
    assert!(message.starts_with("pg_cron extension is not installed. PgQue itself works without pg_cron"), "{message}");
    client.run("update pgque.config set scheduler = 'pg_cron', ticker_job_id = 1, maint_job_id = 2");
    admin.run("select pgque.stop(); select pgque.stop()");
    assert_eq!(client.get::<String>(CONFIG), "none");
}

#[test]
fn start_schedules_four_jobs_and_stop_removes_them() {
    let database = Database::new();
    let mut client = database.client();
    client.run(PG_CRON);
    client.run("insert into cron.job (schedule, command, database, active, jobname, username) values ('1 hour', 'select 1', 'other', true, 'pgque_maint', 'somebody')");
    let mut admin = database.client_as("pgque_admin");
    for _ in 0..2 {
        admin.run("select pgque.start()");
        let jobs = client.column::<String>(JOBS);
        let starts = [
            "pgque_maint | 1 hour | select 1",
            "pgque_maint | 30 seconds | SET statement_timeout = '25s'; SELECT pgque.maint()",
            "pgque_retry_events | 30 seconds | SET statement_timeout = '25s'; DO ",
            "pgque_rotate_step2 | 10 seconds | SELECT pgque.maint_rotate_tables_step2()",
            "pgque_ticker | 1 second | CALL pgque.ticker_loop()",
        ];
        assert_eq!(jobs.len(), starts.len(), "{jobs:?}");
        for start in starts {
            assert!(jobs.iter().any(|job| job.starts_with(start)), "{start} in {jobs:?}");
        }
        assert_eq!(
            client.get::<String>(CONFIG),
            client.get::<String>("select concat_ws(' ', 'pg_cron', (select jobid from cron.job where jobname = 'pgque_ticker'), (select jobid from cron.job where jobname = 'pgque_maint' and username <> 'somebody'))")
        );
    }
    assert_eq!(
        client.column::<String>(
            "select status from pgque.status() where component in ('scheduler', 'ticker', 'maintenance')"
        ),
        ["pg_cron", "scheduled", "scheduled"]
    );
    assert_eq!(client.get::<i64>("select count(*) from pgque.status() where component = 'pg_cron'"), 0);

    // Numbers that an admin wrote down are not believed.
    let other: i64 = client.get("select jobid from cron.job where username = 'somebody'");
    admin.run(&format!("update pgque.config set ticker_job_id = {other}"));
    admin.run("select pgque.stop(); select pgque.stop()");
    assert_eq!(client.column::<String>(JOBS), ["pgque_maint | 1 hour | select 1"]);
    assert_eq!(client.get::<String>(CONFIG), "none");
}

/// As the scheduler runs it: several statements in one query.
#[test]
fn the_retry_job_moves_everything_that_is_due() {
    let database = Database::new();
    let mut client = database.client();
    client.run(PG_CRON);
    client.run("select pgque.start(); select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    client.run("insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner) select now(), 1, g, now(), 1 from generate_series(1, 25000) g");
    let command: String = client.get("select command from cron.job where jobname = 'pgque_retry_events'");
    client.run(&command);
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 0);
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 25000);
}

#[test]
fn jobs_of_pg_timetable_are_not_forgotten() {
    let database = Database::new();
    let mut client = database.client();
    client.run("update pgque.config set scheduler = 'pg_timetable', ticker_job_id = 1");
    // Planted by an admin, who may create functions in the schema.
    client.run("create function pgque.stop_timetable() returns void language sql as ''");
    for call in ["select pgque.stop()", "select pgque.uninstall()"] {
        let (code, message) = client.fails(call);
        assert_eq!(code, "PQ005");
        assert!(message.contains("timetable.delete_job"), "{message}");
    }
    assert_eq!(client.get::<String>(CONFIG), "pg_timetable 1");
}

#[test]
fn uninstall_removes_the_jobs_first() {
    let database = Database::new();
    let mut client = database.client();
    client.run(PG_CRON);
    client.run("select pgque.start(); select pgque.uninstall()");
    assert_eq!(client.column::<String>(JOBS), [] as [String; 0]);
    assert_eq!(client.get::<Option<String>>("select to_regnamespace('pgque')::text"), None);
}
