//! `pgque send`: payloads from the arguments or, one a line, from standard input.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::args::Sending;
use super::failure::{Failure, Outcome};
use super::output;
use crate::client::{Client, Payloads};
use crate::message::{Event, Payload, stored_type};
use crate::runtime::wait;

/// Events in one statement, and so in one transaction.
const CHUNK_LINES_MAX: usize = 1000;
/// A chunk is sent once it holds so many bytes; it is larger by one line at most.
const CHUNK_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(client: &Client, sending: &Sending) -> Outcome {
    match sending.reads_stdin() {
        false => send(client, sending, sending.payload.clone()),
        true => send_lines(client, sending, read_lines(!sending.text)),
    }
}

/// Sends what has come in by now, so that a slow producer is not kept waiting and a fast one is not held up.
fn send_lines(client: &Client, sending: &Sending, lines: Receiver<io::Result<String>>) -> Outcome {
    let (mut sent, mut progress) = (0, Progress::new());
    // Extra fields are for single events, which must not be half a chunk when one fails.
    let lines_max = if sending.has_extra() { 1 } else { CHUNK_LINES_MAX };
    while let Ok(first) = lines.recv() {
        let unreadable = |error| after(sent, 1, Failure::Other(format!("send: standard input: {error}")));
        let mut chunk = vec![first.map_err(unreadable)?];
        let mut bytes = chunk[0].len();
        while chunk.len() < lines_max && bytes < CHUNK_BYTES_MAX {
            let Ok(line) = lines.try_recv() else { break };
            let line = line.map_err(unreadable)?;
            bytes += line.len();
            chunk.push(line);
        }
        let count = chunk.len();
        send(client, sending, chunk).map_err(|failure| after(sent, count, failure))?;
        sent += count;
        progress.show(sent);
    }
    Ok(())
}

/// The lines that hold an event. Bounded, so that a long input is not read into memory.
fn read_lines(skip_blank: bool) -> Receiver<io::Result<String>> {
    let (sender, receiver) = sync_channel(CHUNK_LINES_MAX);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let blank = line.as_ref().is_ok_and(|l| l.trim().is_empty());
            // The receiver is gone once a chunk has failed.
            if !(skip_blank && blank) && sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Sends all or none, except with extra fields, which only single events have, and prints the ids.
fn send(client: &Client, sending: &Sending, payloads: Vec<String>) -> Outcome {
    if payloads.len() > 1 && !sending.has_extra() {
        return send_batch(client, sending, payloads);
    }
    for payload in payloads {
        let payload = match sending.text {
            true => Payload::Text(Some(payload)),
            false => Payload::Json(payload),
        };
        let event = Event { event_type: sending.event_type.clone(), payload, extra: sending.extra() };
        let id = wait(async { client.send(&sending.queue, &event).await })?;
        output::line(&id.to_string())?;
    }
    Ok(())
}

fn send_batch(client: &Client, sending: &Sending, payloads: Vec<String>) -> Outcome {
    let payloads = match sending.text {
        true => Payloads::Text(payloads.into_iter().map(Some).collect()),
        false => Payloads::Json(payloads),
    };
    // A batch takes the type as it is; without one its events are to be like those sent singly.
    let event_type = stored_type(sending.event_type.as_deref());
    let ids = wait(client.send_batch(&sending.queue, Some(event_type), payloads))?;
    let lines: Vec<String> = ids.iter().map(ToString::to_string).collect();
    output::line(&lines.join("\n"))
}

/// Tells which part of the input is in the queue when a later one fails.
fn after(sent: usize, count: usize, failure: Failure) -> Failure {
    match failure {
        Failure::BrokenPipe => failure,
        other if sent == 0 && count == 1 => other,
        other => {
            let (first, last) = (sent + 1, sent + count);
            Failure::Other(format!("{other}; of the input, events 1 to {sent} are sent, {first} to {last} are not"))
        }
    }
}

/// A count on a terminal that shows nothing else.
struct Progress {
    shown: bool,
    wanted: bool,
}

impl Progress {
    fn new() -> Progress {
        let wanted = io::stderr().is_terminal() && !io::stdout().is_terminal() && !io::stdin().is_terminal();
        Progress { shown: false, wanted }
    }

    fn show(&mut self, sent: usize) {
        if self.wanted {
            self.shown = true;
            let _ = write!(io::stderr(), "\r{sent} sent");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
