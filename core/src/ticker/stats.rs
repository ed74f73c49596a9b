//! What a ticker tells about itself.

use crate::message::Timestamp;

/// Where a ticker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TickerState {
    /// Not run, or run to its end.
    #[default]
    Stopped,
    /// Looking for the server.
    Connecting,
    /// Another ticker works; this one takes over when that one goes.
    Standby,
    /// This is the one that works.
    Leading,
}

impl TickerState {
    /// The stable name, for instance `standby`.
    pub fn name(self) -> &'static str {
        match self {
            TickerState::Stopped => "stopped",
            TickerState::Connecting => "connecting",
            TickerState::Standby => "standby",
            TickerState::Leading => "leading",
        }
    }

    /// Whether the loop works: it ticks, or waits for its turn.
    pub fn is_alive(self) -> bool {
        matches!(self, TickerState::Standby | TickerState::Leading)
    }
}

/// Counted since the ticker was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TickerStats {
    pub state: TickerState,
    /// When it came to its state.
    pub since: Timestamp,
    /// Ticks, over all queues.
    pub ticks: u64,
    /// Messages put back into their queues when their delay was over.
    pub retries: u64,
    /// Tables that were emptied and taken into use.
    pub rotations: u64,
    /// Connections that were lost, or could not be made.
    pub reconnects: u64,
    /// Steps that the server refused; the next round tries them again.
    pub failures: u64,
    /// The latest of either.
    pub last_error: Option<String>,
}

impl TickerStats {
    /// The counters by name, for languages that make an object of them.
    pub fn entries(&self) -> [(&'static str, f64); 5] {
        [
            ("ticks", self.ticks as f64),
            ("retries", self.retries as f64),
            ("rotations", self.rotations as f64),
            ("reconnects", self.reconnects as f64),
            ("failures", self.failures as f64),
        ]
    }
}
