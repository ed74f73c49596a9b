//! The engine against a real server: every promise of the SQL contract, with real concurrent sessions.
//!
//! `PGQUE_TEST_DSN` names a superuser; each test gets a database of its own, copied from a template.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/support.rs"]
mod support;

#[path = "engine/addons.rs"]
mod addons;
#[path = "engine/capture.rs"]
mod capture;
#[path = "engine/catalogue.rs"]
mod catalogue;
#[path = "engine/concurrency.rs"]
mod concurrency;
#[path = "engine/consume.rs"]
mod consume;
#[path = "engine/coop.rs"]
mod coop;
#[path = "engine/coop_races.rs"]
mod coop_races;
#[path = "engine/dead_letter.rs"]
mod dead_letter;
#[path = "engine/finish.rs"]
mod finish;
#[path = "engine/install.rs"]
mod install;
#[path = "engine/legacy.rs"]
mod legacy;
#[path = "engine/monitoring.rs"]
mod monitoring;
#[path = "engine/once.rs"]
mod once;
#[path = "engine/pages.rs"]
mod pages;
#[path = "engine/primitives.rs"]
mod primitives;
#[path = "engine/produce.rs"]
mod produce;
#[path = "engine/queue.rs"]
mod queue;
#[path = "engine/retry.rs"]
mod retry;
#[path = "engine/rotation.rs"]
mod rotation;
#[path = "engine/schedule.rs"]
mod schedule;
#[path = "engine/security.rs"]
mod security;
#[path = "engine/short_way.rs"]
mod short_way;
#[path = "engine/speed.rs"]
mod speed;
#[path = "engine/tick.rs"]
mod tick;
