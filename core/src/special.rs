//! Values for which some languages have a class of their own: dates, times, intervals, UUIDs, network addresses.

use std::error::Error as StdError;
use std::net::{Ipv4Addr, Ipv6Addr};

use postgres_protocol::types as wire;
use tokio_postgres::types::Type;

/// What such a value is; its text, for languages without a class, stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Special {
    /// Days since 1970; `None` for `infinity` and `-infinity`.
    Date(Option<i64>),
    /// Microseconds since midnight.
    Time(i64),
    /// `timestamp` without time zone: microseconds since 1970, as if in UTC; `None` for the infinities.
    LocalTimestamp(Option<i64>),
    Interval {
        months: i32,
        days: i32,
        micros: i64,
    },
    Uuid([u8; 16]),
    /// `inet` and `cidr`.
    Network,
}

const DAYS_TO_2000: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// `None` if the type is none of these.
pub(crate) fn decode(t: &Type, raw: &[u8]) -> Result<Option<(Special, String)>, Box<dyn StdError + Sync + Send>> {
    Ok(Some(match *t {
        Type::DATE => {
            let days = i32::from_be_bytes(raw.try_into()?);
            match infinity(days == i32::MIN, days == i32::MAX) {
                Some(text) => (Special::Date(None), text),
                None => {
                    let days = i64::from(days) + DAYS_TO_2000;
                    (Special::Date(Some(days)), era(days, ""))
                }
            }
        }
        Type::TIME => {
            let micros = wire::time_from_sql(raw)?;
            (Special::Time(micros), clock(micros))
        }
        Type::TIMESTAMP => {
            let micros = wire::timestamp_from_sql(raw)?;
            match infinity(micros == i64::MIN, micros == i64::MAX) {
                Some(text) => (Special::LocalTimestamp(None), text),
                None => {
                    let micros = micros.saturating_add(DAYS_TO_2000 * DAY_MICROS);
                    let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
                    (Special::LocalTimestamp(Some(micros)), era(days, &format!(" {}", clock(rest))))
                }
            }
        }
        Type::INTERVAL => {
            let (micros, rest) = raw.split_at_checked(8).ok_or("short interval")?;
            let (days, months) = rest.split_at_checked(4).ok_or("short interval")?;
            let micros = i64::from_be_bytes(micros.try_into()?);
            let (days, months) = (i32::from_be_bytes(days.try_into()?), i32::from_be_bytes(months.try_into()?));
            (Special::Interval { months, days, micros }, interval(months, days, micros))
        }
        Type::UUID => {
            let bytes = wire::uuid_from_sql(raw)?;
            (Special::Uuid(bytes), uuid(bytes))
        }
        Type::INET | Type::CIDR => (Special::Network, network(*t == Type::CIDR, raw)?),
        _ => return Ok(None),
    }))
}

fn infinity(minus: bool, plus: bool) -> Option<String> {
    match (minus, plus) {
        (true, _) => Some("-infinity".into()),
        (_, true) => Some("infinity".into()),
        _ => None,
    }
}

/// A date of the Gregorian calendar, then the time; PostgreSQL puts BC behind both.
fn era(days: i64, time: &str) -> String {
    let (year, month, day) = civil(days);
    match year {
        1.. => format!("{year:04}-{month:02}-{day:02}{time}"),
        _ => format!("{:04}-{month:02}-{day:02}{time} BC", 1 - year),
    }
}

/// Year, month and day. Counted from the first of March of the year 0, so that the day that comes and goes is a
/// year's last.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days_since_1970 + 719_468;
    let (centuries, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on, and again from August on, have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (centuries * 400 + year + next_year, month, day)
}

fn clock(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => text,
        _ => format!("{text}.{fraction:06}").trim_end_matches('0').to_owned(),
    }
}

/// PostgreSQL's own form, apart from the years, which are months here.
fn interval(months: i32, days: i32, micros: i64) -> String {
    let mut parts = Vec::new();
    if months != 0 {
        parts.push(format!("{months} mons"));
    }
    if days != 0 {
        parts.push(format!("{days} days"));
    }
    if micros != 0 || parts.is_empty() {
        let sign = if micros < 0 { "-" } else { "" };
        parts.push(format!("{sign}{}", clock(micros.saturating_abs())));
    }
    parts.join(" ")
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// On the wire: the family, the length of the prefix, whether it is a `cidr`, the length of the address, the address.
fn network(cidr: bool, raw: &[u8]) -> Result<String, Box<dyn StdError + Sync + Send>> {
    let [_, prefix, _, _, address @ ..] = raw else {
        return Err("short network address".into());
    };
    let (text, whole) = match address.len() {
        4 => (Ipv4Addr::from(<[u8; 4]>::try_from(address)?).to_string(), 32),
        16 => (Ipv6Addr::from(<[u8; 16]>::try_from(address)?).to_string(), 128),
        length => return Err(format!("a network address of {length} bytes").into()),
    };
    Ok(if cidr || *prefix != whole { format!("{text}/{prefix}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_is_the_gregorian_one() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (11_016, "2000-02-29"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(era(days, ""), text);
        }
    }
}
