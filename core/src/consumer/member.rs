//! Names for cooperative workers that were given none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Host, process and a counter: unique where two processes of one name and number do not share a host's name.
/// Where they do, the second finds the name taken and asks for another.
pub(super) fn fresh_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let uname = rustix::system::uname();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", uname.nodename().to_string_lossy(), std::process::id())
}
