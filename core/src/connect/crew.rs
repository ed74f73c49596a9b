//! The threads that wait for answers in blocking calls: one drives the connection for all of them, the others write what
//! they have and sleep until their own answers are there.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use super::wheel::Wheel;
use crate::park::{self, Led};

/// Locked after the driver, if both are.
#[derive(Default)]
pub(super) struct Crew(Mutex<State>);

#[derive(Default)]
struct State {
    helm: Helm,
    /// Those that are not at the wheel, in the order in which they came, under their numbers.
    others: Vec<(u64, Waker)>,
    next: u64,
}

/// Who is at the wheel.
#[derive(Default)]
enum Helm {
    #[default]
    Task,
    /// The thread that this wakes.
    Thread(Waker),
    /// One of the others was told to take it.
    Vacant,
}

impl Crew {
    /// Wakes the thread at the wheel; whether there is one, or is about to be.
    pub fn rouse(&self) -> bool {
        let waker = match &self.lock().helm {
            Helm::Task => return false,
            // Whoever takes it has a look.
            Helm::Vacant => return true,
            Helm::Thread(waker) => waker.clone(),
        };
        waker.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_led(&self) -> bool {
        matches!(self.helm, Helm::Thread(_))
    }

    /// Adds one to the others, or takes note of what wakes it now.
    fn join(&mut self, number: &mut Option<u64>, waker: &Waker) {
        let known = number.and_then(|number| self.others.iter_mut().find(|(other, _)| *other == number));
        match known {
            Some((_, known)) => known.clone_from(waker),
            None => {
                *number = Some(self.next);
                self.others.push((self.next, waker.clone()));
                self.next += 1;
            }
        }
    }

    fn leave(&mut self, number: &mut Option<u64>) {
        if let Some(number) = number.take() {
            self.others.retain(|(other, _)| *other != number);
        }
    }
}

/// The place of one that waits for an answer. Nobody may keep it who does not wait any more, however the wait has ended.
pub(super) struct Place<'a> {
    wheel: &'a Arc<Wheel>,
    /// Among those that are not at the wheel.
    number: Option<u64>,
}

impl<'a> Place<'a> {
    pub fn new(wheel: &'a Arc<Wheel>) -> Place<'a> {
        Place { wheel, number: None }
    }

    /// At the wheel, as one that blocks may be, or among the others. What was handed over is seen to.
    pub fn take(&mut self, waker: &Waker) {
        let wheel = self.wheel;
        if park::leads(wheel.name()) {
            wheel.see_to_unsent();
        } else if !park::may_lead() {
            wheel.pass_on();
        } else if self.take_wheel(waker) {
            park::lead(wheel.name(), wheel.clone());
            wheel.steer();
        } else {
            wheel.see_to_unsent();
        }
    }

    /// Whether this thread is at the wheel now, for nobody else is. One that is not is told when it is to look again.
    fn take_wheel(&mut self, waker: &Waker) -> bool {
        let mut state = self.wheel.crew.lock();
        if state.is_led() {
            state.join(&mut self.number, waker);
            return false;
        }
        drop(state);
        // With the driver locked nobody is about to wait at the gate that is now shut.
        let driver = self.wheel.driver();
        state = self.wheel.crew.lock();
        if state.is_led() {
            state.join(&mut self.number, waker);
            return false;
        }
        if driver.is_none() {
            // Nobody waits for long who waits for an answer.
            return false;
        }
        state.leave(&mut self.number);
        state.helm = Helm::Thread(waker.clone());
        self.wheel.line.lead();
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.wheel.crew.lock().leave(&mut self.number);
            self.wheel.hand_on();
        }
        park::leave(self.wheel.name());
    }
}

impl Wheel {
    fn name(self: &Arc<Self>) -> *const () {
        Arc::as_ptr(self).cast()
    }

    /// Does what can be done without waiting, also what is handed over meanwhile; whether the connection has ended.
    fn steer(self: &Arc<Self>) -> bool {
        let waker = Waker::from(self.clone());
        loop {
            self.unsent.store(false, Ordering::SeqCst);
            let ended = self.turn(&mut self.driver(), &waker);
            if ended || !self.unsent.load(Ordering::SeqCst) {
                return ended;
            }
        }
    }

    /// Has what was handed over written. Whoever has the driver just now does so before he lets the wheel be.
    fn see_to_unsent(self: &Arc<Self>) {
        while self.unsent.load(Ordering::SeqCst) {
            let mut driver = match self.driver.try_lock() {
                Ok(driver) => driver,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(error)) => error.into_inner(),
            };
            self.unsent.store(false, Ordering::SeqCst);
            self.turn(&mut driver, &Waker::from(self.clone()));
        }
    }

    /// If nobody is at the wheel, one of those that wait takes it, or the task.
    fn hand_on(&self) {
        let next = {
            let state = self.crew.lock();
            match state.helm {
                // Who came last waits longest.
                Helm::Vacant => state.others.last().map(|(_, waker)| waker.clone()),
                _ => return,
            }
        };
        match next {
            Some(waker) => waker.wake(),
            None => self.give_back(),
        }
    }

    /// Leaves it to the task, unless somebody has come.
    fn give_back(&self) {
        let driver = self.driver();
        let mut state = self.crew.lock();
        if !matches!(state.helm, Helm::Vacant) || !state.others.is_empty() {
            return;
        }
        state.helm = Helm::Task;
        self.line.set_led(false);
        drop(state);
        let missed = self.missed.swap(false, Ordering::SeqCst) || driver.is_none();
        drop(driver);
        if missed || self.unsent.swap(false, Ordering::SeqCst) {
            self.keeper.wake();
        }
    }
}

impl Led for Wheel {
    fn fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    fn wants_to_write(&self) -> bool {
        self.line.wants_to_write()
    }

    fn is_readable(&self) -> bool {
        self.line.is_readable()
    }

    fn set_readable(&self) {
        self.line.set_readable(true);
    }

    fn serve(self: Arc<Self>) -> bool {
        self.steer()
    }

    fn leave(&self) {
        self.crew.lock().helm = Helm::Vacant;
        self.hand_on();
    }
}
