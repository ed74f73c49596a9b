//! Cooperative groups, several sessions: parallel allocation while transactions are open.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Ask, Database, payloads, timed};

fn queue(windows: u32) -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w' || i) from generate_series(1, 8) i");
    for payload in 1..=windows {
        client.run(&format!("select pgque.send('q', '{payload}')"));
        client.run("select pgque.ticker_pending()");
    }
    (database, client)
}

const SOON: Duration = Duration::from_secs(2);

#[test]
fn workers_with_open_transactions_get_disjoint_windows_without_waiting() {
    let (database, mut client) = queue(3);
    let mut workers: Vec<_> = (1..=3).map(|_| database.client()).collect();
    for (position, worker) in workers.iter_mut().enumerate() {
        worker.run("begin; set local statement_timeout = '5s'");
        let call = format!("receive_coop('q', 'g', 'w{}')", position + 1);
        let (time, messages) = timed(|| worker.messages(&call));
        assert_eq!(payloads(&messages), [(position + 1).to_string()]);
        assert!(time < SOON, "{time:?}");
    }
    let mut fourth = database.client();
    assert!(fourth.messages("receive_coop('q', 'g', 'w4')").is_empty());
    // Any order of ends: the cursor follows when the first window is committed.
    for worker in workers.iter_mut().rev() {
        worker.run("select pgque.ack(sub_batch) from pgque.subscription where sub_batch is not null and sub_role = 'coop_member'");
        worker.run("commit");
    }
    client.run("select pgque.send('q', '4')");
    client.run("select pgque.ticker_pending()");
    assert_eq!(payloads(&fourth.messages("receive_coop('q', 'g', 'w4')")), ["4"]);
    assert_eq!(client.get::<i64>("select sub_last_tick from pgque.subscription where sub_role = 'coop_main'"), 5);
    assert_eq!(client.get::<i64>("select count(*) from pgque.coop_window"), 0);
}

#[test]
fn an_idle_worker_moves_the_cursor_over_what_others_recorded() {
    let (database, mut client) = queue(2);
    let mut first = database.client();
    first.run("begin");
    assert_eq!(payloads(&first.messages("receive_coop('q', 'g', 'w1')")), ["1"]);
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w2')")), ["2"]);
    first.run("commit");
    assert!(client.messages("receive_coop('q', 'g', 'w3')").is_empty());
    assert_eq!(client.get::<i64>("select sub_last_tick from pgque.subscription where sub_role = 'coop_main'"), 3);
    assert_eq!(client.get::<i64>("select count(*) from pgque.coop_window"), 0);
}

#[test]
fn a_window_whose_worker_rolled_back_goes_to_the_next_one() {
    let (database, mut client) = queue(3);
    let mut first = database.client();
    first.run("begin");
    assert_eq!(payloads(&first.messages("receive_coop('q', 'g', 'w1')")), ["1"]);
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w2')")), ["2"]);
    first.run("rollback");
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w3')")), ["1"]);
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w4')")), ["3"]);
    assert_eq!(client.get::<i64>("select count(*) from pgque.coop_window"), 0);
}

#[test]
fn one_worker_name_used_twice_waits_and_shares_the_batch() {
    let (database, mut client) = queue(2);
    let mut first = database.client();
    first.run("begin");
    let held = first.messages("receive_coop('q', 'g', 'w1')");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| timed(|| client.messages("receive_coop('q', 'g', 'w1')")));
        std::thread::sleep(Duration::from_millis(300));
        first.run("commit");
        let (time, messages) = second.join().unwrap();
        assert!(time >= Duration::from_millis(250), "{time:?}");
        assert_eq!(messages, held);
    });
}

#[test]
fn the_same_group_name_on_two_queues_does_not_block() {
    let (database, mut client) = queue(1);
    client.run("select pgque.create_queue('p'), pgque.subscribe_subconsumer('p', 'g', 'w1'), pgque.send('p', 'p')");
    client.tick("p");
    let mut holder = database.client();
    holder.run("begin");
    assert_eq!(holder.messages("receive_coop('q', 'g', 'w1')").len(), 1);
    let (time, messages) = timed(|| client.messages("receive_coop('p', 'g', 'w1')"));
    assert_eq!(payloads(&messages), ["p"]);
    assert!(time < SOON, "{time:?}");
    // A new member of the other queue's group does not wait either.
    let (time, _) = timed(|| client.run("select pgque.subscribe_subconsumer('p', 'g', 'w2')"));
    assert!(time < SOON, "{time:?}");
}

#[test]
fn a_worker_in_an_open_transaction_is_never_taken_over() {
    let (database, mut client) = queue(1);
    let mut holder = database.client();
    let first = holder.messages("receive_coop('q', 'g', 'w1')");
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour'");
    holder.run("begin");
    assert_eq!(holder.messages("receive_coop('q', 'g', 'w1')"), first);
    let (time, messages) = timed(|| client.messages("receive_coop('q', 'g', 'w2', 10, '1 minute')"));
    assert!(messages.is_empty() && time < SOON, "{messages:?} {time:?}");
    holder.run("commit");
    assert!(client.messages("receive_coop('q', 'g', 'w2', 10, '1 minute')").is_empty());
}

#[test]
fn a_repeatable_read_worker_fails_rather_than_sharing_a_window() {
    let (database, mut client) = queue(2);
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select 1");
    old.run("select count(*) from pgque.tick");
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w1')")), ["1"]);
    assert_eq!(old.fails("select * from pgque.receive_coop('q', 'g', 'w2')").0, "40001");
}

/// Many workers, transactions held open for random times, some rolled back: every message is acked once.
#[test]
fn nothing_is_lost_or_delivered_twice_under_load() {
    const WINDOWS: u32 = 120;
    let (database, mut client) = queue(WINDOWS);
    let acked = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 1..=6u64 {
            let (database, acked) = (&database, &acked);
            scope.spawn(move || {
                let mut session = database.client();
                let mut random = worker * 7919;
                let mut idle = 0;
                while idle < 20 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    session.run("begin");
                    let messages = session.messages(&format!("receive_coop('q', 'g', 'w{worker}')"));
                    std::thread::sleep(Duration::from_millis((random >> 33) % 20));
                    let Some(first) = messages.first() else {
                        session.run("commit");
                        idle += 1;
                        continue;
                    };
                    idle = 0;
                    if (random >> 40).is_multiple_of(5) {
                        session.run("rollback");
                    } else {
                        session.run(&format!("select pgque.ack({})", first.batch));
                        session.run("commit");
                        acked.lock().unwrap().extend(messages.into_iter().map(|message| message.id));
                    }
                }
            });
        }
    });
    let acked = acked.into_inner().unwrap();
    let distinct: BTreeSet<_> = acked.iter().collect();
    assert_eq!((acked.len(), distinct.len()), (WINDOWS as usize, WINDOWS as usize));
    client.run("select * from pgque.receive_coop('q', 'g', 'w1')");
    client.tick("q");
    assert!(client.messages("receive_coop('q', 'g', 'w1')").is_empty());
    assert!(client.get::<bool>(
        "select sub_last_tick = (select max(tick_id) from pgque.tick) from pgque.subscription where sub_role = 'coop_main'"
    ));
    assert_eq!(client.get::<i64>("select count(*) from pgque.coop_window"), 0);
}

#[test]
fn of_the_last_two_members_leaving_at_once_one_dissolves_the_group() {
    let (database, mut client) = queue(0);
    client.run("select pgque.unsubscribe_subconsumer('q', 'g', 'w' || i) from generate_series(3, 8) i");
    let mut other = database.client();
    client.run("begin; select pgque.unsubscribe_subconsumer('q', 'g', 'w1')");
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| other.get::<i32>("select pgque.unsubscribe_subconsumer('q', 'g', 'w2')"));
        std::thread::sleep(Duration::from_millis(200));
        client.run("commit");
        assert_eq!(leaving.join().unwrap(), 1);
    });
    assert_eq!(client.column::<String>("select sub_role from pgque.subscription"), ["normal"]);
}

/// Its snapshot does not show what others were given meanwhile, so it has the group to itself.
#[test]
fn a_repeatable_read_worker_gets_no_window_that_another_has() {
    let (database, mut client) = queue(2);
    client.run("set lock_timeout = '100ms'");
    let mut old = database.client();
    old.run("begin isolation level repeatable read");
    assert_eq!(payloads(&old.messages("receive_coop('q', 'g', 'w1')")), ["1"]);
    assert_eq!(client.fails("select * from pgque.receive_coop('q', 'g', 'w2')").0, "55P03");
    assert_eq!(client.fails("select * from pgque.receive_coop('q', 'g', 'new')").0, "55P03");
    old.run("select pgque.ack(sub_batch) from pgque.subscription where sub_batch is not null");
    assert_eq!(payloads(&old.messages("receive_coop('q', 'g', 'w1')")), ["2"]);
    old.run("commit");
    assert!(client.messages("receive_coop('q', 'g', 'w2')").is_empty());
}

/// The first worker's transaction holds the main row and rolls back: all that tells of the second one's window is a
/// row that the old snapshot does not show.
#[test]
fn a_repeatable_read_worker_notices_what_was_given_since_its_snapshot() {
    let (database, mut client) = queue(2);
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select from pgque.queue");
    let mut first = database.client();
    first.run("begin");
    assert_eq!(payloads(&first.messages("receive_coop('q', 'g', 'w1')")), ["1"]);
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w2')")), ["2"]);
    first.run("rollback");
    assert_eq!(old.fails("select * from pgque.receive_coop('q', 'g', 'w3')").0, "40001");
    old.run("rollback");
    assert_eq!(payloads(&old.messages("receive_coop('q', 'g', 'w3')")), ["1"]);
}
