//! Every parameter that libpq knows: its keyword, its environment variable, and what we do with it.

use std::collections::BTreeMap;

use super::{Environment, wrong};
use crate::error::Result;

/// What we do with a parameter.
#[derive(Clone, Copy)]
enum Rule {
    Used,
    /// Has no effect with PostgreSQL itself, or only with what is refused elsewhere.
    Ignored,
    /// We can honour these values alone; `because` says why not others.
    Only(&'static [&'static str], &'static str),
}

use Rule::{Ignored, Only, Used};

const OFF: &[&str] = &["", "0", "false", "off", "no"];
const OAUTH: &str = "OAuth is not supported; use another authentication method";

const PARAMETERS: &[(&str, &str, Rule)] = &[
    ("service", "PGSERVICE", Used),
    ("host", "PGHOST", Used),
    ("hostaddr", "PGHOSTADDR", Used),
    ("port", "PGPORT", Used),
    ("dbname", "PGDATABASE", Used),
    ("user", "PGUSER", Used),
    ("password", "PGPASSWORD", Used),
    ("passfile", "PGPASSFILE", Used),
    ("require_auth", "PGREQUIREAUTH", Used),
    ("channel_binding", "PGCHANNELBINDING", Used),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Used),
    ("client_encoding", "PGCLIENTENCODING", Used),
    ("options", "PGOPTIONS", Used),
    ("application_name", "PGAPPNAME", Used),
    ("fallback_application_name", "", Used),
    ("keepalives", "", Used),
    ("keepalives_idle", "", Used),
    ("keepalives_interval", "", Used),
    ("keepalives_count", "", Used),
    ("tcp_user_timeout", "", Used),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Used),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Used),
    ("sslmode", "PGSSLMODE", Used),
    ("sslnegotiation", "PGSSLNEGOTIATION", Used),
    ("sslrootcert", "PGSSLROOTCERT", Used),
    ("sslcert", "PGSSLCERT", Used),
    ("sslkey", "PGSSLKEY", Used),
    ("sslcertmode", "PGSSLCERTMODE", Used),
    ("sslcrl", "PGSSLCRL", Used),
    ("sslcrldir", "PGSSLCRLDIR", Used),
    ("sslsni", "PGSSLSNI", Used),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Used),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Used),
    ("sslcompression", "PGSSLCOMPRESSION", Ignored),
    // An encrypted key is refused where it is read, for only there it is seen.
    ("sslpassword", "", Ignored),
    ("krbsrvname", "PGKRBSRVNAME", Ignored),
    ("gsslib", "PGGSSLIB", Ignored),
    ("gssdelegation", "PGGSSDELEGATION", Ignored),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Only(&["3.0", "3.2", "latest"], "there is no such version")),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"], "this client speaks version 3.0")),
    ("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], "GSSAPI is not supported; use sslmode for encryption")),
    (
        "requirepeer",
        "PGREQUIREPEER",
        Only(&[""], "it is not supported; leave it out, or use TLS with sslmode=verify-full"),
    ),
    ("replication", "", Only(OFF, "a replication connection cannot serve a queue; leave it out")),
    ("sslkeylogfile", "", Only(&[""], "session keys are never written down; leave it out")),
    ("scram_client_key", "", Only(&[""], "it is not supported; give a password")),
    ("scram_server_key", "", Only(&[""], "it is not supported; give a password")),
    ("oauth_issuer", "", Only(&[""], OAUTH)),
    ("oauth_client_id", "", Only(&[""], OAUTH)),
    ("oauth_client_secret", "", Only(&[""], OAUTH)),
    ("oauth_scope", "", Only(&[""], OAUTH)),
];

/// Texts by keyword. The first to give a value wins, so that sources are added in order of precedence.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, String>);

impl Values {
    /// Adds a value unless there is one. False if there is no such parameter.
    pub(super) fn offer(&mut self, keyword: &str, value: &str) -> bool {
        let Some(keyword) = known(keyword) else { return false };
        self.0.entry(keyword).or_insert_with(|| value.to_owned());
        true
    }

    /// As [`Values::offer`], but the last one wins, as inside of one connection string.
    pub(super) fn set(&mut self, keyword: &str, value: &str) -> bool {
        let Some(keyword) = known(keyword) else { return false };
        self.0.insert(keyword, value.to_owned());
        true
    }

    pub(super) fn add_environment(&mut self, environment: &Environment) {
        for (keyword, variable, _) in PARAMETERS {
            if let Some(value) = environment.variable(variable) {
                self.offer(keyword, value);
            }
        }
        // libpq's older way to say so.
        if environment.variable("PGREQUIRESSL").is_some_and(|v| v.starts_with('1')) {
            self.offer("sslmode", "require");
        }
    }

    /// Refuses what we cannot honour and tells of what has no effect.
    pub(super) fn check(&self) -> Result<()> {
        for (keyword, _, rule) in PARAMETERS {
            let Some(value) = self.0.get(keyword) else { continue };
            match rule {
                Used => {}
                Ignored => log::debug!(target: "pgque", "connection parameter {keyword} has no effect"),
                Only(values, _) if values.contains(&value.as_str()) => {}
                // Without the value, which may be a key.
                Only(_, because) => return Err(wrong(format!("{keyword}: {because}"))),
            }
        }
        Ok(())
    }

    /// A value that says something; empty is as good as absent.
    pub(super) fn text(&self, keyword: &'static str) -> Option<&str> {
        self.given(keyword).filter(|value| !value.is_empty())
    }

    /// A value as it was given, also an empty one.
    pub(super) fn given(&self, keyword: &'static str) -> Option<&str> {
        debug_assert!(known(keyword).is_some());
        self.0.get(keyword).map(String::as_str)
    }

    /// A whole number.
    pub(super) fn number(&self, keyword: &'static str) -> Result<Option<i64>> {
        let parse = |value: &str| {
            let number = value.trim().parse::<i32>().map(i64::from);
            number.map_err(|_| wrong(format!("{keyword} must be a whole number, got \"{value}\"")))
        };
        self.given(keyword).map(parse).transpose()
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy>(&self, keyword: &'static str, choices: &[(&str, T)]) -> Result<T> {
        let wanted = self.text(keyword).unwrap_or(choices[0].0);
        let found = choices.iter().find(|(word, _)| *word == wanted);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            wrong(format!("{keyword} must be one of {}, got \"{wanted}\"", words.join(", ")))
        })
    }
}

/// Whether this is likely to be a parameter's name with a mistake in it, and nothing else.
pub(super) fn resembles_one(keyword: &str) -> bool {
    const SAME: usize = 3;
    let start = keyword.get(..SAME);
    start.is_some() && PARAMETERS.iter().any(|(known, ..)| known.get(..SAME) == start)
}

fn known(keyword: &str) -> Option<&'static str> {
    PARAMETERS.iter().map(|(known, ..)| *known).find(|known| *known == keyword)
}
