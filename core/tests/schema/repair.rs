//! Ticks of another cluster: what a restore brings, planted by moving every stored transaction id ahead.

use crate::support::{Database, Sql};

const AHEAD: i64 = 5_000_000_000;

/// As after a restore: rows stay, ids are those of a cluster that has had many more transactions.
fn restore(sql: &mut Sql) {
    sql.run(&format!(
        "update pgque.event_1 set ev_txid = (ev_txid::text::bigint + {AHEAD})::text::xid8;
         update pgque.queue set queue_switch_step1 = queue_switch_step1 + {AHEAD},
                                queue_switch_step2 = queue_switch_step2 + {AHEAD};
         update pgque.tick set tick_snapshot = concat_ws(':',
           pg_snapshot_xmin(tick_snapshot)::text::bigint + {AHEAD},
           pg_snapshot_xmax(tick_snapshot)::text::bigint + {AHEAD},
           coalesce((select string_agg((x::text::bigint + {AHEAD})::text, ',' order by x::text::bigint)
                       from pg_snapshot_xip(tick_snapshot) x), ''))::pg_snapshot"
    ));
}

/// `fast` has had "one" and "two", `slow` only "one"; "three" is not ticked.
fn queue() -> (Database, Sql) {
    let database = Database::installed();
    let mut sql = database.sql();
    sql.run("select pgque.create_queue('q'), pgque.subscribe('q', 'fast'), pgque.subscribe('q', 'slow')");
    sql.run("select pgque.send('q', 'one')");
    sql.tick();
    assert_eq!((sql.drain("fast"), sql.drain("slow")), (vec!["one".to_owned()], vec!["one".to_owned()]));
    sql.run("select pgque.send('q', 'two')");
    sql.tick();
    assert_eq!(sql.drain("fast"), ["two"]);
    sql.run("select pgque.send('q', 'three')");
    (database, sql)
}

#[test]
fn after_a_restore_everything_undelivered_is_delivered_and_nothing_blocks() {
    let (database, mut sql) = queue();
    let held: i64 = sql.get("select batch_id from pgque.receive('q', 'slow')");
    restore(&mut sql);
    sql.run("select pgque.send('q', 'four')");
    assert_eq!(sql.get::<i64>("select pgque.ticker_pending()"), 0, "stuck");
    let found = database.examine();
    assert_eq!((found.len(), found[0].component.as_str()), (1, "ticks"), "{found:?}");

    sql.run(&found[0].repair);
    assert_eq!(sql.get::<i32>("select pgque.repair_ticks()"), 0, "nothing is left to repair");
    assert_eq!(sql.get::<i64>("select batch_id from pgque.receive('q', 'slow')"), held);
    sql.run("select pgque.send('q', 'five')");
    sql.tick();
    assert_eq!(sql.drain("fast"), ["three", "four", "five"]);
    assert_eq!(sql.drain("slow"), ["two", "three", "four", "five"]);
    for _ in 0..4 {
        sql.run("update pgque.queue set queue_switch_time = now() - interval '3 hours'");
        sql.run("select pgque.maint()");
        sql.run("select pgque.maint()");
        sql.tick();
        assert!(sql.drain("fast").is_empty() && sql.drain("slow").is_empty());
    }
    assert!(sql.get::<bool>("select queue_cur_table = 1 from pgque.queue"), "four rotations");
    assert_eq!(database.examine(), []);
}

#[test]
fn a_queue_with_nothing_wrong_is_left_alone() {
    let (database, mut sql) = queue();
    let rows = "select md5(string_agg(t::text, ' ' order by tick_id)) from pgque.tick t";
    let before: String = sql.get(rows);
    let mut producer = database.sql();
    producer.run("begin; select pgque.send('q', 'open')");
    assert_eq!(sql.get::<i32>("select pgque.repair_ticks('q')"), 0);
    sql.run("begin; select pgque.send('q', 'own'); select pgque.maint(); select pgque.repair_ticks(); commit");
    assert_eq!(sql.get::<String>(rows), before);
}

/// More ticks than the cluster has had transactions, other tests' included: those that nobody stands on are given up.
#[test]
fn a_young_cluster_merges_windows() {
    let (_database, mut sql) = queue();
    sql.run(&format!(
        "insert into pgque.tick (tick_queue, tick_id, tick_snapshot, tick_event_seq)
         select 1, 1000 + n, format('%s:%s:', x, x)::pg_snapshot, 4
           from (select n, pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1 as x
                   from generate_series(1, {count}) n) ids",
        count = "(select pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 50000)"
    ));
    restore(&mut sql);
    assert_eq!(sql.get::<i32>("select pgque.repair_ticks()"), 1);
    assert_eq!(sql.get::<i64>("select count(*) from pgque.tick"), 3);
    assert_eq!(sql.drain("slow"), ["two", "three"]);
    assert_eq!(sql.drain("fast"), ["three"]);
}
