-- Queues: shorthands over create_queue and set_queue_config.

-- Creates a queue, when it is missing, and applies the options; all or nothing. A JSON null resets a
-- parameter to its default.
create or replace function pgque.create_queue(i_queue text, i_options jsonb) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_created integer;
begin
  if jsonb_typeof(i_options) <> 'object' then
    raise exception 'create_queue: options must be a JSON object, got %', jsonb_typeof(i_options)
      using errcode = '22023';
  end if;
  v_created := pgque.create_queue(i_queue);
  perform pgque.set_queue_config(i_queue, o.key, o.value)
     from jsonb_each_text(coalesce(i_options, '{}')) o;
  return v_created;
end
$$;

create or replace function pgque.pause_queue(i_queue text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgque.set_queue_config(i_queue, 'ticker_paused'::text, 'true'::text);
end
$$;

create or replace function pgque.resume_queue(i_queue text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgque.set_queue_config(i_queue, 'ticker_paused'::text, 'false'::text);
end
$$;
