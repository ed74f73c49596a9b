-- Cooperative groups: who gets which window.
--
-- Workers allocate in parallel, also while others keep their transactions open:
--   * a window belongs to whoever holds the advisory lock on its start tick and finds, with a snapshot
--     taken after that, neither the group cursor beyond it nor a record that covers it;
--   * the cursor of the main row is a low-water mark. It is moved only by a worker that gets the main
--     row without waiting; the others leave a record in pgque.coop_window, and the next one that gets
--     the row passes over the records. The cursor lags behind, never ahead, so rotation is safe;
--   * windows without events belong to nobody: that they are empty is the same for everyone.
-- The global consumer rows are never locked here.

-- Up to i_limit windows above the cursor that no record covers. The ticks between two records form a
-- gap (low, high]; the last gap is open.
create or replace function pgque._free_windows(i_main pgque.subscription, i_limit integer)
returns table (win_start bigint, win_end bigint)
language plpgsql
as $$
#variable_conflict use_column
begin
  return query
  with taken as materialized (
    select w.win_start, w.win_end from pgque.coop_window w
     where w.win_queue = i_main.sub_queue and w.win_consumer = i_main.sub_consumer),
  edge as (
    select sub_last_tick as low from pgque.subscription
     where sub_queue = i_main.sub_queue and sub_consumer = i_main.sub_consumer
    union
    select t.win_end from taken t),
  gap as (
    select e.low, (select min(t.win_start) from taken t where t.win_start >= e.low) as high
      from edge e
     where e.low >= (select sub_last_tick from pgque.subscription
                      where sub_queue = i_main.sub_queue and sub_consumer = i_main.sub_consumer)
       and not exists (select from taken t where t.win_start <= e.low and t.win_end > e.low))
  select lag(k.tick_id, 1, g.low) over (partition by g.low order by k.tick_id), k.tick_id
    from gap g
   cross join lateral (
     select tick_id from pgque.tick
      where tick_queue = i_main.sub_queue and tick_id > g.low
        and (g.high is null or tick_id <= g.high)
      order by tick_id limit i_limit) k
   order by 2
   limit i_limit;
end
$$;

-- Takes the windows between two ticks, all or none. The second statement is what makes it safe: who
-- held the lock before has committed by then, and its record or cursor is visible.
create or replace function pgque._claim(i_main pgque.subscription, i_start bigint, i_end bigint)
returns boolean
language plpgsql
as $$
declare
  v_tick bigint;
begin
  for v_tick in
    select tick_id from pgque.tick
     where tick_queue = i_main.sub_queue and tick_id >= i_start and tick_id < i_end
     order by tick_id
  loop
    if not pg_try_advisory_xact_lock(pgque._lock_key('window'::text, i_main.sub_queue,
             i_main.sub_consumer, v_tick)) then
      return false;
    end if;
  end loop;
  return exists (
    select from pgque.subscription m
     where m.sub_queue = i_main.sub_queue and m.sub_consumer = i_main.sub_consumer
       and m.sub_last_tick <= i_start
       and not exists (
         select from pgque.coop_window w
          where w.win_queue = m.sub_queue and w.win_consumer = m.sub_consumer
            and w.win_start < i_end and w.win_end > i_start));
end
$$;

-- Moves the group cursor over everything passed: by this call (a claimed window, windows found empty)
-- and by the records, which are deleted. A claimed window that the cursor does not reach is recorded,
-- as an extension of the record before it where possible. Locks are tried, never waited for.
create or replace function pgque._settle(
  i_main pgque.subscription, i_passed int8multirange, i_start bigint, i_end bigint) returns void
language plpgsql
as $$
declare
  v_old bigint;
  v_new bigint;
begin
  select sub_last_tick into v_old from pgque.subscription
   where sub_queue = i_main.sub_queue and sub_consumer = i_main.sub_consumer
     for no key update skip locked;
  if found then
    select upper(r) into v_new
      from unnest(i_passed + coalesce(
             (select range_agg(int8range(win_start, win_end)) from pgque.coop_window
               where win_queue = i_main.sub_queue and win_consumer = i_main.sub_consumer),
             '{}'::int8multirange)) r
     where r @> v_old;
    if v_new > v_old then
      update pgque.subscription set sub_last_tick = v_new, sub_active = now(), sub_version = sub_version + 1
       where sub_queue = i_main.sub_queue and sub_consumer = i_main.sub_consumer;
      delete from pgque.coop_window
       where ctid = any (array(
         select ctid from pgque.coop_window
          where win_queue = i_main.sub_queue and win_consumer = i_main.sub_consumer
            and win_end <= v_new for update skip locked));
      if i_end <= v_new then
        return;
      end if;
    end if;
  end if;
  if i_end is null then
    return;
  end if;

  update pgque.coop_window set win_end = i_end
   where ctid = any (array(
     select ctid from pgque.coop_window
      where win_queue = i_main.sub_queue and win_consumer = i_main.sub_consumer
        and win_end = i_start for update skip locked));
  if not found then
    insert into pgque.coop_window (win_queue, win_consumer, win_start, win_end)
    values (i_main.sub_queue, i_main.sub_consumer, i_start, i_end);
  end if;
end
$$;

-- The least recently active other member whose batch is older than the dead interval loses it to the
-- caller, under a fresh batch id. Members whose row is locked are at work. A batch that is read in pages
-- goes only to a worker that does so too, with its position, and not while the page's lease runs.
create or replace function pgque._take_over(
  i_member pgque.subscription, i_dead_interval interval, i_paging boolean)
returns pgque.subscription
language plpgsql
as $$
declare
  v_victim pgque.subscription;
begin
  select * into v_victim from pgque.subscription
   where sub_queue = i_member.sub_queue and sub_id = i_member.sub_id and sub_role = 'coop_member'
     and sub_consumer <> i_member.sub_consumer and sub_batch is not null
     and sub_active < now() - i_dead_interval
     and (not sub_paged or i_paging and not pgque._page_is_leased(sub_queue, sub_consumer))
   order by sub_active, sub_consumer limit 1
     for no key update skip locked;
  -- The lease may have been renewed just before the row was locked.
  if not found or (v_victim.sub_paged
                   and pgque._page_is_leased(v_victim.sub_queue, v_victim.sub_consumer)) then
    return i_member;
  end if;
  update pgque.subscription
     set sub_batch = null, sub_last_tick = null, sub_next_tick = null, sub_paged = false
   where sub_queue = v_victim.sub_queue and sub_consumer = v_victim.sub_consumer;
  i_member := pgque._give(i_member, v_victim.sub_last_tick, v_victim.sub_next_tick,
    nextval('pgque.batch_id_seq'));
  if v_victim.sub_paged then
    perform pgque._move_pages(v_victim, i_member);
    update pgque.subscription set sub_paged = true
     where sub_queue = i_member.sub_queue and sub_consumer = i_member.sub_consumer
    returning * into i_member;
  end if;
  return i_member;
end
$$;

-- Writes a window into the member row; NULLs clear it.
create or replace function pgque._give(
  i_member pgque.subscription, i_start bigint, i_end bigint, i_batch_id bigint)
returns pgque.subscription
language plpgsql
as $$
declare
  v_member pgque.subscription;
begin
  update pgque.subscription
     set sub_last_tick = i_start, sub_next_tick = i_end, sub_batch = i_batch_id, sub_active = now(),
         sub_version = sub_version + 1
   where sub_queue = i_member.sub_queue and sub_consumer = i_member.sub_consumer
  returning * into v_member;
  return v_member;
end
$$;

-- What every cooperative call begins with. Registers on the fly; then, if there is anything to do,
-- locks the member row, against a second worker of that name and against a takeover, and returns it as
-- it is then, with the batch it holds or has taken over. An idle worker leaves with has_work false and
-- writes at most once a second.
create or replace function pgque._coop_enter(
  i_queue text, i_consumer text, i_subconsumer text, i_dead_interval interval, i_paging boolean,
  out main pgque.subscription, out member pgque.subscription, out has_work boolean)
language plpgsql
as $$
declare
  v_rows record;
begin
  perform pgque._check_coop_names(i_queue, i_consumer, i_subconsumer);
  select * into v_rows from pgque._coop_rows(i_queue, i_consumer, i_subconsumer);
  if (v_rows.member).sub_id is null then
    perform pgque.register_subconsumer(i_queue, i_consumer, i_subconsumer, false);
    select * into v_rows from pgque._coop_rows(i_queue, i_consumer, i_subconsumer);
  end if;
  main := v_rows.main;
  member := v_rows.member;
  if main.sub_batch is not null then
    raise exception 'cooperative main consumer %/% has an unexpected active batch %',
      i_queue, i_consumer, main.sub_batch using errcode = 'PQ009';
  end if;

  has_work := member.sub_batch is not null
    or exists (select from pgque.tick
                where tick_queue = main.sub_queue and tick_id > main.sub_last_tick)
    or (i_dead_interval is not null and exists (
          select from pgque.subscription
           where sub_queue = main.sub_queue and sub_id = main.sub_id and sub_batch is not null
             and sub_active < now() - i_dead_interval));
  if not has_work then
    if member.sub_active < now() - interval '1 second' then
      update pgque.subscription set sub_active = now(), sub_version = sub_version + 1
       where sub_queue = member.sub_queue and sub_consumer = member.sub_consumer;
    end if;
    return;
  end if;

  -- With an older snapshot a window handed out meanwhile looks free. Hence such a transaction has the
  -- group to itself: it locks every row, which fails with a serialization error if one has changed since
  -- the snapshot (whoever gets a window writes its own), and lets nobody join.
  if current_setting('transaction_isolation') <> 'read committed' then
    perform pg_advisory_xact_lock(pgque._lock_key('group'::text, main.sub_queue, main.sub_consumer, 0));
    perform from pgque.subscription
     where sub_queue = main.sub_queue and sub_id = main.sub_id order by sub_consumer for no key update;
  end if;
  select * into member from pgque.subscription
   where sub_queue = member.sub_queue and sub_consumer = member.sub_consumer for no key update;
  if not found then
    raise exception 'cooperative subconsumer not found: %/%/%', i_queue, i_consumer, i_subconsumer
      using errcode = 'PQ002';
  end if;
  if member.sub_batch is not null then
    update pgque.subscription set sub_active = now(), sub_version = sub_version + 1
     where sub_queue = member.sub_queue and sub_consumer = member.sub_consumer
    returning * into member;
  elsif i_dead_interval is not null then
    member := pgque._take_over(member, i_dead_interval, i_paging);
  end if;
  if not i_paging then
    perform pgque._refuse_paged(member);
  end if;
end
$$;
