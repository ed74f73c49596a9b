//! The statements by which the installer looks at a database. What it makes of the answers is in `crate::schema`.

use super::Client;
use crate::connect::Connection;
use crate::error::Result;
use crate::value::{ResultSet, Value};

// Types and functions are printed in full whatever the session's own path is, and nothing on it is called.
const SEARCH_PATH: &str = "set local search_path = pg_catalog, pg_temp";
// Two installers at once would both find nothing and collide; the second waits for the first to commit.
const LOCK: &str = "select pg_advisory_xact_lock(hashtext('pgque install'))::text";

// Ours is known by the column that holds its version, PgQue's by the columns that every release of it has had.
// Only real tables count, for reading a view would run whatever somebody has put into it.
const INSPECT: &str = "
with present as (
  select c.relname::text as relation, a.attname::text as name, format_type(a.atttypid, null) as type
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid
   where c.relnamespace = to_regnamespace('pgque') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped),
documented (relation, name, type) as (values
  ('queue', 'queue_id', 'integer'), ('queue', 'queue_name', 'text'), ('queue', 'queue_ntables', 'integer'),
  ('queue', 'queue_cur_table', 'integer'), ('queue', 'queue_rotation_period', 'interval'),
  ('queue', 'queue_switch_step1', 'bigint'), ('queue', 'queue_switch_step2', 'bigint'),
  ('queue', 'queue_switch_time', 'timestamp with time zone'), ('queue', 'queue_external_ticker', 'boolean'),
  ('queue', 'queue_disable_insert', 'boolean'), ('queue', 'queue_ticker_paused', 'boolean'),
  ('queue', 'queue_ticker_max_count', 'integer'), ('queue', 'queue_ticker_max_lag', 'interval'),
  ('queue', 'queue_ticker_idle_period', 'interval'), ('queue', 'queue_data_pfx', 'text'),
  ('consumer', 'co_id', 'integer'), ('consumer', 'co_name', 'text'),
  ('subscription', 'sub_id', 'integer'), ('subscription', 'sub_queue', 'integer'),
  ('subscription', 'sub_consumer', 'integer'), ('subscription', 'sub_last_tick', 'bigint'),
  ('subscription', 'sub_active', 'timestamp with time zone'), ('subscription', 'sub_batch', 'bigint'),
  ('subscription', 'sub_next_tick', 'bigint'),
  ('tick', 'tick_queue', 'integer'), ('tick', 'tick_id', 'bigint'), ('tick', 'tick_snapshot', 'pg_snapshot'),
  ('tick', 'tick_event_seq', 'bigint'), ('event_template', 'ev_id', 'bigint'),
  ('event_template', 'ev_txid', 'xid8'), ('event_template', 'ev_owner', 'integer'),
  ('retry_queue', 'ev_retry_after', 'timestamp with time zone'), ('retry_queue', 'ev_queue', 'integer'),
  ('dead_letter', 'dl_id', 'bigint'), ('dead_letter', 'dl_queue_id', 'integer'),
  ('dead_letter', 'dl_consumer_id', 'integer'), ('config', 'singleton', 'boolean'))
select case
    when to_regnamespace('pgque') is null then 'nothing'
    when ('config', 'schema_version', 'integer') in (select relation, name, type from present) then 'ours'
    when to_regprocedure('pgque.version()') is not null
     and not exists (select * from documented except select relation, name, type from present) then 'pgque'
    else 'foreign' end as state";
const SCHEMA_VERSION: &str = "select schema_version::bigint as version from pgque.config";
const PGQUE_VERSION: &str = "select pgque.version()::text as version";

// Functions as one value, to be compared with those of a schema that no longer exists by then.
const SIGNATURES: &str = "
select coalesce(json_agg(json_build_object('name', proname, 'types', oidvectortypes(proargtypes), 'kind', prokind,
    'arguments', pg_get_function_arguments(oid), 'result', pg_get_function_result(oid))), '[]')::text as signatures
  from pg_catalog.pg_proc where pronamespace = to_regnamespace('pgque')";

// One statement that drops every function which has a name of the new engine, but which `create or replace` cannot
// turn into it, or which belongs to somebody else; and the engine's own functions that are built on these.
const CHANGED: &str = "
with recursive wanted as (
  select * from json_to_recordset($1::json) as w (name text, types text, kind text, arguments text, result text)),
live as (
  select p.oid, p.proname::text as name, oidvectortypes(p.proargtypes) as types, p.prokind::text as kind,
         pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
         p.proowner <> n.nspowner as foreign_owner
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
   where n.nspname = 'pgque' and p.proname in (select name from wanted)),
changed as (
  select oid from live
   where foreign_owner or not exists (
     select from wanted w
      where (w.name, w.types, w.kind, w.arguments) = (live.name, live.types, live.kind, live.arguments)
        and w.result is not distinct from live.result)
  union
  select l.oid from changed c
    join pg_catalog.pg_depend d on d.refclassid = 'pg_proc'::regclass and d.refobjid = c.oid
     and d.classid = 'pg_proc'::regclass
    join live l on l.oid = d.objid)
select 'drop routine ' || string_agg(oid::regprocedure::text, E',\n  ' order by oid::regprocedure::text) as statement
  from changed";

// For a trial installation: our schema under another name, until the savepoint is undone.
const STEP_ASIDE: &str = "savepoint pgque_trial; alter schema pgque rename to pgque_stands_aside";
const STEP_BACK: &str = "rollback to savepoint pgque_trial; release savepoint pgque_trial";
const UNINSTALL: &str = "select pgque.stop()::text, pgque.uninstall()::text";

/// What stands in the place of our schema.
pub(crate) enum Existing {
    Nothing,
    /// A schema `pgque` that is not ours.
    Foreign,
    /// PgQue's own.
    PgQue,
    /// Ours, with its version.
    Ours(i64),
}

/// Needs an open transaction, and leaves it with a safe search path.
pub(crate) async fn lock_and_inspect(connection: &Connection) -> Result<Existing> {
    connection.execute_script(SEARCH_PATH).await?;
    connection.execute(LOCK, &[]).await?;
    Ok(match text(&connection.execute(INSPECT, &[]).await?, "state").as_str() {
        "nothing" => Existing::Nothing,
        "pgque" => Existing::PgQue,
        "ours" => match connection.execute(SCHEMA_VERSION, &[]).await?.get(0, "version") {
            Some(Value::Int(version)) => Existing::Ours(*version),
            _ => Existing::Foreign,
        },
        _ => Existing::Foreign,
    })
}

/// What a schema that looks like PgQue's says about itself. Runs a function of that schema.
pub(crate) async fn pgque_version(connection: &Connection) -> Result<String> {
    Ok(text(&connection.execute(PGQUE_VERSION, &[]).await?, "version"))
}

pub(crate) async fn signatures(connection: &Connection) -> Result<String> {
    Ok(text(&connection.execute(SIGNATURES, &[]).await?, "signatures"))
}

/// The statement that makes way for functions with these signatures; none if nothing is in their way.
pub(crate) async fn drop_changed(connection: &Connection, signatures: String) -> Result<Option<String>> {
    let statement = text(&connection.execute(CHANGED, &[Some(signatures)]).await?, "statement");
    Ok(Some(statement).filter(|s| !s.is_empty()))
}

fn text(rows: &ResultSet, column: &str) -> String {
    match rows.get(0, column) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

pub(crate) async fn step_aside(connection: &Connection) -> Result<()> {
    connection.execute_script(STEP_ASIDE).await
}

pub(crate) async fn step_back(connection: &Connection) -> Result<()> {
    connection.execute_script(STEP_BACK).await
}

/// The statement that records the version of the schema.
pub(crate) fn version_is(version: i64) -> String {
    format!("update pgque.config set schema_version = {version} where schema_version <> {version};")
}

impl Client {
    /// Whether a schema is there, and whose: `nothing`, `ours`, `pgque` or `foreign`.
    pub(crate) async fn schema_state(&self, op: &'static str) -> Result<String> {
        let rows = self.run(op, INSPECT, vec![]).await?;
        Ok(rows.text(0, 0)?.unwrap_or_default().to_owned())
    }

    /// Stops the schedules and drops the schema, in one statement: neither without the other.
    pub(crate) async fn drop_schema(&self) -> Result<()> {
        self.run("uninstall", UNINSTALL, vec![]).await.map(drop)
    }
}
