//! Sessions whose statements never wait for one another for long, and what they have open.

use postgres::error::SqlState;
use postgres::{Client, Row};

use crate::support::{Ask, Database, until};
use crate::truth::{Delivery, Effect, Outcome};

/// One statement: it worked, or gave up on a lock or for serialization (its transaction is then rolled back).
pub enum Answer {
    Rows(Vec<Row>),
    GaveUp,
}

pub struct Session {
    client: Option<Client>,
    pub open: bool,
    /// Events that the open transaction sent.
    pub sent: Vec<u64>,
    /// What the open transaction did to the subscription.
    pub effects: Vec<Effect>,
    /// The batch that the consumer believes to have.
    pub batch: Option<(i64, Vec<Delivery>)>,
}

impl Session {
    pub fn new(database: &Database) -> Session {
        let client = Some(connect(database));
        Session { client, open: false, sent: vec![], effects: vec![], batch: None }
    }

    pub fn ask(&mut self, sql: &str) -> Outcome<Answer> {
        match self.client.as_mut().unwrap().query(sql, &[]) {
            Ok(rows) => Ok(Answer::Rows(rows)),
            Err(error) => {
                let gave_up = [
                    &SqlState::LOCK_NOT_AVAILABLE,
                    &SqlState::T_R_SERIALIZATION_FAILURE,
                    &SqlState::T_R_DEADLOCK_DETECTED,
                ];
                if !error.code().is_some_and(|code| gave_up.contains(&code)) {
                    return Err(format!(
                        "{sql}: {}",
                        error.as_db_error().map_or(error.to_string(), |e| format!("{e:?}"))
                    ));
                }
                self.abort();
                Ok(Answer::GaveUp)
            }
        }
    }

    pub fn begin(&mut self, repeatable_read: bool) {
        let begin = match repeatable_read {
            true => "begin isolation level repeatable read; select from pgque.queue",
            false => "begin",
        };
        self.client.as_mut().unwrap().run(begin);
        self.open = true;
    }

    /// What the transaction did, if it could be committed.
    pub fn commit(&mut self) -> (Vec<u64>, Vec<Effect>) {
        self.open = false;
        let done = self.client.as_mut().unwrap().batch_execute("commit");
        let (sent, effects) = (std::mem::take(&mut self.sent), std::mem::take(&mut self.effects));
        match done {
            Ok(()) => (sent, effects),
            Err(_) => (vec![], vec![]),
        }
    }

    /// Whatever the transaction received may be gone with it; asking again tells.
    pub fn abort(&mut self) {
        if self.open {
            self.client.as_mut().unwrap().run("rollback");
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.open = false;
        self.sent.clear();
        self.effects.clear();
        self.batch = None;
    }

    pub fn crash(&mut self, database: &Database) {
        let process: i32 = self.client.as_mut().unwrap().get("select pg_backend_pid()");
        self.client = None;
        self.forget();
        let mut client = connect(database);
        until("the crashed session has ended", || {
            client.get::<bool>(&format!("select not exists (select from pg_stat_activity where pid = {process})"))
        });
        self.client = Some(client);
    }
}

fn connect(database: &Database) -> Client {
    let mut client = database.client();
    client.run("set lock_timeout = '15ms'; set client_min_messages = error");
    client
}
