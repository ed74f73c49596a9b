-- Retries: the older primitives, which ignore the retry budget, and the mover.

-- Copies events of an open batch to the retry queue; NULL id means all of them. Returns the rows added
-- and whether any event was found.
create or replace function pgque._queue_retries(
  i_sub pgque.subscription, i_event_id bigint, i_due timestamptz,
  out added integer, out found_any boolean)
language plpgsql
as $$
begin
  execute format($sql$
    with event as (%s),
    queued as (
      insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
             ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
      select $2, $3, ev_id, ev_time, $4, coalesce(ev_retry, 0) + 1,
             ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
        from event
          on conflict (ev_owner, ev_id) do nothing
      returning 1)
    select (select count(*) from queued), exists (select from event)
    $sql$, pgque._batch_sql(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick, pgque._event_columns(),
             case when i_event_id is null then '' else 'ev_id = $1 and ' end))
    into added, found_any
    using i_event_id, i_due, i_sub.sub_queue, i_sub.sub_id;
end
$$;

create or replace function pgque.event_retry(
  x_batch_id bigint, x_event_id bigint, x_retry_time timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(x_batch_id);
  v record;
begin
  perform pgque._refuse_paged(v_sub);
  if v_sub.sub_batch is not null and x_event_id is not null then
    select * into v from pgque._queue_retries(v_sub, x_event_id, x_retry_time);
    if v.found_any then
      return v.added;
    end if;
  end if;
  raise exception 'event not found' using errcode = 'PQ004';
end
$$;

create or replace function pgque.event_retry(
  x_batch_id bigint, x_event_id bigint, x_retry_seconds integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.event_retry(x_batch_id, x_event_id,
    current_timestamp + make_interval(secs => x_retry_seconds));
end
$$;

create or replace function pgque.batch_retry(i_batch_id bigint, i_retry_seconds integer)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(i_batch_id);
begin
  if v_sub.sub_batch is null then
    raise exception 'batch_retry: batch % not found', i_batch_id using errcode = 'PQ003';
  end if;
  perform pgque._refuse_paged(v_sub);
  return (select added from pgque._queue_retries(v_sub, null::bigint,
    current_timestamp + make_interval(secs => i_retry_seconds)));
end
$$;

create or replace function pgque.event_retry_raw(
  x_queue text, x_consumer text, x_retry_after timestamptz, x_ev_id bigint, x_ev_time timestamptz,
  x_ev_retry integer, x_ev_type text, x_ev_data text,
  x_ev_extra1 text, x_ev_extra2 text, x_ev_extra3 text, x_ev_extra4 text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription;
  v_id bigint := x_ev_id;
begin
  select s.* into v_sub
    from pgque.queue q
    join pgque.subscription s on s.sub_queue = q.queue_id
    join pgque.consumer c on c.co_id = s.sub_consumer
   where q.queue_name = x_queue and c.co_name = x_consumer;
  if not found then
    raise exception 'consumer not registered' using errcode = 'PQ002';
  end if;
  if v_id is null then
    v_id := nextval('pgque.event_' || v_sub.sub_queue || '_id_seq');
  end if;
  insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
         ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
  values (x_retry_after, v_sub.sub_queue, v_id, x_ev_time, v_sub.sub_id, x_ev_retry,
         x_ev_type, x_ev_data, x_ev_extra1, x_ev_extra2, x_ev_extra3, x_ev_extra4);
  return v_id;
end
$$;

-- Moves due retries back into their queues: at most 10,000 of each queue in a call, oldest first, each
-- queue in its own subtransaction. One mover at a time: the table lock lets inserts pass and makes a
-- second mover wait. Nothing due, nothing locked, no transaction id.
create or replace function pgque.maint_retry_events() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
  v_count bigint;
  v_total integer := 0;
begin
  if not exists (select from pgque.retry_queue where ev_retry_after <= current_timestamp) then
    return 0;
  end if;
  lock table pgque.retry_queue in share update exclusive mode;
  for v_queue in
    select * from pgque.queue
     where queue_id in (select ev_queue from pgque.retry_queue
                         where ev_retry_after <= current_timestamp)
     order by queue_name
  loop
    begin
      if pgque._insert_refused(v_queue) then
        raise exception 'Insert into queue disallowed' using errcode = 'PQ005';
      end if;
      execute format($sql$
        with due as (
          select ev_owner, ev_id from pgque.retry_queue
           where ev_queue = $1 and ev_retry_after <= current_timestamp
           order by ev_retry_after, ev_id limit 10000),
        taken as (
          delete from pgque.retry_queue r using due d
           where r.ev_owner = d.ev_owner and r.ev_id = d.ev_id
          returning r.*)
        insert into %s (ev_id, ev_time, ev_owner, ev_retry,
               ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
        select ev_id, ev_time, ev_owner, ev_retry,
               ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
          from taken
        $sql$, pgque._current_table(v_queue)) using v_queue.queue_id;
      get diagnostics v_count = row_count;
      v_total := v_total + v_count;
      -- Retries keep their ids. Drawing one tells the ticker that something new is there.
      if v_count > 0 then
        perform nextval('pgque.event_' || v_queue.queue_id || '_id_seq');
      end if;
    exception when others then
      raise warning 'maint_retry_events: queue %: %', v_queue.queue_name, sqlerrm;
    end;
  end loop;
  return v_total;
end
$$;
