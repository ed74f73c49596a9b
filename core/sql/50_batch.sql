-- Batches: which events lie between two ticks, and the query that reads them.

-- An event is between the ticks iff its transaction is visible in the new snapshot and not in the old
-- one. Nearly all such transactions have ids from the old xmax upwards: an index range. Transactions
-- that were open at the old tick and finished before the new one are below it. Those within 100 of the
-- range extend it, the others are fetched by id, so that one long transaction costs a few probes and
-- not a scan of everything since it began. "events" is what the ticks counted: an estimate.
create or replace function pgque._batch_range(
  i_sub pgque.subscription, i_last_tick bigint, i_next_tick bigint,
  out low xid8, out high xid8, out old pg_snapshot, out new pg_snapshot, out late xid8[],
  out events bigint)
language plpgsql
as $$
declare
  c_slack constant bigint := 100;
  v_low bigint;
  v_xid bigint;
begin
  select tick_snapshot, tick_event_seq into old, events from pgque.tick
   where tick_queue = i_sub.sub_queue and tick_id = i_last_tick;
  select tick_snapshot, tick_event_seq - events into new, events from pgque.tick
   where tick_queue = i_sub.sub_queue and tick_id = i_next_tick;
  if old is null or new is null then
    raise exception 'PgQ corruption: Consumer % on queue % does not see tick %',
      (select co_name from pgque.consumer where co_id = i_sub.sub_consumer),
      (select queue_name from pgque.queue where queue_id = i_sub.sub_queue),
      coalesce((case when old is null then i_last_tick else i_next_tick end)::text, '<NULL>')
      using errcode = 'PQ009';
  end if;

  late := '{}';
  low := pg_snapshot_xmax(old);
  high := pg_snapshot_xmax(new);
  if pg_snapshot_xmin(old) = low then
    return;
  end if;
  v_low := low::text::bigint;
  for v_xid in
    select x::text::bigint from pg_snapshot_xip(old) x
     where pg_visible_in_snapshot(x, new) order by 1 desc
  loop
    if v_low - v_xid <= c_slack then
      v_low := v_xid;
    else
      late := late || v_xid::text::xid8;
    end if;
  end loop;
  low := v_low::text::xid8;
end
$$;

-- Read are the current and the previous table, because a rotation leaves no undelivered event in the
-- third one; after a rotation that was rolled back also the one that the table sequence names.
-- i_filter is empty or a condition that ends with "and"; it is cheap, hence tested first.
create or replace function pgque._batch_sql(
  i_sub pgque.subscription, i_last_tick bigint, i_next_tick bigint, i_columns text, i_filter text)
returns text
language plpgsql
as $$
declare
  v record;
  v_range text;
  v_sql text[] := '{}';
  v_table integer;
begin
  select * into v from pgque._batch_range(i_sub, i_last_tick, i_next_tick);
  v_range := format(
    'ev_txid >= %L::xid8 and ev_txid <= %L::xid8
       and pg_visible_in_snapshot(ev_txid, %L) and not pg_visible_in_snapshot(ev_txid, %L)',
    v.low, v.high, v.new, v.old);
  foreach v_table in array pgque._read_tables(i_sub.sub_queue) loop
    v_sql := v_sql || format(
      'select %s from pgque.event_%s_%s where %s(ev_owner is null or ev_owner = %s) and %s',
      i_columns, i_sub.sub_queue, v_table, i_filter, i_sub.sub_id, v_range);
    if cardinality(v.late) > 0 then
      v_sql := v_sql || format(
        'select %s from pgque.event_%s_%s where %s(ev_owner is null or ev_owner = %s)
           and ev_txid = any (%L::xid8[])',
        i_columns, i_sub.sub_queue, v_table, i_filter, i_sub.sub_id, v.late);
    end if;
  end loop;
  return array_to_string(v_sql, E'\nunion all\n');
end
$$;

create or replace function pgque._read_tables(i_queue_id integer) returns integer[]
language plpgsql
as $$
declare
  v_current integer;
  v_previous integer;
  v_named integer := pgque._insert_table(i_queue_id);
begin
  select queue_cur_table, (queue_cur_table + queue_ntables - 1) % queue_ntables
    into v_current, v_previous from pgque.queue where queue_id = i_queue_id;
  if v_named in (v_current, v_previous) then
    return array[v_current, v_previous];
  end if;
  return array[v_current, v_previous, v_named];
end
$$;

create or replace function pgque._event_columns() returns text
language sql immutable
return 'ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4'::text;

-- The subscription that holds the batch; all columns NULL when none does.
create or replace function pgque._batch(i_batch_id bigint) returns pgque.subscription
language plpgsql stable set enable_seqscan = off
as $$
declare
  v_sub pgque.subscription;
begin
  select * into v_sub from pgque.subscription where sub_batch = i_batch_id;
  return v_sub;
end
$$;

create or replace function pgque.batch_event_sql(x_batch_id bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(x_batch_id);
begin
  if v_sub.sub_batch is null then
    raise exception 'batch not found' using errcode = 'PQ003';
  end if;
  return pgque._batch_sql(v_sub, v_sub.sub_last_tick, v_sub.sub_next_tick,
    pgque._event_columns(), ''::text) || E'\norder by ev_id';
end
$$;

create or replace function pgque.batch_event_tables(x_batch_id bigint) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(x_batch_id);
begin
  if v_sub.sub_batch is null then
    raise exception 'Cannot find data for batch %', x_batch_id using errcode = 'PQ003';
  end if;
  return query select 'pgque.event_' || v_sub.sub_queue || '_' || k
    from unnest(pgque._read_tables(v_sub.sub_queue)) k;
end
$$;

create or replace function pgque.get_batch_events(
  x_batch_id bigint,
  out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
  out ev_type text, out ev_data text,
  out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(x_batch_id);
begin
  if v_sub.sub_batch is null then
    raise exception 'Cannot find data for batch %', x_batch_id using errcode = 'PQ003';
  end if;
  return query execute pgque._batch_sql(v_sub, v_sub.sub_last_tick, v_sub.sub_next_tick,
    replace(pgque._event_columns(), 'ev_txid', 'ev_txid::text::bigint'), ''::text)
    || ' order by ev_id';
end
$$;
