//! `pgque doctor`: what is wrong, and what to do about it.

use super::failure::Outcome;
use super::output;
use crate::client::Client;
use crate::doctor::{Finding, examine};
use crate::runtime::wait;

/// The exit code: 1 when something is wrong.
pub(super) fn run(client: &Client, json: bool) -> Outcome<i32> {
    let findings = wait(examine(client))?;
    match json {
        true => output::line(&serde_json::json!(findings.iter().map(to_json).collect::<Vec<_>>()).to_string())?,
        false if findings.is_empty() => output::line("nothing is wrong")?,
        false => findings.iter().try_for_each(print)?,
    }
    Ok(i32::from(!findings.is_empty()))
}

fn print(finding: &Finding) -> Outcome {
    let Finding { component, object, problem, repair } = finding;
    output::line(&format!("{component} {object}: {problem}\n    {repair}"))
}

fn to_json(finding: &Finding) -> serde_json::Value {
    let Finding { component, object, problem, repair } = finding;
    serde_json::json!({ "component": component, "object": object, "problem": problem, "repair": repair })
}
