//! A shipment on its way.

use std::pin::Pin;

use futures_util::future::{MaybeDone, maybe_done};
use futures_util::poll;

use super::plan::Shipment;
use crate::client::{Attempt, Client, Parcel, Turn};
use crate::error::{Error, Kind, Result};
use crate::executor::BoxFuture;

pub(super) struct Flight {
    pub shipment: Shipment,
    /// The number of the connection that it was sent by.
    pub link: u64,
    /// `None` where there is but one at a time.
    pub turn: Option<Turn>,
    answer: Pin<Box<MaybeDone<BoxFuture<'static, Result<Attempt>>>>>,
}

impl Flight {
    /// Sends the shipment.
    pub async fn start(client: Client, shipment: Shipment, link: u64, turn: Option<Turn>) -> Flight {
        let answer: BoxFuture<'static, _> = Box::pin(client.ship(parcel(&shipment, turn)));
        let mut answer = Box::pin(maybe_done(answer));
        // The first look is what sends it.
        let _ = poll!(answer.as_mut());
        Flight { shipment, link, turn, answer }
    }

    /// What became of it, once.
    pub async fn answer(&mut self) -> Result<Attempt> {
        self.answer.as_mut().await;
        let taken = || Err(Error::new(Kind::Internal, "send", "the answer was taken before"));
        self.answer.as_mut().take_output().unwrap_or_else(taken)
    }
}

fn parcel(shipment: &Shipment, turn: Option<Turn>) -> Parcel {
    match shipment.items.first() {
        Some(only) if shipment.items.len() == 1 => Parcel::one(&only.queue, &only.event, turn),
        Some(first) if shipment.uniform => {
            let events: Vec<_> = shipment.items.iter().map(|item| &item.event).collect();
            Parcel::uniform(&first.queue, &events, turn)
        }
        _ => {
            let events: Vec<_> = shipment.items.iter().map(|item| (item.queue.as_str(), &item.event)).collect();
            Parcel::various(&events, turn)
        }
    }
}
