//! Printing: lines, tables, JSON. Never by `println!`, which panics when the reader has gone.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::failure::Outcome;
use crate::value::{ResultSet, Value};

/// Prints a line on standard output at once, for a reader may be waiting for it.
pub(super) fn line(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints the named columns of an answer, each under its title.
pub(super) fn table(rows: &ResultSet, columns: &[(&str, &str)]) -> Outcome {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(_, title)| title.to_uppercase()));
    for row in 0..rows.rows.len() {
        table.add_row(columns.iter().map(|(name, _)| rows.get(row, name).map_or_else(String::new, cell)));
    }
    for (index, (name, _)) in columns.iter().enumerate() {
        let numeric = |row| matches!(rows.get(row, name), Some(Value::Int(_) | Value::Float(_)));
        if (0..rows.rows.len()).any(numeric)
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    line(&table.trim_fmt())
}

/// Every float of the information calls is a number of seconds or a rate.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Float(n) => format!("{n:.1}"),
        Value::Text(text) => text.clone(),
        other => match other.to_json() {
            serde_json::Value::String(text) => text,
            json => json.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_well() {
        assert_eq!(cell(&Value::Null), "");
        assert_eq!(cell(&Value::Float(0.0523)), "0.1");
        assert_eq!(cell(&Value::Int(7)), "7");
        assert_eq!(cell(&Value::Bool(true)), "yes");
    }
}
