//! The statements of the doctor. What it makes of the answers is in `crate::doctor`.

use crate::connect::Connection;
use crate::error::Result;
use crate::value::{ResultSet, Value};

// Everything of the schema but the tables of single queues, as one value: kind, name, definition and, where the
// definition does not do it, the words that bring the part back. Left out is what may rightly differ: the names of
// indexes, check constraints (their texts depend on the release that made them), storage settings, the
// body of `_read` and the queues in other generated functions, and functions that are no part of the engine.
const CATALOGUE: &str = "
with engine_relation as (
  select c.* from pg_class c
   where c.relnamespace = 'pgque'::regnamespace and c.relname !~ '^event_[0-9]+'),
part (kind, name, definition, words) as (
  select case when c.relkind = 'c' then 'type' else 'column' end, c.relname || '.' || a.attname,
         format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
         || case when a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) like 'nextval(%' then ' (counted)'
                 else coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') end, null
    from engine_relation c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
   where c.relkind in ('r', 'c')
  union all
  select 'sequence', relname, 'sequence', null from engine_relation where relkind = 'S'
  union all
  select 'index', c.relname || ' ' || regexp_replace(pg_get_indexdef(i.indexrelid), ' INDEX \\S+ ON \\S+', ''), '',
         pg_get_indexdef(i.indexrelid)
    from pg_index i join engine_relation c on c.oid = i.indrelid where c.relkind = 'r'
  union all
  select 'foreign key', c.relname || ' ' || pg_get_constraintdef(k.oid), '',
         format('alter table pgque.%I add %s', c.relname, pg_get_constraintdef(k.oid))
    from pg_constraint k join engine_relation c on c.oid = k.conrelid where k.contype = 'f'
  union all
  select 'trigger', c.relname || ' ' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text, format('drop trigger %I on pgque.%I', t.tgname, c.relname)
    from pg_trigger t join engine_relation c on c.oid = t.tgrelid where not t.tgisinternal
  union all
  select 'signature', p.oid::regprocedure::text,
         p.prokind::text || ' ' || pg_get_function_arguments(p.oid) || ' -> ' || coalesce(pg_get_function_result(p.oid), ''),
         p.proname
    from pg_proc p where p.pronamespace = 'pgque'::regnamespace and p.prokind in ('f', 'p')
  union all
  select 'function', p.oid::regprocedure::text, md5(regexp_replace(pg_get_functiondef(p.oid), '-- <queues>.*-- </queues>', '')), p.proname
    from pg_proc p
   where p.pronamespace = 'pgque'::regnamespace and p.prokind in ('f', 'p') and p.proname <> '_read'
  union all
  select 'owner', o.name, case when o.owner = n.nspowner then 'the owner of the schema' else o.owner::regrole::text end,
         null
    from pg_namespace n,
         (select oid::regprocedure::text, proowner from pg_proc where pronamespace = 'pgque'::regnamespace
          union all select relname, relowner from engine_relation where relkind in ('r', 'S')) o (name, owner)
   where n.nspname = 'pgque'
  union all
  select 'grants', o.name,
         coalesce((select string_agg(g.who || ' ' || g.what, ', ' order by g.who, g.what)
                     from (select case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
                                  lower(x.privilege_type) || case when x.is_grantable then '*' else '' end
                             from aclexplode(o.acl) x where x.grantee <> o.owner) g (who, what)), 'none'), null
    from (select 'schema', nspowner, coalesce(nspacl, acldefault('n', nspowner))
            from pg_namespace where nspname = 'pgque'
          union all
          select oid::regprocedure::text, proowner, coalesce(proacl, acldefault('f', proowner))
            from pg_proc where pronamespace = 'pgque'::regnamespace
          union all
          select relname, relowner,
                 coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))
            from engine_relation where relkind in ('r', 'S')
          union all
          select c.relname || '.' || a.attname, c.relowner, a.attacl
            from engine_relation c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
           where c.relkind = 'r' and a.attacl is not null) o (name, owner, acl))
select coalesce(json_agg(json_build_array(kind, name, definition, words)), '[]')::text as catalogue from part";

// The checks of a living engine. Each gives component, problem and repair for everything that is wrong.
const CHECKS: [(&str, &str); 7] = [
    ("queue", QUEUES),
    ("ticks", FUTURE),
    ("ticker", TICKER),
    ("retries", RETRIES),
    ("rotation", ROTATION),
    ("rotation", MAINTENANCE),
    ("consumer", CONSUMERS),
];

const QUEUES: &str = "
select q.queue_name as object, 'missing: pgque.event_' || q.queue_id || w.suffix as problem,
       case w.suffix
         when '_table_seq' then format('create sequence pgque.event_%1$s_table_seq minvalue 0 start 0; select setval(''pgque.event_%1$s_table_seq'', %2$s); pgque install', q.queue_id, q.queue_cur_table)
         when '_id_seq' then format('create sequence pgque.event_%1$s_id_seq; select setval(''pgque.event_%1$s_id_seq'', (select coalesce(max(ev_id), 1) from pgque.event_%1$s)); pgque install', q.queue_id)
         when '_tick_seq' then format('create sequence pgque.event_%1$s_tick_seq; select setval(''pgque.event_%1$s_tick_seq'', (select max(tick_id) from pgque.tick where tick_queue = %1$s)); pgque install', q.queue_id)
         when '_0_txid_idx' then format('create index event_%1$s_0_txid_idx on pgque.event_%1$s_0 (ev_txid, ev_id)', q.queue_id)
         when '_1_txid_idx' then format('create index event_%1$s_1_txid_idx on pgque.event_%1$s_1 (ev_txid, ev_id)', q.queue_id)
         when '_2_txid_idx' then format('create index event_%1$s_2_txid_idx on pgque.event_%1$s_2 (ev_txid, ev_id)', q.queue_id)
         else 'restore it from a backup, or drop the queue' end as repair
  from pgque.queue q
 cross join unnest(array['', '_0', '_1', '_2', '_0_txid_idx', '_1_txid_idx', '_2_txid_idx',
                         '_id_seq', '_tick_seq', '_table_seq']) w (suffix)
 where to_regclass('pgque.event_' || q.queue_id || w.suffix) is null
union all
select q.queue_name, format('index %s is not on (ev_txid, ev_id): pages and single events are slow', c.relname), 'pgque install'
  from pgque.queue q
  join pg_class c on c.relnamespace = 'pgque'::regnamespace
   and c.relname ~ ('^event_' || q.queue_id || '_[0-2]_txid_idx$')
  join pg_index i on i.indexrelid = c.oid and i.indnatts <> 2
union all
select q.queue_name, 'grants of pgque.' || c.relname || ' differ', format('select pgque.grant_perms(%L)', q.queue_name)
  from pgque.queue q
  join pg_class c on c.relnamespace = 'pgque'::regnamespace
   and c.relname ~ ('^event_' || q.queue_id || '(_[0-2])?$')
 where coalesce((select string_agg(x.grantee::regrole || ' ' || x.privilege_type, ',')
                   from aclexplode(c.relacl) x where x.grantee <> c.relowner), '') <> 'pgque_reader SELECT'
union all
select q.queue_name, format('trigger %s on %s, which runs with the rights of the engine''s owner', t.tgname, c.relname),
       format('drop trigger %I on pgque.%I', t.tgname, c.relname)
  from pgque.queue q
  join pg_class c on c.relnamespace = 'pgque'::regnamespace
   and c.relname ~ ('^event_' || q.queue_id || '(_[0-2])?$')
  join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
 order by 1, 2";

const FUTURE: &str = "
select q.queue_name as object,
       'its ticks bear transaction ids of another cluster: no new tick can follow' as problem,
       format('select pgque.repair_ticks(%L)', q.queue_name) as repair
  from pgque.queue q
 where greatest(q.queue_switch_step1, q.queue_switch_step2,
                (select max(pg_snapshot_xmax(tick_snapshot)::text::bigint) from pgque.tick
                  where tick_queue = q.queue_id))
       > pg_snapshot_xmax(pg_current_snapshot())::text::bigint
 order by 1";

const TICKER: &str = "
select q.queue_name as object, coalesce('no tick for ' || date_trunc('second', now() - t.tick_time), 'no tick at all')
       || case when (select status from pgque.status() where component = 'ticker') = 'stopped'
               then ': no ticker is running' else ' although a ticker is there' end as problem,
       'run `pgque ticker`, or schedule it with select pgque.start()' as repair
  from pgque.queue q
  left join lateral (
    select tick_time from pgque.tick where tick_queue = q.queue_id order by tick_id desc limit 1) t on true
 where not q.queue_external_ticker and not q.queue_ticker_paused
   and (t.tick_time < now() - 2 * q.queue_ticker_idle_period - interval '10 seconds') is not false
 order by 1";

const RETRIES: &str = "
select q.queue_name as object, format('%s retries are overdue, the oldest for %s', count(*),
       date_trunc('second', now() - min(r.ev_retry_after)))
       || case when q.queue_disable_insert then ': the queue refuses inserts' else '' end as problem,
       case when q.queue_disable_insert then 'set queue_disable_insert to false'
            else 'run `pgque ticker`, or call pgque.maint_retry_events() until it answers 0' end as repair
  from pgque.retry_queue r join pgque.queue q on q.queue_id = r.ev_queue
 where r.ev_retry_after < now() - interval '2 minutes'
 group by q.queue_id, q.queue_name, q.queue_disable_insert order by 1";

const ROTATION: &str = "
select queue_name as object, 'rotation is held by ' || held_by || ': ' || detail as problem,
       case held_by
         when 'consumer' then 'have the consumer go on, or remove it with `pgque unsubscribe`'
         when 'step2' then 'select pgque.maint_rotate_tables_step2()'
         else 'end that transaction' end as repair
  from pgque.get_rotation_info()
 where due and held_by is not null
    or held_by = 'step2' and since < now() - interval '5 minutes'
 order by 1";

const MAINTENANCE: &str = "
select i.queue_name as object, 'rotation is overdue for '
       || date_trunc('second', now() - q.queue_switch_time - q.queue_rotation_period)
       || ' and nothing holds it: nobody calls pgque.maint()' as problem,
       'run `pgque ticker`, or schedule maintenance with select pgque.start()' as repair
  from pgque.get_rotation_info() i join pgque.queue q on q.queue_name = i.queue_name
 where i.due and i.held_by is null
   and q.queue_switch_time + q.queue_rotation_period < now() - interval '5 minutes'
 order by 1";

const CONSUMERS: &str = "
select q.queue_name || '/' || c.co_name as object,
       case when t.tick_id is null then format('stands on tick %s, which does not exist', s.sub_last_tick)
            else format('has stopped: %s behind, last active %s ago%s',
                   date_trunc('second', now() - t.tick_time), date_trunc('second', now() - s.sub_active),
                   coalesce(', with batch ' || s.sub_batch || ' open', '')) end as problem,
       case when t.tick_id is null
            then format('select pgque.register_consumer_at(%L, %L, (select min(tick_id) from pgque.tick where tick_queue = %s))',
                   q.queue_name, c.co_name, q.queue_id)
            else 'start it again, or remove it with `pgque unsubscribe`' end as repair
  from pgque.subscription s
  join pgque.queue q on q.queue_id = s.sub_queue
  join pgque.consumer c on c.co_id = s.sub_consumer
  left join pgque.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
 where s.sub_last_tick is not null
   and (t.tick_id is null
        or (now() - t.tick_time > q.queue_rotation_period and now() - s.sub_active > q.queue_rotation_period
            and exists (select from pgque.tick n
                         where n.tick_queue = s.sub_queue and n.tick_id > s.sub_last_tick
                           and n.tick_event_seq > t.tick_event_seq)))
 order by 1";

/// Kind, name, definition and words of every part of the schema, as JSON. Needs the installer's search path, so that
/// names are printed in full.
pub(crate) async fn catalogue(connection: &Connection) -> Result<String> {
    Ok(cell(&connection.execute(CATALOGUE, &[]).await?, 0, "catalogue"))
}

/// Component, object, problem and repair of everything that keeps the engine from working. A check that cannot be
/// made is a problem too.
pub(crate) async fn checks(connection: &Connection) -> Result<Vec<[String; 4]>> {
    let mut found = Vec::new();
    for (component, sql) in CHECKS {
        connection.execute_script("savepoint pgque_check").await?;
        match connection.execute(sql, &[]).await {
            Ok(rows) => found.extend((0..rows.rows.len()).map(|row| {
                [
                    component.to_owned(),
                    cell(&rows, row, "object"),
                    cell(&rows, row, "problem"),
                    cell(&rows, row, "repair"),
                ]
            })),
            Err(error) => {
                connection.execute_script("rollback to savepoint pgque_check").await?;
                let problem = format!("could not be looked at: {}", error.message());
                found.push([
                    component.to_owned(),
                    String::new(),
                    problem,
                    "run it as the owner, or mend the schema".into(),
                ]);
            }
        }
    }
    Ok(found)
}

fn cell(rows: &ResultSet, row: usize, column: &str) -> String {
    match rows.get(row, column) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}
