-- Subscriptions of normal consumers. Cooperative groups are in 75 and 76.

-- The consumer's id, its row created when missing and share-locked until the transaction ends: a
-- concurrent unregister must not delete it between this call and the subscription that refers to it.
create or replace function pgque._consumer_id(i_consumer text) returns integer
language plpgsql
as $$
declare
  v_id integer;
begin
  loop
    select co_id into v_id from pgque.consumer where co_name = i_consumer for key share;
    if v_id is not null then
      return v_id;
    end if;
    insert into pgque.consumer (co_name) values (i_consumer) on conflict (co_name) do nothing;
  end loop;
end
$$;

-- A row that somebody else has locked is being subscribed again: it stays. The second statement looks
-- for subscriptions with a snapshot taken after the locks.
create or replace function pgque._drop_unused_consumers(i_ids integer[]) returns void
language plpgsql
as $$
declare
  v_ids integer[];
begin
  v_ids := array(
    select co_id from pgque.consumer where co_id = any (i_ids) order by co_id for update skip locked);
  delete from pgque.consumer
   where co_id = any (v_ids)
     and not exists (select from pgque.subscription where sub_consumer = co_id);
end
$$;

-- The row is inserted unless there is one; a concurrent insert of the same is waited for. Inserts and
-- deletes by hand come through here too.
create or replace function pgque._key_subscription() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'DELETE' then
    delete from pgque.subscription_key
     where key_queue = old.sub_queue and key_consumer = old.sub_consumer;
    return null;
  end if;
  insert into pgque.subscription_key (key_queue, key_consumer)
  values (new.sub_queue, new.sub_consumer) on conflict do nothing;
  return case when found then new end;
end
$$;

create or replace trigger subscription_insert before insert on pgque.subscription
  for each row execute function pgque._key_subscription();
create or replace trigger subscription_delete after delete on pgque.subscription
  for each row execute function pgque._key_subscription();

-- The newest version of the subscription, unlocked. Raises when there is none.
create or replace function pgque._subscription(i_queue text, i_consumer text)
returns pgque.subscription
language plpgsql set enable_seqscan = off
as $$
declare
  v_queue integer := pgque._queue_id(i_queue);
  v_sub pgque.subscription;
begin
  select * into v_sub from pgque.subscription
   where sub_queue = v_queue
     and sub_consumer = (select co_id from pgque.consumer where co_name = i_consumer)
   order by sub_version desc limit 1;
  if found then
    return v_sub;
  end if;
  if v_queue is null then
    raise exception 'queue not found: %', i_queue using errcode = 'PQ001';
  end if;
  raise exception 'Not subscriber to queue: %/%', i_queue, coalesce(i_consumer, 'NULL')
    using errcode = 'PQ002';
end
$$;

-- Two first registrations of one name: the loser waits for the winner's transaction and returns 0.
create or replace function pgque.register_consumer(x_queue_name text, x_consumer_id text)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer := pgque._queue_id(x_queue_name);
  v_tick bigint;
begin
  if v_queue is null then
    raise exception 'Event queue not created yet' using errcode = 'PQ001';
  end if;
  select max(tick_id) into v_tick from pgque.tick where tick_queue = v_queue;
  if v_tick is null then
    raise exception 'No ticks for this queue.  Please run ticker on database.' using errcode = 'PQ005';
  end if;
  if x_consumer_id is null then
    raise exception 'consumer name must not be null' using errcode = '22023';
  end if;
  insert into pgque.subscription (sub_queue, sub_consumer, sub_last_tick)
  values (v_queue, pgque._consumer_id(x_consumer_id), v_tick);
  return found::integer;
end
$$;

-- The queue row is locked against a rotation, which must either see the new position or be finished
-- before the tick is looked up. Windows that a group handed out ahead of its cursor are forgotten.
create or replace function pgque.register_consumer_at(
  x_queue_name text, x_consumer_name text, x_tick_pos bigint) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer;
  v_consumer integer;
  v_sub pgque.subscription;
begin
  if x_tick_pos is null then
    return pgque.register_consumer(x_queue_name, x_consumer_name);
  end if;
  select queue_id into v_queue from pgque.queue where queue_name = x_queue_name for no key update;
  if v_queue is null then
    raise exception 'Event queue not created yet' using errcode = 'PQ001';
  end if;
  if not exists (select from pgque.tick where tick_queue = v_queue and tick_id = x_tick_pos) then
    raise exception 'cannot reposition, tick not found: %', x_tick_pos using errcode = '22023';
  end if;
  if x_consumer_name is null then
    raise exception 'consumer name must not be null' using errcode = '22023';
  end if;
  v_consumer := pgque._consumer_id(x_consumer_name);
  insert into pgque.subscription (sub_queue, sub_consumer, sub_last_tick)
  values (v_queue, v_consumer, x_tick_pos);
  if found then
    return 1;
  end if;
  select * into v_sub from pgque.subscription
   where sub_queue = v_queue and sub_consumer = v_consumer for no key update;
  perform pgque._refuse_paged(v_sub);
  update pgque.subscription
     set sub_last_tick = x_tick_pos, sub_batch = null, sub_next_tick = null, sub_active = now(),
         sub_version = sub_version + 1
   where sub_queue = v_queue and sub_consumer = v_consumer;
  delete from pgque.coop_window where win_queue = v_queue and win_consumer = v_consumer;
  return 0;
end
$$;

create or replace function pgque.unregister_consumer(x_queue_name text, x_consumer_name text)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription;
begin
  select s.* into v_sub
    from pgque.queue q
    join pgque.subscription s on s.sub_queue = q.queue_id
    join pgque.consumer c on c.co_id = s.sub_consumer
   where q.queue_name = x_queue_name and c.co_name = x_consumer_name;
  if not found then
    return 0;
  end if;
  if v_sub.sub_role = 'coop_member' then
    return pgque._leave_group(v_sub, null::integer);
  end if;

  select * into v_sub from pgque.subscription
   where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer for update;
  if not found then
    return 0;
  end if;
  perform pgque._refuse_paged(v_sub);
  if pgque._has_members(v_sub) then
    raise exception 'cannot unregister cooperative main consumer with registered subconsumers'
      using errcode = 'PQ005';
  end if;
  delete from pgque.retry_queue where ev_queue = v_sub.sub_queue and ev_owner = v_sub.sub_id;
  delete from pgque.coop_window
   where win_queue = v_sub.sub_queue and win_consumer = v_sub.sub_consumer;
  delete from pgque.page_state
   where page_queue = v_sub.sub_queue and page_consumer = v_sub.sub_consumer;
  delete from pgque.subscription
   where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
  perform pgque._drop_unused_consumers(array[v_sub.sub_consumer]);
  return 1;
end
$$;

create or replace function pgque._has_members(i_main pgque.subscription) returns boolean
language plpgsql stable
as $$
begin
  return exists (
    select from pgque.subscription
     where sub_queue = i_main.sub_queue and sub_id = i_main.sub_id and sub_role = 'coop_member');
end
$$;

create or replace function pgque.subscribe(queue text, consumer text) returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.register_consumer(queue, consumer);
end;

create or replace function pgque.unsubscribe(queue text, consumer text) returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.unregister_consumer(queue, consumer);
end;
