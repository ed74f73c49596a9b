//! How long the ticker rests between two rounds. Has no clock of its own.

use std::time::{Duration, Instant};

/// So long after an event the ticker does not slow down: steady producers must not find it slow between two of them.
const BUSY_AFTER_EVENT: Duration = Duration::from_millis(500);
/// After a tick the next one is an interval away. If nothing came meanwhile, what comes then need not wait for another
/// interval: the ticker looks so many times more often, so many times.
const LOOKS_PER_INTERVAL: u32 = 4;
const QUICK_LOOKS: u32 = 8;
/// Rounds that take long are not to keep the server busy: the rest is so many times as long.
const REST_PER_ROUND: u32 = 3;
/// A timer is late now and then; that is no reason to have fewer ticks.
const LATENESS: Duration = Duration::from_millis(3);

pub(super) struct Cadence {
    interval: Duration,
    /// The pause while there is nothing.
    pause: Duration,
    rest: Duration,
    quick_looks: u32,
    busy_until: Instant,
    /// When the newest round began, or should have.
    round_at: Instant,
}

impl Cadence {
    pub fn new(interval: Duration, now: Instant) -> Cadence {
        Cadence { interval, pause: interval, rest: interval, quick_looks: 0, busy_until: now, round_at: now }
    }

    /// A round begins.
    pub fn begin(&mut self, now: Instant) {
        let due = self.round_at + self.rest;
        self.round_at = if due <= now && now < due + LATENESS { due } else { now };
    }

    /// A round has ended that found events, or none. Without, the pause grows to the longest.
    pub fn end(&mut self, events: bool, longest: Duration, now: Instant) {
        if events {
            (self.pause, self.rest) = (self.interval, self.interval);
            (self.quick_looks, self.busy_until) = (QUICK_LOOKS, self.round_at + BUSY_AFTER_EVENT);
        } else if self.quick_looks > 0 {
            self.quick_looks -= 1;
            let slow = REST_PER_ROUND * now.saturating_duration_since(self.round_at);
            self.rest = (self.interval / LOOKS_PER_INTERVAL).max(slow).min(self.interval);
        } else {
            if self.round_at >= self.busy_until {
                self.pause = (self.pause * 2).min(longest).max(self.interval);
            }
            self.rest = self.pause;
        }
    }

    /// How long the ticker rests; from a certain length on it may be woken.
    pub fn rest(&self) -> Duration {
        self.rest
    }

    /// When the next round begins, `now` being the end of this one: no earlier than `rest` says, unless something else
    /// is due.
    pub fn next(&self, now: Instant, due: Option<Instant>) -> Instant {
        let next = self.round_at + self.rest;
        // A round that takes as long as the pause must not become a busy loop.
        due.map_or(next, |due| due.min(next)).max(now + self.rest / LOOKS_PER_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Ticks and looks of so many milliseconds, with events at those times; when each event was ticked.
    fn run(millis: u64, look: Duration, events: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let begin = Instant::now();
        let mut cadence = Cadence::new(INTERVAL, begin);
        let (mut now, mut looks, mut ticks, mut left) = (begin, vec![], vec![], events);
        let at = |now: Instant| u64::try_from((now - begin).as_millis()).unwrap();
        while at(now) < millis {
            cadence.begin(now);
            let seen = left.iter().take_while(|event| **event <= at(now)).count();
            left = &left[seen..];
            looks.push(at(now));
            ticks.extend(vec![at(now); seen]);
            now += look;
            cadence.end(seen > 0, LONGEST, now);
            now = cadence.next(now, None);
        }
        (looks, ticks)
    }

    #[test]
    fn ticks_are_an_interval_apart_and_a_late_event_waits_a_quarter_of_it() {
        let (_, ticks) = run(100, Duration::ZERO, &[0, 1, 23, 36, 37]);
        assert_eq!(ticks, [0, 10, 25, 37, 37]);
    }

    #[test]
    fn it_slows_down_when_nothing_comes() {
        let (looks, _) = run(10_000, Duration::ZERO, &[0]);
        assert!(looks.len() < 80, "{looks:?}");
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] <= 1000));
        let last = &looks[looks.len() - 2..];
        assert_eq!(last[1] - last[0], 1000);
    }

    #[test]
    fn it_does_not_slow_down_between_two_events_of_a_steady_producer() {
        let events: Vec<u64> = (0..20).map(|n| n * 450).collect();
        let (_, ticks) = run(9000, Duration::ZERO, &events);
        assert!(ticks.iter().zip(&events).all(|(tick, event)| tick - event <= 10), "{ticks:?}");
    }

    #[test]
    fn long_rounds_are_followed_by_rest() {
        let look = Duration::from_millis(30);
        let (looks, _) = run(3000, look, &(0..3000).collect::<Vec<_>>());
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] >= 32), "{looks:?}");
    }

    #[test]
    fn a_late_timer_does_not_make_ticks_rarer() {
        let begin = Instant::now();
        let mut cadence = Cadence::new(INTERVAL, begin);
        let mut now = begin;
        for _ in 0..100 {
            cadence.begin(now);
            cadence.end(true, LONGEST, now);
            now = cadence.next(now, None) + Duration::from_millis(1);
        }
        assert!(now - begin <= Duration::from_millis(1002));
    }
}
