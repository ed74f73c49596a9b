//! Which process something belongs to. A forked child has copies of all objects, but none of the threads that serve
//! them, and the locks that those threads held stay held: whose they are is to be asked before any lock is taken.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Kind, Result};

const NOBODY: u32 = 0;

/// The process that uses an object.
pub(crate) struct Owner {
    pid: AtomicU32,
    /// What it is, for messages.
    what: &'static str,
}

impl Owner {
    /// Of what belongs to this process from the beginning.
    pub(crate) fn us(what: &'static str) -> Owner {
        Owner { pid: AtomicU32::new(std::process::id()), what }
    }

    /// Of what any process may yet use: a parent may make it for its children.
    pub(crate) fn nobody(what: &'static str) -> Owner {
        Owner { pid: AtomicU32::new(NOBODY), what }
    }

    /// Whether another process uses it.
    pub(crate) fn is_other(&self) -> bool {
        ![NOBODY, std::process::id()].contains(&self.pid.load(Ordering::Acquire))
    }

    /// Fails with `closed` if another process uses it.
    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        if self.is_other() {
            let message =
                format!("the {} belongs to the process before fork(); make another one in the child", self.what);
            return Err(Error::new(Kind::Closed, op, message));
        }
        Ok(())
    }

    /// As [`Owner::check`], and from now on this process uses it.
    pub(crate) fn claim(&self, op: &'static str) -> Result<()> {
        let _ = self.pid.compare_exchange(NOBODY, std::process::id(), Ordering::AcqRel, Ordering::Acquire);
        self.check(op)
    }

    /// As [`Owner::claim`], until what it gives is dropped.
    pub(crate) fn hold(&self, op: &'static str) -> Result<Held<'_>> {
        self.claim(op).map(|()| Held(self))
    }

    /// This process uses it no longer.
    pub(crate) fn release(&self) {
        let _ = self.pid.compare_exchange(std::process::id(), NOBODY, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// See [`Owner::hold`].
pub(crate) struct Held<'a>(&'a Owner);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}
