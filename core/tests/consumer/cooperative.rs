//! Workers that share a consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgque::runtime::wait;
use pgque::{Consumer, ConsumerOptions, Event, Next, Result, Settings, Verdict};

use crate::support::{PATIENCE, consumer, dsn_with, event, eventually, number, queue};

fn worker(queue: &str, member: &str, dead_interval: &str) -> Result<Consumer> {
    let consumer = consumer(queue, "group", &[("subconsumer", member), ("dead_interval", dead_interval)])?;
    consumer.on("*")?;
    Ok(consumer)
}

#[test]
fn an_idle_worker_takes_a_dead_ones_batch_over_long_before_it_would_poll() -> Result<()> {
    wait(async {
        let client = queue("takeover").await?;
        let (dies, idle) = (worker("takeover", "dies", "0.3")?, worker("takeover", "idle", "0.3")?);
        client.subscribe_subconsumer("takeover", "group", "dies", false).await?;
        client.subscribe_subconsumer("takeover", "group", "idle", false).await?;
        event(&client, "takeover", Event::default()).await?;
        let next = dies.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        assert!(matches!(idle.next(Some(Duration::from_millis(50))).await?, Next::Idle));
        dies.close().await; // and with it the heart-beat
        let next = idle.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        client.drop_queue("takeover", true).await.map(drop)
    })
}

#[test]
fn a_worker_whose_connection_is_lost_while_its_handlers_run_is_not_taken_for_dead() -> Result<()> {
    const DEAD_AFTER: Duration = Duration::from_millis(600);
    wait(async {
        let client = queue("cut_off").await?;
        client.subscribe_subconsumer("cut_off", "group", "works", false).await?;
        event(&client, "cut_off", Event::default()).await?;
        let mut options = ConsumerOptions::new("cut_off", "group");
        options.subconsumer = Some("works".into());
        options.dead_interval = Some(DEAD_AFTER.into());
        let works = Consumer::new(Settings::parse(&dsn_with("application_name=cut_off"))?, options)?;
        let next = works.next(Some(PATIENCE)).await?;
        assert!(matches!(next, Next::Batch(_)), "{next:?}");
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut_off'";
        client.connection().expect("our own").execute(end, &[]).await?;
        tokio::time::sleep(2 * DEAD_AFTER).await;
        let stolen = client.receive_coop("cut_off", "group", "thief", 10, Some(&DEAD_AFTER.into())).await?;
        assert!(stolen.is_empty(), "the batch of a live worker was taken over");
        works.close().await;
        client.drop_queue("cut_off", true).await.map(drop)
    })
}

#[test]
fn a_worker_named_auto_registers_and_leaves_without_a_trace() -> Result<()> {
    wait(async {
        let client = queue("auto").await?;
        client.subscribe_subconsumer("auto", "group", "first", false).await?;
        event(&client, "auto", Event::default()).await?;
        let (one, two) = (worker("auto", "auto", "60")?, worker("auto", "auto", "60")?);
        let names = [one.options().subconsumer.clone(), two.options().subconsumer.clone()];
        assert_ne!(names[0], names[1]);
        assert!(names[0].as_ref().is_some_and(|n| n.contains(&std::process::id().to_string())), "{names:?}");
        let Next::Batch(_) = one.next(Some(PATIENCE)).await? else { panic!("there is a batch") };
        assert!(matches!(two.next(Some(Duration::from_millis(50))).await?, Next::Idle));
        let members = "select count(*) from pgque.subscription s join pgque.consumer c on co_id = sub_consumer \
             join pgque.queue q on queue_id = sub_queue where queue_name = 'auto' and co_name like 'group.%'";
        assert_eq!(number(&client, members).await?, 3);
        // With its batch in hand: the message goes to the retry queue, for the others.
        one.stop();
        assert!(matches!(one.next(None).await?, Next::Stopped));
        two.stop();
        assert!(matches!(two.next(None).await?, Next::Stopped));
        assert_eq!(number(&client, members).await?, 1, "only the one that was registered by hand");
        assert_eq!(
            number(
                &client,
                "select count(*) from pgque.retry_queue join pgque.queue on queue_id = ev_queue \
             where queue_name = 'auto'"
            )
            .await?,
            1
        );
        client.drop_queue("auto", true).await.map(drop)
    })
}

#[test]
fn a_worker_that_was_killed_is_unregistered_by_a_later_one() -> Result<()> {
    wait(async {
        let client = queue("buried").await?;
        let members = async || {
            let sql = "select string_agg(co_name, ' ' order by co_name) from pgque.subscription \
                 join pgque.consumer on co_id = sub_consumer join pgque.queue on queue_id = sub_queue \
                 where queue_name = 'buried' and co_name ~ '^group2?[.]' and co_name not like '%-' || $1 || '-%'";
            let own = Some(std::process::id().to_string());
            let rows = client.connection().expect("our own").execute(sql, &[own]).await?.rows;
            Ok::<_, pgque::Error>(format!("{:?}", rows[0][0]))
        };
        for name in ["auto-dead-1-1", "auto-busy-1-1", "auto-young-1-1", "chosen"] {
            client.subscribe_subconsumer("buried", "group", name, false).await?;
        }
        client.subscribe_subconsumer("buried", "group2", "auto-other-1-1", false).await?;
        event(&client, "buried", Event::default()).await?;
        assert_eq!(client.receive_coop("buried", "group", "auto-busy-1-1", 10, None).await?.len(), 1);
        let silent = |names: &str, time: &str| {
            format!(
                "update pgque.subscription set sub_active = now() - interval '{time}' from pgque.consumer, pgque.queue \
                 where co_id = sub_consumer and queue_id = sub_queue and queue_name = 'buried' and co_name ~ '{names}'"
            )
        };
        let connection = client.connection().expect("our own");
        connection.execute_script(&silent("dead|busy|chosen|other", "11 minutes")).await?;
        connection.execute_script(&silent("young", "9 minutes")).await?;
        let later = worker("buried", "auto", "30")?;
        // It takes the batch over only after it has looked for who has none.
        assert!(matches!(later.next(Some(PATIENCE)).await?, Next::Batch(_)));
        assert_eq!(
            members().await?,
            format!(
                "{:?}",
                pgque::Value::Text(
                    "group.auto-busy-1-1 group.auto-young-1-1 group.chosen group2.auto-other-1-1".into()
                )
            )
        );
        later.close().await;
        client.drop_queue("buried", true).await.map(drop)
    })
}

/// How much quicker four are is measured by `scripts/bench consumer`.
#[test]
fn four_workers_handle_four_messages_at_once() -> Result<()> {
    const WORKERS: usize = 4;
    let client = wait(queue("parallel"))?;
    wait(client.subscribe_subconsumer("parallel", "group", "first", false))?;
    for _ in 0..WORKERS {
        wait(event(&client, "parallel", Event::default()))?;
    }
    let (inside, met) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let members: Vec<Consumer> = (0..WORKERS).map(|_| worker("parallel", "auto", "60")).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        for member in &members {
            let (inside, met) = (inside.clone(), met.clone());
            scope.spawn(move || {
                pgque::blocking::run(member, move |_, _, _| {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let all = async || Ok(inside.load(Ordering::SeqCst) == WORKERS);
                    wait(eventually("all four are inside", all)).unwrap();
                    met.fetch_add(1, Ordering::SeqCst);
                    Verdict::Ack
                })
                .unwrap();
            });
        }
        wait(eventually("all have met", async || Ok(met.load(Ordering::SeqCst) == WORKERS))).unwrap();
        members.iter().for_each(Consumer::stop);
    });
    wait(client.drop_queue("parallel", true)).map(drop)
}
