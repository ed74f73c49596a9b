-- Cooperative groups: receiving.

-- The batch the member holds or takes over, or the first free window that has events. The first window
-- is claimed before it is read; after one turned out empty, the next are looked at before.
create or replace function pgque.receive_coop(
  i_queue text, i_consumer text, i_subconsumer text, i_max_return integer default 100,
  i_dead_interval interval default null) returns setof pgque.message
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_windows constant integer := 1000;
  v record;
  v_window record;
  v_batch bigint;
  v_count bigint := 0;
  v_some boolean;
  v_passed int8multirange := '{}';
begin
  if i_max_return < 1 then
    raise exception 'pgque.receive_coop: max_return must be >= 1, got %', i_max_return
      using errcode = '22023';
  end if;
  select * into v from pgque._coop_enter(i_queue, i_consumer, i_subconsumer, i_dead_interval, false);
  if not v.has_work then
    return;
  end if;

  if (v.member).sub_batch is not null then
    perform pgque._check_window('receive_coop'::text, v.member, (v.member).sub_last_tick, (v.member).sub_next_tick,
      i_max_return);
    return query execute pgque._messages_sql(v.member, (v.member).sub_last_tick,
        (v.member).sub_next_tick, (v.member).sub_batch) using i_max_return + 1::bigint;
    get diagnostics v_count = row_count;
    perform pgque._check_overflow('receive_coop'::text, v_count, i_max_return);
    if v_count > 0 then
      return;
    end if;
    perform pgque._give(v.member, null::bigint, null::bigint, null::bigint);
  end if;

  for v_window in select * from pgque._free_windows(v.main, c_windows) loop
    if not isempty(v_passed) then
      execute 'select exists (' || pgque._batch_sql(v.member, v_window.win_start, v_window.win_end,
        '1'::text, ''::text) || ')' into v_some;
      if not v_some then
        v_passed := v_passed + int8multirange(int8range(v_window.win_start, v_window.win_end));
        continue;
      end if;
    end if;
    continue when not pgque._claim(v.main, v_window.win_start, v_window.win_end);
    v_batch := coalesce(v_batch, nextval('pgque.batch_id_seq'));
    v_passed := v_passed + int8multirange(int8range(v_window.win_start, v_window.win_end));
    perform pgque._check_window('receive_coop'::text, v.member, v_window.win_start, v_window.win_end, i_max_return);
    return query execute pgque._messages_sql(v.member, v_window.win_start, v_window.win_end, v_batch)
      using i_max_return + 1::bigint;
    get diagnostics v_count = row_count;
    exit when v_count > 0;
  end loop;
  perform pgque._check_overflow('receive_coop'::text, v_count, i_max_return);

  if v_count > 0 then
    perform pgque._settle(v.main, v_passed, v_window.win_start, v_window.win_end);
    perform pgque._give(v.member, v_window.win_start, v_window.win_end, v_batch);
  elsif not isempty(v_passed)
     or pgque._skip_windows(v.main, (v.main).sub_last_tick) > (v.main).sub_last_tick then
    -- Also when only records are left: the last allocation may not have got the main row.
    perform pgque._settle(v.main, v_passed, null::bigint, null::bigint);
  end if;
end
$$;

-- The window without its events. A merged window takes the lock of every tick window in it: at most
-- 100, so that one call cannot fill the server's lock table.
create or replace function pgque.next_batch_custom(
  i_queue text, i_consumer text, i_subconsumer text, i_min_lag interval, i_min_count integer,
  i_min_interval interval, i_dead_interval interval default null,
  out batch_id bigint, out prev_tick_id bigint, out next_tick_id bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_windows constant integer := 1000;
  c_merged constant integer := 100;
  v record;
  v_window record;
  v_end bigint;
begin
  select * into v from pgque._coop_enter(i_queue, i_consumer, i_subconsumer, i_dead_interval, false);
  if not v.has_work then
    return;
  end if;
  if (v.member).sub_batch is null then
    for v_window in select * from pgque._free_windows(v.main, c_windows) loop
      v_end := pgque._next_tick((v.main).sub_queue, v_window.win_start, i_min_lag, i_min_count,
        i_min_interval);
      exit when v_end is null;
      select max(k.tick_id) into v_end from (
        select tick_id from pgque.tick
         where tick_queue = (v.main).sub_queue and tick_id > v_window.win_start and tick_id <= v_end
         order by tick_id limit c_merged) k;
      if pgque._claim(v.main, v_window.win_start, v_end) then
        perform pgque._settle(v.main, int8multirange(int8range(v_window.win_start, v_end)),
          v_window.win_start, v_end);
        v.member := pgque._give(v.member, v_window.win_start, v_end, nextval('pgque.batch_id_seq'));
        exit;
      end if;
    end loop;
  end if;
  batch_id := (v.member).sub_batch;
  if batch_id is not null then
    prev_tick_id := (v.member).sub_last_tick;
    next_tick_id := (v.member).sub_next_tick;
  end if;
end
$$;

create or replace function pgque.next_batch(
  i_queue text, i_consumer text, i_subconsumer text, i_dead_interval interval default null)
returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select batch_id from pgque.next_batch_custom(i_queue, i_consumer, i_subconsumer,
    null::interval, null::integer, null::interval, i_dead_interval);
end;
