//! The two forms of a connection string: a URI, and keywords with values.

use super::parameters::{self, Values};
use super::wrong;
use crate::error::Result;

/// Where the host names or the parameters of a URI end.
const AFTER_HOST: [char; 4] = [':', '/', '?', ','];

pub(super) fn parse(dsn: &str) -> Result<Values> {
    match uri(dsn) {
        Some(rest) => parse_uri(rest),
        None => parse_keywords(dsn),
    }
}

/// What follows the scheme of a URI.
fn uri(dsn: &str) -> Option<&str> {
    ["postgresql://", "postgres://"].iter().find_map(|scheme| dsn.strip_prefix(scheme))
}

/// Whether a URI looks as if its password held a "/" that is not written %2F. The login has ended there, by libpq's
/// rules, and what is left of the password passes for a port and for the name of a database.
pub(super) fn is_dubious(dsn: &str) -> bool {
    let place = uri(dsn).and_then(|rest| rest.split('?').next());
    place.and_then(|place| place.split_once('/')).is_some_and(|(_, path)| path.contains('@'))
}

fn parse_keywords(text: &str) -> Result<Values> {
    let mut values = Values::default();
    let (mut rest, mut behind_password) = (text.trim_start_matches(is_space), None);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || is_space(c)).unwrap_or(rest.len());
        let keyword = &rest[..end];
        let Some(after) = rest[end..].trim_start_matches(is_space).strip_prefix('=') else {
            // Not the word itself: in a string without keywords it may be anything, a password too.
            return Err(wrong("missing \"=\" after a keyword in the connection string; write keyword=value".into()));
        };
        let start = after.trim_start_matches(is_space);
        let (value, after) = keyword_value(start)?;
        set(&mut values, keyword, &value, behind_password)?;
        if keyword == "password" && !start.starts_with('\'') {
            behind_password = Some("quote a password that holds a space");
        }
        rest = after.trim_start_matches(is_space);
    }
    Ok(values)
}

/// One value, quoted or not, and what follows it. A backslash takes the next character as it is.
fn keyword_value(text: &str) -> Result<(String, &str)> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && is_space(c) => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    match quoted {
        true => Err(wrong("a quoted value in the connection string has no closing quote".into())),
        false => Ok((value, "")),
    }
}

/// `user:password@host:port,host:port/dbname?keyword=value&…`, the scheme taken off.
fn parse_uri(text: &str) -> Result<Values> {
    let mut values = Values::default();
    let mut rest = text;
    if let Some(end) = text.find(['@', '/']).filter(|end| text[*end..].starts_with('@')) {
        let (login, after) = (&text[..end], &text[end + 1..]);
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        set_decoded(&mut values, "user", user)?;
        set_decoded(&mut values, "password", password)?;
        rest = after;
    }
    let (hosts, ports, rest) = uri_hosts(rest)?;
    set_decoded(&mut values, "host", &hosts.join(","))?;
    set_decoded(&mut values, "port", &ports.join(","))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    set_decoded(&mut values, "dbname", path.strip_prefix('/').unwrap_or(path))?;
    uri_parameters(&mut values, query)?;
    Ok(values)
}

/// Host names and ports as they are written, one port for each host, and what follows them.
fn uri_hosts(text: &str) -> Result<(Vec<&str>, Vec<&str>, &str)> {
    let (mut hosts, mut ports, mut rest) = (Vec::new(), Vec::new(), text);
    loop {
        let (host, after) = uri_host(rest)?;
        let (port, after) = match after.strip_prefix(':') {
            Some(after) => after.split_at(after.find(['/', '?', ',']).unwrap_or(after.len())),
            None => ("", after),
        };
        hosts.push(host);
        ports.push(port);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok((hosts, ports, after)),
        }
    }
}

/// One host name; in brackets, an IPv6 address.
fn uri_host(text: &str) -> Result<(&str, &str)> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(text.split_at(text.find(AFTER_HOST).unwrap_or(text.len())));
    };
    let bad = |what: &str| wrong(format!("{what} in the connection string; write [address]:port"));
    match inner.split_once(']') {
        None => Err(bad("a bracket without its end")),
        Some(("", _)) => Err(bad("brackets without an address")),
        Some((host, after)) if after.is_empty() || after.starts_with(AFTER_HOST) => Ok((host, after)),
        Some(_) => Err(bad("an unexpected character after a bracket")),
    }
}

fn uri_parameters(values: &mut Values, query: &str) -> Result<()> {
    if query.is_empty() {
        return Ok(());
    }
    for parameter in query.split('&') {
        // The whole query may be one, of a password with a "?" behind a "/".
        let in_password = values.given("password").is_some() || query.contains('@');
        let behind_password = in_password.then_some("write %26 for a \"&\" in a password");
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) if !value.contains('=') => (keyword, value),
            Some((keyword, _)) => return Err(wrong(format!("a second \"=\" in URI parameter \"{keyword}\""))),
            // Not the word itself: behind a "&" that was to be %26 it is part of a value.
            None => return Err(wrong("missing \"=\" in a URI parameter; write keyword=value, %26 for a \"&\"".into())),
        };
        let (keyword, value) = (decoded(keyword)?, decoded(value)?);
        // As JDBC writes it.
        match (keyword.as_str(), value.as_str()) {
            ("ssl", "true") => set(values, "sslmode", "require", None)?,
            _ => set(values, &keyword, &value, behind_password)?,
        }
    }
    Ok(())
}

/// Leaves out what is empty: a URI has no other way to say nothing.
fn set_decoded(values: &mut Values, keyword: &str, value: &str) -> Result<()> {
    match value {
        "" => Ok(()),
        value => set(values, keyword, &decoded(value)?, None),
    }
}

/// `behind_password` is an advice, where a keyword may be a part of the password that was not written as it should.
fn set(values: &mut Values, keyword: &str, value: &str, behind_password: Option<&str>) -> Result<()> {
    match (values.set(keyword, value), behind_password) {
        (true, _) => Ok(()),
        (false, Some(advice)) if !parameters::resembles_one(keyword) => {
            Err(wrong(format!("there is no such connection parameter as one behind the password; {advice}")))
        }
        (false, _) => Err(wrong(format!("there is no connection parameter \"{keyword}\""))),
    }
}

/// Percent-encoding undone; a lone `%` is a mistake, for it would be a password that is not what it seems.
fn decoded(text: &str) -> Result<String> {
    let bad = || wrong("a \"%\" in the URI is not followed by two hexadecimal digits; write %25 for itself".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit)).ok_or_else(bad)?;
        let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &after[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err(wrong("%00 is not possible in a URI".into())),
        Ok(text) => Ok(text),
        Err(_) => Err(wrong("the URI is not UTF-8 once its %xx are read".into())),
    }
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
