//! Two consumers of one name.

use std::time::{Duration, Instant};

use pgque::runtime::wait;
use pgque::{Consumer, ConsumerOptions, Event, Next, Result, Settings, Status, Verdict};

use crate::support::{PATIENCE, batch, dsn_with, event, eventually, queue, reader};

#[test]
fn the_second_waits_and_takes_over_when_the_first_goes() -> Result<()> {
    wait(async {
        let client = queue("standby").await?;
        event(&client, "standby", Event::default()).await?;
        let (first, second) = (reader("standby", &[])?, reader("standby", &[])?);
        let Next::Batch(open) = first.next(Some(PATIENCE)).await? else { panic!("there is a batch") };
        assert!(matches!(second.next(Some(Duration::from_millis(300))).await?, Next::Idle));
        assert_eq!(second.health().status, Status::Standby);
        assert!(second.health().is_alive());
        first.close().await;
        let began = Instant::now();
        let Next::Batch(again) = second.next(Some(PATIENCE)).await? else { panic!("the batch comes again") };
        assert!(began.elapsed() < Duration::from_secs(3));
        assert_eq!(again.messages()[0].msg_id, open.messages()[0].msg_id);
        second.close().await;
        client.drop_queue("standby", true).await.map(drop)
    })
}

#[test]
fn a_batch_whose_connection_is_lost_is_handled_no_further() -> Result<()> {
    wait(async {
        let client = queue("cut_short").await?;
        let sent = batch(&client, "cut_short", 100).await?;
        let options = ConsumerOptions::new("cut_short", "reader");
        let first = Consumer::new(Settings::parse(&dsn_with("application_name=cut_short"))?, options)?;
        first.on("*")?;
        let Next::Batch(batch) = first.next(Some(PATIENCE)).await? else { panic!("there is a batch") };
        let index = batch.take().expect("the first message");
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut_short'";
        client.connection().expect("our own").execute(end, &[]).await?;
        // Its turn is over, and another's may have begun.
        let mut taken = 1;
        eventually("the loss is noticed", async || {
            let more = batch.take();
            taken += usize::from(more.is_some());
            Ok(more.is_none())
        })
        .await?;
        assert!(taken < 100, "all were handed out");
        batch.settle(index, Verdict::Ack);
        first.finish(&batch).await?;
        assert_eq!(first.stats().failed, 0, "nobody had the rest");
        let Next::Batch(again) = first.next(Some(PATIENCE)).await? else { panic!("it comes again") };
        assert_eq!(again.messages().iter().map(|m| m.msg_id).collect::<Vec<_>>(), sent);
        first.close().await;
        client.drop_queue("cut_short", true).await.map(drop)
    })
}
