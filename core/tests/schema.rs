//! Installing, adopting, upgrading, removing and examining the engine, on a real server.
//!
//! `PGQUE_TEST_DSN` names a superuser; each test gets an empty database of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "schema/adopt.rs"]
mod adopt;
#[path = "schema/doctor.rs"]
mod doctor;
#[path = "schema/install.rs"]
mod install;
#[path = "schema/repair.rs"]
mod repair;
#[path = "schema/support.rs"]
mod support;
