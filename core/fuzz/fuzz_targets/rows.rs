//! Any bytes as a cell of each type, and as a message: decoded or refused, and what is decoded can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgque::{Value, fuzzing};

fuzz_target!(|input: &[u8]| {
    let Some((kind, raw)) = input.split_first() else { return };
    if let Ok(value) = fuzzing::decode(usize::from(*kind), raw) {
        let _ = value.to_json().to_string();
        if let Value::Numeric(text) = &value {
            is_number(text);
        }
    }
    let cells = cells(raw);
    if let Ok(message) = fuzzing::binary_message(&cells) {
        let _ = (message.attempt(), message.json().is_ok(), std::time::SystemTime::from(message.created_at));
    }
    let texts = cells.iter().map(|cell| cell.map(|raw| String::from_utf8_lossy(raw).into_owned())).collect();
    if let Ok(message) = fuzzing::text_message(texts) {
        let _ = (message.attempt(), message.json().is_ok(), std::time::SystemTime::from(message.created_at));
    }
});

/// Cells as they stand in a row, though with one byte for the length; 255 is NULL.
fn cells(mut raw: &[u8]) -> Vec<Option<&[u8]>> {
    let mut cells = Vec::new();
    while let Some((length, rest)) = raw.split_first() {
        let (cell, after) = match length {
            255 => (None, rest),
            length => {
                let (cell, after) = rest.split_at(rest.len().min(usize::from(*length)));
                (Some(cell), after)
            }
        };
        cells.push(cell);
        raw = after;
    }
    cells
}

fn is_number(text: &str) {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    assert!(number || matches!(text, "NaN" | "Infinity" | "-Infinity"), "{text}");
}
