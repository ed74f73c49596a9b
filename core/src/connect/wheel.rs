//! Who drives a connection: a task of the runtime, or one of the very threads that wait in blocking calls.
//!
//! By the task, a statement costs two changes of threads: one to have it written, one to hear of the answer. A thread
//! that has to wait in any case does both itself. Of several that wait, one reads for all; the others write what they
//! have and sleep until their own answers are there. It hands the wheel on when its own is, and the last of them to the
//! task.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::crew::{Crew, Place};
use super::session::Events;
use super::stream::Line;
use super::wire::Driver;
use crate::park;

/// The driver, in the hands of one thread at a time.
pub(super) struct Wheel {
    /// `None` once the connection has ended.
    pub(super) driver: Mutex<Option<Driver>>,
    events: Arc<Events>,
    pub(super) line: Arc<Line>,
    /// Wakes the task.
    pub(super) keeper: AtomicWaker,
    /// A thread has handed a statement over that is yet to be written. Whoever lets go of the driver looks here.
    pub(super) unsent: AtomicBool,
    pub(super) crew: Crew,
}

thread_local! {
    /// The wheel to which this thread hands a statement just now, meaning to see to it right after.
    static HANDING_OVER: Cell<*const Wheel> = const { Cell::new(std::ptr::null()) };
}

impl Wheel {
    pub fn new(driver: Driver, events: Arc<Events>, line: Arc<Line>) -> Arc<Wheel> {
        Arc::new(Wheel {
            driver: Mutex::new(Some(driver)),
            events,
            line,
            keeper: AtomicWaker::new(),
            unsent: AtomicBool::new(false),
            crew: Crew::default(),
        })
    }

    /// The task: drives the connection to its end, whenever nobody else does.
    pub async fn keep(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        std::future::poll_fn(|cx| {
            self.keeper.register(cx.waker());
            let mut driver = self.driver();
            let end_of_rest = self.watch();
            if self.turn(&mut driver, &waker) {
                return Poll::Ready(());
            }
            drop(driver);
            // Handed over meanwhile.
            self.pass_on();
            if let Some(end) = end_of_rest {
                alarm.as_mut().reset(end.into());
                if alarm.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Ends the connection at once.
    pub fn stop(&self) {
        let driver = self.driver().take();
        // Without the lock: what waits for the driver is told while it is dropped.
        drop(driver);
        self.keeper.wake();
    }

    /// Does what can be done without waiting; whether the connection has ended. Whoever does so, the driver keeps one
    /// and the same waker, so that it never wakes somebody who has gone.
    pub(super) fn turn(&self, driver: &mut Option<Driver>, waker: &Waker) -> bool {
        let mut context = Context::from_waker(waker);
        loop {
            let Some(running) = driver else { return true };
            let polled = running.poll_message(&mut context);
            self.events.note_time_zone(running);
            match polled {
                Poll::Pending => return false,
                Poll::Ready(message) => {
                    if self.events.is_end(message) {
                        *driver = None;
                    }
                }
            }
        }
    }

    /// The answer to a statement. In a blocking call the calling thread drives the connection meanwhile, unless another
    /// one does.
    pub async fn answer<T>(self: &Arc<Self>, statement: impl Future<Output = T>) -> T {
        let mut statement = pin!(statement);
        let mut place = Place::new(self);
        std::future::poll_fn(|cx| {
            let polled = self.quietly(|| statement.as_mut().poll(cx));
            if polled.is_pending() {
                place.take(cx.waker());
            }
            polled
        })
        .await
    }

    /// Hands a statement over without waking anybody. The caller goes on with [`Wheel::answer`].
    pub fn quietly<T>(&self, hand_over: impl FnOnce() -> T) -> T {
        if !park::is_blocking() {
            return hand_over();
        }
        HANDING_OVER.set(self);
        let result = hand_over();
        HANDING_OVER.set(std::ptr::null());
        result
    }

    /// Has what was handed over be written by whoever is at the wheel.
    pub fn pass_on(&self) {
        if self.unsent.swap(false, Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// Has whoever is at the wheel do what there is to do.
    fn rouse(&self) {
        if !self.crew.rouse() {
            self.keeper.wake();
        }
    }

    pub(super) fn driver(&self) -> MutexGuard<'_, Option<Driver>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's own waker.
impl Wake for Wheel {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if HANDING_OVER.get() == Arc::as_ptr(self) {
            self.unsent.store(true, Ordering::SeqCst);
        } else {
            self.rouse();
        }
    }
}
