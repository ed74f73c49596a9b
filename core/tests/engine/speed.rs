//! What must not become slow: plans and work done, not times.

use crate::support::{Ask, Database};

/// Pages that one call of a function touched.
fn pages_touched(client: &mut postgres::Client, call: &str) -> i64 {
    let plan = client.column::<String>(&format!("explain (analyze, buffers) select * from pgque.{call}"));
    let buffers = plan.iter().find(|line| line.contains("Buffers: shared")).unwrap();
    buffers
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("hit=").or_else(|| word.strip_prefix("read=")))
        .map(|count| count.parse::<i64>().unwrap())
        .sum()
}

#[test]
fn receive_and_ack_do_not_decay_while_an_old_snapshot_is_held() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select count(*) from pgque.subscription");
    client.run(
        "do $$ begin
           for i in 1 .. 700 loop
             perform pgque.send('q', 'm'::text); commit;
             perform pgque.ticker_pending(); commit;
             perform pgque.ack((select batch_id from pgque.receive('q', 'c'))); commit;
           end loop;
         end $$",
    );
    client.run("select pgque.send('q', 'm'::text)");
    client.run("select pgque.ticker_pending()");
    assert!(client.get::<i64>("select pg_relation_size('pgque.subscription') / 8192") > 10);
    let batch = client.messages("receive('q', 'c')")[0].batch;
    let touched = pages_touched(&mut client, "receive('q', 'c')");
    assert!(touched < 60, "{touched}");
    let touched = pages_touched(&mut client, &format!("ack({batch})"));
    assert!(touched < 60, "{touched}");
}

#[test]
fn a_consumer_has_one_row_however_it_is_written() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    client.tick("q");
    let mut old = database.client();
    client.run("select pgque.unsubscribe('q', 'c')");
    old.run("begin isolation level repeatable read; select count(*) from pgque.subscription");
    client.run("select pgque.subscribe('q', 'c')");
    client.tick("q");
    client.messages("receive('q', 'c')");
    client.run("insert into pgque.subscription (sub_queue, sub_consumer, sub_last_tick) select sub_queue, sub_consumer, 1 from pgque.subscription");
    assert_eq!(client.get::<i64>("select count(*) from pgque.subscription"), 1);
    // An old snapshot does not see the row, and does not make a second one either.
    assert_eq!(old.fails("select pgque.subscribe('q', 'c')").0, "40001");
    client.run("delete from pgque.subscription");
    assert_eq!(client.get::<i32>("select pgque.subscribe('q', 'c')"), 1);
}
