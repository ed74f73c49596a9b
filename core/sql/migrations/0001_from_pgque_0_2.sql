-- From a schema of PgQue 0.1 or 0.2 to ours, in place. Data, cursors, open batches, retries, dead letters
-- and configuration stay as they are; only what is missing is added. Repeating it changes nothing.

set local client_min_messages = warning;
set local search_path = pg_catalog, pg_temp;

-- A superuser acts for the role that owns the schema, so that one role owns everything.
do $$
declare
  v_owner name := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'pgque');
begin
  if v_owner <> current_user then
    execute format('set local role %I', v_owner);
  end if;
end
$$;

-- Nobody ticks, consumes or rotates with functions of the one kind on data of the other. Producers that
-- are at work finish first.
lock table pgque.queue, pgque.consumer, pgque.subscription, pgque.tick, pgque.retry_queue, pgque.config
  in access exclusive mode;

alter table pgque.queue
  add column if not exists queue_extra_maint text[],
  add column if not exists queue_max_retries integer;

alter table pgque.config
  add column if not exists scheduler text check (scheduler in ('pg_cron', 'pg_timetable')),
  add column if not exists tick_period_ms integer not null default 100
    check (tick_period_ms between 1 and 1000 and 1000 % tick_period_ms = 0),
  add column if not exists installed_at timestamptz not null default clock_timestamp(),
  add column if not exists schema_version integer not null default 0,
  alter column schema_version set default 1;

alter table pgque.subscription
  add column if not exists sub_role text not null default 'normal'
    constraint subscription_sub_role_check check (sub_role in ('normal', 'coop_main', 'coop_member')),
  add column if not exists sub_group boolean not null default false,
  add column if not exists sub_paged boolean not null default false,
  add column if not exists sub_version bigint not null default 0,
  alter column sub_last_tick drop not null,
  drop constraint subscription_pkey,
  add constraint subscription_pkey primary key (sub_queue, sub_consumer, sub_version),
  set (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
update pgque.subscription set sub_group = true where sub_role = 'coop_main' and not sub_group;

-- Which child receives inserts stands in a sequence too, which an old snapshot cannot hide.
do $$
declare
  v record;
begin
  for v in select queue_id, queue_cur_table from pgque.queue loop
    execute format('create sequence if not exists pgque.%I minvalue 0 start 0',
      'event_' || v.queue_id || '_table_seq');
    perform setval(format('pgque.%I', 'event_' || v.queue_id || '_table_seq'), v.queue_cur_table);
  end loop;
end
$$;
