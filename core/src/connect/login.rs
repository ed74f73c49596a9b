//! Reads the server's messages up to the end of the login, before the driver does, so that a password or a proof of
//! it is never given to a server that asks for it in a way the settings do not permit. Also notes whose session the
//! server says this is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::settings::{ChannelBinding, Method, RequireAuth, method_name};

const AUTHENTICATION: u8 = b'R';
const BACKEND_KEY: u8 = b'K';
const READY: u8 = b'Z';
const ERROR: u8 = b'E';
/// Type and length of a message.
const HEADER: usize = 5;
/// What is looked at of a message's body: the kind of the authentication request, or the server's process id.
const BODY: usize = 4;

/// The settings do not permit what the server asks for.
#[derive(Debug)]
pub(super) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

pub(super) struct LoginWatch {
    rule: RequireAuth,
    channel_binding: ChannelBinding,
    has_password: bool,
    /// Whether the server has asked for anything yet.
    asked: bool,
    /// Told as the process id of the session's server.
    backend: Arc<AtomicI32>,
    /// The start of the message that arrives just now.
    head: Vec<u8>,
    /// How much of it is still to come.
    rest: usize,
}

impl LoginWatch {
    pub(super) fn new(
        rule: RequireAuth,
        channel_binding: ChannelBinding,
        has_password: bool,
        backend: Arc<AtomicI32>,
    ) -> LoginWatch {
        LoginWatch { rule, channel_binding, has_password, asked: false, backend, head: Vec::new(), rest: 0 }
    }

    /// Takes what has arrived. True once the login is over.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            if self.rest == 0 && self.head.len() < HEADER {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                if self.head.len() == HEADER {
                    self.rest = number(&self.head[1..]).saturating_sub(4);
                }
            } else {
                let wanted = (HEADER + BODY - self.head.len()).min(self.rest).min(bytes.len());
                self.head.extend_from_slice(&bytes[..wanted]);
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
            }
            let complete = self.head.len() == HEADER + BODY || self.head.len() == HEADER && self.rest == 0;
            if complete && self.message().map_err(io::Error::other)? {
                return Ok(true);
            }
            if self.head.len() >= HEADER && self.rest == 0 {
                self.head.clear();
            }
        }
        Ok(false)
    }

    /// One message, as far as its kind. True if it ends the login.
    fn message(&mut self) -> Result<bool, Refusal> {
        let body = &self.head[HEADER..];
        match self.head[0] {
            BACKEND_KEY => self.backend.store(number(body) as i32, Ordering::Relaxed),
            READY | ERROR => return Ok(true),
            AUTHENTICATION if body.len() == BODY => return self.authentication(number(body)),
            _ => {}
        }
        Ok(false)
    }

    fn authentication(&mut self, request: usize) -> Result<bool, Refusal> {
        let method = match request {
            0 => return self.end(),
            3 => Method::Password,
            5 => Method::Md5,
            7 | 2 => Method::Gss,
            9 => Method::Sspi,
            10 => Method::Scram,
            // The later steps of what was permitted.
            _ => return Ok(false),
        };
        self.question(method)?;
        Ok(false)
    }

    fn question(&mut self, method: Method) -> Result<(), Refusal> {
        self.asked = true;
        let name = method_name(method);
        if !self.rule.permits(method) {
            let text = self.rule.text();
            return Err(Refusal(format!("the server asks for {name} authentication, require_auth={text} forbids it")));
        }
        if self.channel_binding == ChannelBinding::Require && method != Method::Scram {
            let message = "the server asks for {} authentication, which has no channel binding, channel_binding=require forbids it";
            return Err(Refusal(message.replace("{}", name)));
        }
        if !self.has_password && matches!(method, Method::Password | Method::Md5 | Method::Scram) {
            let message = "the server asks for a password and none is given; set password, PGPASSWORD or ~/.pgpass";
            return Err(Refusal(message.into()));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<bool, Refusal> {
        match self.asked || self.rule.permits(Method::None) {
            true => Ok(false),
            false => Err(Refusal(format!(
                "the server asks for no authentication, require_auth={} forbids it",
                self.rule.text()
            ))),
        }
    }
}

/// A number of four bytes, as the protocol writes lengths, kinds and process ids.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(4).fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}
