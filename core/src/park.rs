//! How a thread waits in a blocking call: for the word that its call is done, and meanwhile, if it drives a connection
//! by itself, for the bytes that come in there.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use parker::Parker;

thread_local! {
    /// Whether this thread is in a blocking call just now, and not a worker of a runtime.
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
    /// What it drives meanwhile, and whose that is.
    static LEADING: RefCell<Option<(*const (), Box<dyn Led>)>> = const { RefCell::new(None) };
}

/// A connection that the waiting thread drives. Dropped, it is somebody else's to drive.
pub(crate) trait Led {
    #[cfg(target_os = "linux")]
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
    fn wants_to_write(&self) -> bool;
    /// Told after a sleep whether there is something to read.
    fn set_readable(&self);
    /// Does what can be done without waiting.
    fn turn(&self);
}

/// Polls for so long at most; `None` if that was not enough.
pub(crate) fn poll_for<F: Future>(
    mut future: Pin<&mut F>,
    parker: &Parker,
    waker: &Waker,
    limit: Option<Duration>,
) -> Option<F::Output> {
    let mut context = Context::from_waker(waker);
    let mut end = None;
    loop {
        BLOCKING.set(true);
        let polled = future.as_mut().poll(&mut context);
        BLOCKING.set(false);
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        let left = match limit {
            None => None,
            Some(limit) => {
                let now = Instant::now();
                let left = end.get_or_insert_with(|| now + limit).saturating_duration_since(now);
                if left.is_zero() {
                    // The host's signal handlers, which may run now, may use the connection themselves.
                    LEADING.take();
                    return None;
                }
                Some(left)
            }
        };
        LEADING.with_borrow(|leading| match leading {
            None => parker.park(None, left),
            Some((_, led)) => {
                parker.park(Some(led.as_ref()), left);
                led.turn();
            }
        });
    }
}

pub(crate) fn is_blocking() -> bool {
    BLOCKING.get()
}

/// Whether this thread drives what is meant, now if not before. Only one that is in a blocking call does, and only one
/// connection at a time.
#[cfg(target_os = "linux")]
pub(crate) fn lead(whose: *const (), take: impl FnOnce() -> Option<Box<dyn Led>>) -> bool {
    is_blocking()
        && LEADING.with_borrow_mut(|leading| {
            if leading.is_none() {
                *leading = take().map(|led| (whose, led));
            }
            leading.as_ref().is_some_and(|(led, _)| *led == whose)
        })
}

/// Drives what this thread drives.
pub(crate) fn turn() {
    LEADING.with_borrow(|leading| {
        if let Some((_, led)) = leading {
            led.turn();
        }
    });
}

/// Ends this thread's driving of what is meant, if it does so.
pub(crate) fn leave(whose: *const ()) {
    // Without a value while the thread ends.
    let _ = LEADING.try_with(|leading| leading.borrow_mut().take_if(|(led, _)| *led == whose));
}

#[cfg(target_os = "linux")]
mod parker {
    use std::cell::RefCell;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

    use super::Led;
    use crate::error::{Error, Kind, Result};

    const IDLE: u8 = 0;
    const WOKEN: u8 = 1;
    const ASLEEP: u8 = 2;

    /// Where a thread sleeps, and what wakes it.
    pub(crate) struct Parker {
        state: AtomicU8,
        bell: OwnedFd,
        /// A forked child would share the bell with its parent.
        pid: u32,
    }

    thread_local! {
        static PARKER: RefCell<Option<Arc<Parker>>> = const { RefCell::new(None) };
    }

    impl Parker {
        /// This thread's.
        pub(crate) fn of_this_thread() -> Result<Arc<Parker>> {
            PARKER.with_borrow_mut(|slot| {
                let pid = std::process::id();
                if let Some(parker) = slot.as_ref().filter(|parker| parker.pid == pid) {
                    return Ok(parker.clone());
                }
                let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
                    .map_err(|e| Error::new(Kind::Internal, "wait", e.to_string()))?;
                Ok(slot.insert(Arc::new(Parker { state: AtomicU8::new(IDLE), bell, pid })).clone())
            })
        }

        /// Sleeps until it is woken, the connection has something, or the time is over; also for no reason at all.
        pub(crate) fn park(&self, led: Option<&dyn Led>, limit: Option<Duration>) {
            if self.state.compare_exchange(IDLE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                // Woken since the last look.
                self.state.store(IDLE, Ordering::SeqCst);
                return;
            }
            let bell = PollFd::new(&self.bell, PollFlags::IN);
            let limit = limit.map(|limit| Timespec {
                tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: limit.subsec_nanos().into(),
            });
            // Interrupted, or without memory, it is only a short sleep.
            let _ = match led {
                None => poll(&mut [bell], limit.as_ref()),
                Some(led) => {
                    let write = if led.wants_to_write() { PollFlags::OUT } else { PollFlags::empty() };
                    let line = PollFd::from_borrowed_fd(led.fd(), PollFlags::IN | write);
                    let mut both = [bell, line];
                    let result = poll(&mut both, limit.as_ref());
                    // An error and the end are to be read as well.
                    if !both[1].revents().difference(PollFlags::OUT).is_empty() {
                        led.set_readable();
                    }
                    result
                }
            };
            if self.state.swap(IDLE, Ordering::SeqCst) == WOKEN {
                // Perhaps not rung yet; then the next sleep is a short one.
                let _ = rustix::io::read(&self.bell, &mut [0; 8]);
            }
        }
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            if self.state.swap(WOKEN, Ordering::SeqCst) == ASLEEP {
                let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod parker {
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread::{self, Thread};
    use std::time::Duration;

    use super::Led;
    use crate::error::Result;

    /// What wakes a thread that sleeps.
    pub(crate) struct Parker(Thread);

    impl Parker {
        /// This thread's.
        pub(crate) fn of_this_thread() -> Result<Arc<Parker>> {
            Ok(Arc::new(Parker(thread::current())))
        }

        /// Sleeps until it is woken or the time is over; also for no reason at all.
        pub(crate) fn park(&self, _: Option<&dyn Led>, limit: Option<Duration>) {
            match limit {
                None => thread::park(),
                Some(limit) => thread::park_timeout(limit),
            }
        }
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
