-- Observability: figures for dashboards and alarms, read by pgque_reader. Counts of events come from
-- the ticks and the id sequence; no event table is scanned.

-- Every subscription with the tick it stands on. An idle cooperative member stands on none.
create or replace function pgque._cursors()
returns table (
  queue_id integer, queue_name text, rotation_period interval, consumer_name text,
  last_active timestamptz, batch_id bigint, lag interval, pending bigint, in_batch bigint)
language sql stable
as $$
  select q.queue_id, q.queue_name, q.queue_rotation_period, c.co_name,
         s.sub_active, s.sub_batch, now() - t.tick_time,
         pgque._event_seq(q.queue_id) - t.tick_event_seq, n.tick_event_seq - t.tick_event_seq
    from pgque.queue q
    join pgque.subscription s on s.sub_queue = q.queue_id
    join pgque.consumer c on c.co_id = s.sub_consumer
    left join pgque.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
    left join pgque.tick n on n.tick_queue = s.sub_queue and n.tick_id = s.sub_next_tick
$$;

-- depth: events that the slowest consumer has not finished, at most; oldest_msg_age: how far behind it
-- is. Both without waiting events or consumers 0 and NULL.
create or replace function pgque.queue_stats()
returns table (
  queue_name text, queue_id integer, depth bigint, oldest_msg_age interval, consumers integer,
  events_per_sec numeric, cur_table integer, rotation_age interval, rotation_period interval,
  ticker_paused boolean, last_tick_time timestamptz, last_tick_id bigint, dlq_count bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, q.queue_id, coalesce(c.depth, 0), case when c.depth > 0 then c.lag end,
         coalesce(c.consumers, 0), round(i.ev_per_sec::numeric, 3), q.queue_cur_table,
         now() - q.queue_switch_time, q.queue_rotation_period, q.queue_ticker_paused,
         now() - i.ticker_lag, i.last_tick_id,
         (select count(*) from pgque.dead_letter d where d.dl_queue_id = q.queue_id)
    from pgque.queue q
    join pgque.get_queue_info() i on i.queue_name = q.queue_name
    left join (
      select u.queue_id, max(u.pending) as depth, max(u.lag) as lag, count(*)::integer as consumers
        from pgque._cursors() u group by u.queue_id) c on c.queue_id = q.queue_id
   order by q.queue_name
$$;

create or replace function pgque.consumer_stats()
returns table (
  queue_name text, consumer_name text, lag interval, pending_events bigint,
  last_batch_start timestamptz, batch_active boolean, batch_id bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select u.queue_name, u.consumer_name, u.lag, u.pending, u.last_active, u.batch_id is not null,
         u.batch_id
    from pgque._cursors() u order by u.queue_name, u.consumer_name
$$;

create or replace function pgque.queue_health()
returns table (queue_name text, check_name text, status text, detail text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with s as (select * from pgque.queue_stats())
  select s.queue_name, 'ticker_running',
         case when now() - s.last_tick_time <= interval '10 seconds' then 'ok' else 'critical' end,
         coalesce('last tick ' || (now() - s.last_tick_time) || ' ago', 'no tick yet')
    from s
  union all
  select u.queue_name, 'consumer_lag:' || u.consumer_name,
         case when u.lag > u.rotation_period then 'critical'
              when u.lag > u.rotation_period / 2 then 'warning' else 'ok' end,
         coalesce('lag ' || u.lag, 'idle') || ', rotation period ' || u.rotation_period
    from pgque._cursors() u
  union all
  select s.queue_name, 'rotation_health',
         case when s.rotation_age > 2 * s.rotation_period then 'warning' else 'ok' end,
         'last rotation ' || s.rotation_age || ' ago, period ' || s.rotation_period
    from s
  union all
  select s.queue_name, 'dlq_health', case when s.dlq_count > 1000 then 'warning' else 'ok' end,
         s.dlq_count || ' dead letters'
    from s
  union all
  select 'system', 'pg_cron_' || j.job, case when j.id is null then 'warning' else 'ok' end,
         case when j.id is null then 'not scheduled with pg_cron' else 'job ' || j.id end
    from pgque.config c,
         lateral (values ('ticker', case c.scheduler when 'pg_cron' then c.ticker_job_id end),
                         ('maint', case c.scheduler when 'pg_cron' then c.maint_job_id end)) j (job, id)
$$;

-- Names and labels as OpenTelemetry wants them.
create or replace function pgque.otel_metrics()
returns table (metric_name text, metric_type text, value numeric, labels jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select m.name, 'gauge', m.value, jsonb_build_object('queue', s.queue_name)
    from pgque.queue_stats() s,
         lateral (values
           ('pgque.queue.depth', s.depth::numeric),
           ('pgque.queue.oldest_message_age_seconds',
            coalesce(extract(epoch from s.oldest_msg_age), 0)::numeric),
           ('pgque.queue.throughput', coalesce(s.events_per_sec, 0)),
           ('pgque.message.dead_lettered', s.dlq_count::numeric)) m (name, value)
  union all
  select m.name, 'gauge', m.value,
         jsonb_build_object('queue', c.queue_name, 'consumer', c.consumer_name)
    from pgque.consumer_stats() c,
         lateral (values
           ('pgque.consumer.lag_seconds', coalesce(extract(epoch from c.lag), 0)::numeric),
           ('pgque.consumer.pending_events', coalesce(c.pending_events, 0)::numeric)) m (name, value)
$$;

create or replace function pgque.stuck_consumers(i_threshold interval default '1 hour')
returns table (queue_name text, consumer_name text, lag interval, last_active timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select u.queue_name, u.consumer_name, u.lag, u.last_active
    from pgque._cursors() u where u.lag > i_threshold order by u.lag desc
$$;

create or replace function pgque.in_flight(i_queue_name text)
returns table (consumer_name text, batch_id bigint, batch_age interval, estimated_events bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select u.consumer_name, u.batch_id, now() - u.last_active, u.in_batch
    from pgque._cursors() u
   where u.queue_name = i_queue_name and u.batch_id is not null
   order by u.consumer_name
$$;

-- Buckets of the given size that cover the period up to now, aligned to the epoch; at most 100,000.
create or replace function pgque._buckets(
  i_caller text, i_queue_name text, i_period interval, i_bucket_size interval,
  out queue_id integer, out first_bucket bigint, out last_bucket bigint, out seconds numeric)
language plpgsql stable
as $$
begin
  queue_id := pgque._queue_id(i_queue_name);
  if queue_id is null then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  seconds := extract(epoch from i_bucket_size)::numeric;
  if (seconds > 0) is not true then
    raise exception '%: bucket size must be > 0, got %', i_caller, i_bucket_size
      using errcode = '22023';
  end if;
  first_bucket := floor(extract(epoch from now() - i_period)::numeric / seconds);
  last_bucket := floor(extract(epoch from now())::numeric / seconds);
  if last_bucket - first_bucket >= 100000 then
    raise exception '%: more than 100000 buckets of % in %', i_caller, i_bucket_size, i_period
      using errcode = '22023';
  end if;
end
$$;

-- Counted when the tick came that closed the events' window.
create or replace function pgque.throughput(
  i_queue_name text, i_period interval, i_bucket_size interval)
returns table (bucket_start timestamptz, events bigint, events_per_sec numeric)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record := pgque._buckets('throughput'::text, i_queue_name, i_period, i_bucket_size);
begin
  return query
    select to_timestamp((b.number * v.seconds)::double precision),
           coalesce(sum(t.new_events), 0)::bigint,
           round(coalesce(sum(t.new_events), 0) / v.seconds, 3)
      from generate_series(v.first_bucket, v.last_bucket) b (number)
      left join (
        select floor(extract(epoch from tick_time)::numeric / v.seconds) as number,
               tick_event_seq - lag(tick_event_seq) over (order by tick_id) as new_events
          from pgque.tick where tick_queue = v.queue_id) t on t.number = b.number
     group by b.number order by b.number;
end
$$;

-- Messages now in the retry queue, by the time they were sent, and dead letters, by the time they died.
create or replace function pgque.error_rate(
  i_queue_name text, i_period interval, i_bucket_size interval)
returns table (bucket_start timestamptz, retries bigint, dead_letters bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record := pgque._buckets('error_rate'::text, i_queue_name, i_period, i_bucket_size);
begin
  return query
    select to_timestamp((b.number * v.seconds)::double precision),
           count(*) filter (where e.is_retry), count(*) filter (where not e.is_retry)
      from generate_series(v.first_bucket, v.last_bucket) b (number)
      left join (
        select floor(extract(epoch from ev_time)::numeric / v.seconds) as number, true as is_retry
          from pgque.retry_queue where ev_queue = v.queue_id
        union all
        select floor(extract(epoch from dl_time)::numeric / v.seconds), false
          from pgque.dead_letter where dl_queue_id = v.queue_id) e on e.number = b.number
     group by b.number order by b.number;
end
$$;
