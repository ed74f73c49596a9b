//! The next pages of a large batch, fetched while the handlers have the one before.

use futures_util::future::join;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::{Batch, Page};
use crate::client::{Ahead, Client, Place, RawAhead};
use crate::error::{Error, Result};
use crate::runtime;

/// What a page may hold in payloads, as far as the page before lets guess. Four pages are held at once: the one in
/// hand, two that wait, and one on its way, so that neither the server nor the handlers wait for the other.
const PAGE_BYTES: usize = 4 << 20;

/// Reads one batch to its end. Given up when dropped.
pub(super) struct ReadingAhead {
    pages: mpsc::Receiver<Ahead>,
    task: JoinHandle<()>,
}

impl ReadingAhead {
    /// Begins with what follows the page.
    pub(super) fn start(client: Client, batch: &Batch, page: &Page, page_size: i64) -> Option<ReadingAhead> {
        let (sender, pages) = mpsc::channel(1);
        let (batch_id, worker) = (batch.id(), page.worker.clone());
        let bytes = batch.messages().iter().map(|message| message.payload.as_ref().map_or(0, String::len)).sum();
        let first = size_like(batch.messages().len(), bytes, page_size);
        let source = Server { client, batch_id, worker };
        let read = async move {
            if let Err(error) = read_to_the_end(&source, first, page_size, sender).await {
                log::debug!(target: "pgque", "no page was read ahead: {error}");
            }
        };
        let task = runtime::handle().ok()?.spawn(read);
        Some(ReadingAhead { pages, task })
    }

    /// `None` if there is none for a reason that the next page's own request will tell.
    pub(super) async fn next(&mut self) -> Option<Ahead> {
        self.pages.recv().await
    }
}

impl Drop for ReadingAhead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where pages come from.
trait Source {
    fn ask(&self, behind: Option<Place>, size: i64) -> impl Future<Output = Result<RawAhead>> + Send;
}

struct Server {
    client: Client,
    batch_id: i64,
    worker: String,
}

impl Source for Server {
    async fn ask(&self, behind: Option<Place>, size: i64) -> Result<RawAhead> {
        self.client.read_ahead(self.batch_id, &self.worker, behind, size).await
    }
}

/// Asks for one page after the other, until the last is handed over or nobody wants the next.
async fn read_to_the_end(
    source: &impl Source,
    mut size: i64,
    page_size: i64,
    pages: mpsc::Sender<Ahead>,
) -> Result<()> {
    let mut raw = source.ask(None, size).await?;
    loop {
        let (count, bytes) = raw.size();
        size = size_like(count, bytes, page_size);
        let (last, is_last) = (raw.last, raw.is_last);
        // Asked for before this page is decoded, so that the server works meanwhile. Both go on at once: an answer
        // that nobody takes from the connection would hold up all that is behind it, the acknowledgement above all.
        let ask = async {
            match is_last {
                true => Ok(None),
                false => source.ask(last, size).await.map(Some),
            }
        };
        let hand_over = async { Ok::<_, Error>(pages.send(raw.decode()?).await.is_ok()) };
        let (next, wanted) = join(ask, hand_over).await;
        raw = match (next?, wanted?) {
            (Some(next), true) => next,
            _ => return Ok(()),
        };
    }
}

/// How many messages make a page, if so many take so much.
fn size_like(count: usize, bytes: usize, page_size: i64) -> i64 {
    let fit = (PAGE_BYTES * count.max(1)).checked_div(bytes).unwrap_or(usize::MAX);
    page_size.min(i64::try_from(fit).unwrap_or(i64::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Answers in several parts, without end.
    #[derive(Default)]
    struct Parts {
        asked: AtomicUsize,
        answered: AtomicUsize,
    }

    impl Source for Parts {
        async fn ask(&self, _: Option<Place>, _: i64) -> Result<RawAhead> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            Ok(RawAhead::empty())
        }
    }

    #[test]
    fn an_answer_is_taken_from_the_connection_also_when_no_page_is_wanted_yet() {
        let (sender, mut pages) = mpsc::channel(1);
        let source = Parts::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let reading = read_to_the_end(&source, 10, 10, sender);
            tokio::time::timeout(Duration::from_millis(100), reading).await.expect_err("it waits for a taker");
        });
        let asked = source.asked.into_inner();
        assert!(asked > 1, "it is ahead");
        assert_eq!(source.answered.into_inner(), asked, "and nothing is under way");
        assert!(pages.try_recv().is_ok());
    }
}
