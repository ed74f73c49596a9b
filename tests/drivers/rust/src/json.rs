//! Writing answers.

use pgque::{Error, Message, ResultSet, Value as Cell};
use serde_json::{Value, json};

pub fn error(e: &Error) -> Value {
    json!({
        "kind": e.kind().name(),
        "number": e.kind().number(),
        "op": e.op(),
        "message": e.message(),
        "sqlstate": e.sqlstate(),
        "detail": e.detail(),
        "hint": e.hint(),
        "retriable": e.is_retriable(),
        "uncertain": e.is_uncertain(),
        "configured_limit": e.configured_limit(),
    })
}

pub fn caller_error(e: &tokio_postgres::Error) -> Value {
    let message = e.as_db_error().map_or_else(|| e.to_string(), |db| db.message().to_owned());
    json!({ "kind": "caller", "number": 0, "message": message, "sqlstate": e.code().map(|c| c.code()) })
}

pub fn driver_error(message: &str) -> Value {
    json!({ "kind": "driver", "number": 0, "message": message })
}

pub fn messages(messages: &[Message]) -> Value {
    messages.iter().map(message).collect()
}

pub fn message(m: &Message) -> Value {
    json!({
        "msg_id": m.msg_id.to_string(),
        "batch_id": m.batch_id.to_string(),
        "type": m.event_type,
        "payload": m.payload,
        "retry_count": m.retry_count,
        "created_at": m.created_at.as_unix_micros().to_string(),
        "extra1": m.extra[0],
        "extra2": m.extra[1],
        "extra3": m.extra[2],
        "extra4": m.extra[3],
    })
}

pub fn table(result: &ResultSet) -> Value {
    let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Value>();
    json!({
        "columns": result.columns,
        "rows": result.rows.iter().map(row).collect::<Value>(),
        "rows_affected": result.rows_affected,
    })
}

fn cell(value: &Cell) -> Value {
    match value {
        Cell::Bool(b) => b.to_string().into(),
        Cell::Int(n) => n.to_string().into(),
        Cell::Float(n) => n.to_string().into(),
        Cell::Text(t) | Cell::Json(t) | Cell::Numeric(t) | Cell::Special(_, t) => t.as_str().into(),
        Cell::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into(),
        Cell::Timestamp(t) => t.as_unix_micros().to_string().into(),
        Cell::Array(items) => items.iter().map(cell).collect(),
        _ => Value::Null,
    }
}
