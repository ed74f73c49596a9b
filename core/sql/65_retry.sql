-- Retries: single messages of an open batch are copied to the retry queue, due later, for the
-- subscription that had them; or to the dead letters when their retry budget is used up.

-- Whole seconds from now.
create or replace function pgque._retry_time(i_retry_after interval) returns timestamptz
language sql stable
return now() + make_interval(secs => round(extract(epoch from
  coalesce(i_retry_after, interval '60 seconds')))::double precision);

-- The condition that an event has one of the ids in $1. Only the bounds are for the index: it would look
-- for each id anew in all of the batch.
create or replace function pgque._ids_filter(i_ids bigint[]) returns text
language plpgsql immutable
as $$
begin
  return (select format('ev_id >= %s and ev_id <= %s and ev_id + 0 = any ($1) and ',
                        coalesce(min(id), 0), coalesce(max(id), 0)) from unnest(i_ids) id);
end
$$;

-- Routes events of one batch in one statement; returns how many of the ids were found. The events are
-- read again from the batch, by id inside the batch's own range: nothing the caller says about them is
-- trusted, and the rest of the batch is not materialised. Conflicts mean that the event was routed
-- before: the first due time stays. A cooperative member's dead letters belong to its main consumer,
-- so that they outlive the member. An event that is not counted was not tried: it comes back at once, as
-- it was, whatever its budget.
create or replace function pgque._route_events(
  i_sub pgque.subscription, i_msg_ids bigint[], i_retry_after interval[], i_dead boolean[],
  i_reasons text[], i_counted boolean[] default '{}') returns bigint
language plpgsql
as $$
declare
  v_max integer;
  v_main integer := i_sub.sub_consumer;
  v_found bigint;
begin
  select coalesce(queue_max_retries, 5) into v_max from pgque.queue where queue_id = i_sub.sub_queue;
  if i_sub.sub_role = 'coop_member' then
    select sub_consumer into v_main from pgque.subscription
     where sub_queue = i_sub.sub_queue and sub_id = i_sub.sub_id and sub_role = 'coop_main';
  end if;

  execute format($sql$
    with verdict as (
      select distinct on (v.id) v.*
        from unnest($1, $2, $3, $4, $9) with ordinality
               as v (id, retry_after, dead, reason, counted, position)
       order by v.id, v.position),
    found as materialized (%s),
    event as (select distinct on (ev_id) * from found order by ev_id, ev_txid desc),
    routed as (
      select e.*, v.counted is distinct from false as is_counted,
             v.counted is distinct from false
               and (coalesce(v.dead, false) or coalesce(e.ev_retry, 0) >= $5) as is_dead,
             coalesce(v.reason, 'max retries exceeded') as reason,
             case when v.counted is distinct from false then pgque._retry_time(v.retry_after)
                  else now() end as due
        from verdict v
        join event e on e.ev_id = v.id),
    buried as (
      insert into pgque.dead_letter (dl_queue_id, dl_consumer_id, dl_reason, ev_id, ev_time, ev_txid,
             ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
      select $6, $7, reason, ev_id, ev_time, ev_txid,
             ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
        from routed where is_dead
          on conflict (dl_queue_id, dl_consumer_id, ev_id) do nothing),
    queued as (
      insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
             ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
      select due, $6, ev_id, ev_time, $8, case when is_counted then coalesce(ev_retry, 0) + 1 else ev_retry end,
             ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
        from routed where not is_dead
          on conflict (ev_owner, ev_id) do nothing)
    select count(*) from routed
    $sql$, pgque._batch_sql(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick, pgque._event_columns(),
             pgque._ids_filter(i_msg_ids)))
    into v_found
    using i_msg_ids, i_retry_after, i_dead, i_reasons, v_max, i_sub.sub_queue, v_main, i_sub.sub_id,
          i_counted;
  return v_found;
end
$$;

-- The short way for one event with retries left and a window without late committers: nothing is planned
-- anew. False when the event needs the long way.
create or replace function pgque._retry_event(
  i_sub pgque.subscription, i_msg_id bigint, i_retry_after interval) returns boolean
language plpgsql
as $$
declare
  v_range record;
  v_event pgque.message;
begin
  select * into v_range from pgque._batch_range(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick);
  if i_msg_id is null or v_range.late <> '{}' then
    return false;
  end if;
  select * into v_event from pgque._read(i_sub, v_range.low, v_range.high, v_range.old, v_range.new,
    1::bigint, i_msg_id);
  if v_event.msg_id is null or coalesce(v_event.retry_count, 0) >= (
       select coalesce(queue_max_retries, 5) from pgque.queue where queue_id = i_sub.sub_queue) then
    return false;
  end if;
  insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
         ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
  values (pgque._retry_time(i_retry_after), i_sub.sub_queue, v_event.msg_id, v_event.created_at,
         i_sub.sub_id, coalesce(v_event.retry_count, 0) + 1, v_event.type, v_event.payload,
         v_event.extra1, v_event.extra2, v_event.extra3, v_event.extra4)
      on conflict (ev_owner, ev_id) do nothing;
  return true;
end
$$;

create or replace function pgque.nack(
  i_batch_id bigint, i_msg pgque.message, i_retry_after interval default '60 seconds',
  i_reason text default null) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(i_batch_id);
begin
  if v_sub.sub_batch is null then
    raise exception 'batch not found: %', i_batch_id using errcode = 'PQ003';
  end if;
  perform pgque._refuse_paged(v_sub);
  if pgque._retry_event(v_sub, i_msg.msg_id, i_retry_after) then
    return 1;
  end if;
  if pgque._route_events(v_sub, array[i_msg.msg_id], array[i_retry_after], '{}'::boolean[],
       array[i_reason], '{}'::boolean[]) = 0 then
    raise exception 'msg_id % not found in batch %', i_msg.msg_id, i_batch_id using errcode = 'PQ004';
  end if;
  return 1;
end
$$;

-- An earlier release had no i_counted; beside this one its calls would be ambiguous.
drop function if exists pgque.finish(bigint, bigint[], interval[], boolean[], text[]);

-- Routes the listed messages and finishes the batch, all or nothing. Each is retried later, or dead, or, if
-- i_counted says false, handed back: it comes again at once, and no attempt is counted. The subscription row
-- is locked first: a second finish waits, then finds the batch gone and routes nothing.
create or replace function pgque.finish(
  i_batch_id bigint, i_msg_ids bigint[] default '{}', i_retry_after interval[] default '{}',
  i_dead boolean[] default '{}', i_reasons text[] default '{}', i_counted boolean[] default null)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription;
  v_count integer := coalesce(cardinality(i_msg_ids), 0);
  v_wanted bigint;
begin
  -- An empty array, or NULL, stands for the default of every message.
  if coalesce(cardinality(i_retry_after), 0) not in (0, v_count)
     or coalesce(cardinality(i_dead), 0) not in (0, v_count)
     or coalesce(cardinality(i_reasons), 0) not in (0, v_count)
     or coalesce(cardinality(i_counted), 0) not in (0, v_count) then
    raise exception 'finish: array lengths differ: % message ids, % delays, % dead flags, % reasons, % counted flags',
      v_count, coalesce(cardinality(i_retry_after), 0), coalesce(cardinality(i_dead), 0),
      coalesce(cardinality(i_reasons), 0), coalesce(cardinality(i_counted), 0)
      using errcode = '22023';
  end if;

  if v_count > 0 then
    select * into v_sub from pgque.subscription
     where sub_batch = i_batch_id and sub_role <> 'coop_main' for no key update;
    if not found then
      return 0;
    end if;
    perform pgque._refuse_paged(v_sub);
    select count(distinct coalesce(id, -1)) into v_wanted from unnest(i_msg_ids) id;
    if pgque._route_events(v_sub, i_msg_ids, i_retry_after, i_dead, i_reasons, i_counted) < v_wanted then
      raise exception 'msg_id % not found in batch %', pgque._missing_id(v_sub, i_msg_ids), i_batch_id
        using errcode = 'PQ004';
    end if;
  elsif pgque._batch(i_batch_id) is null then
    return 0;
  end if;
  return pgque.finish_batch(i_batch_id);
end
$$;

-- The first of the ids that is not in the batch.
create or replace function pgque._missing_id(i_sub pgque.subscription, i_msg_ids bigint[])
returns bigint
language plpgsql
as $$
declare
  v_id bigint;
begin
  execute format('select id from unnest($1) with ordinality u (id, position)
     where id is null or id not in (%s) order by position limit 1',
    pgque._batch_sql(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick, 'ev_id'::text,
      pgque._ids_filter(i_msg_ids)))
    into v_id using i_msg_ids;
  return v_id;
end
$$;
