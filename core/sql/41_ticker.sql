-- Ticks: the functions a scheduler calls. Each call should be a transaction of its own.

create or replace function pgque.ticker(i_queue_name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
begin
  -- Sends pg_notify('pgque_' || queue) through _insert_tick.
  select * into v_queue from pgque.queue where queue_name = i_queue_name;
  if not found then
    raise exception 'no such queue' using errcode = 'PQ001';
  end if;
  if v_queue.queue_external_ticker then
    raise exception 'This queue has external tick source.' using errcode = 'PQ005';
  end if;
  if v_queue.queue_ticker_paused then
    raise exception 'Ticker has been paused for this queue' using errcode = 'PQ005';
  end if;
  perform pg_advisory_xact_lock(pgque._lock_key('tick'::text, v_queue.queue_id, 0, 0));
  return pgque._tick(v_queue, false);
end
$$;

-- The set-based look finds the queues that are due, or in a state that only the loop should report.
create or replace function pgque.ticker() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._tick_each(array(
    select q.queue_id
      from pgque.queue q
     cross join lateral pgque._tick_state(q.queue_id) t
     where not q.queue_external_ticker and not q.queue_ticker_paused
       and (pgque._tick_due(t.cur_seq - t.event_seq, now() - t.tick_time, t.tick_time - t.prev_time,
              q.queue_ticker_max_count, q.queue_ticker_max_lag, q.queue_ticker_idle_period)
            or pg_snapshot_xmax(t.tick_snapshot) > pg_snapshot_xmax(pg_current_snapshot()))
     order by q.queue_name), false);
end
$$;

-- Ticks every queue that has an event no tick covers, whatever max_count and max_lag say. Ids are
-- counted when drawn, not when committed: after a tick that counted new ids, or when a transaction
-- finished that was open at the last tick, the event tables themselves are asked for late rows.
create or replace function pgque.ticker_pending() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_late boolean;
  v_ids integer[] := '{}';
begin
  for v in
    select q.queue_id, q.queue_name, t.*,
           array(select x from pg_snapshot_xip(t.tick_snapshot) x
                  where pg_visible_in_snapshot(x, pg_current_snapshot())) as finished
      from pgque.queue q
     cross join lateral pgque._tick_state(q.queue_id) t
     where not q.queue_external_ticker and not q.queue_ticker_paused
     order by q.queue_name
  loop
    if v.tick_id is null or v.cur_seq > v.event_seq then
      v_ids := v_ids || v.queue_id;
    elsif v.event_seq > v.prev_seq or cardinality(v.finished) > 0 then
      begin
        -- In order, so that the index is read: without statistics the planner hopes that a scan of the
        -- table finds a row soon, and mostly there is none.
        execute format(
          'select (select ev_txid from pgque.event_%1$s where ev_txid >= $1 order by ev_txid limit 1) is not null
               or (select ev_txid from pgque.event_%1$s where ev_txid = any ($2) order by ev_txid limit 1) is not null',
          v.queue_id)
          into v_late using pg_snapshot_xmax(v.tick_snapshot), v.finished;
        if v_late then
          v_ids := v_ids || v.queue_id;
        end if;
      exception when others then
        raise warning 'ticker_pending: queue %: %', v.queue_name, sqlerrm;
      end;
    end if;
  end loop;
  return pgque._tick_each(v_ids, true);
end
$$;

-- Announces that the ticker sleeps for so many seconds at most, listening to the channel pgque_ticker: the
-- first event wakes it. It has to look for events once more before it sleeps. False, and nothing is
-- announced, when it must not: if transactions may be prepared, because those cannot notify, and while a
-- producer's transaction is open, because it may have inserted before the announcement.
create or replace function pgque.ticker_sleep(i_seconds integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if (i_seconds between 1 and 3600) is not true then
    raise exception 'ticker_sleep: seconds must be between 1 and 3600, got %', i_seconds
      using errcode = '22023';
  end if;
  if current_setting('max_prepared_transactions') <> '0' then
    return false;
  end if;
  perform setval('pgque.ticker_sleep'::regclass,
    ceil(extract(epoch from clock_timestamp()))::bigint + i_seconds);
  if exists (select from pg_locks l
               join pg_class c on c.oid = l.relation and c.relnamespace = 'pgque'::regnamespace
                and c.relname ~ '^event_[0-9]+_[0-2]$'
              where l.database = (select oid from pg_database where datname = current_database())
                and l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.pid is distinct from pg_backend_pid()) then
    perform pgque.ticker_wake();
    return false;
  end if;
  return true;
end
$$;

create or replace function pgque.ticker_wake() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform setval('pgque.ticker_sleep'::regclass, 0);
end
$$;

-- Makes the next ticker call see many new events. Inserts no tick; the answer is the newest existing
-- one. The queue row is only read.
create or replace function pgque.force_next_tick(i_queue_name text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
  v_seq text;
begin
  select * into v_queue from pgque.queue where queue_name = i_queue_name;
  if not found then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  if v_queue.queue_ticker_paused then
    raise exception 'queue % is paused (queue_ticker_paused = true)', i_queue_name
      using errcode = 'PQ005';
  end if;
  if v_queue.queue_external_ticker then
    raise exception 'queue % is configured for external ticker; force_tick is meaningless — push ticks via pgque.ticker(queue, tick_id, ts, event_seq)',
      i_queue_name using errcode = 'PQ005';
  end if;
  v_seq := 'pgque.event_' || v_queue.queue_id || '_id_seq';
  perform setval(v_seq, nextval(v_seq) + v_queue.queue_ticker_max_count::bigint * 2 + 1000);
  return (select max(tick_id) from pgque.tick where tick_queue = v_queue.queue_id);
end
$$;

create or replace function pgque.force_tick(i_queue_name text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.force_next_tick(i_queue_name);
end;

-- Ticks pushed from outside, for queues that are filled from another database.
create or replace function pgque.ticker(
  i_queue_name text, i_tick_id bigint, i_orig_timestamp timestamptz, i_event_seq bigint)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
  v_last record;
  v_seq text;
begin
  select * into v_queue from pgque.queue where queue_name = i_queue_name;
  if not found then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  if v_queue.queue_ticker_paused then
    raise exception 'queue % is paused (queue_ticker_paused = true)', i_queue_name
      using errcode = 'PQ005';
  end if;
  if not v_queue.queue_external_ticker then
    raise exception 'queue % is not configured for external ticker (queue_external_ticker = false); use pgque.ticker(queue) instead',
      i_queue_name using errcode = 'PQ005';
  end if;
  perform pg_advisory_xact_lock(pgque._lock_key('tick'::text, v_queue.queue_id, 0, 0));
  select * into v_last from pgque._tick_state(v_queue.queue_id);
  if i_tick_id <= v_last.tick_id then
    raise exception 'external ticker tick_id must be strictly greater than current max (% <= %)',
      i_tick_id, v_last.tick_id using errcode = '22023';
  end if;
  if i_event_seq < v_last.event_seq then
    raise exception 'external ticker event_seq must be >= previous tick (% < %)',
      i_event_seq, v_last.event_seq using errcode = '22023';
  end if;

  insert into pgque.tick (tick_queue, tick_id, tick_time, tick_snapshot, tick_event_seq)
  values (v_queue.queue_id, i_tick_id, i_orig_timestamp, pgque._tick_snapshot(), i_event_seq);
  v_seq := 'pgque.event_' || v_queue.queue_id;
  perform setval(v_seq || '_tick_seq', i_tick_id)
    where i_tick_id > coalesce(pg_sequence_last_value((v_seq || '_tick_seq')::regclass), 0);
  perform setval(v_seq || '_id_seq', i_event_seq)
    where i_event_seq > coalesce(pg_sequence_last_value((v_seq || '_id_seq')::regclass), 0);
  perform pg_notify('pgque_' || i_queue_name, i_tick_id::text);
  return i_tick_id;
end
$$;
