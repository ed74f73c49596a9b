//! Pages: one open batch read in parts, with leases, fencing, takeovers and receipts.

use std::time::Duration;

use crate::support::{Ask, Database, error, timed};

#[derive(Debug, PartialEq)]
struct Page {
    status: String,
    token: Option<String>,
    number: Option<i32>,
    last: Option<bool>,
    payloads: Vec<String>,
    epoch: Option<i64>,
}

fn page(client: &mut postgres::Client, call: &str) -> Page {
    let sql = format!(
        "select status, page_token::text, page_number, is_last,
                array(select coalesce(payload, '') from unnest(messages)), fence_epoch from pgque.{call}"
    );
    let row = client.query_one(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    Page {
        status: row.get(0),
        token: row.get(1),
        number: row.get(2),
        last: row.get(3),
        payloads: row.get(4),
        epoch: row.get(5),
    }
}

fn ack(client: &mut postgres::Client, page: &Page, worker: &str) -> String {
    client.get(&format!("select pgque.ack_page('{}', '{worker}')::text", page.token.as_ref().unwrap()))
}

fn ack_fails(client: &mut postgres::Client, page: &Page, worker: &str, failures: &str) -> String {
    client.fails(&format!("select pgque.ack_page('{}', '{worker}', $${failures}$$)", page.token.as_ref().unwrap())).0
}

/// A queue with consumer `c`, group `g` of the workers `w` and `x`, and five events in one window.
fn five() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    client.run("select pgque.subscribe_subconsumer('q', 'g', w) from unnest('{w,x}'::text[]) w");
    client.run("select pgque.send_batch('q', array['1', '2', '3', '4', '5'])");
    client.tick("q");
    (database, client)
}

#[test]
fn pages_follow_each_other_and_the_last_one_finishes_the_batch() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    assert_eq!((first.status.as_str(), first.number, first.last, first.epoch), ("page", Some(1), Some(false), Some(1)));
    assert_eq!(first.payloads, ["1", "2"]);
    assert_eq!(ack(&mut client, &first, "me"), "(acked,f)");
    let second = page(&mut client, "receive_page('q', 'c', 'me', 3)");
    assert_eq!(second.payloads, ["3", "4", "5"]);
    assert_eq!((second.number, second.last), (Some(2), Some(true)));
    assert_eq!(ack(&mut client, &second, "me"), "(acked,t)");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").status, "idle");
    assert!(client.messages("receive('q', 'c')").is_empty());
}

#[test]
fn an_empty_window_is_advanced_over() {
    let (_database, mut client) = five();
    let all = page(&mut client, "receive_page('q', 'c', 'me')");
    ack(&mut client, &all, "me");
    client.tick("q");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").status, "advanced");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").status, "idle");
    client.tick("q");
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'w', 'me')").payloads.len(), 5);
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'x', 'me')").status, "advanced");
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'x', 'me')").status, "idle");
}

#[test]
fn a_pending_page_is_handed_out_again_to_its_worker_and_to_nobody_else() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me', 4)"), first);
    let other = page(&mut client, "receive_page('q', 'c', 'other', 2)");
    assert_eq!((other.status.as_str(), other.token, other.epoch), ("busy", None, None));
    assert!(client.get::<bool>("select lease_until > now() from pgque.receive_page('q', 'c', 'other')"));
    // Renewed by asking and by renew_page, with the length last asked for.
    page(&mut client, "receive_page('q', 'c', 'me', 4, '1 hour')");
    assert!(client.get::<bool>(&format!(
        "select pgque.renew_page('{}', 'me') between now() + interval '59 min' and now() + interval '61 min'",
        first.token.unwrap()
    )));
}

#[test]
fn an_expired_page_stays_its_workers_until_somebody_asks_and_then_is_fenced() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    ack(&mut client, &first, "me");
    let mine = page(&mut client, "receive_page('q', 'c', 'me', 2, '1 ms')");
    std::thread::sleep(Duration::from_millis(5));
    client.run(&format!("select pgque.renew_page('{}', 'me')", mine.token.as_ref().unwrap()));
    std::thread::sleep(Duration::from_millis(5));

    let heir = page(&mut client, "receive_page('q', 'c', 'heir', 4)");
    assert_eq!((&heir.payloads, heir.number), (&mine.payloads, Some(2)));
    assert_ne!(heir.token, mine.token);
    assert!(heir.epoch > mine.epoch);
    assert_eq!(ack_fails(&mut client, &mine, "me", "[]"), "PQP01");
    assert_eq!(ack_fails(&mut client, &mine, "heir", "[]"), "PQP01");
    assert_eq!(ack_fails(&mut client, &heir, "me", "[]"), "PQP01");
    let (code, _) = client.fails(&format!("select pgque.renew_page('{}', 'me')", mine.token.unwrap()));
    assert_eq!(code, "PQP01");
    assert_eq!(ack(&mut client, &heir, "heir"), "(acked,f)");
    let (code, _) = client.fails(&format!("select pgque.renew_page('{}', 'heir')", heir.token.unwrap()));
    assert_eq!(code, "PQP01");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").payloads, ["5"]);
}

#[test]
fn a_receipt_answers_a_repeated_request_and_no_other() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let token = first.token.clone().unwrap();
    let failures = r#"[{"msg_id": "2", "retry_after_seconds": 5, "reason": "bad"}, {"msg_id": "1"}]"#;
    let call = format!("select pgque.ack_page('{token}', 'me', $${failures}$$)::text");
    assert_eq!(client.get::<String>(&call), "(acked,f)");
    assert_eq!(client.get::<String>(&call), "(already_acked,f)");
    assert_eq!(ack_fails(&mut client, &first, "me", "[]"), "PQP02");
    assert_eq!(ack_fails(&mut client, &first, "me", r#"[{"msg_id": "2"}, {"msg_id": "1"}]"#), "PQP02");
    assert_eq!(ack_fails(&mut client, &first, "other", failures), "PQP01");
    assert_eq!(
        client.column::<String>(
            "select ev_id || ' ' || round(extract(epoch from ev_retry_after - now())) from pgque.retry_queue order by 1"
        ),
        ["1 60", "2 5"]
    );
    // It survives the next page being handed out and the end of the batch, not the next receipt.
    let second = page(&mut client, "receive_page('q', 'c', 'me')");
    assert_eq!(client.get::<String>(&call), "(already_acked,f)");
    assert_eq!(ack(&mut client, &second, "me"), "(acked,t)");
    assert_eq!(ack(&mut client, &second, "me"), "(already_acked,t)");
    assert_eq!(ack_fails(&mut client, &first, "me", failures), "PQP01");
}

#[test]
fn failures_use_up_the_budget_and_a_refused_ack_changes_nothing() {
    let (_database, mut client) = five();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0')");
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    for (failures, code) in [
        (r#"[{"msg_id": "1"}, {"msg_id": "3"}]"#, "22023"),
        (r#"[{"msg_id": "1"}, {"msg_id": "99"}]"#, "22023"),
        (r#"[{"msg_id": "1"}, {"msg_id": "1"}]"#, "22023"),
        (r#"[{"msg_id": 1}]"#, "22023"),
        (r#"[{"msg_id": "01"}]"#, "22023"),
        (r#"[{"msg_id": "9999999999999999999"}]"#, "22023"),
        (r#"[{"msg_id": "1", "retry_after": 1}]"#, "22023"),
        (r#"[{"msg_id": "1", "retry_after_seconds": "1"}]"#, "22023"),
        (r#"[{"msg_id": "1", "retry_after_seconds": -1}]"#, "22023"),
        (r#"[{"msg_id": "1", "reason": 7}]"#, "22023"),
        (r#"[{"msg_id": "1", "dead": 1}]"#, "22023"),
        (r#"[{"msg_id": "1", "counted": "no"}]"#, "22023"),
        (r#"[{"reason": "x"}]"#, "22023"),
        (r#"["1"]"#, "22023"),
        (r#"{"msg_id": "1"}"#, "22023"),
        ("null", "22023"),
    ] {
        assert_eq!(ack_fails(&mut client, &first, "me", failures), code, "{failures}");
    }
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 0);
    let call = r#"[{"msg_id": "1", "reason": "broken"}, {"msg_id": "2"}]"#;
    client.run(&format!("select pgque.ack_page('{}', 'me', '{call}')", first.token.unwrap()));
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || dl_reason from pgque.dlq_inspect('q') order by 1"),
        ["1 broken", "2 max retries exceeded"]
    );
}

#[test]
fn a_failure_is_dead_at_once_or_not_counted_if_it_says_so() {
    let (_database, mut client) = five();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0')");
    client.run("select pgque.unsubscribe_subconsumer('q', 'g', w) from unnest('{w,x}'::text[]) w");
    let first = page(&mut client, "receive_page('q', 'c', 'me', 4)");
    let call = r#"[{"msg_id": "1", "counted": false}, {"msg_id": "2", "dead": true, "reason": "poison"},
                   {"msg_id": "3", "counted": true, "dead": false}]"#;
    client.run(&format!("select pgque.ack_page('{}', 'me', '{call}')", first.token.as_ref().unwrap()));
    assert_eq!(ack_fails(&mut client, &first, "me", r#"[{"msg_id": "1"}]"#), "PQP02");
    assert_eq!(
        client.column::<String>("select ev_id || ' ' || dl_reason from pgque.dlq_inspect('q') order by 1"),
        ["2 poison", "3 max retries exceeded"]
    );
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    let rest = page(&mut client, "receive_page('q', 'c', 'me')");
    ack(&mut client, &rest, "me");
    client.tick("q");
    let again = client.get::<String>(
        "select string_agg(concat_ws(' ', m.msg_id, m.retry_count), ',')
           from pgque.receive_page('q', 'c', 'me') p, unnest(p.messages) m",
    );
    assert_eq!(again, "1");
}

#[test]
fn bad_arguments_are_refused() {
    let (_database, mut client) = five();
    for call in [
        "receive_page('q', 'c', '')",
        "receive_page('q', 'c', null)",
        "receive_page('q', 'c', 'me', 0)",
        "receive_page('q', 'c', 'me', null)",
        "receive_page('q', 'c', 'me', 10001)",
        "receive_page('q', 'c', 'me', 1, '0')",
        "receive_page('q', 'c', 'me', 1, '25 hours')",
        "receive_page('q', 'c', 'me', 1, null)",
        "receive_page_coop('q', 'g', '', 'me')",
        "receive_page_coop('q', 'g', 'w', '')",
        "ack_page(null, 'me')",
        "ack_page(gen_random_uuid(), '')",
        "ack_page(gen_random_uuid(), 'me', null)",
        "renew_page(null, 'me')",
        "renew_page(gen_random_uuid(), null)",
    ] {
        assert_eq!(client.fails(&format!("select pgque.{call}")).0, "22023", "{call}");
    }
    assert_eq!(client.fails("select pgque.ack_page(gen_random_uuid(), 'me')").0, "PQP01");
    assert_eq!(client.fails("select pgque.receive_page('no', 'c', 'me')").0, "PQ001");
    assert_eq!(client.fails("select pgque.receive_page('q', 'no', 'me')").0, "PQ002");
    assert_eq!(client.fails("select pgque.receive_page('q', 'g', 'me')").0, "PQ005");
    // Membership is not invented.
    assert_eq!(client.fails("select pgque.receive_page_coop('q', 'g', 'new', 'me')").0, "PQ002");
    assert_eq!(client.fails("select pgque.receive_page_coop('q', 'c', 'new', 'me')").0, "PQ002");
}

#[test]
fn calls_on_the_whole_batch_are_refused_while_it_is_read_in_pages() {
    let (_database, mut client) = five();
    for (receive, batch) in [("receive_page('q', 'c', 'me', 2)", 1), ("receive_page_coop('q', 'g', 'w', 'me', 2)", 2)] {
        assert_eq!(page(&mut client, receive).status, "page");
        for call in [
            format!("ack({batch})"),
            format!("finish_batch({batch})"),
            format!("finish({batch})"),
            format!("finish({batch}, '{{1}}')"),
            format!("nack({batch}, row(1, {batch}, null, null, null, null, null, null, null, null)::pgque.message)"),
            format!("event_retry({batch}, 1, 0)"),
            format!("batch_retry({batch}, 0)"),
        ] {
            assert_eq!(client.fails(&format!("select pgque.{call}")).0, "55000", "{call}");
        }
    }
    for call in [
        "receive('q', 'c')",
        "next_batch('q', 'c')",
        "register_consumer_at('q', 'c', 1)",
        "unsubscribe('q', 'c')",
        "receive_coop('q', 'g', 'w')",
        "next_batch('q', 'g', 'w')",
        "unsubscribe_subconsumer('q', 'g', 'w', 1)",
        "unregister_consumer('q', 'g.w')",
    ] {
        assert_eq!(client.fails(&format!("select pgque.{call}")).0, "55000", "{call}");
    }
    // Also between two pages; not after the last one.
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    ack(&mut client, &first, "me");
    assert_eq!(client.fails("select pgque.receive('q', 'c')").0, "55000");
    let rest = page(&mut client, "receive_page('q', 'c', 'me')");
    ack(&mut client, &rest, "me");
    assert!(client.messages("receive('q', 'c')").is_empty());
    assert_eq!(client.get::<i32>("select pgque.unsubscribe('q', 'c')"), 1);
    assert_eq!(client.get::<i32>("select pgque.drop_queue('q', true)"), 1);
    assert_eq!(client.get::<i64>("select count(*) from pgque.page_state"), 0);
}

#[test]
fn an_open_batch_that_was_received_whole_can_go_on_in_pages() {
    let (_database, mut client) = five();
    let whole = client.messages("receive('q', 'c')");
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    assert_eq!(first.payloads, ["1", "2"]);
    assert_eq!(client.fails(&format!("select pgque.ack({})", whole[0].batch)).0, "55000");
}

#[test]
fn events_with_one_id_are_neither_lost_nor_parted_nor_routed_by_guess() {
    let (_database, mut client) = five();
    // Two transactions, and twice the same one: only (id, transaction) orders the first two.
    for payload in ["b", "c"] {
        client.run(&format!(
            "select pgque.insert_event_raw('q', 7, now(), null, null, 't', '{payload}', null, null, null, null)"
        ));
    }
    client.run("select pgque.insert_event_raw('q', 8, now(), null, null, 't', d, null, null, null, null) from unnest('{d,e}'::text[]) d");
    client.tick("q");
    let all = page(&mut client, "receive_page('q', 'c', 'me')");
    ack(&mut client, &all, "me");

    let first = page(&mut client, "receive_page('q', 'c', 'me', 1)");
    assert_eq!(first.payloads, ["b"]);
    assert_eq!(ack_fails(&mut client, &first, "me", r#"[{"msg_id": "7"}]"#), "21000");
    ack(&mut client, &first, "me");
    let second = page(&mut client, "receive_page('q', 'c', 'me', 1)");
    assert_eq!(second.payloads, ["c"]);
    ack(&mut client, &second, "me");
    let mut third = page(&mut client, "receive_page('q', 'c', 'me', 1)");
    third.payloads.sort();
    assert_eq!(third.payloads, ["d", "e"]);
    ack(&mut client, &third, "me");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me', 1)").status, "advanced");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me', 1)").status, "idle");
}

#[test]
fn a_failed_message_comes_back_with_its_id() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me')");
    client.run(&format!(
        r#"select pgque.ack_page('{}', 'me', '[{{"msg_id": "3", "retry_after_seconds": 0}}]')"#,
        first.token.unwrap()
    ));
    assert_eq!(client.get::<i32>("select pgque.maint_retry_events()"), 1);
    client.run("select pgque.send('q', '6')");
    client.tick("q");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me', 1)").payloads, ["3"]);
    assert!(client.get::<bool>(
        "select bool_and(msg_id = 3 and retry_count = 1) from pgque.receive_page('q', 'c', 'me'), unnest(messages)"
    ));
}

#[test]
fn an_uncommitted_ack_moves_nothing_and_the_next_asker_waits_for_it() {
    let (database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2, '1 ms')");
    let mut other = database.client();
    client.run("begin");
    assert_eq!(ack(&mut client, &first, "me"), "(acked,f)");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| timed(|| page(&mut other, "receive_page('q', 'c', 'other', 2)")));
        std::thread::sleep(Duration::from_millis(300));
        client.run("rollback");
        let (time, heir) = waiting.join().unwrap();
        assert!(time > Duration::from_millis(200), "{time:?}");
        assert_eq!(heir.payloads, ["1", "2"]);
    });
    assert_eq!(ack_fails(&mut client, &first, "me", "[]"), "PQP01");
}

#[test]
fn an_ack_that_waits_for_a_successor_is_fenced() {
    let (database, mut client) = five();
    let mine = page(&mut client, "receive_page('q', 'c', 'me', 2, '1 ms')");
    std::thread::sleep(Duration::from_millis(5));
    let mut heir = database.client();
    heir.run("begin");
    // Only the first page of a batch writes the subscription's row: lock it as the heir's receive does.
    assert_eq!(page(&mut heir, "receive_page('q', 'c', 'heir')").payloads, ["1", "2"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ack_fails(&mut client, &mine, "me", "[]"));
        std::thread::sleep(Duration::from_millis(300));
        heir.run("commit");
        assert_eq!(waiting.join().unwrap(), "PQP01");
    });
}

#[test]
fn two_acks_of_one_page_at_once_give_one_ack_and_one_receipt() {
    let (database, mut client) = five();
    let mine = page(&mut client, "receive_page('q', 'c', 'me')");
    let mut second = database.client();
    client.run("begin");
    assert_eq!(ack(&mut client, &mine, "me"), "(acked,t)");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ack(&mut second, &mine, "me"));
        std::thread::sleep(Duration::from_millis(300));
        client.run("commit");
        assert_eq!(waiting.join().unwrap(), "(already_acked,t)");
    });
}

#[test]
fn an_old_snapshot_gets_a_serialization_failure() {
    let (database, mut client) = five();
    let mine = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let mut old = database.client();
    old.run("begin isolation level repeatable read; select count(*) from pgque.tick");
    ack(&mut client, &mine, "me");
    let next = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    assert_ne!(next.token, mine.token);
    assert_eq!(old.fails("select pgque.receive_page('q', 'c', 'me', 2)").0, "40001");
}

#[test]
fn members_page_their_own_batches_at_the_same_time() {
    let (database, mut client) = five();
    client.run("select pgque.send('q', '6')");
    client.tick("q");
    let mut other = database.client();
    client.run("begin");
    let first = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me', 2)");
    assert_eq!(first.payloads, ["1", "2"]);
    let (time, second) = timed(|| page(&mut other, "receive_page_coop('q', 'g', 'x', 'you', 2)"));
    assert_eq!((second.payloads.as_slice(), second.last), (&["6".to_owned()][..], Some(true)));
    assert!(time < Duration::from_secs(2), "{time:?}");
    assert_eq!(ack(&mut other, &second, "you"), "(acked,t)");
    assert_eq!(ack(&mut client, &first, "me"), "(acked,f)");
    client.run("commit");
    let rest = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me')");
    assert_eq!((rest.payloads.len(), rest.number), (3, Some(2)));
    assert_eq!(ack(&mut client, &rest, "me"), "(acked,t)");
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'w', 'me')").status, "idle");
}

#[test]
fn a_takeover_needs_the_dead_interval_and_the_lease_and_keeps_position_and_boundaries() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me', 2)");
    ack(&mut client, &first, "me");
    let second = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me', 2)");
    let take = "receive_page_coop('q', 'g', 'x', 'heir', 5, '1 minute')";
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour' where sub_batch is not null");
    assert_eq!(page(&mut client, take).status, "idle");
    client.run("update pgque.page_state set page_lease_until = now() - interval '1 hour'");
    client.run("update pgque.subscription set sub_active = now() where sub_batch is not null");
    assert_eq!(page(&mut client, take).status, "idle");
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour' where sub_batch is not null");
    // A worker that reads whole batches cannot go on from a page: it leaves it.
    assert!(client.messages("receive_coop('q', 'g', 'x', 100, '1 minute')").is_empty());

    let heir = page(&mut client, take);
    assert_eq!((&heir.payloads, heir.number, heir.last), (&second.payloads, Some(2), Some(false)));
    assert_ne!(heir.token, second.token);
    assert!(heir.epoch > second.epoch);
    assert_eq!(ack_fails(&mut client, &second, "me", "[]"), "PQP01");
    assert_eq!(ack(&mut client, &heir, "heir"), "(acked,f)");
    let last = page(&mut client, take);
    assert_eq!((last.payloads.as_slice(), last.last), (&["5".to_owned()][..], Some(true)));
    assert_eq!(ack(&mut client, &last, "heir"), "(acked,t)");
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'w', 'me')").status, "idle");
    assert_eq!(client.get::<i64>("select count(*) from pgque.subscription where sub_paged"), 0);
}

#[test]
fn a_takeover_between_two_pages_keeps_the_position() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me', 2)");
    ack(&mut client, &first, "me");
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour' where sub_batch is not null");
    let heir = page(&mut client, "receive_page_coop('q', 'g', 'x', 'heir', 2, '1 minute')");
    assert_eq!((heir.payloads.as_slice(), heir.number), (&["3".to_owned(), "4".to_owned()][..], Some(2)));
    // The latest receipt of the old owner is still good.
    assert_eq!(ack(&mut client, &first, "me"), "(already_acked,f)");
}

/// The ids that follow a page, or a position, and the position of the last of them.
fn ahead(client: &mut postgres::Client, batch: i64, behind: &str, size: i32) -> (Vec<i64>, String) {
    let sql =
        format!("select ev_id, ev_txid::text || '/' || ev_id from pgque.read_ahead({batch}, 'me', {behind}, {size})");
    let rows = client.query(&sql, &[]).unwrap();
    let last = rows.last().map_or("null, null".into(), |row| {
        let place: String = row.get(1);
        let (transaction, id) = place.split_once('/').unwrap();
        format!("'{transaction}', {id}")
    });
    (rows.iter().map(|row| row.get(0)).collect(), last)
}

fn turn(page: &Page, worker: &str, failures: &str, last: &str, is_last: bool) -> String {
    let token = page.token.as_ref().unwrap();
    format!(
        "select batch_finished, page_token::text from pgque.turn_page('{token}', '{worker}', '{failures}', {last}, {is_last})"
    )
}

#[test]
fn what_was_read_ahead_is_the_next_page_once_this_one_is_turned() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let (ids, last) = ahead(&mut client, 1, "null, null", 2);
    assert_eq!(ids, [3, 4]);
    assert_eq!(ahead(&mut client, 1, "null, null", 2).0, [3, 4], "nothing is handed out by reading");
    assert_eq!(ahead(&mut client, 1, &last, 2).0, [5]);
    let row = client.query_one(&turn(&first, "me", r#"[{"msg_id": "2"}]"#, &last, false), &[]).unwrap();
    assert!(!row.get::<_, bool>(0));
    let second = page(&mut client, "receive_page('q', 'c', 'me', 4)");
    assert_eq!((second.token.as_deref(), second.number), (row.get(1), Some(2)));
    assert_eq!(second.payloads, ["3", "4"], "it ends where it was said to");
    assert!(second.epoch > first.epoch);
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'other')").status, "busy");
    assert_eq!(client.get::<i64>("select count(*) from pgque.retry_queue"), 1);

    let (ids, last) = ahead(&mut client, 1, "null, null", 2);
    assert_eq!(ids, [5]);
    let row = client.query_one(&turn(&second, "me", "[]", &last, true), &[]).unwrap();
    let third = Page { token: row.get(1), ..second };
    assert_eq!(ahead(&mut client, 1, "null, null", 2).0, [0; 0]);
    assert_eq!(ack(&mut client, &third, "me"), "(acked,t)", "it was said to be the last");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").status, "idle");
}

#[test]
fn a_page_with_nothing_behind_it_is_turned_for_good() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let (_, last) = ahead(&mut client, 1, "null, null", 3);
    let token: String = client.query_one(&turn(&first, "me", "[]", &last, false), &[]).unwrap().get(1);
    let second = Page { token: Some(token), ..first };
    let (ids, last) = ahead(&mut client, 1, &last, 3);
    assert_eq!((ids, last.as_str()), (vec![], "null, null"));
    let call = turn(&second, "me", "[]", &last, false);
    for _ in 0..2 {
        let row = client.query_one(&call, &[]).unwrap();
        assert_eq!((row.get(0), row.get(1)), (true, None::<String>), "a repeated request is answered by the receipt");
    }
    assert_eq!(client.get::<i64>("select count(*) from pgque.subscription where sub_paged"), 0);
}

#[test]
fn a_page_is_turned_once_forwards_and_by_its_worker() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let (_, last) = ahead(&mut client, 1, "null, null", 2);
    assert_eq!(client.fails("select pgque.read_ahead(1, 'other', null, null, 2)").0, "PQP01");
    assert_eq!(client.fails("select pgque.read_ahead(2, 'me', null, null, 2)").0, "PQP01");
    assert_eq!(client.fails("select pgque.read_ahead(1, 'me', null, null, 10001)").0, "22023");
    assert_eq!(client.fails(&turn(&first, "other", "[]", &last, false)).0, "PQP01");
    assert_eq!(client.fails(&turn(&first, "me", "[]", "'0', 1", false)).0, "22023");
    assert_eq!(client.fails(&turn(&first, "me", r#"[{"msg_id": "3"}]"#, &last, false)).0, "22023");
    let call = turn(&first, "me", "[]", &last, false);
    client.run(&call);
    let row = client.query_one(&call, &[]).unwrap();
    assert_eq!((row.get(0), row.get(1)), (false, None::<String>), "the next page is known to who turned this one");
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'me')").payloads, ["3", "4"]);
}

#[test]
fn a_released_page_is_anybodys() {
    let (_database, mut client) = five();
    let mine = page(&mut client, "receive_page('q', 'c', 'me', 2)");
    let release = |worker: &str| format!("select pgque.release_page('{}', '{worker}')", mine.token.as_ref().unwrap());
    assert!(!client.get::<bool>(&release("other")));
    assert_eq!(page(&mut client, "receive_page('q', 'c', 'other')").status, "busy");
    assert!(client.get::<bool>(&release("me")));
    let heir = page(&mut client, "receive_page('q', 'c', 'other')");
    assert_eq!(heir.payloads, ["1", "2"]);
    assert_eq!(ack_fails(&mut client, &mine, "me", "[]"), "PQP01");
}

#[test]
fn members_read_ahead_as_well() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page_coop('q', 'g', 'w', 'me', 2)");
    let (ids, last) = ahead(&mut client, 1, "null, null", 10);
    assert_eq!(ids, [3, 4, 5]);
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour' where sub_batch is not null");
    let token: String = client.query_one(&turn(&first, "me", "[]", &last, true), &[]).unwrap().get(1);
    let rest = Page { token: Some(token), ..first };
    assert!(client.get::<bool>(
        "select sub_active > now() - interval '1 minute' from pgque.subscription where sub_batch is not null"
    ));
    assert_eq!(ack(&mut client, &rest, "me"), "(acked,t)");
    assert_eq!(page(&mut client, "receive_page_coop('q', 'g', 'w', 'me')").status, "idle");
}

#[test]
fn the_reader_reads_pages_and_sees_no_tokens() {
    let (database, _client) = five();
    let mut reader = database.client_as("pgque_reader");
    let first = page(&mut reader, "receive_page('q', 'c', 'me', 2)");
    assert_eq!(ack(&mut reader, &first, "me"), "(acked,f)");
    assert_eq!(page(&mut reader, "receive_page_coop('q', 'g', 'w', 'me', 2)").status, "page");
    assert_eq!(reader.fails("select * from pgque.page_state").0, "42501");
    let mut writer = database.client_as("pgque_writer");
    assert_eq!(
        writer.fails("select pgque.receive_page('q', 'c', 'me')"),
        error("42501", "permission denied for function receive_page")
    );
}

#[test]
fn a_page_may_bury_at_once_and_hand_back_uncounted() {
    let (_database, mut client) = five();
    let first = page(&mut client, "receive_page('q', 'c', 'me', 3)");
    assert_eq!(ack_fails(&mut client, &first, "me", r#"[{"msg_id":"1","dead":"yes"}]"#), "22023");
    let failures = r#"[{"msg_id":"1","dead":true,"reason":"bad"},
        {"msg_id":"2","counted":false,"retry_after_seconds":0}, {"msg_id":"3"}]"#;
    let call = format!("select pgque.ack_page('{}', 'me', $${failures}$$)::text", first.token.as_ref().unwrap());
    assert_eq!(client.get::<String>(&call), "(acked,f)");
    assert_eq!(client.get::<String>(&call), "(already_acked,f)");
    assert_eq!(client.column::<String>("select ev_id || ' ' || dl_reason from pgque.dead_letter"), ["1 bad"]);
    assert_eq!(
        client.column::<String>(
            "select ev_id || ' ' || coalesce(ev_retry::text, 'null') from pgque.retry_queue order by 1"
        ),
        ["2 null", "3 1"]
    );
}
