//! The threads that wait for answers in blocking calls: one drives the connection for all of them, the others write what
//! they have and sleep until their own answers are there.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::wheel::Wheel;
use crate::park::{self, Led};

/// Calls that follow each other so closely are expected to go on.
const PACE: Duration = Duration::from_millis(1);
/// How long the wheel may rest between two of them.
const REST: Duration = Duration::from_millis(10);

/// Locked after the driver, if both are.
#[derive(Default)]
pub(super) struct Crew {
    state: Mutex<State>,
    /// How many answers are awaited, also by tasks.
    awaited: AtomicUsize,
}

#[derive(Default)]
struct State {
    helm: Helm,
    /// Those that are not at the wheel, in the order in which they came, under their numbers.
    others: Vec<(u64, Waker)>,
    next: u64,
    /// When the last one left.
    left: Option<Instant>,
    /// Whether the task looks after a rest that takes too long.
    is_watched: bool,
    /// Whether there is something to do that cannot wait.
    is_wanted: bool,
    /// How many wait for what the server says by itself.
    listeners: usize,
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
    /// Nobody: the next call is expected any moment, and to shut and open the gate for each takes its time. The task
    /// comes if none does.
    Resting,
}

impl Crew {
    /// Wakes the thread at the wheel; whether there is one, or is about to be.
    pub fn rouse(&self) -> bool {
        let mut state = self.lock();
        let waker = match &state.helm {
            Helm::Task => return false,
            Helm::Resting => {
                state.is_wanted = true;
                return false;
            }
            // Whoever takes it has a look.
            Helm::Vacant => return true,
            Helm::Thread(waker) => waker.clone(),
        };
        drop(state);
        waker.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Whether the thread that waits is at the wheel.
    leads: bool,
}

impl<'a> Place<'a> {
    pub fn new(wheel: &'a Arc<Wheel>) -> Place<'a> {
        wheel.crew.awaited.fetch_add(1, Ordering::SeqCst);
        Place { wheel, number: None, leads: false }
    }

    /// At the wheel, as one that blocks may be, or among the others. What was handed over is seen to.
    pub fn take(&mut self, waker: &Waker) {
        let wheel = self.wheel;
        if !park::is_blocking() {
            // A thread may have begun the wait and left it to a task.
            self.step_back();
            wheel.pass_on();
        } else if park::leads(wheel.name()) {
            self.leads = true;
            wheel.see_to_unsent();
        } else if !park::may_lead() {
            wheel.pass_on();
        } else if self.take_wheel(waker) {
            self.leads = true;
            park::lead(wheel.name(), wheel.clone());
            wheel.steer();
        } else {
            wheel.see_to_unsent();
        }
    }

    /// Neither at the wheel nor among the others any more.
    fn step_back(&mut self) {
        if self.number.is_some() {
            self.wheel.crew.lock().leave(&mut self.number);
            self.wheel.hand_on();
        }
        if std::mem::take(&mut self.leads) {
            park::leave(self.wheel.name());
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
        self.wheel.crew.awaited.fetch_sub(1, Ordering::SeqCst);
        self.step_back();
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

    /// Lets it rest or leaves it to the task, unless somebody has come.
    fn give_back(&self) {
        let driver = self.driver();
        let mut state = self.crew.lock();
        if !matches!(state.helm, Helm::Vacant) || !state.others.is_empty() {
            return;
        }
        let now = Instant::now();
        let before = state.left.replace(now);
        let in_pace = before.is_some_and(|before| now - before < PACE);
        let is_awaited = state.listeners > 0 || self.crew.awaited.load(Ordering::SeqCst) > 0;
        let rests = in_pace && !is_awaited && driver.is_some();
        let watched = state.is_watched;
        state.is_watched |= rests;
        match rests {
            true => (state.helm, state.is_wanted) = (Helm::Resting, false),
            false => self.open(&mut state),
        }
        drop(state);
        drop(driver);
        if !rests || !watched || self.unsent.load(Ordering::SeqCst) {
            self.pass_on();
            self.keeper.wake();
        }
    }

    /// The task reads from now on. With the driver locked; then it has to be woken: nothing tells it of what comes in
    /// before it has looked again, if it had not read to the end when the gate was shut.
    fn open(&self, state: &mut State) {
        state.helm = Helm::Task;
        self.line.set_led(false);
    }

    /// For the task, with the driver locked: ends a rest that takes too long. When to look again, if at all.
    pub fn watch(&self) -> Option<Instant> {
        let mut state = self.crew.lock();
        if !state.is_watched {
            return None;
        }
        let end = state.left.map_or_else(Instant::now, |left| left + REST);
        match state.helm {
            Helm::Resting if state.is_wanted || end <= Instant::now() => self.open(&mut state),
            Helm::Resting => return Some(end),
            // The next rest is told.
            Helm::Thread(_) | Helm::Vacant | Helm::Task => {}
        }
        state.is_watched = false;
        None
    }

    /// Until this is dropped, what the server says by itself is read at once.
    pub fn listen(&self) -> Listening<'_> {
        let driver = self.driver();
        let mut state = self.crew.lock();
        state.listeners += 1;
        if matches!(state.helm, Helm::Resting) {
            self.open(&mut state);
            drop(state);
            drop(driver);
            self.keeper.wake();
        }
        Listening(&self.crew)
    }
}

/// See [`Wheel::listen`].
pub(super) struct Listening<'a>(&'a Crew);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.lock().listeners -= 1;
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
