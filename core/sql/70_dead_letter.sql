-- Dead letters: messages whose retry budget is used up, kept until replayed or purged.

create or replace function pgque.event_dead(
  i_batch_id bigint, i_event_id bigint, i_reason text, i_ev_time timestamptz, i_ev_txid xid8,
  i_ev_retry integer, i_ev_type text, i_ev_data text, i_ev_extra1 text default null,
  i_ev_extra2 text default null, i_ev_extra3 text default null, i_ev_extra4 text default null)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(i_batch_id);
  v_main integer := v_sub.sub_consumer;
begin
  if v_sub.sub_batch is null then
    raise exception 'batch not found: %', i_batch_id using errcode = 'PQ003';
  end if;
  perform pgque._refuse_paged(v_sub);
  if v_sub.sub_role = 'coop_member' then
    select sub_consumer into v_main from pgque.subscription
     where sub_queue = v_sub.sub_queue and sub_id = v_sub.sub_id and sub_role = 'coop_main';
  end if;
  insert into pgque.dead_letter (dl_queue_id, dl_consumer_id, dl_reason, ev_id, ev_time, ev_txid,
         ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
  values (v_sub.sub_queue, v_main, i_reason, i_event_id, i_ev_time, i_ev_txid,
         i_ev_retry, i_ev_type, i_ev_data, i_ev_extra1, i_ev_extra2, i_ev_extra3, i_ev_extra4)
      on conflict (dl_queue_id, dl_consumer_id, ev_id) do nothing;
  return 1;
end
$$;

create or replace function pgque.dlq_inspect(i_queue_name text, i_limit_count integer default 100)
returns setof pgque.dead_letter
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select d.* from pgque.dead_letter d
    join pgque.queue q on q.queue_id = d.dl_queue_id
   where q.queue_name = i_queue_name
   order by d.dl_time desc, d.dl_id desc
   limit i_limit_count;
end;

-- Deleting the row locks it: of two callers one replays, the other waits and finds nothing. Every
-- consumer of the queue sees the replayed event, as a new one.
create or replace function pgque.dlq_replay(i_dead_letter_id bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v pgque.dead_letter;
begin
  delete from pgque.dead_letter where dl_id = i_dead_letter_id returning * into v;
  if not found then
    raise exception 'dead letter entry not found: %', i_dead_letter_id using errcode = 'PQ004';
  end if;
  return pgque.insert_event((select queue_name from pgque.queue where queue_id = v.dl_queue_id), v.ev_type, v.ev_data, v.ev_extra1, v.ev_extra2, v.ev_extra3, v.ev_extra4);
end
$$;

-- Rows that a concurrent replay has locked are left to it. Each row is its own subtransaction: one
-- that cannot be replayed stays and is counted.
create or replace function pgque.dlq_replay_all(
  i_queue_name text, out replayed bigint, out failed bigint, out first_error text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  replayed := 0;
  failed := 0;
  for v_id in
    select d.dl_id from pgque.dead_letter d
      join pgque.queue q on q.queue_id = d.dl_queue_id
     where q.queue_name = i_queue_name
     order by d.dl_id for update of d skip locked
  loop
    begin
      perform pgque.dlq_replay(v_id);
      replayed := replayed + 1;
    exception when others then
      failed := failed + 1;
      first_error := coalesce(first_error, format('dl_id=%s: %s', v_id, sqlerrm));
      raise warning 'dlq_replay_all: failed to replay dl_id=%, error: %', v_id, sqlerrm;
    end;
  end loop;
end
$$;

-- Back to the consumer that could not handle it, and to no other: as a retry that is due at once, with the id
-- that it had and a retry budget as new.
create or replace function pgque.dlq_redeliver(i_dead_letter_id bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
begin
  select d.dl_queue_id, d.dl_consumer_id, d.ev_id, q.queue_name, c.co_name into v
    from pgque.dead_letter d
    join pgque.queue q on q.queue_id = d.dl_queue_id
    join pgque.consumer c on c.co_id = d.dl_consumer_id
   where d.dl_id = i_dead_letter_id for update of d;
  if not found then
    raise exception 'dead letter entry not found: %', i_dead_letter_id using errcode = 'PQ004';
  end if;
  if pgque._redeliver(v.dl_queue_id, v.dl_consumer_id, array[i_dead_letter_id]) = 0 then
    raise exception 'Not subscriber to queue: %/%', v.queue_name, v.co_name
      using errcode = 'PQ002', hint = 'Subscribe it again, or use dlq_replay to send the event to all consumers.';
  end if;
  return v.ev_id;
end
$$;

-- All of a queue, or of one of its consumers; how many. Those of a consumer that is not subscribed any more
-- stay, and those that a concurrent call has locked are left to it.
create or replace function pgque.dlq_redeliver_all(i_queue_name text, i_consumer_name text default null)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer := pgque._queue_id(i_queue_name);
begin
  if v_queue is null then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  if i_consumer_name is not null then
    perform pgque._subscription(i_queue_name, i_consumer_name);
  end if;
  return pgque._redeliver(v_queue,
    (select co_id from pgque.consumer where co_name = i_consumer_name), null::bigint[]);
end
$$;

-- Moves dead letters to the retry queue of their subscription; NULLs stand for every consumer and every id.
create or replace function pgque._redeliver(i_queue_id integer, i_consumer_id integer, i_ids bigint[])
returns bigint
language plpgsql
as $$
declare
  v_count bigint;
begin
  with letter as (
    select d.dl_id, s.sub_id
      from pgque.dead_letter d
      join pgque.subscription s
        on s.sub_queue = d.dl_queue_id and s.sub_consumer = d.dl_consumer_id and s.sub_role <> 'coop_member'
     where d.dl_queue_id = i_queue_id
       and (i_consumer_id is null or d.dl_consumer_id = i_consumer_id)
       and (i_ids is null or d.dl_id = any (i_ids))
       for update of d skip locked),
  gone as (
    delete from pgque.dead_letter d using letter l where d.dl_id = l.dl_id returning d.*, l.sub_id),
  queued as (
    insert into pgque.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
           ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    select now(), dl_queue_id, ev_id, ev_time, sub_id, null, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
      from gone
        on conflict (ev_owner, ev_id) do nothing)
  select count(*) into v_count from gone;
  return v_count;
end
$$;

create or replace function pgque.dlq_purge(i_queue_name text, i_older_than interval default '30 days')
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer;
begin
  delete from pgque.dead_letter
   where dl_queue_id = pgque._queue_id(i_queue_name) and dl_time < now() - i_older_than;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
