//! Cooperative groups, one session: windows, takeover, joining and leaving.

use crate::support::{Ask, Database, error, payloads};

fn queue() -> (Database, postgres::Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    (database, client)
}

fn send(client: &mut postgres::Client, payload: &str) {
    client.run(&format!("select pgque.send('q', '{payload}')"));
    client.tick("q");
}

fn main_row(client: &mut postgres::Client) -> String {
    client.get("select concat_ws(' ', sub_role, sub_last_tick, coalesce(sub_batch, sub_next_tick)) from pgque.subscription join pgque.consumer on co_id = sub_consumer where co_name = 'g'")
}

#[test]
fn windows_go_to_different_workers_in_order() {
    let (_database, mut client) = queue();
    assert_eq!(client.get::<i32>("select pgque.subscribe_subconsumer('q', 'g', 'w1')"), 1);
    assert_eq!(client.get::<i32>("select pgque.register_subconsumer('q', 'g', 'w1')"), 0);
    for payload in ["1", "2", "3"] {
        send(&mut client, payload);
    }
    let first = client.messages("receive_coop('q', 'g', 'w1')");
    assert_eq!(payloads(&first), ["1"]);
    assert_eq!(main_row(&mut client), "coop_main 2");
    let second = client.messages("receive_coop('q', 'g', 'w2', 10)");
    assert_eq!(payloads(&second), ["2"]);
    assert_eq!(client.messages("receive_coop('q', 'g', 'w1')"), first);
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", first[0].batch)), 1);
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.subscription join pgque.consumer on co_id = sub_consumer where co_name = 'g.w1' and sub_batch is null and sub_last_tick is null and sub_next_tick is null"),
        1
    );
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w1')")), ["3"]);
    assert_eq!(main_row(&mut client), "coop_main 4");
    assert_eq!(client.get::<i64>("select count(distinct sub_id) from pgque.subscription"), 1);
    assert_eq!(client.get::<i64>("select count(*) from pgque.coop_window"), 0);
}

#[test]
fn empty_windows_are_passed_and_overflow_leaves_nothing_behind() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w')");
    for _ in 0..10 {
        client.tick("q");
    }
    assert!(client.messages("receive_coop('q', 'g', 'w')").is_empty());
    assert_eq!(main_row(&mut client), "coop_main 11");
    for _ in 0..10 {
        client.tick("q");
    }
    client.run("select pgque.send_batch('q', array['1', '2', '3'])");
    client.tick("q");
    assert_eq!(
        client.fails("select * from pgque.receive_coop('q', 'g', 'w', 2)"),
        error("54000", "pgque.receive_coop: batch exceeds max_return of 2")
    );
    assert_eq!(main_row(&mut client), "coop_main 11");
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w', 3)")), ["1", "2", "3"]);
    assert_eq!(
        client.fails("select * from pgque.receive_coop('q', 'g', 'w', 0)"),
        error("22023", "pgque.receive_coop: max_return must be >= 1, got 0")
    );
}

#[test]
fn a_dead_member_is_taken_over_and_its_batch_id_is_void() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1'), pgque.subscribe_subconsumer('q', 'g', 'idle')");
    send(&mut client, "1");
    let old = client.messages("receive_coop('q', 'g', 'w1')").remove(0);
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour'");
    assert!(client.messages("receive_coop('q', 'g', 'w2', 10, '2 hours')").is_empty());
    assert!(client.messages("receive_coop('q', 'g', 'w2', 10)").is_empty());
    let new = client.messages("receive_coop('q', 'g', 'w2', 10, '10 minutes')").remove(0);
    assert_eq!(new.id, old.id);
    assert_ne!(new.batch, old.batch);
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.subscription join pgque.consumer on co_id = sub_consumer where co_name = 'g.idle' and sub_active < now() - interval '59 minutes'"),
        1
    );
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", old.batch)), 0);
    let nack = format!("select pgque.nack({}, row({},1,'','',0,now(),'','','','')::pgque.message)", old.batch, old.id);
    assert_eq!(client.fails(&nack), error("PQ003", &format!("batch not found: {}", old.batch)));
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", new.batch)), 1);
}

#[test]
fn touching_keeps_a_member_alive() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1')");
    send(&mut client, "1");
    client.run("select * from pgque.receive_coop('q', 'g', 'w1')");
    client.run("update pgque.subscription set sub_active = now() - interval '1 hour'");
    assert_eq!(client.get::<i32>("select pgque.touch_subconsumer('q', 'g', 'w1')"), 1);
    assert_eq!(client.get::<i32>("select pgque.touch_subconsumer('q', 'g', 'nobody')"), 0);
    assert!(client.messages("receive_coop('q', 'g', 'w2', 10, '1 minute')").is_empty());
}

#[test]
fn leaving_with_an_open_batch_needs_force_and_routes_it() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1'), pgque.subscribe_subconsumer('q', 'g', 'w2')");
    send(&mut client, "1");
    let message = client.messages("receive_coop('q', 'g', 'w1')").remove(0);
    let leave = |handling: i32| format!("select pgque.unsubscribe_subconsumer('q', 'g', 'w1', {handling})");
    assert_eq!(client.fails(&leave(2)), error("22023", "unsupported batch_handling value: 2"));
    assert_eq!(
        client.fails(&leave(0)),
        error("PQ005", "cannot unregister active cooperative subconsumer q/g/w1 without batch_handling = 1")
    );
    assert_eq!(
        client.fails("select pgque.unregister_consumer('q', 'g.w1')"),
        error("PQ005", "cannot unregister active cooperative subconsumer without forced batch handling")
    );
    assert_eq!(client.get::<i32>(&leave(1)), 1);
    assert_eq!(client.get::<i32>(&leave(1)), 0);
    assert_eq!(client.get::<i32>(&format!("select pgque.ack({})", message.batch)), 0);
    assert_eq!(
        client.get::<i64>("select count(*) from pgque.retry_queue join pgque.subscription on sub_id = ev_owner join pgque.consumer on co_id = sub_consumer and co_name = 'g' where ev_retry = 1"),
        1
    );
    client.run("update pgque.retry_queue set ev_retry_after = now()");
    client.run("select pgque.maint_retry_events()");
    client.tick("q");
    assert_eq!(client.messages("receive_coop('q', 'g', 'w2')")[0].retry, Some(1));
}

#[test]
fn a_failing_burial_keeps_the_member_and_its_batch() {
    let (_database, mut client) = queue();
    client.run("select pgque.set_queue_config('q', 'max_retries', '0'), pgque.subscribe_subconsumer('q', 'g', 'w1')");
    send(&mut client, "1");
    let message = client.messages("receive_coop('q', 'g', 'w1')").remove(0);
    client.run("create function public.no() returns trigger language plpgsql as $$ begin raise 'no'; end $$");
    client.run("create trigger no before insert on pgque.dead_letter for each row execute function public.no()");
    client.fails("select pgque.unsubscribe_subconsumer('q', 'g', 'w1', 1)");
    assert_eq!(client.messages("receive_coop('q', 'g', 'w1')")[0].batch, message.batch);
    client.run("drop trigger no on pgque.dead_letter");
    client.run("select pgque.unsubscribe_subconsumer('q', 'g', 'w1', 1)");
    assert_eq!(
        client.column::<String>("select co_name || ' ' || dl_reason || ' ' || (ev_txid is not null) from pgque.dead_letter join pgque.consumer on co_id = dl_consumer_id"),
        ["g subconsumer unregistered true"]
    );
    assert_eq!(main_row(&mut client), "normal 2");
    client.run("select pgque.unregister_consumer('q', 'g')");
    assert_eq!(client.get::<i64>("select count(*) from pgque.dead_letter"), 0);
}

#[test]
fn a_group_forms_again_after_its_last_member_left() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1')");
    assert_eq!(
        client.fails("select pgque.unregister_consumer('q', 'g')"),
        error("PQ005", "cannot unregister cooperative main consumer with registered subconsumers")
    );
    assert_eq!(client.get::<i32>("select pgque.unregister_consumer('q', 'g.w1')"), 1);
    assert_eq!(client.column::<String>("select co_name from pgque.consumer"), ["g"]);
    assert_eq!(main_row(&mut client), "normal 1");
    send(&mut client, "1");
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w2')")), ["1"]);
}

#[test]
fn converting_a_normal_consumer_is_explicit_and_needs_a_closed_batch() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe('q', 'g')");
    send(&mut client, "1");
    let batch = client.messages("receive('q', 'g')")[0].batch;
    assert_eq!(
        client.fails("select * from pgque.receive_coop('q', 'g', 'w1')"),
        error("PQ005", "consumer g on queue q is already a normal consumer; explicit conversion is required")
    );
    assert_eq!(
        client.fails("select pgque.subscribe_subconsumer('q', 'g', 'w1', true)"),
        error("PQ005", "cannot convert active normal consumer g on queue q to cooperative main")
    );
    client.run(&format!("select pgque.ack({batch})"));
    assert_eq!(client.get::<i32>("select pgque.subscribe_subconsumer('q', 'g', 'w1', true)"), 1);
    send(&mut client, "2");
    assert_eq!(payloads(&client.messages("receive_coop('q', 'g', 'w1')")), ["2"]);
}

#[test]
fn plain_calls_refuse_group_rows() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1')");
    for (consumer, word) in [("g", "cooperative main consumer"), ("g.w1", "cooperative subconsumer")] {
        for call in [
            format!("select * from pgque.receive('q', '{consumer}')"),
            format!("select pgque.next_batch('q', '{consumer}')"),
            format!("select * from pgque.next_batch_custom('q', '{consumer}', null, null, null)"),
        ] {
            let (code, message) = client.fails(&call);
            assert!(code == "PQ005" && message.contains(word), "{call}: {code} {message}");
        }
    }
    client.run("update pgque.subscription set sub_batch = 4711, sub_next_tick = 1 where sub_role = 'coop_main'");
    assert_eq!(
        client.fails("select pgque.finish_batch(4711)"),
        error("PQ005", "cannot finish cooperative main consumer batch 4711 as normal active consumer")
    );
}

#[test]
fn a_memberless_main_made_by_hand_never_gets_a_batch() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe('q', 'g'); update pgque.subscription set sub_role = 'coop_main'");
    send(&mut client, "1");
    for call in ["select pgque.next_batch('q', 'g')", "select pgque.next_batch_custom('q', 'g', null, 1, null)"] {
        let _ = client.query(call, &[]);
    }
    assert!(client.messages("receive('q', 'g')").is_empty());
    assert_eq!(main_row(&mut client), "coop_main 1");
}

#[test]
fn names_are_checked_in_order() {
    let (_database, mut client) = queue();
    for (names, message) in [
        ("'', 'g', 'w'", "queue name must not be empty"),
        ("'q', null, 'w'", "consumer name must not be empty"),
        ("'q', 'g', ''", "subconsumer name must not be empty"),
        ("'q', 'g.x', 'w'", "cooperative consumer name must not contain dot: g.x"),
        ("'q', 'g', 'w.x'", "cooperative subconsumer name must not contain dot: w.x"),
    ] {
        for function in ["subscribe_subconsumer", "unsubscribe_subconsumer", "touch_subconsumer", "receive_coop"] {
            assert_eq!(client.fails(&format!("select pgque.{function}({names})")), error("22023", message));
        }
    }
    assert_eq!(
        client.fails("select pgque.receive_coop('no', 'g', 'w')"),
        error("PQ001", "Event queue not created yet")
    );
    client.run("select pgque.subscribe('q', 'h.w')");
    assert_eq!(
        client.fails("select pgque.subscribe_subconsumer('q', 'h', 'w')"),
        error("PQ005", "consumer name h.w on queue q is already registered incompatibly")
    );
}

#[test]
fn the_cooperative_next_batch_merges_and_returns_the_held_window() {
    let (_database, mut client) = queue();
    client.run("select pgque.subscribe_subconsumer('q', 'g', 'w1')");
    for payload in ["1", "2", "3", "4", "5"] {
        client.run(&format!("select pgque.send('q', '{payload}')"));
        client.run("select pgque.ticker_pending()");
    }
    let custom = |worker: &str| {
        format!(
            "select concat_ws(' ', prev_tick_id, next_tick_id) from pgque.next_batch_custom('q', 'g', '{worker}', null, 2, null)"
        )
    };
    assert_eq!(client.get::<String>(&custom("w1")), "1 3");
    assert_eq!(client.get::<String>(&custom("w1")), "1 3");
    assert_eq!(client.get::<String>(&custom("w2")), "3 6");
    assert_eq!(client.get::<Option<i64>>("select pgque.next_batch('q', 'g', 'w3')"), None);
    assert_eq!(main_row(&mut client), "coop_main 6");
}
