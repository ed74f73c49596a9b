//! The public functions as `catalogue.txt` lists them: signatures, results, privileges.

use std::collections::BTreeSet;

use crate::support::{Ask, Database};

/// The functions of the schema in the spelling of `catalogue.txt`.
const INSTALLED: &str = "
    select oid, proname || '(' || replace(pg_get_function_arguments(oid), 'timestamp with time zone', 'timestamptz')
           || ') ' || coalesce(replace(pg_get_function_result(oid), 'timestamp with time zone', 'timestamptz'),
                               'procedure') as signature
      from pg_proc where pronamespace = 'pgque'::regnamespace and proname ~ '^[a-z]'";

/// Roles, name with its arguments and result.
fn listed() -> Vec<(&'static str, &'static str)> {
    include_str!("catalogue.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').map(|(roles, function)| (roles, function.trim_start())).unwrap())
        .collect()
}

fn name(function: &str) -> &str {
    function.split('(').next().unwrap()
}

/// Also no overload that is not listed: a client's untyped parameters could become ambiguous.
#[test]
fn every_listed_function_exists_with_these_overloads_only() {
    let database = Database::new();
    let mut client = database.client();
    let listed: BTreeSet<_> = listed().iter().map(|(_, function)| (*function).to_owned()).collect();
    let names: BTreeSet<_> = listed.iter().map(|function| name(function)).collect();
    let installed: BTreeSet<_> = client
        .column::<String>(&format!("select signature from ({INSTALLED}) f"))
        .into_iter()
        .filter(|function| names.contains(name(function)))
        .collect();
    let missing: Vec<_> = listed.difference(&installed).collect();
    let unexpected: Vec<_> = installed.difference(&listed).collect();
    assert!(missing.is_empty() && unexpected.is_empty(), "missing: {missing:#?}\nunexpected: {unexpected:#?}");
}

#[test]
fn every_listed_function_is_executable_by_exactly_these_roles() {
    let database = Database::new();
    let mut client = database.client();
    client.run("do $$ begin create role pgque_test_nobody; exception when duplicate_object then null; end $$");
    let sql = format!(
        "select concat_ws('', case when has_function_privilege('pgque_reader', oid, 'execute') then 'R' end,
                  case when has_function_privilege('pgque_writer', oid, 'execute') then 'W' end,
                  case when has_function_privilege('pgque_admin', oid, 'execute') then 'A' end,
                  case when has_function_privilege('pgque_test_nobody', oid, 'execute') then 'PUBLIC' end)
           from ({INSTALLED}) f where signature = $1"
    );
    for (roles, function) in listed() {
        let granted: String = client.query_one(&sql, &[&function]).unwrap().get(0);
        let expected = match roles {
            "-" => String::new(),
            "A" => "A".to_owned(),
            more => format!("{more}A"),
        };
        assert_eq!(granted, expected, "{function}");
    }
}

/// What clients send: parameters whose types the server has to guess.
#[test]
fn untyped_and_narrow_arguments_find_their_function() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c')");
    client.run("select pgque.send('q', '{\"b\":1, \"a\":2}')");
    client.tick("q");
    assert_eq!(client.get::<String>("select payload from pgque.receive('q', 'c', 7::smallint)"), "{\"b\":1, \"a\":2}");
    for call in [
        "ack(1::smallint)",
        "ack(1::integer)",
        "ack(1::bigint)",
        "subscribe_subconsumer('q', 'g', 'w')",
        "unsubscribe_subconsumer('q', 'g', 'w', 1::smallint)",
        "next_batch('q', 'c')",
        "next_batch('q', 'g', 'w')",
        "next_batch('q', 'g', 'w', null)",
        "send_idem('q', 't', 'x', 'k')",
        "create_queue('r')",
    ] {
        client.run(&format!("select pgque.{call}"));
    }
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let message = client.messages("receive('q', 'c', 7)").remove(0);
    client.run(&format!(
        "select pgque.nack({}, row({}, 1, 't', 'x', null, now(), null, null, null, null)::pgque.message, '1 seconds', 'why')",
        message.batch, message.id
    ));
}
