//! A database per test, and short spellings for asking it something.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgres::types::FromSqlOwned;
use postgres::{Client, Config, NoTls};

/// The installer: the files of `core/sql` in name order, in one transaction. Read once, so that a file
/// saved during a run does not give its tests two different installers.
pub fn installer() -> &'static str {
    static INSTALLER: OnceLock<String> = OnceLock::new();
    INSTALLER.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .collect();
        files.sort();
        let texts: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        format!("begin;\n{}\ncommit;", texts.join("\n"))
    })
}

fn server() -> Config {
    std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test").parse().unwrap()
}

/// The name of a database with the engine installed, made once and copied by every test. It carries the
/// hash of the installer, so that a later run with the same files finds it.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let installer = installer();
        let mut hash = DefaultHasher::new();
        installer.hash(&mut hash);
        let name = format!("pgque_engine_template_{:016x}", hash.finish());

        // Roles are shared by the whole server: one installer at a time.
        let mut admin = server().connect(NoTls).unwrap();
        admin.run("select pg_advisory_lock(hashtext('pgque engine template'))");
        let old: Vec<String> =
            admin.column("select datname::text from pg_database where datname like 'pgque_engine_template_%'");
        for stale in old.iter().filter(|old| **old != name) {
            admin.run(&format!("drop database if exists {stale} with (force)"));
        }
        if !old.contains(&name) {
            let building = format!("{name}_building");
            admin.run(&format!("drop database if exists {building} with (force)"));
            admin.run(&format!("create database {building}"));
            server().dbname(&building).connect(NoTls).unwrap().batch_execute(installer).unwrap();
            rename_when_idle(&mut admin, &building, &name);
        }
        name
    })
}

fn rename_when_idle(admin: &mut Client, from: &str, to: &str) {
    let sql = format!("alter database {from} rename to {to}");
    until("nobody is connected to the template", || admin.batch_execute(&sql).is_ok());
}

/// Waits for a condition; panics with its name after ten seconds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A database with the engine, dropped at the end of the test.
pub struct Database {
    name: String,
}

impl Database {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgque_engine_{}_{count}", std::process::id());
        let mut admin = server().connect(NoTls).unwrap();
        admin.run(&format!("create database {name} template {}", template()));
        Self { name }
    }

    /// Without the engine.
    pub fn empty() -> Self {
        let name = format!("pgque_engine_{}_empty", std::process::id());
        server().connect(NoTls).unwrap().run(&format!("create database {name} template template0"));
        Self { name }
    }

    /// A new session. Its search_path is empty: whatever the engine does not qualify, fails.
    pub fn client(&self) -> Client {
        let mut client = server().dbname(&self.name).connect(NoTls).unwrap();
        client.run("set search_path = ''; set statement_timeout = '30s'");
        client
    }

    /// A session as an ordinary login role with the given membership (none if empty).
    pub fn client_as(&self, role: &str) -> Client {
        let mut client = self.client();
        client.run(&format!("set role {role}"));
        client
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut admin) = server().connect(NoTls) {
            let _ = admin.batch_execute(&format!("drop database {} with (force)", self.name));
        }
    }
}

/// A received message, the fields that tests look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: i64,
    pub batch: i64,
    pub kind: Option<String>,
    pub payload: Option<String>,
    pub retry: Option<i32>,
}

pub trait Ask {
    fn run(&mut self, sql: &str);
    fn get<T: FromSqlOwned>(&mut self, sql: &str) -> T;
    fn column<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T>;
    fn messages(&mut self, call: &str) -> Vec<Message>;
    fn fails(&mut self, sql: &str) -> (String, String);
    fn tick(&mut self, queue: &str);
}

impl Ask for Client {
    fn run(&mut self, sql: &str) {
        if let Err(error) = self.batch_execute(sql) {
            panic!("{sql}: {error:?}");
        }
    }

    /// The single value that a query gives.
    fn get<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        match self.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    fn column<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T> {
        match self.query(sql, &[]) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// The messages of `receive('q', 'c')` and its like.
    fn messages(&mut self, call: &str) -> Vec<Message> {
        let sql = format!("select * from pgque.{call}");
        match self.query(&sql, &[]) {
            Ok(rows) => rows
                .iter()
                .map(|row| Message {
                    id: row.get(0),
                    batch: row.get(1),
                    kind: row.get(2),
                    payload: row.get(3),
                    retry: row.get(4),
                })
                .collect(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// SQLSTATE and message of a statement that must fail.
    fn fails(&mut self, sql: &str) -> (String, String) {
        match self.query(sql, &[]) {
            Ok(_) => panic!("{sql}: succeeded"),
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
                (error.code().code().to_owned(), error.message().to_owned())
            }
        }
    }

    /// Ticks unconditionally: two transactions, as in production.
    fn tick(&mut self, queue: &str) {
        self.run(&format!("select pgque.force_next_tick('{queue}')"));
        assert!(self.get::<Option<i64>>(&format!("select pgque.ticker('{queue}')")).is_some());
    }
}

/// The payloads, for comparing deliveries.
pub fn payloads(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.payload.as_deref().unwrap_or("<null>")).collect()
}

pub fn error(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

/// Runs a statement in a session of its own and gives the time it took with its outcome.
pub fn timed<T>(action: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let outcome = action();
    (begin.elapsed(), outcome)
}
