"""Raw statements, notifications, installing."""

import threading
from functools import partial

from driver import POOLER
from harness import Env, equal, refused, scenario, within
from psycopg import conninfo


@scenario
def execute_decodes_the_common_types(env: Env) -> None:
    """A raw statement's values arrive exactly, NULL as null, with their column names."""
    client = env.client()
    cases = {
        "true": "true",
        "false": "false",
        "(-32768)::smallint": "-32768",
        "2147483647": "2147483647",
        "9223372036854775807": "9223372036854775807",
        "0.1::float8": "0.1",
        "123456789012345678901234567890.12::numeric": "123456789012345678901234567890.12",
        "'tekst żółty'::text": "tekst żółty",
        "''::text": "",
        "'v'::varchar(9)": "v",
        "'n'::name": "n",
        """'{"b":1,  "a":2}'::json""": '{"b":1,  "a":2}',
        """'{"b":1,  "a":2}'::jsonb""": '{"a": 2, "b": 1}',
        "'\\x00ff10'::bytea": "00ff10",
        "timestamptz '2024-02-29 12:34:56.789012+00'": "1709210096789012",
        "timestamptz '1969-12-31 23:59:59.5+00'": "-500000",
        "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "date '2024-02-29'": "2024-02-29",
        "time '23:59:59'": "23:59:59",
        "timestamp '1969-12-31 23:59:59'": "1969-12-31 23:59:59",
        "interval '3 days'": "3 days",
        "inet '10.0.0.0/8'": "10.0.0.0/8",
        "inet '::1'": "::1",
        "array[1, null, 3]": ["1", None, "3"],
        "array[array[1, 2], array[null, 4]]": [["1", "2"], [None, "4"]],
        "array[date '2024-02-29']": ["2024-02-29"],
        "array['a,b', 'c\"d', null, '']": ["a,b", 'c"d', None, ""],
        "array[]::text[]": [],
        "null::text": None,
        "null::integer[]": None,
    }
    for expression, expected in cases.items():
        result = client.execute(sql=f"select {expression} as value, 1 as one")
        equal(result["rows"], [[expected, "1"]], expression)
        equal(result["columns"], ["value", "one"], "columns")


@scenario
def execute_takes_parameters_and_counts_rows(env: Env) -> None:
    """Parameters are texts or NULL; rows_affected counts what was returned or changed."""
    client = env.client()
    client.execute(sql="create table t (id integer, name text)")
    insert = client.execute(
        sql="insert into t select n, $1 from generate_series(1, $2) n", params=["it's", "3"]
    )
    equal((insert["rows"], insert["rows_affected"]), ([], 3), "insert")
    equal(
        client.execute(sql="update t set name = $1 where id = 2", params=[None])["rows_affected"],
        1,
        "update",
    )
    result = client.execute(sql="select id, name from t order by id")
    equal(result["rows"], [["1", "it's"], ["2", None], ["3", "it's"]], "rows")
    equal(result["rows_affected"], 3, "rows of a select")
    equal(client.execute(sql="select 1 where false")["rows"], [], "an empty result")
    equal(
        client.execute(sql="create table u ()")["columns"],
        [],
        "columns of a statement that gives none",
    )
    refused(
        lambda: client.execute(sql="select $1::integer", params=["many"]),
        "invalid_input",
        op="execute",
        sqlstate="22P02",
    )


@scenario
def a_result_without_a_row_has_its_columns(env: Env) -> None:
    """A query that finds nothing tells its columns, in a transaction and outside of it, and does its work once."""
    client = env.client()
    client.execute(sql="create table t (id integer, name text)")

    def check() -> None:
        for sql in (
            "select id, name from t where id = $1",
            "(select id, name from t where id = $1)",
            "delete from t where id = $1 returning id, name",
            "-- a comment\nwith gone as (delete from t where id = $1 returning *) select * from gone",
        ):
            result = client.execute(sql=sql, params=["1"])
            equal((result["columns"], result["rows"]), (["id", "name"], []), sql)
        sql = "update t set name = null where id = $1"
        equal(client.execute(sql=sql, params=["1"])["columns"], [], sql)

    client.begin()
    check()
    client.commit()
    client.execute(sql="create sequence s")
    client.execute(sql="select 1 where nextval('s') < 0")
    equal(client.execute(sql="select last_value from s")["rows"], [["1"]], "how often it ran")
    # A pooler's next transaction may meet another session, which cannot be asked.
    if not POOLER:
        check()


@scenario
def a_type_without_a_decoder_is_refused(env: Env) -> None:
    """A value that cannot be given exactly is invalid_input that says how to help; the connection goes on."""
    client = env.client()
    for expression in ("point '(1,2)'", "array[point '(1,2)']"):
        refused(
            partial(client.execute, sql=f"select {expression} as value"),
            "invalid_input",
            op="execute",
            says="cast it to text",
        )
    equal(client.rows("select point(1, 2)::text"), [["(1,2)"]], "the same as text")


@scenario
def notifications_arrive(env: Env) -> None:
    """A listener gets channel and payload, in order; none within the time is null, none after
    unlisten."""
    client = env.client()
    client.listen(channel='My "Channel"')
    with within(3, "waiting for nothing"):
        equal(client.notification(timeout=0.3), None, "notification")
    for payload in ("first", "", "zażółć"):
        env.query("select pg_notify(%s, %s)", 'My "Channel"', payload)
    for payload in ("first", "", "zażółć"):
        equal(
            client.notification(timeout=5),
            {"channel": 'My "Channel"', "payload": payload},
            "notification",
        )
    client.unlisten(channel='My "Channel"')
    refused(
        lambda: client.notification(timeout=-1),
        "invalid_input",
        op="notification",
        sqlstate=None,
        says="timeout",
    )
    env.query("select pg_notify(%s, %s)", 'My "Channel"', "late")
    equal(client.notification(timeout=0.3), None, "notification after unlisten")


@scenario
def a_tick_notifies_its_queue(env: Env) -> None:
    """A tick is told on the channel `pgque_` + queue with the tick's id."""
    client = env.queue_with_consumer()
    client.listen(channel="pgque_orders")
    client.send(queue="orders", payload=1)
    env.tick()
    tick = env.value("select max(tick_id)::text from pgque.tick")
    equal(
        client.notification(timeout=5), {"channel": "pgque_orders", "payload": tick}, "notification"
    )


@scenario
def a_keyword_string_and_a_uri_connect(env: Env) -> None:
    """Both forms of connection string work, and the application name is told to the server."""
    parts = conninfo.conninfo_to_dict(env.dsn)
    uri = f"postgresql:///{parts['dbname']}?" + "&".join(
        f"{k}={v}" for k, v in parts.items() if k != "dbname"
    )
    for dsn in (env.dsn, uri):
        client = env.driver.connect(dsn, autocommit=True)
        equal(client.rows("select current_database()"), [[env.database]], "database")
        equal(client.rows("show application_name"), [["pgque"]], "application_name")
    named = env.driver.connect(env.dsn_with(application_name="my service"), autocommit=True)
    equal(named.rows("show application_name"), [["my service"]], "application_name")


def objects(env: Env) -> list:
    """What the schema consists of."""
    return env.query(
        "select 'relation', relname::text, relkind::text from pg_class where relnamespace = 'pgque'::regnamespace "
        "union all select 'function', oid::regprocedure::text, md5(prosrc) from pg_proc "
        "where pronamespace = 'pgque'::regnamespace order by 1, 2"
    )


@scenario
def install_twice_changes_nothing(env: Env) -> None:
    """Installing again keeps queues, consumers, messages and every object."""
    client = env.queue_with_consumer()
    msg_id = client.send(queue="orders", payload=1)
    before = objects(env)
    client.install()
    equal(objects(env), before, "objects")
    env.tick()
    equal(
        [m["msg_id"] for m in client.receive(queue="orders", consumer="mail")], [msg_id], "messages"
    )


@scenario
def two_installers_at_once(env: Env) -> None:
    """Two programs that install into an empty database at the same time both succeed."""
    env.side.execute("drop schema pgque cascade")
    drivers = [env.driver, env.start_driver()]
    clients = [driver.connect(env.dsn, autocommit=True) for driver in drivers]
    failures = []

    def install(client) -> None:
        try:
            client.install()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=install, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal([str(f) for f in failures], [], "failures")
    equal(clients[0].create_queue(queue="orders"), 1, "create_queue")


@scenario
def install_inside_a_transaction_is_a_conflict(env: Env) -> None:
    """install does not mix with the caller's open transaction, which goes on."""
    client = env.queue_with_consumer()
    client.begin()
    client.send(queue="orders", payload=1)
    refused(client.install, "conflict", op="install")
    client.commit()
    equal(env.value("select count(*) from pgque.event_template"), 1, "stored events")


@scenario
def uninstall_removes_everything(env: Env) -> None:
    """uninstall takes the schema away; calls are not_installed then; install brings an empty
    one."""
    client = env.queue_with_consumer()
    client.uninstall()
    equal(env.value("select to_regnamespace('pgque')"), None, "schema")
    refused(lambda: client.send(queue="orders", payload=1), "not_installed", op="send")
    refused(client.uninstall, "not_installed", op="uninstall")
    client.install()
    equal(client.queue_info()["rows"], [], "queues")
    equal(client.create_queue(queue="orders"), 1, "create_queue")


@scenario
def install_leaves_a_foreign_schema_alone(env: Env) -> None:
    """A pgque schema that is not ours is a conflict, and not changed in the least."""
    env.side.execute("drop schema pgque cascade")
    env.side.execute("create schema pgque")
    env.side.execute("create table pgque.queue (id integer primary key)")
    env.side.execute(
        "create function pgque.version() returns text language sql return 'another'::text"
    )
    before = objects(env)
    client = env.client()
    refused(client.install, "conflict", op="install", sqlstate=None, says="schema")
    equal(objects(env), before, "objects")
    equal(client.version(), "another", "version")


@scenario
def an_empty_search_path_is_enough(env: Env) -> None:
    """Every call names what it uses: hostile objects on the search path change nothing."""
    env.side.execute("create schema hostile")
    env.side.execute(
        "create function hostile.now() returns timestamptz language plpgsql as $$ begin raise 'hostile'; end $$"
    )
    dsn = env.dsn_with(options="-c search_path=hostile")
    client = env.driver.connect(dsn, autocommit=True)
    client.create_queue(queue="orders")
    client.subscribe(queue="orders", consumer="mail")
    msg_id = client.send(queue="orders", type="t", payload=1, extra1="x")
    client.force_next_tick(queue="orders")
    client.ticker(queue="orders")
    [message] = client.receive(queue="orders", consumer="mail")
    verdicts = [{"msg_id": msg_id, "verdict": "dead", "reason": "r"}]
    equal(client.finish(batch_id=message["batch_id"], verdicts=verdicts), 1, "finish")
    equal(len(client.dlq_inspect(queue="orders")["rows"]), 1, "dead letters")
