-- Ticks: when one is due, and inserting it.
--
-- One ticker at a time per queue: an advisory lock, taken before the snapshot that the tick records,
-- so that the snapshots of consecutive ticks never go backwards. An advisory lock writes nothing,
-- hence a ticker that finds nothing to do gets no transaction id.

-- The newest tick of a queue and what happened since. One row, also for a queue without ticks. Stable
-- and returning a table, so that the planner expands it in place.
create or replace function pgque._tick_state(i_queue_id integer)
returns table (
  tick_id bigint, tick_time timestamptz, tick_snapshot pg_snapshot, event_seq bigint,
  prev_time timestamptz, prev_seq bigint, cur_seq bigint)
language sql stable
as $$
  select t.tick_id, t.tick_time, t.tick_snapshot, t.tick_event_seq, p.tick_time, p.tick_event_seq,
         pgque._event_seq(i_queue_id)
    from (select) one
    left join lateral (
      select * from pgque.tick where tick_queue = i_queue_id order by tick_id desc limit 1) t on true
    left join lateral (
      select * from pgque.tick p where p.tick_queue = i_queue_id and p.tick_id < t.tick_id
       order by p.tick_id desc limit 1) p on true
$$;

-- The rule. A queue whose only tick is the one it was created with ticks at once; events wait for
-- max_count of them or for max_lag; idle queues tick at gaps that double up to idle_period.
create or replace function pgque._tick_due(
  i_new bigint, i_lag interval, i_prev_gap interval,
  i_max_count integer, i_max_lag interval, i_idle_period interval) returns boolean
language sql immutable
return case
  when i_lag is null or i_prev_gap is null then true
  when i_new > 0 then i_new >= i_max_count or i_lag >= i_max_lag
  else i_lag >= i_max_lag / 2 and (i_lag >= 2 * i_prev_gap or i_lag >= i_idle_period)
end;

-- The snapshot a tick records. A snapshot never lists its own transaction as in progress; here it has
-- to, or what this transaction sends after the tick would count as delivered before it.
create or replace function pgque._tick_snapshot() returns pg_snapshot
language plpgsql
as $$
declare
  v_snapshot pg_snapshot := pg_current_snapshot();
  v_own xid8 := pg_current_xact_id();
begin
  if not pg_visible_in_snapshot(v_own, v_snapshot) then
    return v_snapshot;
  end if;
  return concat_ws(':', least(v_own::text::bigint, pg_snapshot_xmin(v_snapshot)::text::bigint),
    pg_snapshot_xmax(v_snapshot),
    (select string_agg(x::text, ',' order by x::text::bigint)
       from (select x from pg_snapshot_xip(v_snapshot) x union select v_own) open));
end
$$;

create or replace function pgque._insert_tick(i_queue_id integer, i_queue text, i_event_seq bigint)
returns bigint
language plpgsql
as $$
declare
  v_id bigint := nextval('pgque.event_' || i_queue_id || '_tick_seq');
begin
  insert into pgque.tick (tick_queue, tick_id, tick_snapshot, tick_event_seq)
  values (i_queue_id, v_id, pgque._tick_snapshot(), i_event_seq);
  perform pg_notify('pgque_' || i_queue, v_id::text);
  return v_id;
end
$$;

-- Ticks one queue if the rule says so, or always when forced; the caller holds the queue's tick lock.
-- The statements after that lock see everything its last holder committed, unless the caller's
-- transaction keeps an older snapshot: then a newer tick may exist that it cannot see. Filling the
-- ids up to the sequence finds out, since a tick that exists is a duplicate key.
create or replace function pgque._tick(i_queue pgque.queue, i_force boolean) returns bigint
language plpgsql
as $$
declare
  v record;
  v_now pg_snapshot := pg_current_snapshot();
  v_id bigint;
begin
  select * into v from pgque._tick_state(i_queue.queue_id);
  if pg_snapshot_xmin(v.tick_snapshot) > pg_snapshot_xmax(v_now) then
    raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%',
      pg_snapshot_xmin(v.tick_snapshot), pg_snapshot_xmax(v.tick_snapshot), pg_snapshot_xmax(v_now)
      using errcode = 'PQ009';
  end if;
  if v.cur_seq < v.event_seq then
    raise warning 'Negative new_events?  old=% cur=%', v.event_seq, v.cur_seq;
  end if;
  if pg_snapshot_xmax(v.tick_snapshot) > pg_snapshot_xmax(v_now) then
    raise warning 'Dubious PgQ state: old xmax=%, cur txid=%',
      pg_snapshot_xmax(v.tick_snapshot), pg_snapshot_xmax(v_now);
    return null;
  end if;
  if not i_force and not pgque._tick_due(v.cur_seq - v.event_seq, now() - v.tick_time,
       v.tick_time - v.prev_time, i_queue.queue_ticker_max_count, i_queue.queue_ticker_max_lag,
       i_queue.queue_ticker_idle_period) then
    return null;
  end if;

  if current_setting('transaction_isolation') <> 'read committed' then
    v_id := pg_sequence_last_value(('pgque.event_' || i_queue.queue_id || '_tick_seq')::regclass);
    begin
      if v_id - v.tick_id > 1000 then
        return null;
      end if;
      insert into pgque.tick (tick_queue, tick_id, tick_snapshot, tick_event_seq)
      select i_queue.queue_id, id, pgque._tick_snapshot(), v.cur_seq from generate_series(v.tick_id + 1, v_id) id;
    exception when unique_violation or serialization_failure then
      return null;
    end;
  end if;
  return pgque._insert_tick(i_queue.queue_id, i_queue.queue_name, v.cur_seq);
end
$$;

-- Ticks every queue of the list, each in its own subtransaction: a queue in a bad state is reported
-- and does not stop the others. A queue that another ticker works on is left to it.
create or replace function pgque._tick_each(i_ids integer[], i_force boolean) returns bigint
language plpgsql
as $$
declare
  v_id integer;
  v_queue pgque.queue;
  v_count bigint := 0;
begin
  foreach v_id in array i_ids loop
    continue when not pg_try_advisory_xact_lock(pgque._lock_key('tick'::text, v_id, 0, 0));
    select * into v_queue from pgque.queue
     where queue_id = v_id and not queue_external_ticker and not queue_ticker_paused;
    continue when not found;
    begin
      if pgque._tick(v_queue, i_force) is not null then
        v_count := v_count + 1;
      end if;
    exception when others then
      raise warning 'ticker: queue %: %', v_queue.queue_name, sqlerrm;
    end;
  end loop;
  return v_count;
end
$$;
