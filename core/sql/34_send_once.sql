-- Idempotent send: the first event with a key gets in, later ones within the key's time do not.
--
-- The key should name the effect (an order and what is done with it), not just the order: whatever is
-- sent with a live key is dropped.

create table if not exists pgque.idem (
  queue_id   integer not null references pgque.queue (queue_id) on delete cascade,
  idem_key   text not null,
  event_id   bigint,
  expires_at timestamptz not null,
  constraint idem_pkey primary key (queue_id, idem_key)
);
create index if not exists idem_expires_at_idx on pgque.idem (expires_at);

-- One upsert decides: it inserts the claim, or renews one that has expired, or does nothing. Of two
-- producers with one key the second waits for the first's transaction; if that rolls back, the key is
-- the second's. Outside READ COMMITTED such a wait ends in 40001, and the caller repeats.
create or replace function pgque.send_idem(
  i_queue text, i_type text, i_payload text, i_idem_key text, i_ttl interval default '1 hour',
  i_partition_key text default null)
returns table (event_id bigint, deduped boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer;
begin
  if i_idem_key is null then
    raise exception 'idem_key must not be null' using errcode = '22023';
  end if;
  if (i_ttl > interval '0') is not true then
    raise exception 'ttl must be a positive interval' using errcode = '22023';
  end if;
  v_queue := pgque._queue_id(i_queue);
  if v_queue is null then
    raise exception 'queue not found: %', i_queue using errcode = 'PQ001';
  end if;

  insert into pgque.idem as claim (queue_id, idem_key, expires_at)
  values (v_queue, i_idem_key, now() + i_ttl)
  on conflict on constraint idem_pkey do update
     set expires_at = excluded.expires_at, event_id = null
   where claim.expires_at <= now();
  deduped := not found;
  if deduped then
    event_id := (select claim.event_id from pgque.idem claim
                  where claim.queue_id = v_queue and claim.idem_key = i_idem_key);
    return next;
    return;
  end if;

  perform pgque._collect_idem(v_queue);
  event_id := pgque.insert_event(i_queue, i_type, i_payload, i_partition_key, i_idem_key, null::text, null::text);
  update pgque.idem claim set event_id = send_idem.event_id
   where claim.queue_id = v_queue and claim.idem_key = i_idem_key;
  return next;
end
$$;

create or replace function pgque.send_idem(
  i_queue text, i_type text, i_payload jsonb, i_idem_key text, i_ttl interval default '1 hour',
  i_partition_key text default null)
returns table (event_id bigint, deduped boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from pgque.send_idem(i_queue, i_type, i_payload::text, i_idem_key, i_ttl,
    i_partition_key);
end
$$;

-- Lets maint() collect the queue's expired claims. Of two first producers the second waits, sees the
-- entry and adds none.
create or replace function pgque._collect_idem(i_queue_id integer) returns void
language plpgsql
as $$
begin
  if exists (select from pgque.queue
              where queue_id = i_queue_id and 'pgque.maint_idem' = any (queue_extra_maint)) then
    return;
  end if;
  update pgque.queue
     set queue_extra_maint = array_append(queue_extra_maint, 'pgque.maint_idem')
   where queue_id = i_queue_id
     and ('pgque.maint_idem' = any (queue_extra_maint)) is not true;
end
$$;

-- Deletes at most 10,000 expired claims of a queue, or of all for NULL; 1 if there may be more. A claim
-- that is being renewed is locked, and skipped.
create or replace function pgque._drop_expired_idem(i_queue_id integer) returns integer
language plpgsql
as $$
declare
  v_count bigint;
begin
  delete from pgque.idem claim
   using (select queue_id, idem_key from pgque.idem
           where expires_at <= now() and (i_queue_id is null or queue_id = i_queue_id)
           limit 10000 for update skip locked) expired
   where claim.queue_id = expired.queue_id and claim.idem_key = expired.idem_key;
  get diagnostics v_count = row_count;
  return (v_count = 10000)::integer;
end
$$;

create or replace function pgque.maint_idem(i_queue_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer := pgque._queue_id(i_queue_name);
begin
  return case when v_queue is null then 0 else pgque._drop_expired_idem(v_queue) end;
end
$$;

create or replace function pgque.maint_idem() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return pgque._drop_expired_idem(null::integer);
end
$$;
