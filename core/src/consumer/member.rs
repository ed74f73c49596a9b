//! Names for cooperative workers that were given none, and what became of their bearers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Consumer;
use super::heartbeat::dead_after;
use crate::client::Client;
use crate::error::Error;

/// By this a made-up name is told from one that somebody chose.
const AUTO_PREFIX: &str = "auto-";
/// A worker that was silent for so many dead intervals, and for so long, will not be heard of again. If it will, it
/// registers anew.
const DEAD_INTERVALS: u32 = 10;
const SILENCE_MIN: Duration = Duration::from_secs(600);
/// Where no dead interval is known.
const SILENCE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Host, process and a counter: unique where two processes of one name and number do not share a host's name.
/// Where they do, the second finds the name taken and asks for another.
pub(super) fn fresh_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let uname = rustix::system::uname();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    // A dot parts the name of the consumer from the worker's.
    format!("{}-{}-{number}", uname.nodename().to_string_lossy().replace('.', "_"), std::process::id())
}

/// In place of `auto`.
pub(super) fn auto_name() -> String {
    format!("{AUTO_PREFIX}{}", fresh_name())
}

impl Consumer {
    /// Unregisters workers with made-up names that ended without doing so themselves, once others have their batches.
    pub(super) async fn bury_the_dead(&self, client: &Client) {
        let (queue, name) = (&self.0.options.queue, &self.0.options.name);
        let known = self.0.options.dead_interval.as_ref().and_then(dead_after);
        let silence = known.map_or(SILENCE_DEFAULT, |dead| (DEAD_INTERVALS * dead).max(SILENCE_MIN));
        let buried = async {
            for member in client.silent_members(queue, name, AUTO_PREFIX, silence).await? {
                // Refused if it has taken a batch meanwhile.
                client.unsubscribe_subconsumer(queue, name, &member, 0).await?;
                log::info!(target: "pgque", "consumer {name}: unregistered {member}, which has long been silent");
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = buried.await {
            log::debug!(target: "pgque", "consumer {name}: a silent worker stays registered: {error}");
        }
    }
}
