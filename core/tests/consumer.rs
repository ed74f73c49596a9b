//! The consumer's loop against a real server, as far as the scenarios of `tests/conformance` do not reach.
//!
//! `PGQUE_TEST_DSN` names a server where the role may install the engine.

#[path = "consumer/cooperative.rs"]
mod cooperative;
#[path = "consumer/drain.rs"]
mod drain;
#[path = "consumer/failures.rs"]
mod failures;
#[path = "consumer/pages.rs"]
mod pages;
#[path = "consumer/standby.rs"]
mod standby;
#[path = "consumer/stop.rs"]
mod stop;
#[path = "consumer/support.rs"]
mod support;
#[path = "consumer/transactional.rs"]
mod transactional;
