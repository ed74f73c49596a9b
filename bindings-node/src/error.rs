//! Errors on their way to JavaScript: the facts travel as JSON text, the classes are made there.

use napi::{Error, Status};
use serde_json::json;

/// The facts of an error, marked so that `lib/errors.ts` tells them from an error of the runtime.
pub fn to_js(error: pgque::Error) -> Error {
    let facts = json!({
        "pgque": {
            "kind": error.kind().name(),
            "number": error.kind().number(),
            "op": error.op(),
            "message": error.message(),
            "sqlstate": error.sqlstate(),
            "detail": error.detail(),
            "hint": error.hint(),
            "constraint": error.constraint(),
            "retriable": error.is_retriable(),
            "uncertain": error.is_uncertain(),
            "configuredLimit": error.configured_limit(),
        }
    });
    Error::new(Status::GenericFailure, facts.to_string())
}
