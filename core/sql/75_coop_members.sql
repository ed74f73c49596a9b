-- Cooperative groups: members joining and leaving.
--
-- A group is a main row (consumer "c") that owns the cursor and one member row per worker ("c.worker")
-- with the same sub_id. Joining takes the group's advisory lock shared, leaving takes it exclusively,
-- so that of the last two members one notices that it is the last, and a newcomer is never left in a
-- group that has just been dissolved. Neither is taken by a worker that is already a member.

create or replace function pgque._check_coop_names(i_queue text, i_consumer text, i_subconsumer text)
returns void
language plpgsql
as $$
declare
  v_problem text := case
    when coalesce(i_queue, '') = '' then 'queue name must not be empty'
    when coalesce(i_consumer, '') = '' then 'consumer name must not be empty'
    when coalesce(i_subconsumer, '') = '' then 'subconsumer name must not be empty'
    when position('.' in i_consumer) > 0 then
      'cooperative consumer name must not contain dot: ' || i_consumer
    when position('.' in i_subconsumer) > 0 then
      'cooperative subconsumer name must not contain dot: ' || i_subconsumer
  end;
begin
  if v_problem is not null then
    raise exception '%', v_problem using errcode = '22023';
  end if;
end
$$;

-- The main row, created at the newest tick or converted when missing. A group that dissolved may form
-- again; any other normal consumer is converted on request only, and never with an open batch.
create or replace function pgque._ensure_main(
  i_queue_id integer, i_consumer_id integer, i_queue text, i_consumer text, i_convert boolean,
  out main pgque.subscription, out created boolean)
language plpgsql
as $$
declare
  v_tick bigint;
begin
  select max(tick_id) into v_tick from pgque.tick where tick_queue = i_queue_id;
  if v_tick is null then
    raise exception 'No ticks for this queue.  Please run ticker on database.' using errcode = 'PQ005';
  end if;
  -- Looked for first: the insert would wait for a worker that moved the cursor in an open transaction.
  select * into main from pgque.subscription
   where sub_queue = i_queue_id and sub_consumer = i_consumer_id;
  created := not found;
  if created then
    insert into pgque.subscription (sub_queue, sub_consumer, sub_last_tick, sub_role, sub_group)
    values (i_queue_id, i_consumer_id, v_tick, 'coop_main', true);
    created := found;
    select * into main from pgque.subscription
     where sub_queue = i_queue_id and sub_consumer = i_consumer_id;
  end if;
  if main.sub_role = 'coop_main' then
    return;
  end if;

  select * into main from pgque.subscription
   where sub_queue = i_queue_id and sub_consumer = i_consumer_id for no key update;
  if main.sub_role = 'normal' then
    if i_convert is not true and not main.sub_group then
      raise exception 'consumer % on queue % is already a normal consumer; explicit conversion is required',
        i_consumer, i_queue using errcode = 'PQ005';
    end if;
    if main.sub_batch is not null then
      raise exception 'cannot convert active normal consumer % on queue % to cooperative main',
        i_consumer, i_queue using errcode = 'PQ005';
    end if;
    update pgque.subscription set sub_role = 'coop_main', sub_group = true
     where sub_queue = i_queue_id and sub_consumer = i_consumer_id
    returning * into main;
  elsif main.sub_role <> 'coop_main' then
    raise exception 'consumer % on queue % is not a cooperative main consumer', i_consumer, i_queue
      using errcode = 'PQ005';
  end if;
end
$$;

create or replace function pgque.register_subconsumer(
  i_queue text, i_consumer text, i_subconsumer text, i_convert_normal boolean default false)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue integer;
  v_main record;
  v_main_id integer;
  v_member_id integer;
begin
  perform pgque._check_coop_names(i_queue, i_consumer, i_subconsumer);
  v_queue := pgque._queue_id(i_queue);
  if v_queue is null then
    raise exception 'Event queue not created yet' using errcode = 'PQ001';
  end if;
  v_main_id := pgque._consumer_id(i_consumer);
  v_member_id := pgque._consumer_id(i_consumer || '.' || i_subconsumer);
  perform pg_advisory_xact_lock_shared(pgque._lock_key('group'::text, v_queue, v_main_id, 0));
  select * into v_main
    from pgque._ensure_main(v_queue, v_main_id, i_queue, i_consumer, i_convert_normal);

  insert into pgque.subscription (sub_id, sub_queue, sub_consumer, sub_role)
  values ((v_main.main).sub_id, v_queue, v_member_id, 'coop_member');
  if found then
    return 1;
  end if;
  update pgque.subscription set sub_active = now()
   where sub_queue = v_queue and sub_consumer = v_member_id
     and sub_role = 'coop_member' and sub_id = (v_main.main).sub_id;
  if not found then
    raise exception 'consumer name %.% on queue % is already registered incompatibly',
      i_consumer, i_subconsumer, i_queue using errcode = 'PQ005';
  end if;
  return v_main.created::integer;
end
$$;

-- The rows of a group's main and of one member, unlocked; all NULL when one is missing.
create or replace function pgque._coop_rows(
  i_queue text, i_consumer text, i_subconsumer text,
  out main pgque.subscription, out member pgque.subscription)
language plpgsql stable
as $$
declare
  v record;
begin
  select m, w into v
    from pgque.queue q
    join pgque.consumer mc on mc.co_name = i_consumer
    join pgque.consumer wc on wc.co_name = i_consumer || '.' || i_subconsumer
    join pgque.subscription m on m.sub_queue = q.queue_id and m.sub_consumer = mc.co_id
    join pgque.subscription w on w.sub_queue = q.queue_id and w.sub_consumer = wc.co_id
   where q.queue_name = i_queue and m.sub_role = 'coop_main'
     and w.sub_role = 'coop_member' and w.sub_id = m.sub_id;
  main := v.m;
  member := v.w;
end
$$;

-- Removes a member. Events of its open batch are routed first (or the call refused): if one of them
-- cannot be, the error leaves the member and its batch in place. The last member's departure makes the
-- main a normal consumer at the same cursor.
create or replace function pgque._leave_group(i_member pgque.subscription, i_batch_handling integer)
returns integer
language plpgsql
as $$
declare
  v_main integer;
  v_member pgque.subscription;
  v_ids bigint[];
begin
  select sub_consumer into v_main from pgque.subscription
   where sub_queue = i_member.sub_queue and sub_id = i_member.sub_id and sub_role = 'coop_main';
  perform pg_advisory_xact_lock(pgque._lock_key('group'::text, i_member.sub_queue, v_main, 0));
  select * into v_member from pgque.subscription
   where sub_queue = i_member.sub_queue and sub_consumer = i_member.sub_consumer for update;
  if not found then
    return 0;
  end if;

  perform pgque._refuse_paged(v_member);
  if v_member.sub_batch is not null then
    if i_batch_handling is distinct from 1 then
      raise exception '%', case
        when i_batch_handling is null then
          'cannot unregister active cooperative subconsumer without forced batch handling'
        else format('cannot unregister active cooperative subconsumer %s/%s without batch_handling = 1',
          (select queue_name from pgque.queue where queue_id = v_member.sub_queue),
          (select replace(co_name, '.', '/') from pgque.consumer where co_id = v_member.sub_consumer))
        end using errcode = 'PQ005';
    end if;
    execute 'select array(' || pgque._batch_sql(v_member, v_member.sub_last_tick,
      v_member.sub_next_tick, 'ev_id'::text, ''::text) || ')' into v_ids;
    perform pgque._route_events(v_member, v_ids, '{}'::interval[], '{}'::boolean[],
      array_fill('subconsumer unregistered'::text, array[cardinality(v_ids)]), '{}'::boolean[]);
  end if;

  delete from pgque.page_state
   where page_queue = v_member.sub_queue and page_consumer = v_member.sub_consumer;
  delete from pgque.subscription
   where sub_queue = v_member.sub_queue and sub_consumer = v_member.sub_consumer;
  perform pgque._drop_unused_consumers(array[v_member.sub_consumer]);
  if not pgque._has_members(v_member) then
    update pgque.subscription set sub_role = 'normal'
     where sub_queue = v_member.sub_queue and sub_consumer = v_main and sub_role = 'coop_main';
  end if;
  return 1;
end
$$;

create or replace function pgque.unregister_subconsumer(
  i_queue text, i_consumer text, i_subconsumer text, i_batch_handling integer default 0)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows record;
begin
  perform pgque._check_coop_names(i_queue, i_consumer, i_subconsumer);
  if i_batch_handling is null or i_batch_handling not in (0, 1) then
    raise exception 'unsupported batch_handling value: %', i_batch_handling using errcode = '22023';
  end if;
  select * into v_rows from pgque._coop_rows(i_queue, i_consumer, i_subconsumer);
  if (v_rows.member).sub_id is null then
    return 0;
  end if;
  return pgque._leave_group(v_rows.member, i_batch_handling);
end
$$;

-- Heartbeat: keeps a working member from being taken over. Never creates one.
create or replace function pgque.touch_subconsumer(i_queue text, i_consumer text, i_subconsumer text)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows record;
  v_count integer;
begin
  perform pgque._check_coop_names(i_queue, i_consumer, i_subconsumer);
  select * into v_rows from pgque._coop_rows(i_queue, i_consumer, i_subconsumer);
  update pgque.subscription set sub_active = clock_timestamp()
   where sub_queue = (v_rows.member).sub_queue and sub_consumer = (v_rows.member).sub_consumer;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

create or replace function pgque.subscribe_subconsumer(
  i_queue text, i_consumer text, i_subconsumer text, i_convert_normal boolean default false)
returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.register_subconsumer(i_queue, i_consumer, i_subconsumer, i_convert_normal);
end;

create or replace function pgque.unsubscribe_subconsumer(
  i_queue text, i_consumer text, i_subconsumer text, i_batch_handling integer default 0)
returns integer
language sql security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.unregister_subconsumer(i_queue, i_consumer, i_subconsumer, i_batch_handling);
end;
