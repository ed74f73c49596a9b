-- Producing: the public functions. Text payloads are stored byte for byte, jsonb in its canonical text.

-- A flag that no transaction holds back: the second since 1970 until which the ticker sleeps, or 0. While
-- it sleeps, whoever inserts an event wakes it, on the channel pgque_ticker, when the event is committed.
create sequence if not exists pgque.ticker_sleep minvalue 0 start 0;

-- Asked after the id of the event was drawn. So either the producer sees that the ticker sleeps, or the
-- ticker, which looks once more after it said so, sees that an id was drawn.
create or replace function pgque._wake_ticker() returns void
language plpgsql
as $$
begin
  if pg_sequence_last_value('pgque.ticker_sleep'::regclass) >= extract(epoch from clock_timestamp()) then
    perform pg_notify('pgque_ticker'::text, ''::text);
  end if;
end
$$;

-- send and insert_event
do $$ begin perform pgque._build_store(); end $$;

create or replace function pgque.insert_event_raw(
  queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer,
  ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint := pgque._store(queue_name, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
    ev_extra1, ev_extra2, ev_extra3, ev_extra4);
begin
  perform pgque._wake_ticker();
  return v_id;
end
$$;

create or replace function pgque.current_event_table(x_queue_name text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
begin
  select * into v_queue from pgque.queue where queue_name = x_queue_name;
  if not found then
    raise exception 'Event queue not found' using errcode = 'PQ001';
  end if;
  if pgque._insert_refused(v_queue) then
    raise exception 'Writing to queue disabled' using errcode = 'PQ005';
  end if;
  return pgque._current_table(v_queue);
end
$$;

-- Ids are drawn first and go in beside their payloads, so that the answer is aligned with the input
-- without reading the inserted rows back.
create or replace function pgque.insert_event_bulk(queue_name text, ev_type text, ev_data_list text[])
returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue pgque.queue;
  v_ids bigint[];
begin
  if ev_data_list is null then
    raise exception 'payloads must not be null' using errcode = '22023';
  end if;
  if cardinality(ev_data_list) = 0 then
    return '{}';
  end if;
  select q.* into v_queue from pgque.queue q where q.queue_name = insert_event_bulk.queue_name;
  if not found then
    raise exception 'queue not found: %', queue_name using errcode = 'PQ001';
  end if;
  if pgque._insert_refused(v_queue) then
    raise exception 'Insert into queue disallowed' using errcode = 'PQ005';
  end if;
  v_ids := array(
    select nextval(('pgque.event_' || v_queue.queue_id || '_id_seq')::regclass)
      from generate_series(1, cardinality(ev_data_list)));
  execute format('insert into %s (ev_id, ev_time, ev_type, ev_data)
    select id, now(), $1, data from unnest($2, $3) as u(id, data)', pgque._current_table(v_queue))
    using ev_type, v_ids, ev_data_list;
  perform pgque._wake_ticker();
  return v_ids;
end
$$;

create or replace function pgque.send_batch(queue_name text, type_name text, payloads text[])
returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.insert_event_bulk(queue_name, type_name, payloads);
end
$$;

create or replace function pgque.send_batch(queue_name text, type_name text, payloads jsonb[])
returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.insert_event_bulk(queue_name, type_name, payloads::text[]);
end
$$;

create or replace function pgque.send_batch(queue_name text, payloads text[]) returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.insert_event_bulk(queue_name, 'default'::text, payloads);
end
$$;

create or replace function pgque.send_batch(queue_name text, payloads jsonb[]) returns bigint[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque.insert_event_bulk(queue_name, 'default'::text, payloads::text[]);
end
$$;
