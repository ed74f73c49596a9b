//! Checks JSON before it is sent: a bad payload must not cost the caller's transaction.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, Result};

/// Refuses text that PostgreSQL's `jsonb` would refuse: bad syntax, lone surrogates, `\u0000`.
///
/// `argument` names the culprit in the error. Numbers keep any size. Nesting deeper than 127 levels is refused as well.
pub(crate) fn check_json(op: &'static str, argument: impl FnOnce() -> String, text: &str) -> Result<()> {
    let checked = match is_harmless(text) {
        true => serde_json::from_str::<IgnoredAny>(text).map(drop),
        false => serde_json::from_str::<Checked>(text).map(drop),
    };
    checked.map_err(|e| Error::invalid(op, format!("{} is not valid JSON: {e}", argument())))
}

const DEPTH_MAX: usize = 127;

/// Whether the syntax is all that can be wrong: no escape that may stand for half a character or for NUL, and too few
/// brackets to nest too deep. Then the text need only be skipped, several times faster than it is read.
fn is_harmless(text: &str) -> bool {
    !text.contains("\\u") && text.bytes().filter(|b| matches!(b, b'[' | b'{')).count() <= DEPTH_MAX
}

/// Reads every string of a document, which is where the hidden faults are, and keeps nothing.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checker)
    }
}

struct Checker;

impl<'de> Visitor<'de> for Checker {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Checked, E> {
        if text.contains('\0') {
            return Err(E::custom("a string contains NUL (\\u0000)"));
        }
        Ok(Checked)
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        while entries.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn what_nests_too_deep_is_refused_and_brackets_alone_are_not_nesting() {
        let refused = |text: &str| check_json("send", || "payload".into(), text).is_err();
        assert!(!refused(&nested(DEPTH_MAX)));
        assert!(refused(&nested(DEPTH_MAX + 1)));
        assert!(!refused(&format!("[{}]", vec!["[{}]"; 1000].join(","))));
    }

    #[test]
    fn what_jsonb_refuses_is_refused_before_it_is_sent() {
        let escaped = [r#""\ud800""#, r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#, r#""\x""#];
        let raw = ["\"a\0\"", "\"a\nb\"", "{\"a\0\":1}"];
        let syntax =
            ["hello", "", "{", "NaN", "Infinity", "1 2", "01", "[1,]", "{\"a\"}", "tru", "\"a", "-", "1.", "1e"];
        for text in escaped.into_iter().chain(raw).chain(syntax) {
            assert!(check_json("send", || "payload".into(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_jsonb_takes_passes_at_any_size() {
        let ten_to_400 = format!("1{}", "0".repeat(400));
        for text in
            ["null", "true", " 1 ", "-1.50e-7", "1e300", "1e400", &ten_to_400, r#"{"a":[1,"\ud83d\ude00"]}"#, "\"é\""]
        {
            assert!(check_json("send", || "payload".into(), text).is_ok(), "{text}");
        }
    }
}
