//! `pgque_ticker`: the runner of ticks, retries and maintenance.

use std::ffi::c_char;

use pgque::blocking::wait;
use pgque::{Result, Settings, Ticker, TickerOptions};

use crate::error::pgque_error;
use crate::ffi::{Door, door};
use crate::options::pgque_options;

/// Runs the engine of one database, without which nothing is delivered. Many may run; one works, the others stand
/// by. Any thread.
pub struct pgque_ticker(Ticker);

impl Door {
    fn ticker(self, ticker: Option<&pgque_ticker>) -> Result<&Ticker> {
        self.required(ticker, "ticker").map(|t| &t.0)
    }
}

/// Makes a ticker, which connects only when it is run, with a role that is a member of `pgque_admin`. `options` may
/// be NULL for the defaults, and are copied. `configuration` if an option is wrong. The ticker belongs to the caller,
/// until `pgque_ticker_free`. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_new(
    dsn: *const c_char,
    options: Option<&pgque_options>,
    ticker: *mut *mut pgque_ticker,
) -> Option<Box<pgque_error>> {
    door("ticker", |door| {
        let out = door.out(ticker, "ticker")?;
        let mut chosen = TickerOptions::default();
        pgque_options::apply(options, |name, value| chosen.set(name, value))?;
        out.put(pgque_ticker(Ticker::new(Settings::parse(door.text(dsn, "dsn")?)?, chosen)));
        Ok(())
    })
}

/// Works, or stands by, until `pgque_ticker_stop`. Reconnects for as long as it takes; errors that time cannot mend
/// are returned. One thread at a time; blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_run(ticker: Option<&pgque_ticker>) -> Option<Box<pgque_error>> {
    door("run", |door| wait(door.ticker(ticker)?.run()))
}

/// Ends the current run at once, or else the next. Any thread, but not a signal handler; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_stop(ticker: Option<&pgque_ticker>) -> Option<Box<pgque_error>> {
    door("stop", |door| {
        door.ticker(ticker)?.stop();
        Ok(())
    })
}

/// Frees a ticker. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_free(ticker: Option<Box<pgque_ticker>>) {
    drop(ticker);
}
