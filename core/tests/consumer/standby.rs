//! Two consumers of one name.

use std::time::{Duration, Instant};

use pgque::runtime::wait;
use pgque::{Event, Next, Result, Status};

use crate::support::{PATIENCE, event, queue, reader};

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
