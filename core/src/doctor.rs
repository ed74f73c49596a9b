//! The doctor: how the engine in a database differs from this library's, and what keeps it from working.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Existing, catalogue, checks, lock_and_inspect};
use crate::connect::{Connection, TransactionStatus};
use crate::error::{Error, Kind, Result};
use crate::schema::{SCHEMA_VERSION, beside};

const INSTALL: &str = "pgque install";

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `column`, `function`, `grants` and so on for the schema; `ticker`, `rotation`, `consumer` and so on for its work.
    pub component: String,
    /// Its name.
    pub object: String,
    pub problem: String,
    /// A command, a statement or an advice.
    pub repair: String,
}

impl Finding {
    fn new(component: &str, object: &str, problem: impl Into<String>, repair: impl Into<String>) -> Finding {
        Finding {
            component: component.to_owned(),
            object: object.to_owned(),
            problem: problem.into(),
            repair: repair.into(),
        }
    }
}

/// Everything that is wrong with the engine; nothing if it is well. Changes nothing.
///
/// What the schema should be, a trial installation beside it tells, which is rolled back: it is right for every
/// version of PostgreSQL and cannot fall behind the engine's files. That takes the rights of an installation.
/// Fails with `not_installed` or `conflict` if there is no engine of ours.
pub async fn examine(client: &Client) -> Result<Vec<Finding>> {
    let connection = client.own_connection("doctor")?;
    if connection.transaction_status() != TransactionStatus::Idle {
        return Err(Error::new(Kind::Conflict, "doctor", "a transaction is open; commit or roll back first"));
    }
    let scope = connection.scope().await?;
    let findings = look(connection).await;
    scope.rollback().await?;
    findings
}

async fn look(connection: &Connection) -> Result<Vec<Finding>> {
    let mut findings = match lock_and_inspect(connection).await? {
        Existing::Nothing => {
            let message = "the database has no pgque schema; install it with `pgque install`";
            return Err(Error::new(Kind::NotInstalled, "doctor", message));
        }
        Existing::PgQue | Existing::Foreign => {
            let message = "the database has a pgque schema that this library did not install";
            return Err(Error::new(Kind::Conflict, "doctor", message));
        }
        Existing::Ours(SCHEMA_VERSION) => schema(connection).await?,
        Existing::Ours(version) => {
            let repair = if version < SCHEMA_VERSION { INSTALL } else { "upgrade the library" };
            let problem = format!("version {version}, where this library has {SCHEMA_VERSION}");
            vec![Finding::new("schema", "pgque", problem, repair)]
        }
    };
    let found = checks(connection).await?;
    findings.extend(found.into_iter().map(|[component, object, problem, repair]| Finding {
        component,
        object,
        problem,
        repair,
    }));
    Ok(findings)
}

async fn schema(connection: &Connection) -> Result<Vec<Finding>> {
    connection.savepoint().await?;
    let trial = async {
        let live = parts(&catalogue(connection).await?)?;
        let wanted = parts(&beside(connection, catalogue).await?)?;
        Ok::<_, Error>(compare(&live, &wanted))
    };
    let result = trial.await;
    connection.rollback_to_savepoint().await?;
    match result {
        Err(error) if error.kind() == Kind::PermissionDenied => {
            let problem = format!("could not be compared: {}", error.message());
            let repair = "run it as a role that may install the engine";
            Ok(vec![Finding::new("schema", "pgque", problem, repair)])
        }
        other => other,
    }
}

struct Part {
    definition: String,
    /// For a function its bare name, else what brings the part back or takes it away.
    words: Option<String>,
}

/// By kind and name.
type Parts = BTreeMap<(String, String), Part>;

fn parts(json: &str) -> Result<Parts> {
    let rows: Vec<(String, String, String, Option<String>)> = serde_json::from_str(json)
        .map_err(|e| Error::new(Kind::Internal, "doctor", "the catalogue is not readable").with_source(e))?;
    Ok(rows.into_iter().map(|(kind, name, definition, words)| ((kind, name), Part { definition, words })).collect())
}

fn compare(live: &Parts, wanted: &Parts) -> Vec<Finding> {
    let differs = |((kind, name), part): (&(String, String), &Part)| {
        // With the function itself missing, or another, the rest follows from that.
        let leads = ["function", "owner", "grants"].contains(&kind.as_str())
            && wanted.contains_key(&("signature".to_owned(), name.clone()))
            && !same(live, wanted, &("signature".to_owned(), name.clone()));
        match live.get(&(kind.clone(), name.clone())) {
            _ if leads => None,
            None => Some(missing(kind, name, part)),
            Some(found) if found.definition != part.definition => Some(different(kind, name, found, part)),
            Some(_) => None,
        }
    };
    let mut findings: Vec<Finding> = wanted.iter().filter_map(differs).collect();
    findings.extend(superfluous(live, wanted));
    findings
}

fn same(live: &Parts, wanted: &Parts, key: &(String, String)) -> bool {
    matches!((live.get(key), wanted.get(key)), (Some(a), Some(b)) if a.definition == b.definition)
}

fn missing(kind: &str, name: &str, part: &Part) -> Finding {
    let repair = match (kind, name.split_once('.')) {
        ("column", Some((table, column))) if !part.definition.ends_with("(counted)") => {
            format!("alter table pgque.{table} add column {column} {}", part.definition)
        }
        ("index" | "foreign key", _) => part.words.clone().unwrap_or_default(),
        _ => INSTALL.to_owned(),
    };
    Finding::new(if kind == "signature" { "function" } else { kind }, name, "missing", repair)
}

fn different(kind: &str, name: &str, found: &Part, wanted: &Part) -> Finding {
    let told = format!("is `{}`, should be `{}`", found.definition, wanted.definition);
    match (kind, name.split_once('.')) {
        ("function", _) => Finding::new(kind, name, "is not the engine's own", INSTALL),
        ("signature", _) => Finding::new("function", name, told, format!("drop routine {name}; {INSTALL}")),
        ("column", Some((table, _))) => {
            let repair = format!("change it by hand with alter table pgque.{table}");
            Finding::new(kind, name, told, repair)
        }
        ("owner", _) => Finding::new(kind, name, told, "give it to the owner of the schema by hand"),
        _ => Finding::new(kind, name, told, INSTALL),
    }
}

/// What should not be there: triggers on the engine's tables, grants on single columns, and other functions under the engine's names, which
/// make calls ambiguous or take them over. Whatever else stands in the schema is its owner's business.
fn superfluous(live: &Parts, wanted: &Parts) -> Vec<Finding> {
    let names: BTreeSet<_> =
        wanted.iter().filter(|((kind, _), _)| kind == "signature").map(|(_, part)| &part.words).collect();
    live.iter()
        .filter(|(key, _)| !wanted.contains_key(*key))
        .filter_map(|((kind, name), part)| match kind.as_str() {
            "trigger" => Some(Finding::new(
                kind,
                name,
                "runs with the rights of the engine's owner",
                part.words.clone().unwrap_or_default(),
            )),
            // Of a column; the others have their counterpart.
            "grants" if wanted.contains_key(&("column".to_owned(), name.clone())) => {
                let problem = format!("is `{}`, should be `none`", part.definition);
                Some(Finding::new(kind, name, problem, INSTALL))
            }
            "signature" if names.contains(&part.words) => {
                Some(Finding::new("function", name, "stands beside the engine's own", format!("drop routine {name}")))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(rows: &[(&str, &str, &str, &str)]) -> Parts {
        let part = |words: &str, definition: &str| Part { definition: definition.into(), words: Some(words.into()) };
        rows.iter().map(|(k, n, d, w)| (((*k).into(), (*n).into()), part(w, d))).collect()
    }

    #[test]
    fn equal_schemas_have_no_findings() {
        let rows = [("column", "queue.queue_id", "integer", ""), ("function", "pgque.f()", "1", "f")];
        assert!(compare(&made_of(&rows), &made_of(&rows)).is_empty());
    }

    #[test]
    fn every_difference_comes_with_its_repair() {
        let wanted = made_of(&[
            ("column", "queue.a", "text default 'x'", ""),
            ("function", "pgque.f()", "1", "f"),
            ("signature", "pgque.f()", "f -> int", "f"),
            ("grants", "pgque.g()", "none", ""),
            ("signature", "pgque.g()", "f -> int", "g"),
        ]);
        let live = made_of(&[
            ("function", "pgque.f()", "2", "f"),
            ("signature", "pgque.f()", "f -> text", "f"),
            ("signature", "pgque.f(text)", "f -> text", "f"),
            ("signature", "pgque.mine()", "f -> text", "mine"),
            ("trigger", "queue t", "", "drop trigger t on pgque.queue"),
        ]);
        let repairs: Vec<_> = compare(&live, &wanted).into_iter().map(|f| f.repair).collect();
        assert_eq!(
            repairs,
            [
                "alter table pgque.queue add column a text default 'x'",
                "drop routine pgque.f(); pgque install",
                "pgque install",
                "drop routine pgque.f(text)",
                "drop trigger t on pgque.queue",
            ]
        );
    }
}
