-- Batches: opening and finishing them for a normal consumer.

create or replace function pgque.find_tick_helper(
  i_queue_id integer, i_prev_tick_id bigint, i_prev_tick_time timestamptz, i_prev_tick_seq bigint,
  i_min_count bigint, i_min_interval interval,
  out next_tick_id bigint, out next_tick_time timestamptz, out next_tick_seq bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_events bigint;
  v_time interval;
begin
  select tick_id, tick_time, tick_event_seq into next_tick_id, next_tick_time, next_tick_seq
    from pgque.tick where tick_queue = i_queue_id and tick_id > i_prev_tick_id
   order by tick_id desc limit 1;
  if not found then
    return;
  end if;
  v_events := next_tick_seq - i_prev_tick_seq;
  v_time := next_tick_time - i_prev_tick_time;
  if v_events > 2 * i_min_count or v_time > 2 * i_min_interval then
    -- The newest tick is too far away: the first one that is far enough.
    select tick_id, tick_time, tick_event_seq into next_tick_id, next_tick_time, next_tick_seq
      from pgque.tick where tick_queue = i_queue_id and tick_id > i_prev_tick_id
       and (tick_event_seq - i_prev_tick_seq >= i_min_count
            or tick_time - i_prev_tick_time >= i_min_interval)
     order by tick_id limit 1;
  elsif (v_events >= i_min_count or v_time >= i_min_interval) is not true then
    next_tick_id := null;
    next_tick_time := null;
    next_tick_seq := null;
  end if;
end
$$;

-- The end of the next window above a tick: the next tick, or a later one when the caller wants more
-- events or time in one batch. No tick younger than min_lag.
create or replace function pgque._next_tick(
  i_queue_id integer, i_tick_id bigint, i_min_lag interval, i_min_count integer,
  i_min_interval interval) returns bigint
language plpgsql
as $$
declare
  v_id bigint;
  v_time timestamptz;
  v_prev pgque.tick;
begin
  if i_min_count is null and i_min_interval is null then
    select tick_id, tick_time into v_id, v_time from pgque.tick
     where tick_queue = i_queue_id and tick_id > i_tick_id order by tick_id limit 1;
  else
    select * into v_prev from pgque.tick where tick_queue = i_queue_id and tick_id = i_tick_id;
    select next_tick_id, next_tick_time into v_id, v_time
      from pgque.find_tick_helper(i_queue_id, i_tick_id, v_prev.tick_time, v_prev.tick_event_seq,
             i_min_count::bigint, i_min_interval);
  end if;
  return case when now() - v_time < i_min_lag then null else v_id end;
end
$$;

-- Refuses rows of a cooperative group. A main without members (made by hand) passes: no window is ever
-- opened on it, since the updates hit normal rows only.
create or replace function pgque._refuse_coop(
  i_sub pgque.subscription, i_queue text, i_consumer text) returns void
language plpgsql
as $$
begin
  if i_sub.sub_role = 'coop_main' and pgque._has_members(i_sub) then
    raise exception 'consumer % on queue % is a cooperative main consumer; use cooperative receive/next_batch with a subconsumer',
      i_consumer, i_queue using errcode = 'PQ005';
  elsif i_sub.sub_role = 'coop_member' then
    raise exception 'consumer % on queue % is a cooperative subconsumer; use receive_coop / next_batch (cooperative form) instead of the legacy 5-arg next_batch_custom',
      i_consumer, i_queue using errcode = 'PQ005';
  end if;
end
$$;

-- A cooperative group may have handed out windows ahead of its cursor. Whoever moves the cursor passes
-- over them, also after the group dissolved and left a normal consumer.
create or replace function pgque._skip_windows(i_sub pgque.subscription, i_tick_id bigint)
returns bigint
language plpgsql stable
as $$
begin
  return coalesce(
    (select upper(r)
       from (select range_agg(int8range(win_start, win_end)) as windows from pgque.coop_window
              where win_queue = i_sub.sub_queue and win_consumer = i_sub.sub_consumer) taken,
            unnest(taken.windows) r
      where r @> i_tick_id),
    i_tick_id);
end
$$;

-- Locks the subscription row until the transaction ends and returns it as it is then. Ticks are read
-- in later statements: what the previous holder of the lock acked has to be visible to them.
-- Sequential scans are off here and in the other functions that find a row of this table: it is small,
-- so the planner likes them, and keeps the plan when dead versions have made it large.
create or replace function pgque._lock_subscription(
  i_sub pgque.subscription, i_queue text, i_consumer text) returns pgque.subscription
language plpgsql set enable_seqscan = off
as $$
declare
  v_sub pgque.subscription;
begin
  select * into v_sub from pgque.subscription
   where sub_queue = i_sub.sub_queue and sub_consumer = i_sub.sub_consumer
   order by sub_version desc limit 1 for no key update;
  if not found then
    raise exception 'Not subscriber to queue: %/%', i_queue, i_consumer using errcode = 'PQ002';
  end if;
  if v_sub.sub_role <> 'normal' then
    perform pgque._refuse_coop(v_sub, i_queue, i_consumer);
  end if;
  return v_sub;
end
$$;

-- Writes the position and the open batch of a normal consumer's row, which the caller has locked.
create or replace function pgque._move_cursor(i_sub pgque.subscription) returns void
language plpgsql set enable_seqscan = off
as $$
begin
  update pgque.subscription
     set sub_last_tick = i_sub.sub_last_tick, sub_next_tick = i_sub.sub_next_tick,
         sub_batch = i_sub.sub_batch, sub_paged = i_sub.sub_paged,
         sub_active = now(), sub_version = sub_version + 1
   where sub_queue = i_sub.sub_queue and sub_consumer = i_sub.sub_consumer
     and sub_version = i_sub.sub_version and sub_role = 'normal';
end
$$;

create or replace function pgque.next_batch_custom(
  i_queue_name text, i_consumer_name text, i_min_lag interval, i_min_count integer,
  i_min_interval interval,
  out batch_id bigint, out cur_tick_id bigint, out prev_tick_id bigint,
  out cur_tick_time timestamptz, out prev_tick_time timestamptz,
  out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._subscription(i_queue_name, i_consumer_name);
begin
  v_sub := pgque._lock_subscription(v_sub, i_queue_name, i_consumer_name);
  perform pgque._refuse_paged(v_sub);
  if not exists (select from pgque.tick
                  where tick_queue = v_sub.sub_queue and tick_id = v_sub.sub_last_tick) then
    raise exception 'PgQ corruption: Consumer % on queue % does not see tick %',
      i_consumer_name, i_queue_name, coalesce(v_sub.sub_last_tick::text, '<NULL>')
      using errcode = 'PQ009';
  end if;

  if v_sub.sub_batch is null then
    v_sub.sub_last_tick := pgque._skip_windows(v_sub, v_sub.sub_last_tick);
    v_sub.sub_next_tick := pgque._next_tick(v_sub.sub_queue, v_sub.sub_last_tick, i_min_lag,
      i_min_count, i_min_interval);
    if v_sub.sub_next_tick is null or v_sub.sub_role <> 'normal' then
      return;
    end if;
    v_sub.sub_batch := nextval('pgque.batch_id_seq');
    perform pgque._move_cursor(v_sub);
  end if;

  select v_sub.sub_batch, c.tick_id, p.tick_id, c.tick_time, p.tick_time,
         c.tick_event_seq, p.tick_event_seq
    into batch_id, cur_tick_id, prev_tick_id, cur_tick_time, prev_tick_time,
         cur_tick_event_seq, prev_tick_event_seq
    from pgque.tick c, pgque.tick p
   where c.tick_queue = v_sub.sub_queue and c.tick_id = v_sub.sub_next_tick
     and p.tick_queue = v_sub.sub_queue and p.tick_id = v_sub.sub_last_tick;
end
$$;

create or replace function pgque.next_batch_info(
  i_queue_name text, i_consumer_name text,
  out batch_id bigint, out cur_tick_id bigint, out prev_tick_id bigint,
  out cur_tick_time timestamptz, out prev_tick_time timestamptz,
  out cur_tick_event_seq bigint, out prev_tick_event_seq bigint)
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select * from pgque.next_batch_custom(i_queue_name, i_consumer_name,
    null::interval, null::integer, null::interval);
end;

create or replace function pgque.next_batch(i_queue_name text, i_consumer_name text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select batch_id from pgque.next_batch_custom(i_queue_name, i_consumer_name,
    null::interval, null::integer, null::interval);
end;

-- The row that was finished; all columns NULL when there is none to finish.
create or replace function pgque._finish_batch(i_batch_id bigint) returns pgque.subscription
language plpgsql set enable_seqscan = off
as $$
declare
  v_sub pgque.subscription;
begin
  update pgque.subscription
     set sub_last_tick = case when sub_role = 'normal' then sub_next_tick end,
         sub_batch = null, sub_next_tick = null, sub_active = now(), sub_version = sub_version + 1
   where sub_batch = i_batch_id and sub_role <> 'coop_main' and not sub_paged
  returning * into v_sub;
  return v_sub;
end
$$;

-- Whoever knows a batch id may finish it. A second finisher waits for the first and finds nothing.
create or replace function pgque.finish_batch(x_batch_id bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._finish_batch(x_batch_id);
begin
  if v_sub.sub_queue is not null then
    return 1;
  end if;
  v_sub := pgque._batch(x_batch_id);
  perform pgque._refuse_paged(v_sub);
  if v_sub.sub_batch is not null then
    raise exception 'cannot finish cooperative main consumer batch % as normal active consumer',
      x_batch_id using errcode = 'PQ005';
  end if;
  raise warning 'finish_batch: batch % not found', x_batch_id;
  return 0;
end
$$;

create or replace function pgque.ack(i_batch_id bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.finish_batch(i_batch_id);
end
$$;
