//! `pgque_ticker`: the runner of ticks, retries and maintenance.

use std::ffi::c_char;
use std::ptr;

use pgque::blocking::wait;
use pgque::{Result, Settings, Ticker, TickerOptions, TickerStats};

use crate::error::pgque_error;
use crate::ffi::{Door, door, put_sized};
use crate::options::pgque_options;
use crate::stats::pgque_health;

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

/// Counts since the ticker was made. Grows at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pgque_ticker_counters {
    /// Ticks, over all queues.
    pub ticks: u64,
    /// Messages put back into their queues when their delay was over.
    pub retries: u64,
    /// Tables that were emptied and taken into use.
    pub rotations: u64,
    /// Connections that were lost, or could not be made.
    pub reconnects: u64,
    /// Steps that the server refused; the next round tries them again.
    pub failures: u64,
}

/// Fills in the counters, all of one moment; `counters_size` is `sizeof(pgque_ticker_counters)`, by which the library
/// knows the header that the program was compiled with. Any thread, also while the ticker runs; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_stats(
    ticker: Option<&pgque_ticker>,
    counters: *mut pgque_ticker_counters,
    counters_size: usize,
) -> Option<Box<pgque_error>> {
    door("stats", |door| {
        let TickerStats { ticks, retries, rotations, reconnects, failures, .. } = door.ticker(ticker)?.stats();
        door.required(ptr::NonNull::new(counters), "counters")?;
        let read = pgque_ticker_counters { ticks, retries, rotations, reconnects, failures };
        put_sized(counters, counters_size, read);
        Ok(())
    })
}

/// Tells how the ticker fares at this moment. The answer belongs to the caller, until `pgque_health_free`. Any thread,
/// also while the ticker runs; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_health(
    ticker: Option<&pgque_ticker>,
    health: *mut *mut pgque_health,
) -> Option<Box<pgque_error>> {
    door("health", |door| {
        let out = door.out(health, "health")?;
        out.put(door.ticker(ticker)?.stats().into());
        Ok(())
    })
}

/// Frees a ticker. NULL is fine. Once, when no thread uses it any more; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_ticker_free(ticker: Option<Box<pgque_ticker>>) {
    drop(ticker);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_the_core_is_there() {
        let counters = size_of::<pgque_ticker_counters>() / size_of::<u64>();
        assert_eq!(counters, TickerStats::default().entries().len());
    }
}
