-- Rotation: switching to the next table, truncating it first. The only way event space is freed.

-- Truncates only what nobody can miss: neither the table to be truncated nor the previous one, which
-- batches stop reading, may hold an event that the lowest cursor has not passed. The tables themselves
-- are asked, so that it does not matter how an event got there (a producer may have chosen its table
-- before the last rotation), nor how old the oldest open transaction of the server is.
--
-- Locks are taken without waiting: a dump, a long reader or an open writer postpones the rotation.
-- Why nothing happened is said in a notice; the answer is always 0.
create or replace function pgque.maint_rotate_tables_step1(i_queue_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue pgque.queue;
  v_tick pgque.tick;
  v_lowest bigint;
  v_next integer;
  v_prev integer;
  v_xid bigint;
  v_blocked boolean;
begin
  -- Waits for a concurrent rotation. Foreign keys, hence ticks and retries, are not held up.
  select * into v_queue from pgque.queue where queue_name = i_queue_name for no key update;
  if not found then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  if v_queue.queue_rotation_period is null or v_queue.queue_switch_step2 is null
     or v_queue.queue_switch_time + v_queue.queue_rotation_period >= now() then
    return 0;
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    raise notice 'queue % not rotated: needs a read committed transaction', i_queue_name;
    return 0;
  end if;
  v_xid := pg_current_xact_id()::text::bigint;
  if v_xid < v_queue.queue_switch_step1 then
    raise exception 'queue % maint failure: step1=%, current=%', i_queue_name,
      v_queue.queue_switch_step1, v_xid using errcode = 'PQ009';
  end if;

  select min(sub_last_tick) into v_lowest from pgque.subscription where sub_queue = v_queue.queue_id;
  if v_lowest is not null then
    select * into v_tick from pgque.tick
     where tick_queue = v_queue.queue_id and tick_id = v_lowest;
    if not found then
      raise exception 'queue % maint failure: tick % not found', i_queue_name, v_lowest
        using errcode = 'PQ009';
    end if;
  end if;

  v_next := (v_queue.queue_cur_table + 1) % v_queue.queue_ntables;
  v_prev := (v_queue.queue_cur_table + v_queue.queue_ntables - 1) % v_queue.queue_ntables;
  begin
    execute format('lock table pgque.event_%s_%s in access exclusive mode nowait',
      v_queue.queue_id, v_next);
    if v_lowest is not null then
      execute format('lock table pgque.event_%s_%s in share mode nowait', v_queue.queue_id, v_prev);
      execute format(
        'select exists (select from pgque.event_%1$s_%2$s where ev_txid >= $1)
             or exists (select from pgque.event_%1$s_%2$s where ev_txid = any ($2))
             or exists (select from pgque.event_%1$s_%3$s where ev_txid >= $1)
             or exists (select from pgque.event_%1$s_%3$s where ev_txid = any ($2))',
        v_queue.queue_id, v_next, v_prev)
        into v_blocked
        using pg_snapshot_xmax(v_tick.tick_snapshot), array(select pg_snapshot_xip(v_tick.tick_snapshot));
      if v_blocked then
        raise lock_not_available using message = format(
          'consumer "%s" has not passed all events of the older tables',
          (select co_name from pgque.subscription join pgque.consumer on co_id = sub_consumer
            where sub_queue = v_queue.queue_id and sub_last_tick = v_lowest limit 1));
      end if;
    end if;
    execute format('truncate pgque.event_%s_%s', v_queue.queue_id, v_next);
  exception when lock_not_available then
    raise notice 'queue % not rotated: %', i_queue_name, sqlerrm;
    return 0;
  end;

  update pgque.queue
     set queue_cur_table = v_next, queue_switch_time = now(), queue_switch_step1 = v_xid,
         queue_switch_step2 = null
   where queue_id = v_queue.queue_id;
  -- Ticks older than the rotation before this one go, but for those a cursor stands on or has ahead of
  -- it; and the newest stays even if old, because new consumers start there.
  delete from pgque.tick t
   where t.tick_queue = v_queue.queue_id
     and pg_snapshot_xmin(t.tick_snapshot)::text::bigint < v_queue.queue_switch_step2
     and t.tick_id < coalesce(v_lowest,
           (select max(tick_id) from pgque.tick where tick_queue = v_queue.queue_id));
  -- Last, because a rollback does not take it back. Should one follow, the sequence names a table that
  -- was not truncated: batches read it too, and the next rotation looks into it before truncating.
  perform pgque._advance_table(v_queue.queue_id, v_next);
  return 0;
end
$$;

-- Marks rotations as complete, in a transaction that begins after step 1 committed: then the id of this
-- one is above those of everybody who could still see the old table as current.
create or replace function pgque.maint_rotate_tables_step2() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update pgque.queue
     set queue_switch_step2 = pg_current_xact_id()::text::bigint
   where queue_switch_step2 is null
     and queue_switch_step1::text is distinct from pg_current_xact_id_if_assigned()::text;
  return 0;
end
$$;
