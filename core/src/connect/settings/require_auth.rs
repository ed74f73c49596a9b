//! `require_auth`: the ways in which the server may ask who we are.

use super::parameters::Values;
use super::wrong;
use crate::error::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Password,
    Md5,
    Gss,
    Sspi,
    Scram,
    OAuth,
    /// The server does not ask, or a certificate was all it wanted.
    None,
}

const METHODS: [(&str, Method); 7] = [
    ("password", Method::Password),
    ("md5", Method::Md5),
    ("gss", Method::Gss),
    ("sspi", Method::Sspi),
    ("scram-sha-256", Method::Scram),
    ("oauth", Method::OAuth),
    ("none", Method::None),
];

#[derive(Clone, Debug, Default)]
pub(crate) struct RequireAuth {
    /// As the user wrote it, for messages.
    text: String,
    methods: Vec<Method>,
    /// `!` before each: all but these.
    negated: bool,
}

impl RequireAuth {
    pub(super) fn read(values: &Values) -> Result<RequireAuth> {
        let Some(text) = values.text("require_auth") else {
            return Ok(RequireAuth { negated: true, ..RequireAuth::default() });
        };
        let bad = |what: String| wrong(format!("require_auth: {what}"));
        let negated = text.starts_with('!');
        let mut methods = Vec::new();
        for word in text.split(',') {
            let name = word.strip_prefix('!').unwrap_or(word);
            if word.starts_with('!') != negated {
                return Err(bad("write \"!\" before all methods or before none".into()));
            }
            let found = METHODS.iter().find(|(known, _)| *known == name);
            let method = found.ok_or_else(|| bad(format!("there is no method \"{name}\"")))?.1;
            if methods.contains(&method) {
                return Err(bad(format!("\"{name}\" is named twice")));
            }
            methods.push(method);
        }
        Ok(RequireAuth { text: text.to_owned(), methods, negated })
    }

    pub(crate) fn permits(&self, method: Method) -> bool {
        self.methods.contains(&method) != self.negated
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// As the user would write it.
pub(crate) fn name(method: Method) -> &'static str {
    METHODS.iter().find(|(_, known)| *known == method).map_or("", |(name, _)| name)
}
