//! receive and ack: what a batch contains, when it comes, and that it comes again.

use crate::support::{Ask, Database, error, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    (database, client)
}

#[test]
fn an_unacked_batch_comes_again_and_an_acked_one_does_not() {
    let (_database, mut client) = queue();
    client.run("select pgque.send_batch('q', array['1', '2'])");
    client.tick("q");
    let first = client.messages("receive('q', 'c')");
    assert_eq!(payloads(&first), ["1", "2"]);
    client.run("select pgque.send('q', '3')");
    client.tick("q");
    assert_eq!(client.messages("receive('q', 'c', null)"), first);
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", first[0].batch)), 1);
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", first[0].batch)), 0);
    assert_eq!(client.get::<i32>("select pgque.ack(null)"), 0);
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["3"]);
}

#[test]
fn a_batch_larger_than_the_limit_is_an_overflow_and_stays_whole() {
    let (_database, mut client) = queue();
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    client.tick("q");
    let overflow = error("54000", "pgque.receive: batch exceeds max_return of 2");
    assert_eq!(client.fails("select * from pgque.receive('q', 'c', 2)"), overflow);
    assert_eq!(client.get::<Option<i64>>("select sub_batch from pgque.subscription"), None);
    assert_eq!(client.messages("receive('q', 'c', 3)").len(), 3);
    assert_eq!(client.fails("select * from pgque.receive('q', 'c', 2)"), overflow);
    assert!(client.get::<Option<i64>>("select sub_batch from pgque.subscription").is_some());
    assert_eq!(
        client.fails("select * from pgque.receive('q', 'c', 0)"),
        error("22023", "pgque.receive: max_return must be >= 1, got 0")
    );
}

#[test]
fn errors_tell_queue_from_consumer() {
    let (_database, mut client) = queue();
    assert_eq!(client.fails("select * from pgque.receive('no', 'c')"), error("PQ001", "queue not found: no"));
    assert_eq!(client.fails("select * from pgque.receive('q', 'no')"), error("PQ002", "Not subscriber to queue: q/no"));
    assert_eq!(
        client.fails("select * from pgque.receive('q', null)"),
        error("PQ002", "Not subscriber to queue: q/NULL")
    );
}

#[test]
fn empty_windows_are_passed_within_one_call() {
    let (_database, mut client) = queue();
    for _ in 0..20 {
        client.tick("q");
    }
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    client.tick("q");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["x"]);
    client.run("select pgque.ack((select sub_batch from pgque.subscription))");
    assert!(client.messages("receive('q', 'c')").is_empty());
    assert_eq!(
        client.get::<String>("select concat_ws(' ', sub_last_tick = (select max(tick_id) from pgque.tick), sub_batch, sub_next_tick) from pgque.subscription"),
        "t"
    );
}

#[test]
fn an_idle_receive_gets_no_transaction_id() {
    let (_database, mut client) = queue();
    client.run("begin");
    assert!(client.messages("receive('q', 'c')").is_empty());
    assert!(client.get::<bool>("select pg_current_xact_id_if_assigned() is null"));
    client.run("commit");
}

#[test]
fn ticks_are_not_merged_and_a_slow_consumer_sees_the_same_boundaries() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe('q', 'slow')");
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    client.tick("q");
    client.run("select pgque.send_batch('q', array['4', '5'])");
    client.tick("q");
    for consumer in ["c", "slow"] {
        for expected in [vec!["1", "2", "3"], vec!["4", "5"], vec![]] {
            let messages = client.messages(&format!("receive('q', '{consumer}')"));
            assert_eq!(payloads(&messages), expected, "{consumer}");
            if let Some(first) = messages.first() {
                client.run(&format!("select pgque.ack({})", first.batch));
            }
        }
    }
}

/// A snapshot never lists its own transaction as in progress. Transactions that end meanwhile must not
/// make the tick believe that what its own transaction sends later was there before.
#[test]
fn what_a_transaction_sends_after_its_own_tick_is_delivered() {
    let (database, mut client) = queue();
    let mut other = database.client();
    client.run("begin; select pgque.create_queue('new'), pg_current_xact_id()");
    other.run("select pg_current_xact_id()");
    client.run("select pgque.send('q', 'before'), pgque.send('new', 'before')");
    client.tick("q");
    client.run("select pgque.subscribe('new', 'c'), pgque.send('q', 'after'), pgque.send('new', 'after')");
    client.run("commit");
    client.tick("q");
    client.tick("new");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["before", "after"]);
    assert_eq!(payloads(&client.messages("receive('new', 'c')")), ["before", "after"]);
}

#[test]
fn nothing_is_delivered_before_the_tick_that_follows_the_commit() {
    let (_database, mut client) = queue();
    client.run("begin; select pgque.send('q', 'x'), pgque.force_next_tick('q')");
    client.run("select pgque.ticker('q')");
    assert!(client.messages("receive('q', 'c')").is_empty());
    client.run("commit");
    client.tick("q");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["x"]);
}

/// Transactions that were open at one tick and committed before a later one, near and far below the
/// range of new transaction ids, belong to exactly one batch.
#[test]
fn late_committers_are_delivered_exactly_once() {
    let (database, mut client) = queue();
    let mut near = database.client();
    let mut far = database.client();
    let mut open = database.client();
    far.run("begin; select pgque.send('q', 'far')");
    open.run("begin; select pgque.send('q', 'open')");
    for _ in 0..300 {
        client.run("select pg_current_xact_id()");
    }
    near.run("begin; select pgque.send('q', 'near')");
    client.run("select pgque.send('q', 'early')");
    client.tick("q");
    near.run("commit");
    far.run("commit");
    client.run("select pgque.send('q', 'next')");
    client.tick("q");
    open.run("commit");
    client.tick("q");
    for expected in [vec!["early"], vec!["far", "near", "next"], vec!["open"], vec![]] {
        let messages = client.messages("receive('q', 'c')");
        let mut found = payloads(&messages);
        found.sort_unstable();
        assert_eq!(found, expected);
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        assert!(ids.is_sorted());
        if let Some(first) = messages.first() {
            client.run(&format!("select pgque.ack({})", first.batch));
        }
    }
}

#[test]
fn ten_thousand_single_sends_arrive_as_one_batch_and_leave_no_dead_rows() {
    let (_database, mut client) = queue();
    client.run("do $$ begin for i in 1 .. 10000 loop perform pgque.send('q', i::text); end loop; end $$");
    client.tick("q");
    assert_eq!(client.messages("receive('q', 'c', 20000)").len(), 10_000);
    client.run("select pgque.ack((select sub_batch from pgque.subscription)), pg_stat_clear_snapshot()");
    assert_eq!(client.get::<i64>("select count(*) from pgque.event_1"), 10_000);
    assert_eq!(
        client.get::<i64>(
            "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables where relname like 'event%'"
        ),
        0
    );
}

#[test]
fn receive_and_ack_roll_back_with_the_consumers_transaction() {
    let (_database, mut client) = queue();
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    client.run("begin");
    let first = client.messages("receive('q', 'c')");
    client.run(&format!("select pgque.ack({})", first[0].batch));
    client.run("rollback");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["x"]);
}
