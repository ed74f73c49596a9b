//! The engine against a simple model of it: random interleavings of producers, tickers, rotations, consumers,
//! cooperative workers, takeovers, retries and crashes, on concurrent sessions driven step by step.
//!
//! `PGQUE_MODEL_CASES` says how many (100 if not set). A failure prints the shortest steps that still fail, and the
//! seed: `PGQUE_MODEL_SEED=… cargo test --test model` runs that one alone, or from there on with a number of cases.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "model/run.rs"]
mod run;
#[path = "model/sessions.rs"]
mod sessions;
#[path = "model/steps.rs"]
mod steps;
#[allow(dead_code, reason = "shared with the engine's tests, which use all of it")]
#[path = "engine/support.rs"]
mod support;
#[path = "model/truth.rs"]
mod truth;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn every_committed_event_reaches_every_subscription() {
    let database = support::Database::new();
    let seeds = match number("PGQUE_MODEL_SEED") {
        Some(seed) => seed..seed + number("PGQUE_MODEL_CASES").unwrap_or(1),
        None => 0..number("PGQUE_MODEL_CASES").unwrap_or(100),
    };
    let mut stage = run::Stage::new(&database);
    for seed in seeds {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let steps = proptest::collection::vec(steps::step(), 1..120).new_tree(&mut runner).unwrap();
        let stage = std::cell::RefCell::new(&mut stage);
        let outcome = runner.run_one(steps, |steps| stage.borrow_mut().play(&steps).map_err(TestCaseError::fail));
        if let Err(TestError::Fail(reason, steps)) = outcome {
            let steps: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            panic!("{reason}\nafter\n{}\nrepeat it with PGQUE_MODEL_SEED={seed}", steps.join("\n"));
        }
    }
}
