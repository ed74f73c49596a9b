-- Batches: reading one through a cursor. These run with the caller's rights, because the filter is SQL
-- text of the caller's. Names in the filter are looked up in pg_catalog.

-- Declares the cursor and returns its first rows, none for a limit of 0; FETCH gives the others in the
-- same transaction. NULL for the batch, the name or the limit: nothing is declared.
create or replace function pgque.get_batch_cursor(
  i_batch_id bigint, i_cursor_name text, i_quick_limit integer, i_extra_where text,
  out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
  out ev_type text, out ev_data text,
  out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor refcursor := i_cursor_name;
begin
  if i_batch_id is null or i_cursor_name is null or i_quick_limit is null then
    return;
  end if;
  open v_cursor no scroll for execute format(
    'select * from (
       select ev_id, ev_time, ev_txid::text::bigint as ev_txid, ev_retry, ev_type, ev_data,
              ev_extra1, ev_extra2, ev_extra3, ev_extra4 from (%s) b) e
      where (%s) order by ev_id',
    pgque.batch_event_sql(i_batch_id), coalesce(i_extra_where, 'true') || E'\n');
  for i in 1 .. i_quick_limit loop
    fetch v_cursor into ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data,
      ev_extra1, ev_extra2, ev_extra3, ev_extra4;
    exit when not found;
    return next;
  end loop;
end
$$;

create or replace function pgque.get_batch_cursor(
  i_batch_id bigint, i_cursor_name text, i_quick_limit integer,
  out ev_id bigint, out ev_time timestamptz, out ev_txid bigint, out ev_retry integer,
  out ev_type text, out ev_data text,
  out ev_extra1 text, out ev_extra2 text, out ev_extra3 text, out ev_extra4 text)
returns setof record
language plpgsql strict set search_path = pg_catalog, pg_temp
as $$
begin
  return query select * from pgque.get_batch_cursor(i_batch_id, i_cursor_name, i_quick_limit, null::text);
end
$$;
