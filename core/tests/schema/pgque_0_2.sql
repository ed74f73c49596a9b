-- A schema of PgQue 0.2, as its contract documents it: the tables, and functions with the documented
-- signatures that do nothing. The publishing wrappers have the argument names of 0.1.

create schema pgque;
grant usage on schema pgque to public;
do $$
declare
  v_role text;
begin
  foreach v_role in array array['pgque_reader', 'pgque_writer', 'pgque_admin'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin', v_role);
    end if;
  end loop;
end
$$;

create table pgque.queue (
  queue_id                 serial not null,
  queue_name               text not null,
  queue_ntables            integer not null default 3,
  queue_cur_table          integer not null default 0,
  queue_rotation_period    interval not null default '2 hours',
  queue_switch_step1       bigint not null default pg_current_xact_id()::text::bigint,
  queue_switch_step2       bigint default pg_current_xact_id()::text::bigint,
  queue_switch_time        timestamptz not null default now(),
  queue_external_ticker    boolean not null default false,
  queue_disable_insert     boolean not null default false,
  queue_ticker_paused      boolean not null default false,
  queue_ticker_max_count   integer not null default 500,
  queue_ticker_max_lag     interval not null default '3 seconds',
  queue_ticker_idle_period interval not null default '1 minute',
  queue_data_pfx           text not null,
  queue_event_seq          text not null,
  queue_tick_seq           text not null,
  queue_extra_maint        text[],
  queue_max_retries        integer,
  constraint queue_pkey primary key (queue_id),
  constraint queue_name_uq unique (queue_name)
);
create table pgque.consumer (
  co_id   serial not null,
  co_name text not null,
  constraint consumer_pkey primary key (co_id),
  constraint consumer_name_uq unique (co_name)
);
create table pgque.tick (
  tick_queue     integer not null references pgque.queue (queue_id),
  tick_id        bigint not null,
  tick_time      timestamptz not null default now(),
  tick_snapshot  pg_snapshot not null default pg_current_snapshot(),
  tick_event_seq bigint not null,
  constraint tick_pkey primary key (tick_queue, tick_id)
);
create sequence pgque.batch_id_seq;
create table pgque.subscription (
  sub_id        serial not null,
  sub_queue     integer not null references pgque.queue (queue_id),
  sub_consumer  integer not null references pgque.consumer (co_id),
  sub_last_tick bigint,
  sub_active    timestamptz not null default now(),
  sub_batch     bigint,
  sub_next_tick bigint,
  sub_role      text not null default 'normal',
  constraint subscription_pkey primary key (sub_queue, sub_consumer),
  constraint subscription_batch_idx unique (sub_batch),
  constraint subscription_sub_role_check check (sub_role in ('normal', 'coop_main', 'coop_member'))
);
create table pgque.event_template (
  ev_id bigint not null, ev_time timestamptz not null, ev_txid xid8 not null default pg_current_xact_id(),
  ev_owner integer, ev_retry integer, ev_type text, ev_data text,
  ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text
);
create table pgque.retry_queue (
  ev_retry_after timestamptz not null,
  ev_queue integer not null references pgque.queue (queue_id),
  ev_id bigint not null, ev_time timestamptz not null, ev_txid xid8,
  ev_owner integer not null, ev_retry integer, ev_type text, ev_data text,
  ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text,
  constraint rq_pkey primary key (ev_owner, ev_id)
);
create index rq_retry_idx on pgque.retry_queue (ev_retry_after);
create table pgque.dead_letter (
  dl_id bigserial primary key,
  dl_queue_id integer not null references pgque.queue (queue_id) on delete cascade,
  dl_consumer_id integer not null references pgque.consumer (co_id) on delete cascade,
  dl_time timestamptz not null default now(), dl_reason text,
  ev_id bigint not null, ev_time timestamptz not null, ev_txid xid8, ev_retry integer, ev_type text, ev_data text,
  ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text
);
create index dl_queue_time_idx on pgque.dead_letter (dl_queue_id, dl_time);
create unique index dl_queue_consumer_ev_idx on pgque.dead_letter (dl_queue_id, dl_consumer_id, ev_id);
create table pgque.config (
  singleton boolean primary key default true check (singleton),
  ticker_job_id bigint,
  maint_job_id bigint,
  scheduler text check (scheduler is null or scheduler in ('pg_cron', 'pg_timetable')),
  tick_period_ms integer not null default 100 check (tick_period_ms between 1 and 1000 and 1000 % tick_period_ms = 0),
  installed_at timestamptz not null default clock_timestamp()
);
insert into pgque.config default values;
create type pgque.message as (
  msg_id bigint, batch_id bigint, type text, payload text, retry_count integer, created_at timestamptz,
  extra1 text, extra2 text, extra3 text, extra4 text
);

-- Results: NULL stands for the type that the OUT arguments make.
do $$
declare
  v record;
begin
  for v in select * from (values
    ('create_queue', 'i_queue_name text', 'integer'),
    ('drop_queue', 'x_queue_name text', 'integer'),
    ('drop_queue', 'x_queue_name text, x_force boolean', 'integer'),
    ('set_queue_config', 'x_queue_name text, x_param_name text, x_param_value text', 'integer'),
    ('send', 'i_queue text, i_payload jsonb', 'bigint'),
    ('send', 'i_queue text, i_payload text', 'bigint'),
    ('send', 'i_queue text, i_type text, i_payload jsonb', 'bigint'),
    ('send', 'i_queue text, i_type text, i_payload text', 'bigint'),
    ('send_batch', 'i_queue text, i_payloads jsonb[]', 'bigint[]'),
    ('send_batch', 'i_queue text, i_payloads text[]', 'bigint[]'),
    ('send_batch', 'i_queue text, i_type text, i_payloads jsonb[]', 'bigint[]'),
    ('send_batch', 'i_queue text, i_type text, i_payloads text[]', 'bigint[]'),
    ('subscribe', 'i_queue text, i_consumer text', 'integer'),
    ('unsubscribe', 'i_queue text, i_consumer text', 'integer'),
    ('receive', 'i_queue text, i_consumer text, i_max_return integer default 100', 'setof pgque.message'),
    ('ack', 'i_batch_id bigint', 'integer'),
    ('nack', 'i_batch_id bigint, i_msg pgque.message, i_retry_after interval default ''60 seconds'', i_reason text default null', 'integer'),
    ('receive_coop', 'i_queue text, i_consumer text, i_subconsumer text, i_max_return integer default 100, i_dead_interval interval default null', 'setof pgque.message'),
    ('subscribe_subconsumer', 'i_queue text, i_consumer text, i_subconsumer text, i_convert_normal boolean default false', 'integer'),
    ('register_subconsumer', 'i_queue text, i_consumer text, i_subconsumer text, i_convert_normal boolean default false', 'integer'),
    ('unsubscribe_subconsumer', 'i_queue text, i_consumer text, i_subconsumer text, i_batch_handling integer default 0', 'integer'),
    ('touch_subconsumer', 'i_queue text, i_consumer text, i_subconsumer text', 'integer'),
    ('ticker', '', 'bigint'),
    ('ticker', 'i_queue_name text', 'bigint'),
    ('ticker', 'i_queue_name text, i_tick_id bigint, i_orig_timestamp timestamptz, i_event_seq bigint', 'bigint'),
    ('force_next_tick', 'i_queue_name text', 'bigint'),
    ('status', '', 'table (component text, status text, detail text)'),
    ('maint', '', 'integer'),
    ('maint_retry_events', '', 'integer'),
    ('maint_rotate_tables_step1', 'i_queue_name text', 'integer'),
    ('maint_rotate_tables_step2', '', 'integer'),
    ('insert_event', 'queue_name text, ev_type text, ev_data text', 'bigint'),
    ('insert_event_bulk', 'queue_name text, ev_type text, ev_data_list text[]', 'bigint[]'),
    ('register_consumer', 'x_queue_name text, x_consumer_id text', 'integer'),
    ('next_batch', 'i_queue_name text, i_consumer_name text', 'bigint'),
    ('finish_batch', 'x_batch_id bigint', 'integer'),
    ('event_retry', 'x_batch_id bigint, x_event_id bigint, x_retry_seconds integer', 'integer'),
    ('dlq_inspect', 'i_queue_name text, i_limit_count integer default 100', 'setof pgque.dead_letter'),
    ('dlq_replay', 'i_dead_letter_id bigint', 'bigint'),
    ('dlq_replay_all', 'i_queue_name text', 'integer'),
    ('find_tick_helper', 'i_queue_id integer, i_prev_tick_id bigint, i_prev_tick_time timestamptz, i_prev_tick_seq bigint, i_min_count bigint, i_min_interval interval, out next_tick_id bigint, out next_tick_time timestamptz, out next_tick_seq bigint', null),
    ('get_batch_info', 'x_batch_id bigint, out queue_name text, out consumer_name text', null),
    ('uninstall', '', 'void'),
    ('_validate_coop_names', 'i_queue text, i_consumer text, i_subconsumer text', 'void')
  ) as f (name, arguments, result) loop
    execute format('create function pgque.%I(%s) %s language plpgsql as $f$ begin raise ''a stub''; end $f$',
      v.name, v.arguments, 'returns ' || v.result);
  end loop;
end
$$;
create function pgque.version() returns text language sql as $$ select '0.2.2'::text $$;
create procedure pgque.ticker_loop() language plpgsql as $$ begin raise 'a stub'; end $$;

-- Makes queue 1, rotated once: its current table is event_1_1.
create sequence pgque.event_1_id_seq;
create sequence pgque.event_1_tick_seq;
create table pgque.event_1 () inherits (pgque.event_template);
create table pgque.event_1_0 () inherits (pgque.event_1);
create table pgque.event_1_1 () inherits (pgque.event_1);
create table pgque.event_1_2 () inherits (pgque.event_1);
alter table pgque.event_1_0 alter column ev_id set default nextval('pgque.event_1_id_seq');
alter table pgque.event_1_1 alter column ev_id set default nextval('pgque.event_1_id_seq');
alter table pgque.event_1_2 alter column ev_id set default nextval('pgque.event_1_id_seq');
create index event_1_0_txid_idx on pgque.event_1_0 (ev_txid);
create index event_1_1_txid_idx on pgque.event_1_1 (ev_txid);
create index event_1_2_txid_idx on pgque.event_1_2 (ev_txid);
grant select on all tables in schema pgque to public;
insert into pgque.queue (queue_name, queue_cur_table, queue_data_pfx, queue_event_seq, queue_tick_seq)
values ('q', 1, 'pgque.event_1', 'pgque.event_1_id_seq', 'pgque.event_1_tick_seq');
