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
        let reader = Reader { client, batch: batch.id(), worker: page.worker.clone(), page_size };
        let bytes = batch.messages().iter().map(|message| message.payload.as_ref().map_or(0, String::len)).sum();
        let first = size_like(batch.messages().len(), bytes, page_size);
        let task = runtime::handle().ok()?.spawn(reader.read(first, sender));
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

/// What it takes to ask for the next page.
struct Reader {
    client: Client,
    batch: i64,
    worker: String,
    page_size: i64,
}

impl Reader {
    async fn read(self, first: i64, pages: mpsc::Sender<Ahead>) {
        if let Err(error) = self.read_to_the_end(first, pages).await {
            log::debug!(target: "pgque", "no page was read ahead: {error}");
        }
    }

    async fn read_to_the_end(&self, mut size: i64, pages: mpsc::Sender<Ahead>) -> Result<()> {
        let mut raw = self.ask(None, size).await?;
        loop {
            let (count, bytes) = raw.size();
            size = size_like(count, bytes, self.page_size);
            let (last, is_last) = (raw.last, raw.is_last);
            // Asked for before this page is decoded, so that the server works meanwhile. Both go on at once: an answer
            // that nobody takes from the connection would hold up all that is behind it, the acknowledgement above all.
            let ask = async {
                match is_last {
                    true => Ok(None),
                    false => self.ask(last, size).await.map(Some),
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

    async fn ask(&self, behind: Option<Place>, size: i64) -> Result<RawAhead> {
        self.client.read_ahead(self.batch, &self.worker, behind, size).await
    }
}

/// How many messages make a page, if so many take so much.
fn size_like(count: usize, bytes: usize, page_size: i64) -> i64 {
    let fit = (PAGE_BYTES * count.max(1)).checked_div(bytes).unwrap_or(usize::MAX);
    page_size.min(i64::try_from(fit).unwrap_or(i64::MAX)).max(1)
}
