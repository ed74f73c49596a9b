-- Pages: reading one out of the index.

-- Events of the batch behind the position "after" and up to the position "last" (NULL: the batch's ends), at
-- most i_size and those with the key of the last of them. The old tick's open transactions come first, one
-- by one; then everything from its xmax on. Each piece is read in the order of the index and no further than
-- needed: the planner is told so, for it has no statistics of these tables, and would sort them as a whole
-- without an order of each.
create or replace function pgque._page_events(
  i_sub pgque.subscription, i_after_txid xid8, i_after_id bigint, i_last_txid xid8, i_last_id bigint,
  i_size bigint)
returns setof pgque.event_template
language plpgsql rows 100
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off set work_mem = '64MB'
as $$
declare
  c_piece constant text := '(select * from pgque.event_%s_%s
     where (ev_txid, ev_id) > ($1, $2) and (ev_txid, ev_id) <= ($3, $4) and ev_txid between $5 and $6
       and (ev_owner is null or ev_owner = $7)
       and pg_visible_in_snapshot(ev_txid, $8) and not pg_visible_in_snapshot(ev_txid, $9)
     order by ev_txid, ev_id fetch first $10 rows with ties)';
  c_xid_max constant xid8 := '18446744073709551615';
  c_id_max constant bigint := 9223372036854775807;
  v record;
  v_sql text;
  v_low xid8[];
  v_high xid8[];
  v_left bigint := i_size;
  v_count bigint;
begin
  select * into v from pgque._batch_range(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick);
  select string_agg(format(c_piece, i_sub.sub_queue, k), ' union all ') into v_sql
    from unnest(pgque._read_tables(i_sub.sub_queue)) k;
  v_low := array(select unnest(v.late) order by 1) || v.low;
  v_high := v_low[:cardinality(v.late)] || v.high;
  for n in 1 .. cardinality(v_low) loop
    continue when v_high[n] < i_after_txid;
    return query execute
      'select * from (' || v_sql || ') e order by ev_txid, ev_id fetch first $10 rows with ties'
      using coalesce(i_after_txid, '0'), coalesce(i_after_id, 0),
            coalesce(i_last_txid, c_xid_max), coalesce(i_last_id, c_id_max),
            v_low[n], v_high[n], i_sub.sub_id, v.new, v.old, v_left;
    get diagnostics v_count = row_count;
    v_left := v_left - v_count;
    exit when v_left <= 0;
  end loop;
end
$$;

-- The page that is handed out, or else the next one: at most i_size events after the last acknowledged
-- one. One event more is read, to know whether any follow. Events with equal keys (one id inserted
-- twice by one transaction) are not parted; then "last" may be denied although nothing follows. The page is
-- built in memory anyway: work_mem keeps it from being written to temporary files three times besides.
create or replace function pgque._read_page(
  i_sub pgque.subscription, i_state pgque.page_state, i_size bigint,
  out messages pgque.message[], out last_id bigint, out last_txid xid8, out is_last boolean)
language plpgsql set work_mem = '64MB'
as $$
begin
  if i_state.page_last_id is not null then
    i_size := 1000000000;
  end if;
  select array_agg(row(ev_id, i_sub.sub_batch, ev_type, ev_data, ev_retry, ev_time,
                       ev_extra1, ev_extra2, ev_extra3, ev_extra4)::pgque.message
                   order by ev_id, ev_txid) filter (where place <= i_size),
         (array_agg(ev_id order by place desc) filter (where place <= i_size))[1],
         (array_agg(ev_txid order by place desc) filter (where place <= i_size))[1],
         count(*) <= i_size
    into messages, last_id, last_txid, is_last
    from (select e.*, rank() over (order by ev_txid, ev_id) as place
            from pgque._page_events(i_sub, i_state.page_after_txid, i_state.page_after_id,
                   i_state.page_last_txid, i_state.page_last_id, i_size + 1) e) event;
end
$$;
