-- receive: the next batch of a normal consumer, whole.

-- Reads a window as messages, one more than the limit at most ($1; NULL for no limit).
create or replace function pgque._messages_sql(
  i_sub pgque.subscription, i_last_tick bigint, i_next_tick bigint, i_batch_id bigint) returns text
language plpgsql
as $$
begin
  return pgque._batch_sql(i_sub, i_last_tick, i_next_tick,
    format('ev_id, %s::bigint, ev_type, ev_data, ev_retry, ev_time, ev_extra1, ev_extra2, ev_extra3, ev_extra4',
      i_batch_id), ''::text) || E'\norder by 1 limit $1';
end
$$;

-- A batch is delivered whole or not at all: handing out a part, which ack would then pass over, loses
-- the rest. Everything the receive has done so far is rolled back with the error.
create or replace function pgque._check_overflow(
  i_function text, i_count bigint, i_max_return integer) returns void
language plpgsql
as $$
begin
  if i_count > i_max_return then
    raise exception 'pgque.%: batch exceeds max_return of %', i_function, i_max_return
      using errcode = '54000',
            hint = 'Retry with a larger resource-safe max_return to receive the complete batch. Do not acknowledge after this error.';
  end if;
end
$$;

-- 1. An idle consumer is answered without a lock, hence without a transaction id.
-- 2. The subscription row is locked; a second receive of the same consumer waits and then sees what
--    the first one left: the same open batch, or the window after an acked one.
-- 3. Windows without events are passed over, in memory, until one has some; ticks are not merged.
--    The row is written once.
create or replace function pgque.receive(
  i_queue text, i_consumer text, i_max_return integer default 100) returns setof pgque.message
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_windows constant integer := 1000;
  v_sub pgque.subscription;
  v_open pgque.subscription;
  v_count bigint := 0;
begin
  if i_max_return < 1 then
    raise exception 'pgque.receive: max_return must be >= 1, got %', i_max_return
      using errcode = '22023';
  end if;
  v_sub := pgque._subscription(i_queue, i_consumer);
  if v_sub.sub_role <> 'normal' then
    perform pgque._refuse_coop(v_sub, i_queue, i_consumer);
    return;
  end if;
  if v_sub.sub_batch is null and not exists (
       select from pgque.tick where tick_queue = v_sub.sub_queue and tick_id > v_sub.sub_last_tick) then
    return;
  end if;

  v_sub := pgque._lock_subscription(v_sub, i_queue, i_consumer);
  perform pgque._refuse_paged(v_sub);
  if v_sub.sub_role <> 'normal' then
    return;
  end if;
  v_open := v_sub;
  for n in 1 .. c_windows loop
    if v_open.sub_next_tick is null then
      v_open.sub_last_tick := pgque._skip_windows(v_open, v_open.sub_last_tick);
      v_open.sub_next_tick := pgque._next_tick(v_open.sub_queue, v_open.sub_last_tick,
        null::interval, null::integer, null::interval);
      exit when v_open.sub_next_tick is null;
    end if;
    v_open.sub_batch := coalesce(v_open.sub_batch, nextval('pgque.batch_id_seq'));
    return query execute pgque._messages_sql(v_open, v_open.sub_last_tick, v_open.sub_next_tick,
      v_open.sub_batch) using i_max_return + 1::bigint;
    get diagnostics v_count = row_count;
    exit when v_count > 0;
    v_open.sub_last_tick := v_open.sub_next_tick;
    v_open.sub_next_tick := null;
  end loop;

  perform pgque._check_overflow('receive'::text, v_count, i_max_return);
  if v_count = 0 then
    v_open.sub_batch := null;
  end if;
  if v_open is distinct from v_sub then
    perform pgque._move_cursor(v_open);
  end if;
end
$$;
