//! PgQue for C: `libpgque` and `pgque.h`. Every function converts, calls the core, converts.
//!
//! The header is made from these files, so that a comment on a public item here is what a C programmer reads.
#![allow(non_camel_case_types)]

// In the order in which the header shows them.
mod error;

mod options;

mod client;

mod message;

mod pipeline;

mod producer;

mod verdict;

mod consumer;

mod batch;

mod hooks;

mod stats;

mod ticker;

mod admin;

mod value;

mod connection;

mod interrupt;
mod logging;

mod ffi;

use std::ffi::c_char;

/// The ABI that this header describes; the library's own is `pgque_abi_version()`. The name of the shared library
/// ends with it.
pub const PGQUE_ABI_VERSION: u32 = 0;

/// The ABI of the library that runs; differs from `PGQUE_ABI_VERSION` if the program was compiled for another one.
/// Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_abi_version() -> u32 {
    PGQUE_ABI_VERSION
}

/// The version of the library that runs, for instance `0.1.0`. Static: never freed. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
