-- Who may do what. Comes last: it covers every function above, and repairs grants made by hand or by
-- an older release.

-- 1. Nothing planted. An admin may create objects in the schema; a table of the engine that is not the
--    engine owner's could carry triggers that run with the owner's rights, and a function that this
--    installation has replaced keeps its owner, who could replace it again.
do $$
declare
  v_foreign text;
begin
  select string_agg(c.oid::regclass::text, ', ') into v_foreign
    from pg_class c
   where c.relnamespace = 'pgque'::regnamespace
     and c.relowner <> (select nspowner from pg_namespace where nspname = 'pgque')
     and (c.relname in ('queue', 'consumer', 'subscription', 'subscription_key', 'tick', 'coop_window',
                        'event_template', 'retry_queue', 'dead_letter', 'config', 'delayed_events', 'idem',
                        'page_state', 'batch_id_seq', 'ticker_sleep')
          or c.relname ~ '^event_\d+');
  if v_foreign is null then
    select string_agg(p.oid::regprocedure::text, ', ') into v_foreign
      from pg_proc p
     where p.pronamespace = 'pgque'::regnamespace and p.xmin = pg_current_xact_id()::xid
       and p.proowner <> (select nspowner from pg_namespace where nspname = 'pgque');
  end if;
  if v_foreign is not null then
    raise exception 'pgque: not owned by the owner of the schema: %', v_foreign using errcode = 'PQ009';
  end if;
end
$$;

-- 2. Deny everything.
revoke all on schema pgque from public, pgque_reader, pgque_writer, pgque_admin;
revoke all on all tables in schema pgque from public, pgque_reader, pgque_writer, pgque_admin;
revoke all on all sequences in schema pgque from public, pgque_reader, pgque_writer, pgque_admin;
do $$
declare
  v_function regprocedure;
begin
  -- Also functions that somebody else put there: an admin's own ones keep their owner's rights.
  for v_function in
    select oid from pg_proc
     where pronamespace = 'pgque'::regnamespace and pg_has_role(proowner, 'usage')
  loop
    execute format('revoke all on routine %s from public, pgque_reader, pgque_writer, pgque_admin',
      v_function);
  end loop;
end
$$;

-- 3. Schema and tables. Cursors and configuration are public knowledge, payloads are for consumers.
--    The admin may correct data; nobody gets TRIGGER or REFERENCES, and queue ids, which name the
--    tables that definer functions write to, cannot be invented.
grant usage on schema pgque to public;
grant all on schema pgque to pgque_admin;
grant select on pgque.queue, pgque.consumer, pgque.subscription, pgque.tick, pgque.coop_window,
  pgque.event_template to public;
grant select on pgque.config, pgque.retry_queue, pgque.dead_letter, pgque.delayed_events
  to pgque_reader;
grant insert, update, delete on pgque.consumer, pgque.subscription, pgque.tick, pgque.coop_window,
  pgque.retry_queue, pgque.dead_letter, pgque.delayed_events, pgque.config to pgque_admin;
grant update (queue_rotation_period, queue_external_ticker, queue_disable_insert, queue_ticker_paused,
  queue_ticker_max_count, queue_ticker_max_lag, queue_ticker_idle_period, queue_extra_maint,
  queue_max_retries) on pgque.queue to pgque_admin;
grant select on sequence pgque.queue_queue_id_seq, pgque.consumer_co_id_seq, pgque.batch_id_seq,
  pgque.subscription_sub_id_seq, pgque.dead_letter_dl_id_seq to pgque_admin;
do $$ begin perform pgque.grant_perms(queue_name) from pgque.queue; end $$;

-- 4. Functions, by name with every overload. The admin has the reader's and the writer's by membership.
do $$
declare
  c_grants constant jsonb := $json$ {
    "pgque_writer": ["send", "send_batch", "insert_event", "dlq_replay", "dlq_replay_all", "dlq_redeliver", "dlq_redeliver_all",
      "send_at", "send_idem", "_capture", "_capture_change", "_capture_columns", "_capture_evaluate",
      "_capture_names", "_capture_options", "_capture_row", "_capture_urlencode",
      "version", "schema_version"],
    "pgque_reader": ["subscribe", "unsubscribe", "receive", "ack", "nack", "finish",
      "subscribe_subconsumer", "register_subconsumer", "unsubscribe_subconsumer",
      "unregister_subconsumer", "receive_coop", "touch_subconsumer",
      "receive_page", "receive_page_coop", "ack_page", "renew_page", "release_page", "read_ahead", "turn_page",
      "register_consumer", "register_consumer_at", "unregister_consumer",
      "next_batch", "next_batch_info", "next_batch_custom", "get_batch_events", "finish_batch",
      "event_retry", "get_queue_info", "get_consumer_info", "get_batch_info", "get_rotation_info", "dlq_inspect",
      "queue_stats", "consumer_stats", "queue_health", "otel_metrics", "stuck_consumers",
      "in_flight", "throughput", "error_rate",
      "version", "schema_version"],
    "pgque_admin": ["create_queue", "drop_queue", "set_queue_config", "grant_perms", "ticker",
      "ticker_pending", "ticker_sleep", "ticker_wake", "force_next_tick", "force_tick", "find_tick_helper", "insert_event",
      "insert_event_raw", "current_event_table", "register_consumer", "register_consumer_at",
      "unregister_consumer", "next_batch", "next_batch_info", "next_batch_custom",
      "get_batch_events", "batch_event_sql", "batch_event_tables", "finish_batch", "event_retry",
      "batch_retry", "event_retry_raw", "event_dead", "dlq_purge", "maint", "maint_operations",
      "maint_retry_events", "maint_rotate_tables_step1", "maint_rotate_tables_step2",
      "maint_tables_to_vacuum", "repair_ticks", "get_queue_info", "get_consumer_info", "get_batch_info", "status",
      "start", "stop", "set_tick_period_ms", "ticker_loop", "get_batch_cursor", "tune_storage",
      "upgrade_schema", "seq_getval", "seq_setval", "pause_queue", "resume_queue",
      "maint_deliver_delayed", "maint_idem", "jsontriga", "logutriga", "sqltriga",
      "quote_fqname", "version", "schema_version"]
  } $json$;
  v_role text;
  v_name text;
  v_function regprocedure;
begin
  for v_role, v_name in
    select r.key, n.name from jsonb_each(c_grants) r, jsonb_array_elements_text(r.value) n(name)
  loop
    v_function := null;
    for v_function in
      select oid from pg_proc
       where pronamespace = 'pgque'::regnamespace and proname = v_name
         and pg_has_role(proowner, 'usage')
    loop
      execute format('grant execute on routine %s to %I', v_function, v_role);
    end loop;
    if v_function is null then
      raise exception 'grant: no function pgque.%', v_name;
    end if;
  end loop;
end
$$;
