//! Values of raw statements and of the information calls, and their decoding from the wire.

use std::error::Error as StdError;

use fallible_iterator::FallibleIterator;
use futures_util::TryStreamExt;
use postgres_protocol::types as wire;
use tokio_postgres::types::{
    Format, FromSql, IsNull, Kind as TypeKind, ToSql, Type, private::BytesMut, to_sql_checked,
};

use crate::error::{Error, Kind, Result};
use crate::executor::{Param, ParamValue, Rows};
use crate::message::{EPOCH_2000_MICROS, Timestamp};
use crate::special::{self, Special};

/// A value of a result column.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// `json` and `jsonb`, as text.
    Json(String),
    /// `numeric`, as decimal text, which loses nothing.
    Numeric(String),
    Bytes(Vec<u8>),
    /// `timestamptz`.
    Timestamp(Timestamp),
    /// A date, time, interval, UUID or network address, with its text.
    Special(Special, String),
    /// An array; one of several dimensions holds arrays.
    Array(Vec<Value>),
}

/// The answer to a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResultSet {
    /// Column names in order, also of a result without a row; empty for a statement without a result, and for a result
    /// without a row behind a pooler in autocommit.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    /// Rows returned or changed; `None` where the statement counts none.
    pub rows_affected: Option<u64>,
}

impl ResultSet {
    /// The value of a named column.
    pub fn get(&self, row: usize, column: &str) -> Option<&Value> {
        let index = self.columns.iter().position(|c| c == column)?;
        self.rows.get(row)?.get(index)
    }

    pub fn to_json(&self) -> serde_json::Value {
        let object = |row: &Vec<Value>| -> serde_json::Value {
            let pairs = self.columns.iter().cloned().zip(row.iter().map(Value::to_json));
            serde_json::Value::Object(pairs.collect())
        };
        self.rows.iter().map(object).collect()
    }
}

impl Value {
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(n) => (*n).into(),
            Value::Text(t) | Value::Numeric(t) | Value::Special(_, t) => t.as_str().into(),
            Value::Json(t) => serde_json::from_str(t).unwrap_or_else(|_| t.as_str().into()),
            Value::Bytes(b) => b.iter().map(|b| format!("{b:02x}")).collect::<String>().into(),
            Value::Timestamp(t) => (t.as_unix_micros() as f64 / 1e6).into(),
            Value::Array(items) => items.iter().map(Value::to_json).collect(),
        }
    }
}

/// The type of a column of an information call, whose columns all arrive as text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As {
    Text,
    Bool,
    Int,
    Float,
    /// Microseconds since 1970.
    Time,
}

/// Reads the rows of an information call.
pub(crate) fn typed(rows: &Rows, columns: &[(&str, As)]) -> Result<ResultSet> {
    let cell = |row, (i, &(_, kind)): (usize, &(&str, As))| -> Result<Value> {
        let value = match kind {
            As::Text => rows.text(row, i)?.map(|t| Value::Text(t.to_owned())),
            As::Bool => rows.text(row, i)?.map(|t| Value::Bool(t.starts_with('t'))),
            As::Int => rows.number(row, i)?.map(Value::Int),
            As::Float => rows.number(row, i)?.map(Value::Float),
            As::Time => rows.number(row, i)?.map(|n| Value::Timestamp(Timestamp::from_unix_micros(n))),
        };
        Ok(value.unwrap_or(Value::Null))
    };
    let line = |row| columns.iter().enumerate().map(|column| cell(row, column)).collect();
    Ok(ResultSet {
        columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: (0..rows.len()).map(line).collect::<Result<_>>()?,
        rows_affected: Some(rows.len() as u64),
    })
}

/// Runs a raw statement and decodes whatever it returns.
pub(crate) async fn run(
    client: &tokio_postgres::Client,
    sql: &str,
    params: &[(TextParam<'_>, Type)],
) -> Result<ResultSet> {
    let failed = |e| Error::from_driver("execute", e);
    let typed = params.iter().map(|(value, t)| (value, t.clone()));
    let stream = client.query_typed_raw(sql, typed).await.map_err(failed)?;
    let mut stream = std::pin::pin!(stream);
    let mut result = ResultSet::default();
    while let Some(row) = stream.as_mut().try_next().await.map_err(failed)? {
        if result.rows.is_empty() {
            result.columns = row.columns().iter().map(|c| c.name().to_owned()).collect();
        }
        let cell = |i| row.try_get::<_, Decoded>(i).map(|d| d.0).map_err(|e| undecodable(&row, i, e));
        result.rows.push((0..row.len()).map(cell).collect::<Result<_>>()?);
    }
    result.rows_affected = stream.rows_affected();
    Ok(result)
}

fn undecodable(row: &tokio_postgres::Row, column: usize, error: tokio_postgres::Error) -> Error {
    let column = &row.columns()[column];
    let message = format!(
        "column {:?} has type {}, which is not decoded here; cast it to text in the statement",
        column.name(),
        column.type_()
    );
    Error::new(Kind::InvalidInput, "execute", message).with_source(error)
}

/// Sends text in the text format whatever the type, so that the server parses it as a literal.
#[derive(Debug)]
pub(crate) struct TextParam<'a>(pub(crate) &'a ParamValue);

/// Text is sent untyped, so that the server infers the type as it does for a literal.
pub(crate) fn bind(params: &[Param]) -> Vec<(TextParam<'_>, Type)> {
    let bind_one = |param: &Param| match param.value {
        ParamValue::Text(_) => Type::UNKNOWN,
        ParamValue::Array(_) => Type::TEXT_ARRAY,
    };
    params.iter().map(|p| (TextParam(&p.value), bind_one(p))).collect()
}

impl ToSql for TextParam<'_> {
    fn to_sql(&self, t: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            ParamValue::Text(None) => Ok(IsNull::Yes),
            ParamValue::Text(Some(text)) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            ParamValue::Array(values) => values.to_sql(t, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.0 {
            ParamValue::Text(_) => Format::Text,
            ParamValue::Array(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

/// A cell of a raw statement, in binary.
struct Decoded(Value);

impl<'a> FromSql<'a> for Decoded {
    fn from_sql(t: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        decode(t, raw).map(Decoded)
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Decoded(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn decode(t: &Type, raw: &[u8]) -> Result<Value, Box<dyn StdError + Sync + Send>> {
    let text = |raw| wire::text_from_sql(raw).map(str::to_owned);
    Ok(match *t {
        Type::BOOL => Value::Bool(wire::bool_from_sql(raw)?),
        Type::INT2 => Value::Int(wire::int2_from_sql(raw)?.into()),
        Type::INT4 => Value::Int(wire::int4_from_sql(raw)?.into()),
        Type::INT8 => Value::Int(wire::int8_from_sql(raw)?),
        Type::OID | Type::XID => Value::Int(wire::oid_from_sql(raw)?.into()),
        Type::XID8 => Value::Int(wire::int8_from_sql(raw)?),
        Type::FLOAT4 => Value::Float(wire::float4_from_sql(raw)?.into()),
        Type::FLOAT8 => Value::Float(wire::float8_from_sql(raw)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::XML => Value::Text(text(raw)?),
        Type::JSON => Value::Json(text(raw)?),
        // The first byte is the version of the format.
        Type::JSONB => Value::Json(text(raw.get(1..).ok_or("empty jsonb")?)?),
        Type::BYTEA => Value::Bytes(raw.to_vec()),
        Type::TIMESTAMPTZ => {
            let micros = wire::timestamp_from_sql(raw)?;
            Value::Timestamp(Timestamp::from_unix_micros(micros.saturating_add(EPOCH_2000_MICROS)))
        }
        Type::NUMERIC => Value::Numeric(numeric(raw)?),
        Type::VOID => Value::Text(String::new()),
        _ if let Some((special, text)) = special::decode(t, raw)? => Value::Special(special, text),
        _ => match t.kind() {
            TypeKind::Enum(_) => Value::Text(text(raw)?),
            TypeKind::Domain(inner) => decode(inner, raw)?,
            TypeKind::Array(member) => array(member, raw)?,
            _ => return Err(format!("no decoder for {t}").into()),
        },
    })
}

fn array(member: &Type, raw: &[u8]) -> Result<Value, Box<dyn StdError + Sync + Send>> {
    let array = wire::array_from_sql(raw)?;
    let lengths: Vec<i32> = array.dimensions().map(|dimension| Ok(dimension.len)).collect()?;
    // Each takes at least its length. The driver makes room for as many as are announced, be it without end.
    if array.values().size_hint().0 > raw.len() / size_of::<i32>() {
        return Err("array with fewer values than announced".into());
    }
    let item = |raw: Option<&[u8]>| raw.map_or(Ok(Value::Null), |raw| decode(member, raw));
    let mut items: Vec<Value> = array.values().map(item).collect()?;
    // The values come row by row: the innermost rows are made first.
    for length in lengths.iter().skip(1).rev() {
        let length =
            usize::try_from(*length).ok().filter(|length| *length > 0).ok_or("array with an empty dimension")?;
        items = items.chunks(length).map(|row| Value::Array(row.to_vec())).collect();
    }
    Ok(Value::Array(items))
}

/// `numeric` on the wire: digits to base 10,000, the weight of the first, a sign and the scale.
fn numeric(raw: &[u8]) -> Result<String, Box<dyn StdError + Sync + Send>> {
    let words: Vec<i16> = raw.chunks_exact(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect();
    let [_, weight, sign, scale, digits @ ..] = words.as_slice() else {
        return Err("short numeric".into());
    };
    match *sign as u16 {
        0xC000 => return Ok("NaN".into()),
        0xD000 => return Ok("Infinity".into()),
        0xF000 => return Ok("-Infinity".into()),
        _ => {}
    }
    if digits.iter().any(|digit| !(0..10_000).contains(digit)) {
        return Err("a digit of a numeric out of range".into());
    }
    let (weight, scale) = (i32::from(*weight), *scale as u16 as usize);
    let digit = |at: i32| usize::try_from(at).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
    let whole: String = (0..=weight.max(0)).map(|i| format!("{:04}", if weight < 0 { 0 } else { digit(i) })).collect();
    let groups = scale.div_ceil(4) as i32;
    let mut fraction: String = (1..=groups).map(|i| format!("{:04}", digit(weight + i))).collect();
    fraction.truncate(scale);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if *sign as u16 == 0x4000 { "-" } else { "" };
    Ok(match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    })
}

/// A cell of one of the types that are decoded, by its number, for `core/fuzz`.
#[cfg(feature = "fuzzing")]
pub fn decode_as(number: usize, raw: &[u8]) -> Result<Value, Box<dyn StdError + Sync + Send>> {
    let named = |kind| Type::new("t".into(), 100_000, kind, "public".into());
    let types = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::OID,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::TEXT,
        Type::JSON,
        Type::JSONB,
        Type::BYTEA,
        Type::TIMESTAMPTZ,
        Type::UUID,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::INTERVAL,
        Type::INET,
        Type::NUMERIC,
        Type::VOID,
        Type::BOOL_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::JSONB_ARRAY,
        Type::NUMERIC_ARRAY,
        Type::POINT,
        named(TypeKind::Enum(vec!["a".into()])),
        named(TypeKind::Domain(Type::NUMERIC)),
        named(TypeKind::Domain(Type::TEXT_ARRAY)),
    ];
    decode(&types[number % types.len()], raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(weight: i16, sign: u16, scale: i16, digits: &[i16]) -> Vec<u8> {
        let mut words = vec![digits.len() as i16, weight, sign as i16, scale];
        words.extend(digits);
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn numeric_keeps_every_digit() {
        for (raw, text) in [
            (wire(0, 0, 0, &[]), "0"),
            (wire(1, 0, 2, &[1, 2345, 6700]), "12345.67"),
            (wire(-1, 0x4000, 4, &[12]), "-0.0012"),
            (wire(-2, 0, 8, &[12]), "0.00000012"),
            (wire(2, 0, 0, &[5]), "500000000"),
            (wire(0, 0xC000, 0, &[]), "NaN"),
        ] {
            assert_eq!(numeric(&raw).unwrap(), text);
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for digit in [-1, 10_000] {
            numeric(&wire(0, 0, 4, &[digit])).unwrap_err();
        }
        // One dimension, no NULL, the type of its values, a length without end, and no value.
        let words = [1, 0, Type::INT8.oid() as i32, i32::MAX, 1];
        let endless: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        let error = decode(&Type::INT8_ARRAY, &endless).unwrap_err();
        assert!(error.to_string().contains("announced"), "{error}");
    }
}
