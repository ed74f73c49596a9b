-- Maintenance: what has to be done now, and doing it.

create or replace function pgque.maint_tables_to_vacuum() returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select 'pgque.' || t
    from unnest(array['queue', 'consumer', 'subscription', 'coop_window', 'tick', 'retry_queue',
                      'dead_letter', 'delayed_events', 'idem']) t
   where current_setting('autovacuum') = 'off';
end;

create or replace function pgque.maint_operations(out func_name text, out func_arg text)
returns setof record
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select 'pgque.maint_rotate_tables_step1'::text, queue_name from pgque.queue
     where queue_rotation_period is not null and queue_switch_step2 is not null
       and queue_switch_time + queue_rotation_period < now()
     order by queue_name;
  if found or exists (select from pgque.queue where queue_switch_step2 is null) then
    return query select 'pgque.maint_rotate_tables_step2'::text, null::text;
  end if;
  return query
    select hook, queue_name from pgque.queue, unnest(queue_extra_maint) hook order by queue_name;
  return query select 'vacuum'::text, t from pgque.maint_tables_to_vacuum() t;
end
$$;

-- The function to call for a hook, or NULL with the reason in a warning. A hook runs with the engine
-- owner's rights and its name stands in a table that an admin may write: so it must be the owner's own
-- function, put into schema pgque on purpose.
create or replace function pgque._hook(i_name text) returns regprocedure
language plpgsql
as $$
declare
  v_hook regprocedure := to_regprocedure(
    case when position('.' in i_name) > 0 then '' else 'pgque.' end || i_name || '(text)');
  v_proc pg_proc;
begin
  select * into v_proc from pg_proc where oid = v_hook;
  if not found then
    raise warning 'maint: function %(text) does not exist, skipped', i_name;
  elsif v_proc.proowner <> (select proowner from pg_proc where oid = 'pgque.maint()'::regprocedure)
     or v_proc.pronamespace <> 'pgque'::regnamespace or v_proc.prokind <> 'f' then
    raise warning 'maint: function % is not an own function of the engine''s owner in schema pgque, skipped',
      v_hook;
  else
    return v_hook;
  end if;
  return null;
end
$$;

-- One round. A rotation left half done by an earlier transaction is completed first, so that four
-- periodic calls are not needed: rotation goes on even if nobody calls step 2. Each operation is its
-- own subtransaction; one that fails is reported and does not stop the others. Delayed events are
-- delivered, retries are not moved.
create or replace function pgque.maint() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_hook regprocedure;
  v_result integer;
  v_total integer := 0;
begin
  if exists (select from pgque.queue where queue_switch_step2 is null) then
    perform pgque.maint_rotate_tables_step2();
  end if;
  loop
    v_result := pgque.maint_deliver_delayed();
    v_total := v_total + v_result;
    exit when v_result < 10000 or clock_timestamp() > now() + interval '10 seconds';
  end loop;
  for v in
    select * from pgque.maint_operations()
     where func_name not in ('pgque.maint_rotate_tables_step2', 'vacuum')
  loop
    begin
      if v.func_name = 'pgque.maint_rotate_tables_step1' then
        v_result := pgque.maint_rotate_tables_step1(v.func_arg);
      else
        v_hook := pgque._hook(v.func_name);
        continue when v_hook is null;
        execute format('select %s(%L)', v_hook::oid::regproc, v.func_arg) into v_result;
        -- 1 says that there may be more; one piece a round could fall behind the producers.
        while v_hook = 'pgque.maint_idem(text)'::regprocedure and v_result = 1
              and clock_timestamp() < now() + interval '10 seconds' loop
          v_result := pgque.maint_idem(v.func_arg);
        end loop;
      end if;
      v_total := v_total + coalesce(v_result, 0);
    exception when others then
      raise warning 'maint: %(%): %', v.func_name, v.func_arg, sqlerrm;
    end;
  end loop;
  -- Last, because it is to know the rotated tables.
  perform pgque._build_store();
  perform pgque._build_read();
  return v_total;
end
$$;
