//! Many threads on one connection. A file of its own, for it looks at the threads of the whole process.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::Barrier;
use std::thread;

use pgque::runtime::wait;
use pgque::{Connection, Settings, Value};

const THREADS: usize = 16;
const CALLS: usize = 500;

fn select(connection: &Connection, number: usize) {
    let result = wait(connection.execute(&format!("select {number}::bigint"), &[])).expect("it is answered");
    assert_eq!(result.rows[0][0], Value::Int(i64::try_from(number).expect("it is small")));
}

/// How often the runtime's threads have gone to sleep.
fn sleeps_of_the_runtime() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("there are threads");
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let sleeps = field("voluntary_ctxt_switches:")?.parse::<u64>().ok()?;
        (field("Name:")? == "pgque").then_some(sleeps)
    };
    tasks.flatten().filter_map(of_task).sum()
}

#[test]
fn threads_on_one_connection_read_for_each_other_and_let_the_runtime_sleep() {
    let dsn = std::env::var("PGQUE_TEST_DSN").expect("PGQUE_TEST_DSN is set; run scripts/test");
    let settings = Settings::parse(&dsn).expect("the DSN of the tests is valid");
    let connection = wait(Connection::open(settings)).expect("it connects");
    select(&connection, 0);
    let (before, together) = (sleeps_of_the_runtime(), Barrier::new(THREADS));
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (connection, together) = (&connection, &together);
            scope.spawn(move || {
                together.wait();
                (0..CALLS).for_each(|call| select(connection, first * CALLS + call));
            });
        }
    });
    let sleeps = sleeps_of_the_runtime() - before;
    let calls = (THREADS * CALLS) as u64;
    assert!(sleeps < calls / 10, "the runtime's threads slept {sleeps} times in {calls} calls");
}
