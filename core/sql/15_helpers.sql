-- Small helpers. Names that start with an underscore are internal: granted to nobody, callable only
-- from the SECURITY DEFINER functions, whose pinned search_path they inherit. Those that read tables
-- are in PL/pgSQL, which keeps their plans; a SQL function would be planned again at every call.
--
-- Table and sequence names are always made from the integer queue_id, never from the text columns of
-- pgque.queue: an admin may update that table and must not gain the owner's rights through it.

create or replace function pgque.version() returns text
language sql immutable security definer set search_path = pg_catalog, pg_temp
return '0.1.0'::text;

create or replace function pgque.schema_version() returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
  select schema_version from pgque.config;
end;

-- Splits at the first dot; a name without one is taken to be in schema public.
create or replace function pgque.quote_fqname(i_name text) returns text
language sql immutable strict
return case
  when position('.' in i_name) > 0 then
    quote_ident(split_part(i_name, '.', 1)) || '.'
    || quote_ident(substr(i_name, position('.' in i_name) + 1))
  else 'public.' || quote_ident(i_name)
end;

create or replace function pgque._queue_id(i_queue text) returns integer
language plpgsql stable
as $$
begin
  return (select queue_id from pgque.queue where queue_name = i_queue);
end
$$;

-- The number that the next event of the queue will get. Counting the next id instead of the last one
-- makes the very first event count: last_value alone reads 1 both before and after it.
create or replace function pgque._event_seq(i_queue_id integer) returns bigint
language sql volatile
return coalesce(
  pg_sequence_last_value(to_regclass('pgque.event_' || i_queue_id || '_id_seq')), 0) + 1;

create or replace function pgque._table_generation(i_queue_id integer) returns bigint
language sql volatile
return pg_sequence_last_value(to_regclass('pgque.event_' || i_queue_id || '_table_seq'));

-- Which child receives inserts, as the sequence says it: the remainder of its value by the number of
-- children. queue_cur_table says the same in a fresh snapshot; a REPEATABLE READ transaction sees an old
-- row, but never an old sequence.
create or replace function pgque._insert_table(i_queue_id integer) returns bigint
language sql volatile
return coalesce(pgque._table_generation(i_queue_id), 0) % 3;

-- Lets the sequence name a child, by a value that it never had. Not undone by a rollback.
create or replace function pgque._advance_table(i_queue_id integer, i_table bigint) returns void
language plpgsql
as $$
declare
  v_next bigint := coalesce(pgque._table_generation(i_queue_id), -1) + 1;
begin
  perform setval(to_regclass('pgque.event_' || i_queue_id || '_table_seq'),
    v_next + (i_table - v_next % 3 + 3) % 3);
end
$$;

-- Advisory lock keys are hashes of a readable name, so that they do not collide with other users'.
create or replace function pgque._lock_key(i_what text, i_a bigint, i_b bigint, i_c bigint)
returns bigint language sql stable
return hashtextextended(concat_ws(':', 'pgque', i_what, i_a, i_b, i_c), 0);
