-- Schedules: running the ticker and the maintenance through pg_cron.

create or replace function pgque.set_tick_period_ms(p_period_ms integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_period_ms between 1 and 1000 and 1000 % p_period_ms = 0) is not true then
    raise exception 'tick_period_ms must be an exact divisor of 1000 between 1 and 1000 (got %)',
      coalesce(p_period_ms::text, 'NULL') using errcode = '22023';
  end if;
  update pgque.config set tick_period_ms = p_period_ms;
  return p_period_ms;
end
$$;

-- One second of ticks, each in a transaction of its own. A routine that commits can neither pin a
-- search_path nor be a definer: every name is qualified, operators too, and the caller's rights count.
create or replace procedure pgque.ticker_loop()
language plpgsql
as $$
declare
  v_begin pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  v_period_ms pg_catalog.int4;
  v_period interval;
begin
  select c.tick_period_ms into v_period_ms from pgque.config c;
  v_period := pg_catalog.make_interval(secs => v_period_ms operator(pg_catalog./) 1000.0::pg_catalog.float8);
  for i in 1 .. (1000 operator(pg_catalog./) v_period_ms) loop
    perform pgque.ticker();
    commit;
    exit when (pg_catalog.clock_timestamp() operator(pg_catalog.-) v_begin operator(pg_catalog.+) v_period)
              operator(pg_catalog.>=) pg_catalog.make_interval(secs => 1);
    perform pg_catalog.pg_sleep_for(v_period);
  end loop;
end
$$;

-- The function of pg_cron, or NULL. A schema that merely has the extension's name is not trusted: what
-- is called here runs with the rights of the engine's owner.
create or replace function pgque._pg_cron() returns regprocedure
language plpgsql stable
as $$
begin
  return (
    select d.objid from pg_depend d
      join pg_extension e on e.oid = d.refobjid and e.extname = 'pg_cron'
     where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e'
       and d.classid = 'pg_proc'::regclass
       and d.objid = to_regprocedure('cron.schedule_in_database(text, text, text, text, text, boolean)'));
end
$$;

-- The ticker's command is a bare CALL, because with a SET in front it would run inside a transaction
-- and could not commit. Retries are moved until none is due, or for 15 seconds.
create or replace function pgque.start() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c_limit constant text := 'SET statement_timeout = ''25s''; ';
  v_ticker bigint;
  v_maint bigint;
begin
  if pgque._pg_cron() is null then
    raise exception 'pg_cron extension is not installed. PgQue itself works without pg_cron, but pgque.start() schedules cron jobs. Install pg_cron first, or run pgque.ticker() and pgque.maint() manually.'
      using errcode = 'PQ005';
  end if;
  perform pgque.stop();
  v_ticker := cron.schedule_in_database('pgque_ticker', '1 second',
    'CALL pgque.ticker_loop()', current_database());
  perform cron.schedule_in_database('pgque_retry_events', '30 seconds', c_limit
    || 'DO $do$ BEGIN LOOP EXIT WHEN pgque.maint_retry_events() = 0'
    || ' OR clock_timestamp() > now() + interval ''15 s''; END LOOP; END $do$', current_database());
  v_maint := cron.schedule_in_database('pgque_maint', '30 seconds', c_limit
    || 'SELECT pgque.maint()', current_database());
  perform cron.schedule_in_database('pgque_rotate_step2', '10 seconds',
    'SELECT pgque.maint_rotate_tables_step2()', current_database());
  update pgque.config
     set ticker_job_id = v_ticker, maint_job_id = v_maint, scheduler = 'pg_cron';
  raise notice 'pgque: ticker and maintenance are scheduled with pg_cron';
end
$$;

-- Finds the jobs by their names, among the owner's own: an admin may write any number into config.
create or replace function pgque.stop() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if (select scheduler from pgque.config) = 'pg_timetable' then
    raise exception 'the jobs of pg_timetable are not managed here: delete them with timetable.delete_job, then set pgque.config.scheduler to null'
      using errcode = 'PQ005';
  end if;
  if pgque._pg_cron() is not null then
    perform cron.unschedule(jobid)
       from (select jobid from cron.job
              where jobname in ('pgque_ticker', 'pgque_retry_events', 'pgque_maint', 'pgque_rotate_step2')
                and database = current_database() and username = current_user
              order by jobid) own;
  end if;
  update pgque.config
     set ticker_job_id = null, maint_job_id = null, scheduler = null
   where scheduler is not null or ticker_job_id is not null or maint_job_id is not null;
end
$$;
