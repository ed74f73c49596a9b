//! What a producer tells about itself.

/// Counted since the producer was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Events stored.
    pub sent: u64,
    /// Events whose sender got an error.
    pub failed: u64,
    /// Events of these of which it is not known whether they are stored.
    pub uncertain: u64,
    /// Transactions that stored events; `sent / batches` is the average size of a batch.
    pub batches: u64,
    /// Events in the newest of them.
    pub batch_size: u64,
    /// Events that were accepted and are not answered yet.
    pub queue_length: u64,
    /// Connections that were lost, or could not be made.
    pub reconnects: u64,
    pub last_error: Option<String>,
}

impl ProducerStats {
    /// The counters by name, for languages that make an object of them.
    pub fn entries(&self) -> [(&'static str, f64); 7] {
        [
            ("sent", self.sent as f64),
            ("failed", self.failed as f64),
            ("uncertain", self.uncertain as f64),
            ("batches", self.batches as f64),
            ("batch_size", self.batch_size as f64),
            ("queue_length", self.queue_length as f64),
            ("reconnects", self.reconnects as f64),
        ]
    }
}
