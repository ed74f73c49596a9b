//! Tickers, which run on threads of their own, and what consumers share with them.

use std::thread::JoinHandle;

use pgque::runtime::wait;
use pgque::{Settings, Ticker, TickerOptions};
use serde_json::{Map, Value, json};

use crate::args::Args;
use crate::{Answer, Fault};

pub struct RunningTicker {
    ticker: Ticker,
    thread: JoinHandle<pgque::Result<()>>,
}

impl RunningTicker {
    pub fn start(args: &Args) -> Answer<RunningTicker> {
        let mut options = TickerOptions::default();
        for (name, value) in object(args, "options") {
            options.set(name, &plain(value))?;
        }
        let ticker = Ticker::new(Settings::parse(args.text("dsn")?)?, options);
        let running = ticker.clone();
        let thread = std::thread::spawn(move || wait(running.run()));
        Ok(RunningTicker { ticker, thread })
    }

    pub fn stats(&self) -> Value {
        let stats = self.ticker.stats();
        let mut shown: Map<String, Value> =
            stats.entries().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        shown.insert("state".into(), json!(stats.state.name()));
        shown.insert("since".into(), json!(stats.since.as_unix_micros().to_string()));
        shown.insert("last_error".into(), json!(stats.last_error));
        shown.into()
    }

    pub fn stop(self) -> Answer {
        self.ticker.stop();
        joined(self.thread)
    }
}

pub fn joined(thread: JoinHandle<pgque::Result<()>>) -> Answer {
    let ended = thread.join().map_err(|_| Fault::Driver("the thread panicked".into()))?;
    Ok(ended.map(|()| Value::Null)?)
}

pub fn object<'a>(args: &'a Args, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    args.0.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// Text as it is, a number as its digits.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
