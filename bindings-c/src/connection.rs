//! A client on a connection of the caller's: its statements are run by the caller's own function.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use pgque::{BoxFuture, Client, ForeignConnection, ForeignError, Placeholder, ServerError, blocking};

use crate::client::pgque_client;
use crate::error::pgque_error;
use crate::ffi::{UserData, call_query, door, lossy, pgque_free_callback};
use crate::message::pgque_bytes;

/// Runs a statement on the caller's connection. `sql` holds `$1`, `$2` and so on, for which `params` has `params_count`
/// texts that end with NUL, or NULL for SQL NULL; they fit libpq's `PQexecParams`. Every row of the answer goes to
/// `pgque_answer_add_row`, all columns as text. True when the statement ran; false when it failed, which
/// `pgque_answer_server_error` or `pgque_answer_connection_error` describes. Called only on the thread inside a call
/// on that client; what it is given dies when it returns. It must not call that client, nor throw.
pub type pgque_query_callback = Option<
    unsafe extern "C" fn(
        sql: *const c_char,
        params: *const *const c_char,
        params_count: usize,
        answer: *mut pgque_answer,
        user_data: *mut c_void,
    ) -> bool,
>;

/// As `pgque_query_callback`, but not NULL.
pub type Query =
    unsafe extern "C" fn(*const c_char, *const *const c_char, usize, *mut pgque_answer, *mut c_void) -> bool;

/// Makes a client on a connection of the caller's, so that every call is part of whatever transaction is open there.
/// Begin, commit, rollback, execute, listen and install answer `conflict`: use the connection itself. `user_data` is
/// handed to `query`, and to `free_user_data`, which may be NULL, when the client is freed or could not be made. The
/// client belongs to the caller, until `pgque_client_free`. As the connection, it is for one thread at a time; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_client_over(
    query: pgque_query_callback,
    user_data: *mut c_void,
    free_user_data: pgque_free_callback,
    client: *mut *mut pgque_client,
) -> Option<Box<pgque_error>> {
    door("connect", |door| {
        let user_data = UserData::new(user_data, free_user_data);
        let out = door.out(client, "client")?;
        let connection = CallerConnection { query: door.required(query, "query")?, user_data };
        out.put(blocking::Client::from(Client::over_foreign(Arc::new(connection))).into());
        Ok(())
    })
}

struct CallerConnection {
    query: Query,
    user_data: UserData,
}

impl CallerConnection {
    fn run(&self, sql: &str, params: &[Option<String>]) -> Result<Vec<Vec<Option<String>>>, ForeignError> {
        let (ok, answer) = call_query(self.query, sql, params, &self.user_data);
        match (ok, answer.error) {
            (true, None) => Ok(answer.rows),
            (_, Some(error)) => Err(error),
            (false, None) => Err(ForeignError::Connection("the caller's connection gave no reason".into())),
        }
    }
}

impl ForeignConnection for CallerConnection {
    fn placeholder(&self) -> Placeholder {
        Placeholder::Dollar
    }

    fn query<'a>(
        &'a self,
        sql: &'a str,
        params: Vec<Option<String>>,
    ) -> BoxFuture<'a, Result<Vec<Vec<Option<String>>>, ForeignError>> {
        Box::pin(async move { self.run(sql, &params) })
    }
}

/// What the caller's connection answers to one statement. Lives until the callback returns; only its thread may use
/// it.
#[derive(Default)]
pub struct pgque_answer {
    rows: Vec<Vec<Option<String>>>,
    error: Option<ForeignError>,
}

/// Adds a row: one text for each column, `data` NULL for SQL NULL. The texts are copied. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_answer_add_row(
    answer: Option<&mut pgque_answer>,
    cells: *const pgque_bytes,
    cells_count: usize,
) -> Option<Box<pgque_error>> {
    door("answer_add_row", |door| {
        let answer = door.required(answer, "answer")?;
        answer.rows.push(door.bodies(cells, cells_count, "cells")?);
        Ok(())
    })
}

/// Tells that the server reported an error. All but `sqlstate` and `message` may be NULL. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_answer_server_error(
    answer: Option<&mut pgque_answer>,
    sqlstate: *const c_char,
    message: *const c_char,
    detail: *const c_char,
    hint: *const c_char,
    constraint: *const c_char,
) -> Option<Box<pgque_error>> {
    door("answer_server_error", |door| {
        let server = ServerError {
            sqlstate: door.text(sqlstate, "sqlstate")?.to_owned(),
            message: door.required(lossy(message), "message")?,
            detail: lossy(detail),
            hint: lossy(hint),
            constraint: lossy(constraint),
        };
        door.required(answer, "answer")?.error = Some(ForeignError::Server(server));
        Ok(())
    })
}

/// Tells that the connection is lost, closed or unusable. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn pgque_answer_connection_error(
    answer: Option<&mut pgque_answer>,
    message: *const c_char,
) -> Option<Box<pgque_error>> {
    door("answer_connection_error", |door| {
        let message = door.required(lossy(message), "message")?;
        door.required(answer, "answer")?.error = Some(ForeignError::Connection(message));
        Ok(())
    })
}
