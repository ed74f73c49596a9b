-- Monitoring, and leaving.

create or replace function pgque.get_queue_info(
  i_queue_name text,
  out queue_name text, out queue_ntables integer, out queue_cur_table integer,
  out queue_rotation_period interval, out queue_switch_time timestamptz,
  out queue_external_ticker boolean, out queue_ticker_paused boolean,
  out queue_ticker_max_count integer, out queue_ticker_max_lag interval,
  out queue_ticker_idle_period interval, out ticker_lag interval, out ev_per_sec double precision,
  out ev_new bigint, out last_tick_id bigint)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, q.queue_ntables, q.queue_cur_table, q.queue_rotation_period,
         q.queue_switch_time, q.queue_external_ticker, q.queue_ticker_paused,
         q.queue_ticker_max_count, q.queue_ticker_max_lag, q.queue_ticker_idle_period,
         now() - t.tick_time,
         (t.tick_event_seq - o.tick_event_seq)
           / nullif(extract(epoch from t.tick_time - o.tick_time)::double precision, 0),
         pgque._event_seq(q.queue_id) - t.tick_event_seq,
         t.tick_id
    from pgque.queue q
    left join lateral (
      select * from pgque.tick where tick_queue = q.queue_id order by tick_id desc limit 1) t on true
    left join lateral (
      select * from pgque.tick o where o.tick_queue = q.queue_id and o.tick_id >= t.tick_id - 20
       order by o.tick_id limit 1) o on true
   where i_queue_name is null or q.queue_name = i_queue_name
   order by q.queue_name
$$;

create or replace function pgque.get_queue_info(
  out queue_name text, out queue_ntables integer, out queue_cur_table integer,
  out queue_rotation_period interval, out queue_switch_time timestamptz,
  out queue_external_ticker boolean, out queue_ticker_paused boolean,
  out queue_ticker_max_count integer, out queue_ticker_max_lag interval,
  out queue_ticker_idle_period interval, out ticker_lag interval, out ev_per_sec double precision,
  out ev_new bigint, out last_tick_id bigint)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select * from pgque.get_queue_info(null::text)
$$;

create or replace function pgque.get_consumer_info(
  i_queue_name text, i_consumer_name text,
  out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
  out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, c.co_name, now() - t.tick_time, now() - s.sub_active,
         s.sub_last_tick, s.sub_batch, s.sub_next_tick, n.tick_event_seq - t.tick_event_seq
    from pgque.queue q
    join pgque.subscription s on s.sub_queue = q.queue_id
    join pgque.consumer c on c.co_id = s.sub_consumer
    left join pgque.tick t on t.tick_queue = q.queue_id and t.tick_id = s.sub_last_tick
    left join lateral (
      select * from pgque.tick where tick_queue = q.queue_id order by tick_id desc limit 1) n on true
   where (i_queue_name is null or q.queue_name = i_queue_name)
     and (i_consumer_name is null or c.co_name = i_consumer_name)
   order by q.queue_name, c.co_name
$$;

create or replace function pgque.get_consumer_info(
  i_queue_name text,
  out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
  out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select * from pgque.get_consumer_info(i_queue_name, null::text)
$$;

create or replace function pgque.get_consumer_info(
  out queue_name text, out consumer_name text, out lag interval, out last_seen interval,
  out last_tick bigint, out current_batch bigint, out next_tick bigint, out pending_events bigint)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select * from pgque.get_consumer_info(null::text, null::text)
$$;

create or replace function pgque.get_batch_info(
  x_batch_id bigint,
  out queue_name text, out consumer_name text, out batch_start timestamptz,
  out batch_end timestamptz, out prev_tick_id bigint, out tick_id bigint, out lag interval,
  out seq_start bigint, out seq_end bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, c.co_name, p.tick_time, t.tick_time, p.tick_id, t.tick_id,
         now() - t.tick_time, p.tick_event_seq, t.tick_event_seq
    from pgque.subscription s
    join pgque.queue q on q.queue_id = s.sub_queue
    join pgque.consumer c on c.co_id = s.sub_consumer
    join pgque.tick p on p.tick_queue = s.sub_queue and p.tick_id = s.sub_last_tick
    join pgque.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_next_tick
   where s.sub_batch = x_batch_id
$$;

-- The session in which the client library's ticker runs, if it does: the elected one holds this lock.
create or replace function pgque._ticker_process() returns integer
language sql stable
return (
  select min(pid) from pg_locks
   where locktype = 'advisory' and granted and objsubid = 2
     and classid = 'pgque'::regnamespace::oid and objid = 1
     and database = (select oid from pg_database where datname = current_database()));

create or replace function pgque.status()
returns table (component text, status text, detail text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v pgque.config;
  v_rate text;
  v_process integer := pgque._ticker_process();
begin
  select * into v from pgque.config;
  v_rate := format('tick_period_ms=%s (%s ticks/sec)', v.tick_period_ms,
    round(1000.0 / v.tick_period_ms, 2));
  return query
    select 'postgresql', 'info', version()
    union all
    select 'pgque', 'info', pgque.version()
    union all
    select 'scheduler', coalesce(v.scheduler, 'manual'),
           format('ticker_job_id=%s, maint_job_id=%s, %s', coalesce(v.ticker_job_id::text, 'NULL'),
             coalesce(v.maint_job_id::text, 'NULL'), v_rate)
    union all
    select 'ticker', case when v_process is not null then 'running'
                          when v.ticker_job_id is null then 'stopped' else 'scheduled' end,
           case when v_process is not null then format('client library, server process %s', v_process)
                when v.ticker_job_id is null then format('not scheduled (tick_period_ms=%s)', v.tick_period_ms)
                else format('scheduler=%s, job_id=%s, %s', v.scheduler, v.ticker_job_id, v_rate) end
    union all
    select 'maintenance', case when v_process is not null then 'running'
                               when v.maint_job_id is null then 'stopped' else 'scheduled' end,
           case when v_process is not null then format('client library, server process %s', v_process)
                when v.maint_job_id is null then 'not scheduled'
                else format('scheduler=%s, job_id=%s', v.scheduler, v.maint_job_id) end
    union all
    select 'pg_cron', 'unavailable',
           'run pgque.ticker() every second or faster, and pgque.maint_retry_events() and pgque.maint() every 30 seconds, each in a transaction of its own'
     where not exists (select from pg_extension where extname = 'pg_cron')
    union all
    select 'pg_timetable', 'unavailable', 'run pg_timetable against this database to use it as scheduler'
     where to_regnamespace('timetable') is null
    union all
    select 'queues', 'info', (select count(*) from pgque.queue) || ' queues configured'
    union all
    select 'consumers', 'info', (select count(*) from pgque.subscription) || ' active subscriptions';
end
$$;

-- Drops the schema with everything in it, once the scheduler's jobs are gone. The roles belong to the
-- cluster and stay.
create or replace function pgque.uninstall() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from pg_extension where extname = 'pgque') then
    raise exception 'pgque is installed as an extension: use "drop extension pgque cascade"'
      using errcode = 'PQ005';
  end if;
  perform pgque.stop();
  drop schema pgque cascade;
  raise notice 'pgque has been uninstalled; the roles pgque_reader, pgque_writer and pgque_admin remain';
end
$$;
