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

/// Of a hundred pages that are left none is read, whatever transactions the batch is made of.
#[test]
fn a_page_costs_what_it_holds_and_not_what_its_batch_holds() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    let mut bulk = database.client();
    bulk.run("begin; select pgque.send_batch('q', 't', array_fill(repeat('x', 1000), array[10000]))");
    // Enough transactions for the open one to be taken by itself, and a tick that finds it open.
    client.run("do $$ begin for i in 1 .. 150 loop perform pgque.send('q', 'small'::text); commit; end loop; end $$");
    client.tick("q");
    bulk.run("commit");
    client
        .run("do $$ begin for i in 1 .. 150 loop perform pgque.send('q', repeat('y', 1000)); commit; end loop; end $$");
    client.run("select pgque.ack(batch_id) from pgque.receive('q', 'c', 200) limit 1");
    client.tick("q");

    // The first one of a session reads catalogues too.
    client.run("select pgque.receive_page('q', 'c', 'me', 100)");
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let touched = pages_touched(&mut client, "receive_page('q', 'c', 'me', 100)");
        assert!(touched < 300, "{touched}");
        sizes.push(client.get::<i32>("select cardinality(messages) from pgque.receive_page('q', 'c', 'me', 100)"));
        client.run("select pgque.ack_page(page_token, 'me') from pgque.receive_page('q', 'c', 'me')");
    }
    assert_eq!(sizes, [100, 100]);
    let mut left = 0;
    while let Some(page) =
        client.get::<Option<i32>>("select cardinality(messages) from pgque.receive_page('q', 'c', 'me', 3000)")
    {
        left += page;
        client.run("select pgque.ack_page(page_token, 'me') from pgque.receive_page('q', 'c', 'me')");
    }
    assert_eq!(left, 10_150 - 200);
}

#[test]
fn a_batch_that_is_too_large_is_refused_without_being_sorted() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.subscribe_subconsumer('q', 'g', 'm')");
    client.run("select pgque.send_batch('q', 't', array_fill(repeat('x', 1000), array[10000]))");
    client.tick("q");
    // A sort of the batch would need a temporary file, and fail with another error.
    client.run("set work_mem = '64kB'; set temp_file_limit = 0");
    assert_eq!(client.fails("select pgque.receive('q', 'c', 5000)").0, "54000");
    assert_eq!(client.fails("select pgque.receive_coop('q', 'g', 'm', 5000)").0, "54000");
}

#[test]
fn a_nack_does_not_read_the_rest_of_its_batch() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    client.run("select pgque.send_batch('q', 't', array_fill(repeat('x', 1000), array[10000]))");
    client.tick("q");
    let batch = client.messages("receive('q', 'c', 10000)")[0].batch;
    let nack =
        |id| format!("nack({batch}, row({id}, {batch}, 't', 'x', null, now(), null, null, null, null)::pgque.message)");
    client.run(&format!("select pgque.{}", nack(1)));
    let touched = pages_touched(&mut client, &nack(5000));
    assert!(touched < 200, "{touched}");
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

/// The ticker looks a hundred times a second; tables are large between two rotations, and without statistics at first.
#[test]
fn a_look_for_new_events_reads_no_whole_table() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    client.run("select pgque.send_batch('q', array_fill('x'::text, array[50000]))");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 1);
    client.run("begin");
    assert_eq!(client.get::<i64>("select pgque.ticker_pending()"), 0);
    let read = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_xact_user_tables where relname ~ '^event_'";
    assert_eq!(client.get::<i64>(read), 0);
}
