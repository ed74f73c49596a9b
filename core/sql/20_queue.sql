-- Creating, configuring and dropping queues.

-- Two first creations of one name: the loser waits for the winner's transaction and returns 0.
create or replace function pgque.create_queue(i_queue_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id integer;
begin
  if i_queue_name is null then
    raise exception 'Invalid NULL value' using errcode = '22023';
  end if;
  if octet_length(i_queue_name) > 57 then
    raise exception 'queue name too long: % bytes (max 57). pg_notify channel ''pgque_<queue_name>'' must fit in 63 bytes.',
      octet_length(i_queue_name) using errcode = '22023';
  end if;
  if exists (select from pgque.queue where queue_name = i_queue_name) then
    return 0;
  end if;

  v_id := nextval('pgque.queue_queue_id_seq');
  insert into pgque.queue (queue_id, queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq)
  values (v_id, i_queue_name, 'pgque.event_' || v_id, 'pgque.event_' || v_id || '_id_seq',
          'pgque.event_' || v_id || '_tick_seq')
  on conflict (queue_name) do nothing;
  if not found then
    return 0;
  end if;

  perform pgque._create_queue_tables(v_id);
  perform pgque.grant_perms(i_queue_name);
  perform pgque._insert_tick(v_id, i_queue_name, 1::bigint);
  perform pgque._build_store();
  perform pgque._build_read();
  return 1;
end
$$;

-- No "if not exists" here: a table that is already there was not made by the engine, and inserting
-- into it would run its owner's triggers with the engine owner's rights.
create or replace function pgque._create_queue_tables(i_queue_id integer) returns void
language plpgsql
as $$
declare
  v_parent text := 'event_' || i_queue_id;
  v_child text;
begin
  execute format('create sequence pgque.%I', v_parent || '_id_seq');
  execute format('create sequence pgque.%I', v_parent || '_tick_seq');
  execute format('create sequence pgque.%I minvalue 0 start 0', v_parent || '_table_seq');
  execute format('create table pgque.%I () inherits (pgque.event_template)', v_parent);
  for k in 0 .. 2 loop
    v_child := v_parent || '_' || k;
    -- Rows are never updated or deleted, only truncated: nothing for autovacuum to do.
    execute format(
      'create table pgque.%I () inherits (pgque.%I)
         with (fillfactor = 100, autovacuum_enabled = false, toast.autovacuum_enabled = false)',
      v_child, v_parent);
    execute format('alter table pgque.%I alter column ev_id set default nextval(%L::regclass)',
      v_child, 'pgque.' || v_parent || '_id_seq');
    perform pgque._create_event_index(v_child);
  end loop;
  perform pgque._advance_table(i_queue_id, 0);
end
$$;

-- By transaction, because a batch is a set of transactions, and in it by id: a page of a batch is a short
-- piece of the index, and a single event is found without reading the others. Both ascend as events
-- arrive, so an insert goes to the right edge and costs no more than into an index on ev_txid alone.
create or replace function pgque._create_event_index(i_table text) returns void
language plpgsql
as $$
begin
  execute format('create index %I on pgque.%I (ev_txid, ev_id)', i_table || '_txid_idx', i_table);
end
$$;

-- Queues of an older release have the index on ev_txid alone, or none. Nothing is locked but for those.
do $$
declare
  v_table text;
begin
  for v_table in
    select c.relname
      from pgque.queue q
     cross join generate_series(0, 2) k
      join pg_class c on c.oid = to_regclass(format('pgque.event_%s_%s', q.queue_id, k))
     where not exists (select from pg_index i
                        where i.indexrelid = to_regclass(format('pgque.%I', c.relname || '_txid_idx'))
                          and i.indnatts = 2)
  loop
    execute format('drop index if exists pgque.%I', v_table || '_txid_idx');
    perform pgque._create_event_index(v_table);
  end loop;
end
$$;

-- Forced: open batches, cooperative groups and retries are no obstacle. The queue row is locked first,
-- so that nobody subscribes meanwhile; open producers of the queue are waited for.
create or replace function pgque.drop_queue(x_queue_name text, x_force boolean) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id integer;
  v_consumers integer[];
begin
  select queue_id into v_id from pgque.queue where queue_name = x_queue_name for update;
  if v_id is null then
    raise exception 'No such event queue' using errcode = 'PQ001';
  end if;
  v_consumers := array(select sub_consumer from pgque.subscription where sub_queue = v_id);
  if cardinality(v_consumers) > 0 and x_force is not true then
    raise exception 'cannot drop queue, consumers still attached' using errcode = 'PQ005';
  end if;

  delete from pgque.subscription where sub_queue = v_id;
  delete from pgque.coop_window where win_queue = v_id;
  delete from pgque.retry_queue where ev_queue = v_id;
  delete from pgque.dead_letter where dl_queue_id = v_id;
  delete from pgque.delayed_events where de_queue_name = x_queue_name;
  delete from pgque.tick where tick_queue = v_id;
  delete from pgque.queue where queue_id = v_id;
  perform pgque._drop_unused_consumers(v_consumers);

  for k in 0 .. 2 loop
    execute format('drop table if exists pgque.%I', 'event_' || v_id || '_' || k);
  end loop;
  execute format('drop table if exists pgque.%I', 'event_' || v_id);
  execute format('drop sequence if exists pgque.%I, pgque.%I, pgque.%I',
    'event_' || v_id || '_id_seq', 'event_' || v_id || '_tick_seq', 'event_' || v_id || '_table_seq');
  return 1;
end
$$;

create or replace function pgque.drop_queue(x_queue_name text) returns integer
language sql strict security definer set search_path = pg_catalog, pg_temp
begin atomic
  select pgque.drop_queue(x_queue_name, false);
end;

-- NULL resets a parameter to the column's default.
create or replace function pgque.set_queue_config(
  x_queue_name text, x_param_name text, x_param_value text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_type text;
  v_floor text;
  v_wrong boolean;
begin
  if x_queue_name is null or x_param_name is null then
    raise exception 'Invalid NULL value' using errcode = '22023';
  end if;
  if pgque._queue_id(x_queue_name) is null then
    raise exception 'No such event queue' using errcode = 'PQ001';
  end if;
  case
    when x_param_name in ('ticker_paused', 'external_ticker') then
      v_type := 'boolean';
    when x_param_name in ('ticker_max_lag', 'ticker_idle_period', 'rotation_period') then
      v_type := 'interval'; v_floor := '> 0';
    when x_param_name = 'ticker_max_count' then
      v_type := 'integer'; v_floor := '> 0';
    when x_param_name = 'max_retries' then
      v_type := 'integer'; v_floor := '>= 0';
    else
      raise exception 'cannot change parameter "%"', x_param_name using errcode = '22023';
  end case;

  if x_param_value is null then
    execute format('update pgque.queue set %I = default where queue_name = $1',
      'queue_' || x_param_name) using x_queue_name;
    return 1;
  end if;

  -- The cast raises PostgreSQL's own error for a value that is no boolean, integer or interval.
  if v_floor is not null then
    execute format('select not (cast($1 as %s) %s cast(%L as %s))', v_type,
      split_part(v_floor, ' ', 1), '0', v_type) into v_wrong using x_param_value;
    if v_wrong then
      raise exception 'set_queue_config: % must be %, got %', x_param_name, v_floor, x_param_value
        using errcode = '22023';
    end if;
  end if;
  execute format('update pgque.queue set %I = cast($1 as %s) where queue_name = $2',
    'queue_' || x_param_name, v_type) using x_param_value, x_queue_name;
  return 1;
end
$$;

-- Payload tables are readable by consumers only. Nobody gets TRIGGER on any of them: a trigger would
-- run with the rights of the engine's owner.
create or replace function pgque.grant_perms(x_queue_name text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id integer := pgque._queue_id(x_queue_name);
  v_suffix text;
begin
  if v_id is null then
    raise exception 'queue not found: %', x_queue_name using errcode = 'PQ001';
  end if;
  foreach v_suffix in array array['', '_0', '_1', '_2'] loop
    execute format('revoke all on pgque.%I from public, pgque_admin', 'event_' || v_id || v_suffix);
    execute format('grant select on pgque.%I to pgque_reader', 'event_' || v_id || v_suffix);
  end loop;
  foreach v_suffix in array array['_id_seq', '_tick_seq', '_table_seq'] loop
    execute format('grant select on pgque.%I to public', 'event_' || v_id || v_suffix);
  end loop;
  return 1;
end
$$;
