//! Which events go to the server together. Pure functions.

use std::collections::HashMap;

use super::Item;
use crate::error::{Error, Kind};

/// From this length on, a run of one type is cheaper as a batch than event by event inside one statement.
const RUN_MIN: usize = 8;

/// Events for one statement, which is one transaction.
#[derive(Debug)]
pub(super) struct Shipment {
    pub items: Vec<Item>,
    /// All have the same queue, type and form, and no extra fields.
    pub uniform: bool,
}

/// The shipments for a number of events. The events of one queue keep their order, from shipment to shipment.
pub(super) fn plan(items: Vec<Item>) -> Vec<Shipment> {
    let (mut shipments, mut various) = (Vec::new(), Vec::new());
    for items in by_queue(items) {
        let runs = runs(items);
        // A queue goes either by the shared shipment or by its own, or its order would be lost between the two.
        if runs.iter().all(|run| !run.uniform) {
            various.extend(runs.into_iter().flat_map(|run| run.items));
        } else {
            shipments.extend(runs);
        }
    }
    if !various.is_empty() {
        shipments.push(Shipment { items: various, uniform: false });
    }
    shipments
}

fn by_queue(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut queues: Vec<Vec<Item>> = Vec::new();
    for item in items {
        let place = match places.get(&item.queue) {
            Some(place) => *place,
            None => {
                places.insert(item.queue.clone(), queues.len());
                queues.push(Vec::new());
                queues.len() - 1
            }
        };
        queues[place].push(item);
    }
    queues
}

/// Long runs of equal events by themselves, everything between them together.
fn runs(items: Vec<Item>) -> Vec<Shipment> {
    let mut shipments: Vec<Shipment> = Vec::new();
    let mut items = items.into_iter().peekable();
    while let Some(first) = items.next() {
        let mut run = vec![first];
        while let Some(next) = items.next_if(|next| run[0].event.is_like(&next.event)) {
            run.push(next);
        }
        let uniform = run.len() >= RUN_MIN;
        match shipments.last_mut() {
            Some(last) if !last.uniform && !uniform => last.items.append(&mut run),
            _ => shipments.push(Shipment { items: run, uniform }),
        }
    }
    shipments
}

/// What to try after the server refused a shipment: two halves, or nothing if the refusal is everybody's.
pub(super) fn halves(shipment: Shipment, error: &Error) -> Result<[Shipment; 2], Vec<Item>> {
    let Shipment { mut items, uniform } = shipment;
    let one_queue = || items.iter().all(|item| item.queue == items[0].queue);
    let everybodys = match error.kind() {
        Kind::InvalidInput | Kind::Server => false,
        Kind::QueueNotFound | Kind::Conflict => one_queue(),
        _ => true,
    };
    if everybodys || items.len() < 2 {
        return Err(items);
    }
    let second = items.split_off(items.len() / 2);
    Ok([Shipment { items, uniform }, Shipment { items: second, uniform }])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1` is an event of type 1 for queue a, with an extra field if written `a1+`.
    fn items(spelt: &str) -> Vec<Item> {
        let item = |word: &str| Item::of(&word[..1], &word[1..2], word.ends_with('+'));
        spelt.split(' ').map(item).collect()
    }

    fn spell(shipments: &[Shipment]) -> Vec<String> {
        let word = |item: &Item| format!("{}{}", item.queue, item.event.event_type.as_deref().unwrap_or("?"));
        let line = |s: &Shipment| s.items.iter().map(word).collect::<Vec<_>>().join(" ");
        shipments.iter().map(|s| format!("{}{}", if s.uniform { "=" } else { "" }, line(s))).collect()
    }

    fn times(word: &str, n: usize) -> String {
        vec![word; n].join(" ")
    }

    #[test]
    fn short_runs_of_all_queues_go_together_and_long_ones_by_themselves() {
        assert_eq!(spell(&plan(items("a1 b1 a2"))), ["a1 a2 b1"]);
        let long = times("a1", RUN_MIN);
        assert_eq!(spell(&plan(items(&format!("{long} b1")))), [format!("={long}"), "b1".to_owned()]);
    }

    #[test]
    fn a_queue_keeps_its_order_from_shipment_to_shipment() {
        let long = times("a1", RUN_MIN);
        let planned = plan(items(&format!("a2 a3 b1 {long} a2")));
        assert_eq!(spell(&planned), ["a2 a3".to_owned(), format!("={long}"), "a2".to_owned(), "b1".to_owned()]);
    }

    #[test]
    fn extra_fields_end_a_run() {
        let long = times("a1", RUN_MIN - 1);
        assert!(plan(items(&format!("{long} a1+"))).iter().all(|s| !s.uniform));
        assert!(plan(items(&times("a1+", 2 * RUN_MIN))).iter().all(|s| !s.uniform));
    }

    #[test]
    fn a_refusal_is_narrowed_down_to_whom_it_concerns() {
        let refuse = |spelt: &str, kind| {
            let shipment = Shipment { items: items(spelt), uniform: false };
            halves(shipment, &Error::new(kind, "send", "")).map(|halves| spell(&halves))
        };
        assert_eq!(refuse("a1 a2 a3", Kind::Server).unwrap(), ["a1", "a2 a3"]);
        assert_eq!(refuse("a1 b1", Kind::QueueNotFound).unwrap(), ["a1", "b1"]);
        assert_eq!(refuse("a1 a2", Kind::QueueNotFound).unwrap_err().len(), 2);
        assert_eq!(refuse("a1 b2", Kind::PermissionDenied).unwrap_err().len(), 2);
        assert_eq!(refuse("a1", Kind::Server).unwrap_err().len(), 1);
    }
}
