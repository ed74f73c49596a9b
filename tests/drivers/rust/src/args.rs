//! Reading a request's arguments.

use pgque::{Event, Interval, Payload, Payloads, Verdict};
use serde_json::{Map, Value};

use crate::{Answer, Fault};

pub struct Args(pub Map<String, Value>);

impl Args {
    pub fn text(&self, name: &str) -> Answer<&str> {
        self.maybe_text(name).ok_or_else(|| Fault::Driver(format!("argument {name} is missing")))
    }

    /// `None` for what is null or not named.
    pub fn maybe_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    /// A 64-bit id, which travels as text.
    pub fn id(&self, name: &str) -> Answer<i64> {
        id(self.0.get(name)).ok_or_else(|| Fault::Driver(format!("argument {name} is not an id")))
    }

    pub fn interval(&self, name: &str) -> Option<Interval> {
        interval(self.0.get(name)?)
    }

    pub fn event(&self) -> Answer<Event> {
        let payload = match (self.0.get("payload"), self.0.get("text"), self.maybe_text("special")) {
            (Some(value), _, _) => Payload::Json(json_text(value)),
            (_, Some(text), _) => Payload::Text(text.as_str().map(str::to_owned)),
            (_, _, Some(name)) => Payload::Json(special(name)?),
            _ => return Err(Fault::Driver("payload, text or special is missing".into())),
        };
        let owned = |name| self.maybe_text(name).map(str::to_owned);
        let extra = ["extra1", "extra2", "extra3", "extra4"].map(owned);
        Ok(Event { event_type: owned("type"), payload, extra })
    }

    pub fn payloads(&self) -> Payloads {
        match self.0.get("texts") {
            Some(texts) => Payloads::Text(texts_or_nulls(Some(texts))),
            None => Payloads::Json(items(self.0.get("payloads")).iter().map(json_text).collect()),
        }
    }

    pub fn params(&self) -> Vec<Option<String>> {
        texts_or_nulls(self.0.get("params"))
    }

    pub fn verdicts(&self) -> Answer<Vec<(i64, Verdict)>> {
        items(self.0.get("verdicts")).iter().map(verdict).collect()
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts_or_nulls(value: Option<&Value>) -> Vec<Option<String>> {
    items(value).iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

fn id(value: Option<&Value>) -> Option<i64> {
    value?.as_str()?.parse().ok()
}

fn interval(value: &Value) -> Option<Interval> {
    match value.get("special").and_then(Value::as_str) {
        Some("nan") => return Some(Interval::Seconds(f64::NAN)),
        Some("infinity") => return Some(Interval::Seconds(f64::INFINITY)),
        _ => {}
    }
    value.as_str().map(|text| Interval::Text(text.into())).or_else(|| value.as_f64().map(Interval::Seconds))
}

/// A string is JSON text already; anything else is written as JSON.
fn json_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn verdict(value: &Value) -> Answer<(i64, Verdict)> {
    let msg_id = id(value.get("msg_id")).ok_or_else(|| Fault::Driver("a verdict without msg_id".into()))?;
    let reason = value.get("reason").and_then(Value::as_str).map(str::to_owned);
    let verdict = match value.get("verdict").and_then(Value::as_str) {
        Some("ack") => Verdict::Ack,
        Some("retry") => Verdict::Retry { after: value.get("after").and_then(interval), reason },
        Some("dead") => Verdict::Dead { reason },
        other => return Err(Fault::Driver(format!("no such verdict: {other:?}"))),
    };
    Ok((msg_id, verdict))
}

fn special(name: &str) -> Answer<String> {
    Ok(match name {
        "nan" => "NaN".into(),
        "lone_surrogate" => r#"{"text":"\ud800"}"#.into(),
        "nul" => r#"{"text":"a\u0000b"}"#.into(),
        "unserialisable" => "hello".into(),
        "big_integer" => r#"{"n":123456789012345678901234567890}"#.into(),
        "deep" => format!("{}{}", "[".repeat(200), "]".repeat(200)),
        _ => return Err(Fault::Driver(format!("no such special payload: {name}"))),
    })
}
