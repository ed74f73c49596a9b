//! An empty database per test, asked through plain SQL and through the library.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pgque::{Finding, InstallOptions, Installed, Kind, runtime};
use postgres::types::FromSqlOwned;
use postgres::{Client, Config, NoTls};

pub const FIXTURE: &str = include_str!("pgque_0_2.sql");

/// Everything that an installation may change, as one value.
const PICTURE: &str = "select md5(string_agg(t, E'\\n' order by t)) from (
    select concat_ws(' ', 'f', p.oid, p.oid::regprocedure, md5(p.prosrc), p.proacl) t
      from pg_proc p where pronamespace = to_regnamespace('pgque')
    union all select concat_ws(' ', 'c', c.oid, c.relname, c.relkind, c.relacl, c.reloptions, a.attname, a.attnotnull)
      from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
     where c.relnamespace = to_regnamespace('pgque')
    union all select concat_ws(' ', 'n', nspname, nspacl) from pg_namespace) everything";

pub struct Database {
    name: String,
}

impl Database {
    pub fn empty() -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgque_schema_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        server().connect(NoTls).unwrap().batch_execute(&format!("create database {name}")).unwrap();
        Database { name }
    }

    pub fn installed() -> Database {
        let database = Database::empty();
        assert_eq!(database.install(false), Ok(Installed::New));
        database
    }

    pub fn sql(&self) -> Sql {
        Sql(server().dbname(&self.name).connect(NoTls).unwrap())
    }

    /// The server's address is a URI, as `pgque dev` gives it.
    pub fn dsn(&self) -> String {
        let dsn = std::env::var("PGQUE_TEST_DSN").unwrap();
        let (server, _) = dsn.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    pub fn client(&self) -> pgque::Client {
        let settings = pgque::Settings::parse(&self.dsn()).unwrap();
        pgque::Client::over(runtime::wait(pgque::Connection::open(settings)).unwrap())
    }

    /// The outcome, or the kind of the error with its message.
    pub fn install(&self, adopt: bool) -> Result<Installed, (Kind, String)> {
        let _guard = one_at_a_time();
        runtime::wait(pgque::install_with(&self.client(), InstallOptions { adopt }))
            .map_err(|e| (e.kind(), e.message().to_owned()))
    }

    pub fn plan(&self, adopt: bool) -> Vec<pgque::InstallStep> {
        let _guard = one_at_a_time();
        runtime::wait(pgque::install_plan(&self.client(), InstallOptions { adopt })).unwrap()
    }

    pub fn examine(&self) -> Vec<Finding> {
        let _guard = one_at_a_time();
        runtime::wait(pgque::examine(&self.client())).unwrap()
    }

    pub fn picture(&self) -> Option<String> {
        self.sql().get(PICTURE)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut admin) = server().connect(NoTls) {
            let _ = admin.batch_execute(&format!("drop database {} with (force)", self.name));
        }
    }
}

/// Roles are shared by the whole server, and some of these tests give them wrong memberships.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static INSTALLER: Mutex<()> = Mutex::new(());
    INSTALLER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn server() -> Config {
    std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test engine").parse().unwrap()
}

pub struct Sql(Client);

impl Sql {
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(error) = self.0.batch_execute(sql) {
            panic!("{sql}: {error:?}");
        }
    }

    #[track_caller]
    pub fn get<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        match self.0.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    #[track_caller]
    pub fn column<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T> {
        match self.0.query(sql, &[]) {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    pub fn tick(&mut self) {
        self.run("select pgque.force_next_tick('q')");
        self.run("select pgque.ticker('q')");
    }

    /// Receives until nothing is left, acking everything; the payloads.
    pub fn drain(&mut self, consumer: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let some = self.column(&format!("select payload from pgque.receive('q', '{consumer}')"));
            if some.is_empty() {
                return all;
            }
            all.extend(some);
            self.run(&format!(
                "select pgque.ack(sub_batch) from pgque.subscription, pgque.consumer
                  where co_id = sub_consumer and co_name = '{consumer}'"
            ));
        }
    }
}
