-- Producing: the public functions. Text payloads are stored byte for byte, jsonb in its canonical text.

create or replace function pgque.send(queue_name text, type_name text, payload text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    type_name, payload, null::text, null::text, null::text, null::text);
end
$$;

create or replace function pgque.send(queue_name text, type_name text, payload jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    type_name, payload::text, null::text, null::text, null::text, null::text);
end
$$;

create or replace function pgque.send(queue_name text, payload text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    'default'::text, payload, null::text, null::text, null::text, null::text);
end
$$;

create or replace function pgque.send(queue_name text, payload jsonb) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    'default'::text, payload::text, null::text, null::text, null::text, null::text);
end
$$;

create or replace function pgque.insert_event(
  queue_name text, ev_type text, ev_data text,
  ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4);
end
$$;

create or replace function pgque.insert_event(queue_name text, ev_type text, ev_data text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, null::bigint, null::timestamptz, null::integer, null::integer,
    ev_type, ev_data, null::text, null::text, null::text, null::text);
end
$$;

create or replace function pgque.insert_event_raw(
  queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer,
  ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._store(queue_name, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
    ev_extra1, ev_extra2, ev_extra3, ev_extra4);
end
$$;

-- Name of the child that receives inserts now; good for the current transaction only. Outside READ
-- COMMITTED the row may be older than the last rotations; the sequence is not.
create or replace function pgque._current_table(i_queue pgque.queue) returns text
language sql volatile
return 'pgque.event_' || i_queue.queue_id || '_' || case
  when current_setting('transaction_isolation') = 'read committed' then i_queue.queue_cur_table
  else pgque._insert_table(i_queue.queue_id)
end;

create or replace function pgque._insert_refused(i_queue pgque.queue) returns boolean
language sql stable
return i_queue.queue_disable_insert and current_setting('session_replication_role') <> 'replica';

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
