//! How a language whose callers may lose patience ends a call that waits.

use std::sync::OnceLock;

use pgque::{Error, Kind};

use crate::error::pgque_error;
use crate::ffi::{call_interrupt, door};

/// Answers whether the calling thread wants to end its wait. Asked about every 50 ms on a thread inside a call that
/// waits, for every such call of the process; it must be quick, make no call of this library, nor throw.
pub type pgque_interrupt_callback = Option<unsafe extern "C" fn() -> bool>;

/// As `pgque_interrupt_callback`, but not NULL.
pub type Interrupt = unsafe extern "C" fn() -> bool;

static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();

/// Has calls that wait ask `callback`, and fail with `interrupted` when it says true. What the server was asked to do
/// may be done all the same. Once in a process, before other calls: `conflict` the second time. Any thread; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_set_interrupt(callback: pgque_interrupt_callback) -> Option<Box<pgque_error>> {
    door("set_interrupt", |door| {
        let callback = door.required(callback, "callback")?;
        let twice = |_| Error::new(Kind::Conflict, door.0, "the process has a callback for interrupts already");
        INTERRUPT.set(callback).map_err(twice)?;
        pgque::runtime::set_interrupt(|| INTERRUPT.get().is_some_and(|callback| call_interrupt(*callback)));
        Ok(())
    })
}
