-- Producing: the insert functions under send, insert_event and replay. Producers lock no shared row and
-- never wait for consumers.
--
-- The short way to a queue is generated into the public functions: a static INSERT keeps its plan, while
-- planning a dynamic one costs more than inserting the row, and so does looking the queue up. It is good
-- as long as the queue's table sequence has the value that it had when the code was generated; whoever
-- rotates, disables, renames or drops the queue counts it up. Everything else goes the long way: a
-- stale function is slower, never wrong.

-- The queue's row, if it takes events.
create or replace function pgque._open_queue(i_queue text) returns pgque.queue
language plpgsql
as $$
declare
  v_queue pgque.queue;
begin
  select * into v_queue from pgque.queue where queue_name = i_queue;
  if not found then
    raise exception 'queue not found: %', i_queue using errcode = 'PQ001';
  end if;
  if pgque._insert_refused(v_queue) then
    raise exception 'Insert into queue disallowed' using errcode = 'PQ005';
  end if;
  return v_queue;
end
$$;

-- The long way, which asks the queue's row.
create or replace function pgque._store(
  i_queue text, i_id bigint, i_time timestamptz, i_owner integer, i_retry integer,
  i_type text, i_data text, i_extra1 text, i_extra2 text, i_extra3 text, i_extra4 text) returns bigint
language plpgsql
as $$
declare
  v_queue pgque.queue := pgque._open_queue(i_queue);
  v_id bigint;
begin
  v_id := coalesce(i_id, nextval(('pgque.event_' || v_queue.queue_id || '_id_seq')::regclass));
  execute format('insert into %s (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
                    ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    values ($1, coalesce($2, now()), $3, $4, $5, $6, $7, $8, $9, $10)', pgque._current_table(v_queue))
    using v_id, i_time, i_owner, i_retry, i_type, i_data, i_extra1, i_extra2, i_extra3, i_extra4;
  return v_id;
end
$$;

-- Name of the child that receives inserts now; good for the current transaction only. Outside READ
-- COMMITTED the row may be older than the last rotations; the sequence is not.
create or replace function pgque._current_table(i_queue pgque.queue) returns text
language sql volatile
return 'pgque.event_' || i_queue.queue_id || '_' || case
  when current_setting('transaction_isolation') = 'read committed' then i_queue.queue_cur_table
  else pgque._insert_table(i_queue.queue_id)
end;

create or replace function pgque._insert_refused(i_queue pgque.queue) returns boolean
language sql stable
return i_queue.queue_disable_insert and current_setting('session_replication_role') <> 'replica';

-- Generates the public functions that send one event. A branch for each of the first queues has all but
-- the columns that differ between the functions. The lock comes before the look at the queues: who changes
-- one holds it until that is committed. One that is taken, or an old snapshot, leaves queues to the long
-- way until maint().
create or replace function pgque._build_store() returns void
language plpgsql
as $$
declare
  -- More branches would make the first send of every connection parse more statements.
  c_queues constant integer := 32;
  v_branches text[];
begin
  if current_setting('transaction_isolation') <> 'read committed'
     or not pg_try_advisory_xact_lock(pgque._lock_key('generate'::text, 0, 0, 0)) then
    return;
  end if;
  select coalesce(array_agg(format(
           $code$if queue_name = %1$L and pg_sequence_last_value('pgque.event_%2$s_table_seq'::regclass) = %3$s then
    v_id := nextval('pgque.event_%2$s_id_seq'::regclass);
    insert into pgque.event_%2$s_%4$s (ev_id, ev_time, ev_type, ev_data$code$,
           queue_name, queue_id, generation, queue_cur_table) order by queue_id), '{}')
    into v_branches
    from (select *, pgque._table_generation(queue_id) as generation
            from pgque.queue order by queue_id limit c_queues) q
   where not queue_disable_insert and generation % 3 = queue_cur_table;

  perform pgque._build_send(head, vals, v_branches)
    from (values
      ('send(queue_name text, type_name text, payload text)', '$2, $3'),
      ('send(queue_name text, type_name text, payload jsonb)', '$2, $3::text'),
      ('send(queue_name text, payload text)', '''default''::text, $2'),
      ('send(queue_name text, payload jsonb)', '''default''::text, $2::text'),
      ('insert_event(queue_name text, ev_type text, ev_data text)', '$2, $3'),
      ('insert_event(queue_name text, ev_type text, ev_data text, ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text)',
       '$2, $3, $4, $5, $6, $7')) functions (head, vals);
  perform pgque._build_bulk();
end
$$;

-- One of them. i_values are the event's type, data and, if the function has them, the extra fields.
create or replace function pgque._build_send(i_head text, i_values text, i_branches text[]) returns void
language plpgsql
as $build$
declare
  v_extras boolean := i_values like '%$4%';
  v_tail text := format(E'%s)\n    values (v_id, now(), %s);\n',
    case when v_extras then ', ev_extra1, ev_extra2, ev_extra3, ev_extra4' else '' end, i_values);
begin
  -- The doctor compares what is outside of the two marks.
  perform pgque._generate(i_head, 'bigint'::text, format($body$
-- Generated by pgque._build_send().
declare
  v_id bigint;
begin
  -- <queues>
  %s  -- </queues>
  else
    v_id := pgque._store(queue_name, null, null, null, null, %s);
  end if;
  if pg_sequence_last_value('pgque.ticker_sleep'::regclass) > 0 then
    perform pgque._wake_ticker();
  end if;
  return v_id;
end
$body$, case when i_branches = '{}' then E'if false then\n    null;\n'
              else array_to_string(i_branches, v_tail || '  els') || v_tail end,
    i_values || case when v_extras then '' else ', null, null, null, null' end));
end
$build$;

-- Replaces a generated function if it is not as it should be.
create or replace function pgque._generate(i_head text, i_result text, i_body text) returns void
language plpgsql set check_function_bodies = off
as $$
begin
  if exists (select from pg_proc
              where pronamespace = 'pgque'::regnamespace and proname = split_part(i_head, '(', 1)
                and i_head = format('%s(%s)', proname, pg_get_function_arguments(oid)) and prosrc = i_body
                and prosecdef and not proisstrict and provolatile = 'v'
                and proconfig = array['search_path=pg_catalog, pg_temp']) then
    return;
  end if;
  execute format('create or replace function pgque.%s returns %s
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp as %L', i_head, i_result, i_body);
end
$$;

-- Ends the short way to a queue of which it would not be right any more, for everybody at once, and opens
-- it again as this transaction will leave it. Who generates meanwhile is waited for: it has not seen this.
create or replace function pgque._queue_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock(pgque._lock_key('generate'::text, 0, 0, 0));
  perform pgque._advance_table(old.queue_id, pgque._insert_table(old.queue_id));
  perform pgque._build_store();
  return null;
end
$$;

create or replace trigger queue_changed
  after delete or update of queue_name, queue_disable_insert on pgque.queue
  for each row execute function pgque._queue_changed();
alter table pgque.queue enable always trigger queue_changed;
