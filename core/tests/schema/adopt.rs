//! Taking over a schema of PgQue in place.

use pgque::{Installed, Kind};

use crate::support::{Database, FIXTURE, Sql};

/// A PgQue with: `open` in the middle of the batch of "one" and "two"; `behind` before "three", with a retry due and
/// one that is not; the group `g`, whose member `w` has "three" and whose member `idle` has nothing; "four", which
/// no tick covers.
fn filled() -> (Database, Sql) {
    let database = Database::empty();
    let mut sql = database.sql();
    sql.run(FIXTURE);
    // Each line a transaction of its own, as ticks and events are.
    for step in [
        "insert into pgque.tick (tick_queue, tick_id, tick_event_seq) values (1, nextval('pgque.event_1_tick_seq'), 1)",
        "insert into pgque.event_1_0 (ev_time, ev_type, ev_data) values (now(), 't', 'one')",
        "insert into pgque.event_1_1 (ev_time, ev_type, ev_data) values (now(), 't', 'two')",
        "insert into pgque.tick (tick_queue, tick_id, tick_event_seq) values (1, nextval('pgque.event_1_tick_seq'), 2)",
        "insert into pgque.event_1_1 (ev_time, ev_type, ev_data) values (now(), 't', 'three')",
        "insert into pgque.tick (tick_queue, tick_id, tick_event_seq) values (1, nextval('pgque.event_1_tick_seq'), 3)",
        "insert into pgque.event_1_1 (ev_time, ev_type, ev_data) values (now(), 't', 'four')",
        "insert into pgque.consumer (co_name) values ('open'), ('behind'), ('g'), ('g.w'), ('g.idle')",
        "insert into pgque.subscription
           (sub_id, sub_queue, sub_consumer, sub_last_tick, sub_batch, sub_next_tick, sub_role) values
           (1, 1, 1, 1, nextval('pgque.batch_id_seq'), 2, 'normal'),
           (2, 1, 2, 2, null, null, 'normal'),
           (3, 1, 3, 3, null, null, 'coop_main'),
           (3, 1, 4, 2, nextval('pgque.batch_id_seq'), 3, 'coop_member'),
           (3, 1, 5, null, null, null, 'coop_member')",
        "select setval('pgque.subscription_sub_id_seq', 3)",
        "insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data)
           values (now() - interval '1 s', 1, 1, now(), 2, 1, 't', 'one'),
                  (now() + interval '1 day', 1, 2, now(), 2, 3, 't', 'two')",
        "insert into pgque.dead_letter (dl_queue_id, dl_consumer_id, dl_reason, ev_id, ev_time, ev_type, ev_data)
           values (1, 1, 'poison', 1, now(), 't', 'dead')",
        "update pgque.config set tick_period_ms = 250, installed_at = '2020-02-02'",
        "update pgque.queue set queue_max_retries = 7, queue_rotation_period = '1 hour'",
    ] {
        sql.run(step);
    }
    (database, sql)
}

#[test]
fn everything_is_delivered_exactly_as_due() {
    let (database, mut sql) = filled();
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.2.2".to_owned())));

    let batch = "select string_agg(concat_ws(' ', batch_id, payload), ', ') from pgque.";
    assert_eq!(sql.get::<String>(&format!("{batch}receive('q', 'open')")), "1 one, 1 two");
    assert_eq!(sql.get::<String>(&format!("{batch}receive_coop('q', 'g', 'w')")), "2 three");
    assert_eq!(sql.get::<Option<String>>(&format!("{batch}receive_coop('q', 'g', 'idle')")), None);
    assert_eq!(sql.get::<i32>("select pgque.ack(1)"), 1);
    assert_eq!(sql.drain("open"), ["three"]);
    assert_eq!(sql.drain("behind"), ["three"]);

    assert_eq!(sql.get::<i32>("select pgque.maint_retry_events()"), 1);
    sql.run("select pgque.send(queue_name => 'q', payload => 'five')");
    sql.tick();
    assert_eq!(sql.drain("open"), ["four", "five"]);
    assert_eq!(sql.drain("behind"), ["one", "four", "five"]);
    assert_eq!(sql.get::<i32>("select pgque.ack(2)"), 1);
    assert_eq!(sql.column::<String>("select payload from pgque.receive_coop('q', 'g', 'idle')"), ["four", "five"]);
    assert!(sql.column::<String>("select payload from pgque.receive_coop('q', 'g', 'w')").is_empty());
    assert_eq!(sql.column::<String>("select dl_reason from pgque.dlq_inspect('q')"), ["poison"]);
    assert_eq!(sql.get::<i64>("select count(*) from pgque.retry_queue"), 1);
}

#[test]
fn data_and_configuration_stay() {
    let (database, mut sql) = filled();
    let data = "select string_agg(t, E'\\n' order by t) from (
        select concat_ws(' ', 's', sub_id, sub_consumer, sub_last_tick, sub_batch, sub_next_tick, sub_role) t
          from pgque.subscription
        union all select 't ' || t::text from pgque.tick t union all select 'e ' || e::text from pgque.event_1 e
        union all select 'r ' || r::text from pgque.retry_queue r union all select 'd ' || d::text from pgque.dead_letter d
        union all select 'c ' || c::text from pgque.consumer c union all select 'q ' || q::text from pgque.queue q
        union all select concat_ws(' ', 'o', tick_period_ms, installed_at) from pgque.config) everything";
    let before: String = sql.get(data);
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.2.2".to_owned())));
    assert_eq!(sql.get::<String>(data), before);
    assert_eq!(database.install(true), Ok(Installed::Again));
    assert_eq!(sql.get::<String>(data), before);
}

#[test]
fn nothing_is_left_for_the_doctor() {
    let (database, _sql) = filled();
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.2.2".to_owned())));
    assert_eq!(database.examine(), []);
}

#[test]
fn a_dry_run_prints_a_script_that_does_the_same() {
    let (database, mut sql) = filled();
    let before = database.picture();
    let steps = database.plan(true);
    assert_eq!(database.picture(), before);
    assert!(steps[0].sql.starts_with("drop routine ") && steps[0].sql.contains("pgque.send(text,jsonb)"), "{steps:?}");
    let script = steps.iter().map(|step| step.sql.as_str()).collect::<Vec<_>>().join("\n");
    sql.run(&format!("begin;\n{script}\ncommit;"));
    assert_eq!(database.install(false), Ok(Installed::Again));
    assert_eq!(database.examine(), []);
}

/// The columns that 0.2 added are missing, and the wrappers belong to somebody else.
#[test]
fn an_older_release_is_adopted_too() {
    let (database, mut sql) = filled();
    sql.run(
        "delete from pgque.subscription where sub_role <> 'normal';
         alter table pgque.queue drop column queue_max_retries, drop column queue_extra_maint;
         alter table pgque.config drop column scheduler, drop column tick_period_ms;
         alter table pgque.subscription drop column sub_role, alter column sub_last_tick set not null;
         create or replace function pgque.version() returns text language sql as $$ select '0.1.0'::text $$;
         alter function pgque.send(text, text) owner to pgque_admin",
    );
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.1.0".to_owned())));
    assert_eq!(database.examine(), []);
    assert_eq!(sql.get::<i32>("select tick_period_ms from pgque.config"), 100);
    sql.run("select pgque.send('q', 'five')");
    sql.tick();
    assert_eq!(sql.drain("behind"), ["three", "four", "five"]);
    assert_eq!(sql.get::<i32>("select pgque.subscribe_subconsumer('q', 'g', 'w')"), 1);
}

#[test]
fn grants_are_repaired() {
    let (database, mut sql) = filled();
    sql.run("grant pgque_reader to pgque_writer; grant execute on all functions in schema pgque to pgque_writer");
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.2.2".to_owned())));
    assert!(!sql.get::<bool>("select has_function_privilege('pgque_writer', 'pgque.ack(bigint)', 'execute')"));
    assert!(!sql.get::<bool>("select pg_has_role('pgque_writer', 'pgque_reader', 'usage')"));
    for table in ["event_1_0", "event_1", "retry_queue", "dead_letter"] {
        let public = format!("select has_table_privilege('pgque_writer', 'pgque.{table}', 'select')");
        assert!(!sql.get::<bool>(&public), "{table}");
    }
}

#[test]
fn an_unknown_release_is_refused_unchanged() {
    let (database, mut sql) = filled();
    sql.run("create or replace function pgque.version() returns text language sql as $$ select '0.3.0-devel'::text $$");
    let before = database.picture();
    assert_eq!(database.install(true).unwrap_err().0, Kind::Conflict);
    assert_eq!(database.picture(), before);
}

/// A rotation and a large turnover after the adoption, with a consumer left behind.
#[test]
fn the_adopted_queue_rotates_without_loss() {
    let (database, mut sql) = filled();
    assert_eq!(database.install(true), Ok(Installed::Adopted("0.2.2".to_owned())));
    let mut got = Vec::new();
    sql.run("delete from pgque.subscription where sub_consumer <> 1");
    for n in 0..6 {
        sql.run(&format!("select pgque.send('q', 'n{n}')"));
        sql.tick();
        sql.run("update pgque.queue set queue_switch_time = now() - interval '2 hours'");
        sql.run("select pgque.maint()");
        sql.run("select pgque.maint()");
        if n > 2 {
            got.extend(sql.drain("open"));
        }
    }
    assert_eq!(got, ["one", "two", "three", "four", "n0", "n1", "n2", "n3", "n4", "n5"]);
    assert!(sql.get::<bool>("select queue_cur_table <> 1 from pgque.queue"), "it did rotate");
}
