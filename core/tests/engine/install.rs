//! Installing, installing again, and leaving.

use crate::support::{Ask, Database, installer, payloads};

#[test]
fn a_second_installation_changes_nothing() {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.subscribe_subconsumer('q', 'g', 'w')");
    client.run("select pgque.send('q', 'x')");
    client.tick("q");
    let held = client.messages("receive('q', 'c')");
    let picture = "select md5(string_agg(t, E'\\n' order by t)) from (
        select concat_ws(' ', 'f', p.oid, p.oid::regprocedure, md5(p.prosrc), p.proacl) t from pg_proc p where pronamespace = 'pgque'::regnamespace
        union all select concat_ws(' ', 'c', c.oid, c.relname, c.relkind, c.relacl, c.reloptions) from pg_class c where relnamespace = 'pgque'::regnamespace
        union all select concat_ws(' ', 'd', s::text) from pgque.subscription s
        union all select concat_ws(' ', 'q', q::text) from pgque.queue q
        union all select concat_ws(' ', 't', t::text) from pgque.tick t
        union all select concat_ws(' ', 'o', o::text) from pgque.config o) all_of_it";
    let before: String = client.get(picture);
    client.run(installer());
    assert_eq!(client.get::<String>(picture), before);
    assert_eq!(client.messages("receive('q', 'c')"), held);
}

#[test]
fn grants_are_repaired() {
    let database = Database::new();
    let mut client = database.client();
    client.run("grant execute on function pgque.ack(bigint), pgque.receive(text, text, integer) to pgque_writer");
    client
        .run("grant execute on function pgque.send(text, text) to public; grant trigger on pgque.queue to pgque_admin");
    client.run(installer());
    assert!(!client.get::<bool>("select has_function_privilege('pgque_writer', 'pgque.ack(bigint)', 'execute')"));
    assert!(client.get::<bool>("select has_function_privilege('pgque_reader', 'pgque.ack(bigint)', 'execute')"));
    assert!(!client.get::<bool>("select has_function_privilege('pgque_reader', 'pgque.send(text, text)', 'execute')"));
    assert!(!client.get::<bool>("select has_table_privilege('pgque_admin', 'pgque.queue', 'trigger')"));
}

#[test]
fn a_generated_function_of_an_older_signature_is_replaced() {
    let database = Database::new();
    let mut client = database.client();
    client.run("create function pgque._read(older boolean) returns text language sql as 'select null'");
    client.run(installer());
    client.run(installer());
    client.run("select pgque.create_queue('q')");
    let count = "select count(*) from pg_proc where pronamespace = 'pgque'::regnamespace and proname = '_read'";
    assert_eq!(client.get::<i64>(count), 1);
}

#[test]
fn finish_of_an_older_release_goes() {
    let database = Database::new();
    let mut client = database.client();
    client.run(
        "create function pgque.finish(i_batch_id bigint, i_msg_ids bigint[] default '{}', i_retry_after interval[] default '{}',
           i_dead boolean[] default '{}', i_reasons text[] default '{}') returns integer language sql as 'select 7'",
    );
    client.run(installer());
    assert_eq!(client.get::<i32>("select pgque.finish(1)"), 0);
}

#[test]
fn there_is_one_row_of_configuration() {
    let database = Database::new();
    let mut client = database.client();
    assert_eq!(client.fails("insert into pgque.config default values").0, "23505");
    assert_eq!(client.get::<i32>("select pgque.schema_version()"), 1);
    assert_eq!(client.get::<String>("select pgque.version()"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_role_without_superuser_installs_and_works() {
    let database = Database::empty();
    let mut admin = database.client();
    admin.run(
        "do $$ begin create role pgque_test_installer createrole; exception when duplicate_object then null; end $$",
    );
    admin.run(
        "do $$ begin execute format('grant create on database %I to pgque_test_installer', current_database()); end $$",
    );
    let mut client = database.client_as("pgque_test_installer");
    client.run(installer());
    client.run(installer());
    client.run("select pgque.create_queue('q'), pgque.subscribe('q', 'c'), pgque.send('q', 'x')");
    client.tick("q");
    assert_eq!(payloads(&client.messages("receive('q', 'c')")), ["x"]);
    // A superuser's re-run leaves everything with the first owner.
    let mut superuser = database.client();
    superuser.run(installer());
    assert_eq!(
        superuser.column::<String>(
            "select distinct pg_get_userbyid(proowner)::text from pg_proc where pronamespace = 'pgque'::regnamespace"
        ),
        ["pgque_test_installer"]
    );
    client.run("select pgque.uninstall()");
    assert!(superuser.get::<bool>("select to_regnamespace('pgque') is null"));
    assert_eq!(
        superuser.get::<i64>(
            "select count(*) from pg_roles where rolname in ('pgque_reader', 'pgque_writer', 'pgque_admin')"
        ),
        3
    );
    superuser.run("do $$ begin execute format('revoke create on database %I from pgque_test_installer', current_database()); end $$");
}
