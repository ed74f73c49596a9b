//! The next pages of a large batch, fetched while the handlers have the one before.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::{Batch, Page};
use crate::client::{Ahead, Client};
use crate::message::Message;
use crate::runtime;

/// What a page may hold in payloads, as far as the page before lets guess. Three pages are held at once: the one in
/// hand, one that waits, and one on its way, so that neither the server nor the handlers wait for the other.
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
        let (id, worker, size) = (batch.id(), page.worker.clone(), size_like(batch.messages(), page_size));
        let task = runtime::handle().ok()?.spawn(read(client, id, worker, size, page_size, sender));
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

async fn read(client: Client, batch: i64, worker: String, first: i64, page_size: i64, pages: mpsc::Sender<Ahead>) {
    let mut size = first;
    let mut behind = None;
    loop {
        let ahead = match client.read_ahead(batch, &worker, behind, size).await {
            Ok(ahead) => ahead,
            Err(error) => return log::debug!(target: "pgque", "no page was read ahead: {error}"),
        };
        size = size_like(&ahead.messages, page_size);
        behind = ahead.last;
        let is_last = ahead.is_last;
        if pages.send(ahead).await.is_err() || is_last {
            return;
        }
    }
}

/// How many messages such as these make a page.
fn size_like(messages: &[Message], page_size: i64) -> i64 {
    let bytes: usize = messages.iter().map(|message| message.payload.as_ref().map_or(0, String::len)).sum();
    let fit = (PAGE_BYTES * messages.len().max(1)).checked_div(bytes).unwrap_or(usize::MAX);
    page_size.min(i64::try_from(fit).unwrap_or(i64::MAX)).max(1)
}
