//! Tells the other workers of a group that this one lives, while its handlers run.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::batch::Page;
use super::options::ConsumerOptions;
use crate::client::{Client, Interval};
use crate::connect::{Connection, Settings};
use crate::error::{Kind, Result};
use crate::runtime;

/// Without a `dead_interval` of our own, another worker's is unknown; ten seconds suits any sensible one.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// How long a page stays ours without a word from us: as long as it takes another to go on after our death.
pub(super) const PAGE_LEASE: Duration = Duration::from_secs(15);

/// A task on the runtime's own thread, so that a blocked interpreter does not silence it. Ends when dropped.
pub(super) struct Heartbeat(JoinHandle<()>);

/// What has to be kept.
struct Beat {
    queue: String,
    consumer: String,
    member: Option<String>,
    page: Option<Page>,
}

impl Heartbeat {
    /// `None` where nobody would take the batch over: it is whole, and its consumer not cooperative.
    pub(super) fn start(
        client: Client,
        settings: &Settings,
        options: &ConsumerOptions,
        member: Option<&str>,
        page: Option<Page>,
    ) -> Option<Heartbeat> {
        if member.is_none() && page.is_none() {
            return None;
        }
        let beat = Beat {
            queue: options.queue.clone(),
            consumer: options.name.clone(),
            member: member.map(str::to_owned),
            page,
        };
        let pause = interval(options.dead_interval.as_ref(), beat.page.is_some());
        let task = beat.go_on(client, settings.clone().reconnect(true), pause);
        Some(Heartbeat(runtime::handle().ok()?.spawn(task)))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Beat {
    async fn go_on(self, mut client: Client, settings: Settings, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            let Err(error) = self.once(&client).await else { continue };
            log::warn!(target: "pgque", "consumer {}: heart-beat failed: {error}", self.consumer);
            // The loop replaces its connection only after the handlers; until then this has one of its own.
            if error.kind() == Kind::Connection
                && let Ok(connection) = Connection::open(settings.clone()).await
            {
                client = Client::over(connection);
                let _ = self.once(&client).await;
            }
        }
    }

    async fn once(&self, client: &Client) -> Result<()> {
        if let Some(member) = &self.member {
            client.touch_subconsumer(&self.queue, &self.consumer, member).await?;
        }
        if let Some(page) = &self.page {
            client.renew_page(&page.token, &page.worker).await?;
        }
        Ok(())
    }
}

/// A third of the time after which the others give us up, so that two beats may be lost.
fn interval(dead_interval: Option<&Interval>, paged: bool) -> Duration {
    let third = |dead| dead_after(dead).unwrap_or_default() / 3;
    let longest = if paged { PAGE_LEASE / 3 } else { INTERVAL_MAX };
    dead_interval.map_or(longest, third).clamp(INTERVAL_MIN, longest)
}

/// The length of a dead interval; `None` where it is not known here, and then the shortest interval is safe.
pub(super) fn dead_after(dead_interval: &Interval) -> Option<Duration> {
    Duration::try_from_secs_f64(dead_interval.seconds()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_three_times_within_the_dead_interval() {
        let of = |text: &str| interval(Some(&Interval::Text(text.into())), false);
        assert_eq!(of("3 seconds"), Duration::from_secs(1));
        assert_eq!(of("600 ms"), Duration::from_millis(200));
        assert_eq!(of("2 hours"), INTERVAL_MAX);
        assert_eq!(of("00:00:03"), INTERVAL_MIN);
        assert_eq!(interval(None, false), INTERVAL_MAX);
        assert!(3 * interval(None, true) <= PAGE_LEASE);
    }
}
