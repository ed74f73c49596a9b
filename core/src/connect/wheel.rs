//! Who drives a connection: a task of the runtime, or the very thread that waits in a blocking call.
//!
//! By the task, a statement costs two changes of threads: one to have it written, one to hear of the answer. A thread
//! that has to wait in any case does both itself, and the task goes on when it has done.

use std::cell::Cell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::session::Events;
use super::stream::Line;
use super::wire::Driver;
use crate::park;

/// The driver, in the hands of one thread at a time.
pub(super) struct Wheel {
    /// `None` once the connection has ended.
    driver: Mutex<Option<Driver>>,
    events: Arc<Events>,
    line: Arc<Line>,
    /// Wakes the task.
    keeper: AtomicWaker,
    /// The task had a look while a thread was at the wheel, and was not told to look again.
    missed: AtomicBool,
    /// A thread has handed a statement over and has yet to see to it that it is written.
    unsent: AtomicBool,
    /// How many wait for answers.
    waiting: AtomicUsize,
}

thread_local! {
    /// The wheel to which this thread hands a statement just now, meaning to drive it right after.
    static HANDING_OVER: Cell<*const Wheel> = const { Cell::new(std::ptr::null()) };
}

impl Wheel {
    pub fn new(driver: Driver, events: Arc<Events>, line: Arc<Line>) -> Arc<Wheel> {
        Arc::new(Wheel {
            driver: Mutex::new(Some(driver)),
            events,
            line,
            keeper: AtomicWaker::new(),
            missed: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The task: drives the connection to its end, whenever nobody else does.
    pub async fn keep(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        std::future::poll_fn(|cx| {
            self.keeper.register(cx.waker());
            let mut driver = self.driver();
            if self.turn(&mut driver, &waker) {
                return Poll::Ready(());
            }
            if self.line.is_led() {
                self.missed.store(true, Ordering::SeqCst);
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
    fn turn(&self, driver: &mut Option<Driver>, waker: &Waker) -> bool {
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
        let _leave = Leave(self);
        // With company the task does better: it writes and reads for all of them at once.
        let alone = self.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        std::future::poll_fn(|cx| {
            if !alone || !self.lead() {
                self.pass_on();
                return statement.as_mut().poll(cx);
            }
            let polled = self.quietly(|| statement.as_mut().poll(cx));
            if polled.is_pending() {
                // Writes it; if the answer is there already this thread is woken before it sleeps.
                park::turn();
            }
            polled
        })
        .await
    }

    /// Hands a statement over without waking the task. The caller goes on with [`Wheel::answer`].
    pub fn quietly<T>(&self, hand_over: impl FnOnce() -> T) -> T {
        if !park::is_blocking() {
            return hand_over();
        }
        HANDING_OVER.set(self);
        let result = hand_over();
        HANDING_OVER.set(std::ptr::null());
        result
    }

    /// Has the task do what this thread cannot do itself.
    fn pass_on(&self) {
        if self.unsent.swap(false, Ordering::SeqCst) {
            self.keeper.wake();
        }
    }

    fn driver(&self) -> MutexGuard<'_, Option<Driver>> {
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
            self.keeper.wake();
        }
    }
}

/// Nobody may be left at the wheel who does not wait any more, however the wait has ended.
struct Leave<'a>(&'a Arc<Wheel>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        park::leave(Arc::as_ptr(self.0).cast());
        self.0.pass_on();
    }
}

#[cfg(target_os = "linux")]
mod led {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::task::Waker;

    use super::Wheel;
    use crate::park::{self, Led};

    /// A thread's hold on the wheel.
    struct Lead {
        wheel: Arc<Wheel>,
        waker: Waker,
    }

    impl Wheel {
        /// Whether this thread is at the wheel, as one that blocks may be.
        pub(super) fn lead(self: &Arc<Self>) -> bool {
            park::lead(Arc::as_ptr(self).cast(), || {
                // With the driver locked nobody is about to wait at the gate that is now shut.
                let driver = self.driver();
                if driver.is_none() || self.line.is_led() {
                    return None;
                }
                // Before it sleeps the thread looks whether there is.
                self.line.set_readable(false);
                self.line.set_led(true);
                let lead = Lead { wheel: self.clone(), waker: Waker::from(self.clone()) };
                Some(Box::new(lead))
            })
        }
    }

    impl Led for Lead {
        fn fd(&self) -> BorrowedFd<'_> {
            self.wheel.line.as_fd()
        }

        fn wants_to_write(&self) -> bool {
            self.wheel.line.wants_to_write()
        }

        fn set_readable(&self) {
            self.wheel.line.set_readable(true);
        }

        fn turn(&self) {
            self.wheel.unsent.store(false, Ordering::SeqCst);
            self.wheel.turn(&mut self.wheel.driver(), &self.waker);
        }
    }

    impl Drop for Lead {
        fn drop(&mut self) {
            let driver = self.wheel.driver();
            self.wheel.line.set_led(false);
            let missed = self.wheel.missed.swap(false, Ordering::SeqCst);
            drop(driver);
            if missed {
                self.wheel.keeper.wake();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Wheel {
    fn lead(self: &Arc<Self>) -> bool {
        false
    }
}
