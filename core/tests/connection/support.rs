//! What the tests of connections share.

use pgque::{Connection, Settings, Value};

pub fn settings() -> Settings {
    let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
    Settings::parse(&dsn).expect("the DSN of the tests is valid")
}

pub fn run(test: impl Future<Output = pgque::Result<()>>) {
    pgque::runtime::wait(test).expect("the connection does what the test asks");
}

pub async fn number(connection: &Connection, sql: &str) -> pgque::Result<i64> {
    match connection.execute(sql, &[]).await?.rows[0][0] {
        Value::Int(n) => Ok(n),
        ref other => panic!("{sql} gave {other:?}"),
    }
}
