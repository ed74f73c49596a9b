//! Statements on a connection of the caller's: asked for by number, answered by number.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Result, Status};
use napi_derive::napi;
use pgque::{BoxFuture, ForeignConnection, ForeignError, Placeholder, ServerError};
use tokio::sync::oneshot;

use crate::client::Client;

type Rows = Vec<Vec<Option<String>>>;
type Answer = std::result::Result<Rows, ForeignError>;
/// The number of the call, the number of the question, the SQL, its parameters.
type Question = FnArgs<(u32, u32, String, Vec<Option<String>>)>;
type Ask = ThreadsafeFunction<Question, (), Question, Status, false, true>;

thread_local! {
    /// The number that JavaScript gave to the call it makes right now.
    static STARTING: Cell<u32> = const { Cell::new(0) };
}

tokio::task_local! {
    /// The same while the call runs.
    static CALL: u32;
}

/// Runs work so that its statements name the call they belong to.
pub fn on_behalf_of_caller<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    CALL.scope(STARTING.take(), work)
}

/// What the caller's driver said when a statement failed.
#[napi(object)]
pub struct Failure {
    pub message: String,
    /// Missing when the server did not say it: the connection is lost.
    pub sqlstate: Option<String>,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub constraint: Option<String>,
}

/// The way to the connections of one JavaScript thread.
#[napi]
pub struct Caller(Arc<Link>);

struct Link {
    ask: Ask,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Answer>>>,
    next: AtomicU32,
}

#[napi]
impl Caller {
    /// `ask` is given the number of the call, a number to answer to, the statement and its parameters.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        #[napi(ts_arg_type = "(call: number, question: number, sql: string, params: Array<string | null>) => void")]
        ask: Function<'_, Question, ()>,
    ) -> Result<Caller> {
        let ask = ask.build_threadsafe_function().weak::<true>().build()?;
        Ok(Caller(Arc::new(Link { ask, waiting: Mutex::default(), next: AtomicU32::new(0) })))
    }

    /// A client whose statements go to `ask`.
    #[napi(catch_unwind)]
    pub fn client(&self) -> Client {
        Client(pgque::Client::over_foreign(self.0.clone()))
    }

    /// Says on which call's behalf the next call runs.
    #[napi(catch_unwind)]
    pub fn starting(&self, call: u32) {
        STARTING.set(call);
    }

    #[napi(catch_unwind)]
    pub fn rows(&self, question: u32, #[napi(ts_arg_type = "Array<Array<string | null>>")] rows: Rows) {
        self.0.answer(question, Ok(rows));
    }

    #[napi(catch_unwind)]
    pub fn failed(&self, question: u32, failure: Failure) {
        let Failure { message, sqlstate, detail, hint, constraint } = failure;
        let error = match sqlstate {
            Some(sqlstate) => ForeignError::Server(ServerError { sqlstate, message, detail, hint, constraint }),
            None => ForeignError::Connection(message),
        };
        self.0.answer(question, Err(error));
    }
}

impl Link {
    fn answer(&self, question: u32, answer: Answer) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&question);
        if let Some(waiting) = waiting {
            // Nobody waits any more when the call was given up.
            let _ = waiting.send(answer);
        }
    }

    async fn ask(&self, sql: &str, params: Vec<Option<String>>) -> Answer {
        let gone = || ForeignError::Connection("the thread of the connection has ended".into());
        let (sender, receiver) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        let call = CALL.try_with(|call| *call).unwrap_or_default();
        let question = (call, number, sql.to_owned(), params).into();
        match self.ask.call(question, ThreadsafeFunctionCallMode::NonBlocking) {
            Status::Ok => receiver.await.unwrap_or_else(|_| Err(gone())),
            _ => {
                self.answer(number, Err(gone()));
                Err(gone())
            }
        }
    }
}

impl ForeignConnection for Link {
    fn placeholder(&self) -> Placeholder {
        Placeholder::Dollar
    }

    fn query<'a>(&'a self, sql: &'a str, params: Vec<Option<String>>) -> BoxFuture<'a, Answer> {
        Box::pin(self.ask(sql, params))
    }
}
