-- For whoever looks after the engine: why a queue does not rotate, and mending the ticks of a database
-- that was restored into another cluster.

-- One row for each queue. held_by is NULL when nothing stands in the way of the next rotation, else
--   step2        the last rotation is half done; the next maint() completes it
--   transaction  a producer's transaction has written to a table that rotation needs, and is open
--   lock         a dump, a long reader or somebody else has a lock on such a table
--   consumer     a subscription has not passed all events of the older tables
-- with the time since when and who it is. due says whether the rotation is waiting for that already.
-- Looks and takes no lock, so that it can be asked at any time.
create or replace function pgque.get_rotation_info(
  out queue_name text, out due boolean, out held_by text, out since timestamptz, out detail text)
returns setof record
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v pgque.queue;
  v_next integer;
  v_prev integer;
begin
  for v in select * from pgque.queue q order by q.queue_name loop
    queue_name := v.queue_name;
    due := coalesce(v.queue_switch_time + v.queue_rotation_period < now(), false);
    held_by := null;
    since := null;
    detail := null;
    v_next := (v.queue_cur_table + 1) % v.queue_ntables;
    v_prev := (v.queue_cur_table + v.queue_ntables - 1) % v.queue_ntables;
    if v.queue_rotation_period is null then
      detail := 'rotation_period is not set: this queue never rotates';
    elsif v.queue_switch_step2 is null then
      held_by := 'step2';
      since := v.queue_switch_time;
      detail := 'the last rotation is half done; pgque.maint() or pgque.maint_rotate_tables_step2() completes it';
    else
      select b.held_by, b.since, b.detail into held_by, since, detail
        from pgque._rotation_lock(v.queue_id, v_next, v_prev) b;
      if held_by is null then
        select b.held_by, b.since, b.detail into held_by, since, detail
          from pgque._rotation_consumer(v.queue_id, v_next, v_prev) b;
      end if;
    end if;
    return next;
  end loop;
end
$$;

-- The oldest holder of a lock that step 1 would have to wait for. Of other roles' sessions the server may
-- show no more than the process id.
create or replace function pgque._rotation_lock(i_queue_id integer, i_next integer, i_prev integer)
returns table (held_by text, since timestamptz, detail text)
language sql stable
as $$
  select case when l.mode = 'RowExclusiveLock' then 'transaction' else 'lock' end, a.xact_start,
         format('%s on pgque.event_%s_%s, held by process %s%s', l.mode, i_queue_id,
           case when l.relation = n.next then i_next else i_prev end, l.pid,
           coalesce(format(' (%s, %s)', a.application_name, a.state), ''))
    from (select to_regclass(format('pgque.event_%s_%s', i_queue_id, i_next)) as next,
                 to_regclass(format('pgque.event_%s_%s', i_queue_id, i_prev)) as prev) n
    join pg_locks l on l.locktype = 'relation' and l.granted
     and l.database = (select oid from pg_database where datname = current_database())
     and l.pid is distinct from pg_backend_pid()
     and (l.relation = n.next
          or (l.relation = n.prev and l.mode not in ('AccessShareLock', 'RowShareLock', 'ShareLock')))
    left join pg_stat_activity a on a.pid = l.pid
   order by a.xact_start nulls last, l.pid
   limit 1
$$;

-- The subscription with the lowest cursor, if one of the two tables holds an event that it has not passed.
create or replace function pgque._rotation_consumer(i_queue_id integer, i_next integer, i_prev integer)
returns table (held_by text, since timestamptz, detail text)
language plpgsql stable
as $$
declare
  v record;
  v_held boolean;
begin
  select s.*, c.co_name, t.tick_time, t.tick_snapshot into v
    from pgque.subscription s
    join pgque.consumer c on c.co_id = s.sub_consumer
    left join pgque.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
   where s.sub_queue = i_queue_id and s.sub_last_tick is not null
   order by s.sub_last_tick, s.sub_active limit 1;
  if not found then
    return;
  end if;
  if v.tick_snapshot is null then
    return query select 'consumer', v.sub_active,
      format('consumer "%s" stands on tick %s, which does not exist', v.co_name, v.sub_last_tick);
    return;
  end if;
  execute format(
    'select exists (select from pgque.event_%1$s_%2$s where ev_txid >= $1)
         or exists (select from pgque.event_%1$s_%2$s where ev_txid = any ($2))
         or exists (select from pgque.event_%1$s_%3$s where ev_txid >= $1)
         or exists (select from pgque.event_%1$s_%3$s where ev_txid = any ($2))',
    i_queue_id, i_next, i_prev)
    into v_held
    using pg_snapshot_xmax(v.tick_snapshot), array(select pg_snapshot_xip(v.tick_snapshot));
  if v_held then
    return query select 'consumer', v.tick_time, format(
      'consumer "%s" has not passed all events of the older tables; it stands on tick %s%s, last active %s',
      v.co_name, v.sub_last_tick,
      case when v.sub_batch is null then '' else ' with batch ' || v.sub_batch || ' open' end,
      date_trunc('second', v.sub_active));
  end if;
end
$$;

-- After a restore into a cluster whose transaction ids are lower, the stored ones lie in the future: no
-- tick can follow, and what is sent counts as delivered long ago. This writes the ids of the queue's ticks
-- and events anew, below the cluster's own, so that every event lies between the same ticks as before;
-- events that no tick covered, and those sent since the restore, come with the next tick. Nothing is lost;
-- something may be delivered again. Queues with nothing wrong are left alone: calling it is always safe.
-- NULL means all queues; returns how many were repaired. Waits for open producers of those it repairs.
create or replace function pgque.repair_ticks(i_queue_name text default null) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
  v_count integer := 0;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'repair_ticks needs a read committed transaction' using errcode = 'PQ005';
  end if;
  if i_queue_name is not null and pgque._queue_id(i_queue_name) is null then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  for v_queue in
    select * from pgque.queue where i_queue_name is null or queue_name = i_queue_name order by queue_name
  loop
    if pgque._from_the_future(v_queue.queue_id) then
      perform pgque._repair_queue(v_queue.queue_id);
      v_count := v_count + 1;
    end if;
  end loop;
  return v_count;
end
$$;

-- The first transaction id that nothing visible here can bear yet. Asked anew in every statement: rows of
-- transactions that began meanwhile are no visitors from the future.
create or replace function pgque._next_xid() returns bigint
language sql stable
return greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
  coalesce(pg_current_xact_id_if_assigned()::text::bigint, 0) + 1);

-- Whether a tick, a rotation or an event of the queue bears a transaction id that does not exist yet.
create or replace function pgque._from_the_future(i_queue_id integer) returns boolean
language plpgsql
as $$
declare
  v_yes boolean;
begin
  if exists (select from pgque.tick
              where tick_queue = i_queue_id
                and pg_snapshot_xmax(tick_snapshot)::text::bigint > pgque._next_xid())
     or exists (select from pgque.queue
                 where queue_id = i_queue_id
                   and greatest(queue_switch_step1, queue_switch_step2) >= pgque._next_xid()) then
    return true;
  end if;
  execute format('select exists (select from pgque.event_%s
    where ev_txid >= (select pgque._next_xid()::text::xid8))', i_queue_id) into v_yes;
  return v_yes;
end
$$;

-- Tick number k becomes the snapshot "everything below base + k", and an event first visible in it gets the
-- id base + k - 1. All of these ids belong to transactions that are over. Rows with an id that this cluster
-- has had count as sent since the restore.
create or replace function pgque._repair_queue(i_queue_id integer) returns void
language plpgsql
as $$
declare
  v_ticks bigint[];
  v_snapshots pg_snapshot[];
  v_open bigint;
  v_base bigint;
begin
  perform pg_advisory_xact_lock(pgque._lock_key('tick'::text, i_queue_id, 0, 0));
  perform from pgque.queue where queue_id = i_queue_id for no key update;
  execute format('lock table pgque.event_%s in share row exclusive mode', i_queue_id);
  v_open := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

  -- A young cluster may not have had ids enough. Then only the ticks stay on which a cursor stands or a
  -- batch ends, and the newest.
  v_ticks := array(select tick_id from pgque.tick where tick_queue = i_queue_id order by tick_id);
  if cardinality(v_ticks) + 4 > v_open then
    delete from pgque.tick t
     where t.tick_queue = i_queue_id
       and t.tick_id < (select max(tick_id) from pgque.tick where tick_queue = i_queue_id)
       and not exists (select from pgque.subscription
                        where sub_queue = i_queue_id and t.tick_id in (sub_last_tick, sub_next_tick))
       and not exists (select from pgque.coop_window
                        where win_queue = i_queue_id and t.tick_id in (win_start, win_end));
    v_ticks := array(select tick_id from pgque.tick where tick_queue = i_queue_id order by tick_id);
    if cardinality(v_ticks) + 4 > v_open then
      raise exception 'repair_ticks: this cluster has had % transactions, too few for % ticks; repeat it later',
        v_open, cardinality(v_ticks) using errcode = 'PQ009';
    end if;
  end if;
  v_base := v_open - 1 - cardinality(v_ticks);
  v_snapshots := array(
    select tick_snapshot from pgque.tick where tick_queue = i_queue_id order by tick_id);

  execute format($sql$
    with window_of as materialized (
      select ev_txid, case when ev_txid::text::bigint < pgque._next_xid() then cardinality($2)
                           else pgque._first_tick(ev_txid, $2) - 1 end as n
        from (select distinct ev_txid from pgque.event_%1$s) ids)
    update pgque.event_%1$s e set ev_txid = ($1 + w.n)::text::xid8
      from window_of w where w.ev_txid = e.ev_txid
    $sql$, i_queue_id)
    using v_base, v_snapshots;

  update pgque.tick t
     set tick_snapshot = format('%1$s:%1$s:', v_base + k.n)::pg_snapshot
    from unnest(v_ticks) with ordinality k (tick_id, n)
   where t.tick_queue = i_queue_id and t.tick_id = k.tick_id;
  update pgque.queue
     set queue_switch_step1 = v_base,
         queue_switch_step2 = case when queue_switch_step2 is not null then v_base end
   where queue_id = i_queue_id;
end
$$;

-- The number of the first of the snapshots, which ascend, in which a transaction is visible; one more than
-- there are if it is in none.
create or replace function pgque._first_tick(i_xid xid8, i_snapshots pg_snapshot[]) returns integer
language plpgsql immutable
as $$
declare
  v_low integer := 1;
  v_high integer := cardinality(i_snapshots) + 1;
  v_mid integer;
begin
  while v_low < v_high loop
    v_mid := (v_low + v_high) / 2;
    if pg_visible_in_snapshot(i_xid, i_snapshots[v_mid]) then
      v_high := v_mid;
    else
      v_low := v_mid + 1;
    end if;
  end loop;
  return v_low;
end
$$;
