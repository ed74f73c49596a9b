//! The same for threads: every call waits on the calling thread. One line for each async method.

pub use crate::runtime::wait;
