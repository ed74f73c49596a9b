//! What the monitoring functions tell.

use crate::support::{Ask, Database};

#[test]
fn queue_consumer_and_batch_are_described() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.create_queue('a'), pgque.subscribe('q', 'c'), pgque.subscribe_subconsumer('q', 'g', 'w')");
    assert_eq!(
        client.get::<String>("select concat_ws(' ', queue_name, ev_new, last_tick_id, ticker_lag is not null, ev_per_sec) from pgque.get_queue_info('q')"),
        "q 0 1 t"
    );
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    assert_eq!(client.get::<i64>("select ev_new from pgque.get_queue_info('q')"), 3);
    client.run("select pgque.ticker_pending()");
    assert_eq!(client.column::<String>("select queue_name from pgque.get_queue_info()"), ["a", "q"]);
    assert_eq!(client.get::<i64>("select count(*) from pgque.get_queue_info('no')"), 0);
    assert!(client.get::<f64>("select ev_per_sec from pgque.get_queue_info('q')") > 0.0);

    let batch = client.messages("receive('q', 'c')")[0].batch;
    assert_eq!(
        client.column::<String>("select concat_ws(' ', queue_name, consumer_name, last_tick, next_tick, pending_events, lag is null) from pgque.get_consumer_info()"),
        ["q c 1 2 3 f", "q g 1 3 f", "q g.w t"]
    );
    assert_eq!(client.get::<i64>("select current_batch from pgque.get_consumer_info('q', 'c')"), batch);
    assert_eq!(client.get::<i64>("select count(*) from pgque.get_consumer_info('a')"), 0);
    assert_eq!(
        client.get::<String>(&format!("select concat_ws(' ', queue_name, consumer_name, prev_tick_id, tick_id, seq_end - seq_start, lag is null) from pgque.get_batch_info({batch})")),
        "q c 1 2 3 f"
    );
    assert_eq!(client.get::<i64>("select count(*) from pgque.get_batch_info(99) where queue_name is null"), 1);
}

#[test]
fn status_has_a_row_per_component() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    assert_eq!(
        client.column::<String>("select component from pgque.status()"),
        ["postgresql", "pgque", "scheduler", "ticker", "maintenance", "pg_cron", "pg_timetable", "queues", "consumers"]
    );
    assert_eq!(
        client.column::<String>("select status || ': ' || detail from pgque.status() where component in ('pgque', 'scheduler', 'ticker', 'queues')"),
        [
            concat!("info: ", env!("CARGO_PKG_VERSION")),
            "manual: ticker_job_id=NULL, maint_job_id=NULL, tick_period_ms=100 (10.00 ticks/sec)",
            "stopped: not scheduled (tick_period_ms=100)",
            "info: 1 queues configured"
        ]
    );
    assert!(client.get::<bool>(
        "select detail like '%pgque.ticker()%pgque.maint()%' from pgque.status() where component = 'pg_cron'"
    ));
}
