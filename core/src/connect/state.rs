//! Where a connection stands between statements.

/// Where the connection stands between statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    /// A transaction is open.
    Active,
    /// A statement of the open transaction failed; only `rollback` is left.
    Failed,
}

#[derive(Clone, Copy)]
pub(super) struct State {
    pub autocommit: bool,
    pub transaction: TransactionStatus,
    /// How many statements have failed so far.
    pub failures: u64,
    /// How many savepoints there are, one within the other, of which their callers know.
    pub savepoints: usize,
    pub closed: bool,
    /// Why the transaction may not be ended, or another begun, by whoever has this connection.
    pub hold: Option<&'static str>,
}

impl State {
    pub fn new(autocommit: bool) -> State {
        State {
            autocommit,
            transaction: TransactionStatus::Idle,
            failures: 0,
            savepoints: 0,
            closed: false,
            hold: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.transaction == TransactionStatus::Idle
    }

    /// Whether a statement now begins a transaction.
    pub fn begins(&self) -> bool {
        !self.autocommit && self.is_idle()
    }

    /// Whether what is sent now becomes part of a transaction together with what is sent next.
    pub fn is_in_transaction(&self) -> bool {
        match self.transaction {
            TransactionStatus::Idle => !self.autocommit,
            TransactionStatus::Active => true,
            TransactionStatus::Failed => false,
        }
    }

    /// A statement has failed.
    pub fn fail(&mut self) {
        self.failures += 1;
        if self.transaction == TransactionStatus::Active {
            self.transaction = TransactionStatus::Failed;
        }
    }
}
