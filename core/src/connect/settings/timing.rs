//! How long to wait for a server, and how soon a silent one counts as gone.

use std::time::Duration;

use super::parameters::Values;
use crate::error::Result;

/// A server that does not answer at all is given up after this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that lives for months must notice within seconds that its server has vanished; the kernel's own
/// defaults take two hours, and a quarter of an hour where something was sent. 4 s + 3 · 2 s is 10 s. Linux lets the
/// user timeout decide where there is one, and looks at it with each probe: one of 10 s is no later, one of 11 s would be.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(4);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVES_COUNT: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// libpq does not go below this either, for one second may be over before it has begun.
const CONNECT_TIMEOUT_MIN: i64 = 2;
/// What the kernel takes at most as a count and as seconds.
const KEEPALIVES_COUNT_MAX: i64 = 127;
const KEEPALIVES_SECONDS_MAX: i64 = 32767;

#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// For each address of each host; none if the user wants it so.
    pub connect_timeout: Option<Duration>,
    /// `None` where keepalives are off.
    pub keepalives: Option<Keepalives>,
    /// How long sent data may stay unanswered; `None` leaves it to the kernel.
    pub tcp_user_timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct Keepalives {
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
}

impl Timing {
    pub(super) fn read(values: &Values) -> Result<Timing> {
        let connect_timeout = match values.number("connect_timeout")? {
            None => Some(CONNECT_TIMEOUT),
            Some(seconds) if seconds <= 0 => None,
            Some(seconds) => Some(Duration::from_secs(seconds.max(CONNECT_TIMEOUT_MIN).unsigned_abs())),
        };
        // Zero or less: the kernel's own.
        let seconds = |keyword, default| -> Result<Option<Duration>> {
            let given = values.number(keyword)?.map(|n| n.clamp(0, KEEPALIVES_SECONDS_MAX).unsigned_abs());
            Ok(given.map_or(Some(default), |n| Some(Duration::from_secs(n)).filter(|d| !d.is_zero())))
        };
        let count = values.number("keepalives_count")?.map(|n| n.clamp(0, KEEPALIVES_COUNT_MAX) as u32);
        let keepalives = Keepalives {
            idle: seconds("keepalives_idle", KEEPALIVES_IDLE)?,
            interval: seconds("keepalives_interval", KEEPALIVES_INTERVAL)?,
            count: count.map_or(Some(KEEPALIVES_COUNT), |n| Some(n).filter(|n| *n > 0)),
        };
        let user_timeout = values.number("tcp_user_timeout")?.map(|n| Duration::from_millis(n.max(0).unsigned_abs()));
        Ok(Timing {
            connect_timeout,
            keepalives: (values.number("keepalives")? != Some(0)).then_some(keepalives),
            tcp_user_timeout: Some(user_timeout.unwrap_or(TCP_USER_TIMEOUT)).filter(|d| !d.is_zero()),
        })
    }
}
