-- Pages: reading one out of the index, and reading on while one is worked on.

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

-- Reads on in a batch while the worker has a page of it: at most i_page_size events, and those with the key of
-- the last of them, in the order of that key, behind the given position or else (NULL) behind the page. Hands
-- nothing out and locks nothing; the events of a batch never change, so that turn_page can hand out what was
-- read here without reading it again.
create or replace function pgque.read_ahead(
  i_batch_id bigint, i_worker text, i_after_txid xid8, i_after_id bigint, i_page_size integer)
returns setof pgque.event_template
language plpgsql rows 5000 security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription := pgque._batch(i_batch_id);
  v_state pgque.page_state;
begin
  perform pgque._check_page_arguments(i_worker, i_page_size, '1 second');
  select * into v_state from pgque.page_state
   where page_queue = v_sub.sub_queue and page_consumer = v_sub.sub_consumer
     and page_batch = i_batch_id and page_worker = i_worker;
  if not found then
    raise exception 'read_ahead: this worker holds no page of the batch any more'
      using errcode = 'PQP01', hint = 'Discard what was read and call receive_page again.';
  end if;
  if i_after_txid is null or i_after_id is null then
    i_after_txid := v_state.page_last_txid;
    i_after_id := v_state.page_last_id;
  end if;
  return query select * from pgque._page_events(
    v_sub, i_after_txid, i_after_id, null::xid8, null::bigint, i_page_size);
end
$$;

-- Acknowledges a page as ack_page does, and hands out the next one, of which the worker has the events from
-- read_ahead already: those up to the given position. NULL says that there are none: the batch is finished.
-- The answer has no token where nothing was handed out: the batch is finished, or the request was a repeated one.
create or replace function pgque.turn_page(
  i_page_token uuid, i_worker text, i_failures jsonb, i_last_txid xid8, i_last_id bigint, i_is_last boolean,
  i_lease interval default '60 seconds', out batch_finished boolean, out page_token uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_answer record;
begin
  perform pgque._check_page_arguments(i_worker, 1, i_lease);
  select * into v from pgque._lock_page('turn_page'::text, i_page_token, i_worker);
  if i_last_txid is null or i_last_id is null then
    update pgque.page_state p set page_is_last = true where p.page_token = i_page_token;
  elsif (v.state).page_token = i_page_token
        and (i_last_txid, i_last_id) <= ((v.state).page_last_txid, (v.state).page_last_id) then
    raise exception 'turn_page: the next page ends before it begins' using errcode = '22023';
  end if;
  select * into v_answer from pgque.ack_page(i_page_token, i_worker, i_failures);
  batch_finished := v_answer.batch_finished;
  if batch_finished or v_answer.status <> 'acked' then
    return;
  end if;
  page_token := gen_random_uuid();
  update pgque.page_state p
     set (page_token, page_epoch, page_worker, page_lease, page_lease_until, page_last_txid, page_last_id, page_is_last)
       = (turn_page.page_token, p.page_epoch + 1, i_worker, i_lease, clock_timestamp() + i_lease,
          i_last_txid, i_last_id, coalesce(i_is_last, false))
   where p.page_queue = (v.state).page_queue and p.page_consumer = (v.state).page_consumer;
end
$$;
