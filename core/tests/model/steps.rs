//! What can happen.

use proptest::prelude::*;

pub const PRODUCERS: usize = 3;
/// Two normal consumers, then the workers of the group.
pub const CONSUMERS: usize = 5;
pub const NORMAL: usize = 2;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A producer or a consumer begins a transaction; repeatable read, with a snapshot, if so marked.
    Begin(Who, bool),
    Commit(Who),
    Abort(Who),
    /// The connection is cut.
    Crash(Who),
    /// As many events, one by one or in one call.
    Send(usize, usize, bool),
    /// Sends within a savepoint and rolls back to it.
    SendInVain(usize),
    /// By the force of force_next_tick, or whatever is pending.
    Tick(bool),
    /// All that a scheduler does.
    Maintain,
    RotateOne,
    RotateTwo,
    /// Step 1 whose transaction stays open over other steps.
    RotateSlowly,
    FinishRotation(bool),
    RotateInVain,
    MoveRetries,
    /// With a takeover of whoever has an open batch, for workers.
    Receive(usize, bool),
    /// The message with that index, modulo the batch, to be retried at once.
    Nack(usize, usize),
    Ack(usize),
    /// Settles the batch with one call; every n-th message is retried.
    Finish(usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub enum Who {
    Producer(usize),
    Consumer(usize),
    /// A second ticker, which may hold an old snapshot.
    Ticker,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        5 => (0..PRODUCERS).prop_map(Who::Producer),
        4 => (0..CONSUMERS).prop_map(Who::Consumer),
        1 => Just(Who::Ticker),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (who(), prop::bool::weighted(0.4)).prop_map(|(who, old)| Step::Begin(who, old)),
        6 => who().prop_map(Step::Commit),
        2 => who().prop_map(Step::Abort),
        1 => who().prop_map(Step::Crash),
        12 => (0..PRODUCERS, 1..4usize, any::<bool>()).prop_map(|(p, n, batch)| Step::Send(p, n, batch)),
        1 => (0..PRODUCERS).prop_map(Step::SendInVain),
        14 => any::<bool>().prop_map(Step::Tick),
        3 => Just(Step::Maintain),
        4 => Just(Step::RotateOne),
        4 => Just(Step::RotateTwo),
        1 => Just(Step::RotateSlowly),
        1 => any::<bool>().prop_map(Step::FinishRotation),
        1 => Just(Step::RotateInVain),
        4 => Just(Step::MoveRetries),
        18 => (0..CONSUMERS, prop::bool::weighted(0.3)).prop_map(|(c, over)| Step::Receive(c, over)),
        5 => (0..CONSUMERS, 0..8usize).prop_map(|(c, n)| Step::Nack(c, n)),
        10 => (0..CONSUMERS).prop_map(Step::Ack),
        4 => (0..CONSUMERS, 1..4usize).prop_map(|(c, n)| Step::Finish(c, n)),
    ]
}
