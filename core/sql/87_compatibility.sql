-- Small functions kept for programs written against older releases.

-- Storage settings of a queue's tables, as creation sets them.
create or replace function pgque.tune_storage(i_queue_name text) returns integer
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id integer := pgque._queue_id(i_queue_name);
begin
  if v_id is null then
    raise exception 'queue not found: %', i_queue_name using errcode = 'PQ001';
  end if;
  for k in 0 .. 2 loop
    execute format('alter table pgque.%I set
      (fillfactor = 100, autovacuum_enabled = false, toast.autovacuum_enabled = false)',
      'event_' || v_id || '_' || k);
  end loop;
  return 1;
end
$$;

-- The number of changes made: none, since the installer brings a schema up to date.
create or replace function pgque.upgrade_schema() returns integer
language sql security definer set search_path = pg_catalog, pg_temp
return 0;

-- Only the counters of events, ticks and batches: the others name tables that definer functions write
-- to, and sequences outside the schema are none of an admin's business.
create or replace function pgque._counter(i_seq_name text) returns regclass
language plpgsql stable
as $$
declare
  v_seq regclass := to_regclass(pgque.quote_fqname(i_seq_name));
begin
  if exists (
    select from pg_class
     where oid = v_seq and relkind = 'S' and relnamespace = 'pgque'::regnamespace
       and relowner = (select nspowner from pg_namespace where nspname = 'pgque')
       and relname ~ '^(event_[0-9]+_(id|tick)|batch_id)_seq$')
  then
    return v_seq;
  end if;
  raise exception 'not a counter of events, ticks or batches: %', i_seq_name using errcode = '22023';
end
$$;

create or replace function pgque.seq_getval(i_seq_name text) returns bigint
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_value bigint;
begin
  execute format('select last_value from %s', pgque._counter(i_seq_name)) into v_value;
  return v_value;
end
$$;

-- Raises a counter, never lowers it; returns its value.
create or replace function pgque.seq_setval(i_seq_name text, i_new_value bigint) returns bigint
language plpgsql strict security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_value bigint := pgque.seq_getval(i_seq_name);
begin
  if i_new_value > v_value then
    v_value := setval(pgque._counter(i_seq_name), i_new_value);
  end if;
  return v_value;
end
$$;
