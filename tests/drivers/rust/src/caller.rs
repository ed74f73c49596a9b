//! A connection of the caller's own, by tokio-postgres, given to the library to run its statements on.

use std::error::Error as StdError;

use futures_util::TryStreamExt;
use pgque::{BoxFuture, ForeignConnection, ForeignError, Placeholder, ServerError};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, NoTls};

pub struct CallerConnection(pub tokio_postgres::Client);

impl CallerConnection {
    pub async fn open(dsn: &str) -> Result<CallerConnection, Error> {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
        // Its end is seen by the next call on the client.
        tokio::spawn(connection);
        Ok(CallerConnection(client))
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
        Box::pin(async move { rows(&self.0, sql, params).await.map_err(foreign) })
    }
}

async fn rows(
    client: &tokio_postgres::Client,
    sql: &str,
    params: Vec<Option<String>>,
) -> Result<Vec<Vec<Option<String>>>, Error> {
    let typed = params.into_iter().map(|value| (TextParam(value), Type::UNKNOWN));
    let stream = client.query_typed_raw(sql, typed).await?;
    let row = |row: tokio_postgres::Row| (0..row.len()).map(|i| row.try_get(i)).collect();
    stream.try_collect::<Vec<_>>().await?.into_iter().map(row).collect()
}

fn foreign(error: Error) -> ForeignError {
    let Some(db) = error.as_db_error() else {
        return ForeignError::Connection(error.to_string());
    };
    ForeignError::Server(ServerError {
        sqlstate: db.code().code().to_owned(),
        message: db.message().to_owned(),
        detail: db.detail().map(str::to_owned),
        hint: db.hint().map(str::to_owned),
        constraint: db.constraint().map(str::to_owned),
    })
}

/// Text in the text format, whose type the server infers.
#[derive(Debug)]
struct TextParam(Option<String>);

impl ToSql for TextParam {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
