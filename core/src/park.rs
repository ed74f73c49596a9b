//! How a thread waits in a blocking call: for the word that its call is done, and meanwhile, if it drives a connection
//! by itself, for the bytes that come in there.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use parker::Parker;

thread_local! {
    /// Whether this thread is in a blocking call just now, and not a worker of a runtime.
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
    /// What it drives meanwhile, and whose that is.
    static LEADING: RefCell<Option<Hold>> = const { RefCell::new(None) };
}

/// A connection that a waiting thread drives.
pub(crate) trait Led {
    #[cfg(target_os = "linux")]
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
    fn wants_to_write(&self) -> bool;
    /// Whether there is something to read, which has to wait for something else.
    fn is_readable(&self) -> bool;
    /// Told after a sleep that there is something to read.
    fn set_readable(&self);
    /// Does what can be done without waiting; whether the connection has ended.
    fn serve(self: Arc<Self>) -> bool;
    /// From now on it is somebody else's to drive.
    fn leave(&self);
}

/// A thread's hold on what it drives.
struct Hold {
    whose: *const (),
    led: Arc<dyn Led>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.led.leave();
    }
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
        let ended = LEADING.with_borrow(|leading| match leading {
            None => {
                parker.park(left);
                false
            }
            Some(Hold { led, .. }) => {
                parker.park_at(led.as_ref(), left);
                led.clone().serve()
            }
        });
        if ended {
            LEADING.take();
        }
    }
}

/// Polls what others take further: this thread will not be there to drive it.
pub(crate) fn passing_by<T>(poll: impl FnOnce() -> T) -> T {
    let blocking = BLOCKING.replace(false);
    let result = poll();
    BLOCKING.set(blocking);
    result
}

pub(crate) fn is_blocking() -> bool {
    BLOCKING.get()
}

/// Whether this thread may begin to drive a connection. Only one that is in a blocking call may, and only one at a time.
#[cfg(target_os = "linux")]
pub(crate) fn may_lead() -> bool {
    is_blocking() && LEADING.with_borrow(Option::is_none)
}

/// Whether this thread drives what is meant.
#[cfg(target_os = "linux")]
pub(crate) fn leads(whose: *const ()) -> bool {
    LEADING.with_borrow(|leading| leading.as_ref().is_some_and(|hold| hold.whose == whose))
}

/// Drives it from now on.
#[cfg(target_os = "linux")]
pub(crate) fn lead(whose: *const (), led: Arc<dyn Led>) {
    LEADING.set(Some(Hold { whose, led }));
}

/// Ends this thread's driving of what is meant, if it does so.
pub(crate) fn leave(whose: *const ()) {
    // Without a value while the thread ends.
    let _ = LEADING.try_with(|leading| leading.borrow_mut().take_if(|hold| hold.whose == whose));
}

#[cfg(target_os = "linux")]
mod parker {
    use std::cell::RefCell;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::thread::futex;

    use super::Led;
    use crate::error::{Error, Kind, Result};

    const IDLE: u32 = 0;
    const WOKEN: u32 = 1;
    const ASLEEP: u32 = 2;
    /// Beside a connection, where only the bell is heard.
    const ASLEEP_AT_BELL: u32 = 3;

    /// Where a thread sleeps, and what wakes it.
    pub(crate) struct Parker {
        state: AtomicU32,
        bell: OwnedFd,
        /// A forked child would share the bell with its parent.
        pid: u32,
    }

    thread_local! {
        static PARKER: RefCell<Option<Arc<Parker>>> = const { RefCell::new(None) };
    }

    impl Parker {
        /// This thread's, in the process of that id.
        pub(crate) fn of_this_thread(pid: u32) -> Result<Arc<Parker>> {
            PARKER.with_borrow_mut(|slot| {
                if let Some(parker) = slot.as_ref().filter(|parker| parker.pid == pid) {
                    return Ok(parker.clone());
                }
                let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
                    .map_err(|e| Error::new(Kind::Internal, "wait", e.to_string()))?;
                Ok(slot.insert(Arc::new(Parker { state: AtomicU32::new(IDLE), bell, pid })).clone())
            })
        }

        /// Sleeps until it is woken or the time is over; also for no reason at all.
        pub(crate) fn park(&self, limit: Option<Duration>) {
            if self.falls_asleep(ASLEEP) {
                // Woken just now, interrupted or too late, it has slept enough.
                let _ = futex::wait(&self.state, futex::Flags::PRIVATE, ASLEEP, timespec(limit).as_ref());
                self.state.store(IDLE, Ordering::SeqCst);
            }
        }

        /// As [`Parker::park`], also until the connection has something.
        pub(crate) fn park_at(&self, led: &dyn Led, limit: Option<Duration>) {
            if !self.falls_asleep(ASLEEP_AT_BELL) {
                return;
            }
            let flag = |wanted, flag| if wanted { flag } else { PollFlags::empty() };
            let awaited = flag(!led.is_readable(), PollFlags::IN) | flag(led.wants_to_write(), PollFlags::OUT);
            let mut both = [PollFd::new(&self.bell, PollFlags::IN), PollFd::from_borrowed_fd(led.fd(), awaited)];
            // An error and the end come unasked for, and again and again.
            let count = if awaited.is_empty() { 1 } else { 2 };
            // Interrupted, or without memory, it is only a short sleep.
            let _ = poll(&mut both[..count], timespec(limit).as_ref());
            // An error and the end are to be read as well.
            if !both[1].revents().difference(PollFlags::OUT).is_empty() {
                led.set_readable();
            }
            if self.state.swap(IDLE, Ordering::SeqCst) == WOKEN {
                // Perhaps not rung yet; then the next sleep is a short one.
                let _ = rustix::io::read(&self.bell, &mut [0; 8]);
            }
        }

        /// Not if it was woken since the last look.
        fn falls_asleep(&self, how: u32) -> bool {
            let asleep = self.state.compare_exchange(IDLE, how, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            if !asleep {
                self.state.store(IDLE, Ordering::SeqCst);
            }
            asleep
        }
    }

    fn timespec(limit: Option<Duration>) -> Option<Timespec> {
        limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        })
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            match self.state.swap(WOKEN, Ordering::SeqCst) {
                ASLEEP => {
                    let _ = futex::wake(&self.state, futex::Flags::PRIVATE, 1);
                }
                ASLEEP_AT_BELL => {
                    let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
                }
                _ => {}
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
        /// This thread's, in the process of that id.
        pub(crate) fn of_this_thread(_: u32) -> Result<Arc<Parker>> {
            Ok(Arc::new(Parker(thread::current())))
        }

        /// Sleeps until it is woken or the time is over; also for no reason at all.
        pub(crate) fn park(&self, limit: Option<Duration>) {
            match limit {
                None => thread::park(),
                Some(limit) => thread::park_timeout(limit),
            }
        }

        /// Of no use here: no thread drives a connection.
        pub(crate) fn park_at(&self, _: &dyn Led, limit: Option<Duration>) {
            self.park(limit);
        }
    }

    impl Wake for Parker {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
