-- Delayed send: events that wait in a table of their own until they are due.

create table if not exists pgque.delayed_events (
  de_id         bigserial,
  de_queue_name text not null,
  de_deliver_at timestamptz not null,
  de_type       text,
  de_data       text,
  de_extra1     text,
  de_extra2     text,
  de_extra3     text,
  de_extra4     text,
  constraint delayed_events_pkey primary key (de_id)
);
create index if not exists de_deliver_idx on pgque.delayed_events (de_deliver_at);

-- The id of the event when it is due already, else of the row that waits. Whether the queue accepts
-- events is asked on delivery.
create or replace function pgque.send_at(
  i_queue text, i_type text, i_payload jsonb, i_deliver_at timestamptz) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  if i_deliver_at is null then
    raise exception 'deliver_at must not be null' using errcode = '22023';
  end if;
  if i_deliver_at <= now() then
    return pgque.send(i_queue, i_type, i_payload);
  end if;
  if pgque._queue_id(i_queue) is null then
    raise exception 'queue not found: %', i_queue using errcode = 'PQ001';
  end if;
  insert into pgque.delayed_events (de_queue_name, de_deliver_at, de_type, de_data)
  values (i_queue, i_deliver_at, i_type, i_payload::text)
  returning de_id into v_id;
  return v_id;
end
$$;

-- Moves due events into their queues, in the order of their times: at most 10,000 of each queue in a
-- call. Each queue is its own subtransaction; events for one that is gone or refuses inserts stay.
-- Rows that another session is moving are left to it.
create or replace function pgque.maint_deliver_delayed() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_queue pgque.queue;
  v_count bigint;
  v_total integer := 0;
begin
  for v_name in
    select distinct de_queue_name from pgque.delayed_events where de_deliver_at <= now() order by 1
  loop
    begin
      select * into v_queue from pgque.queue where queue_name = v_name;
      if not found then
        raise exception 'queue not found: %', v_name using errcode = 'PQ001';
      end if;
      if pgque._insert_refused(v_queue) then
        raise exception 'Insert into queue disallowed' using errcode = 'PQ005';
      end if;
      execute format($sql$
        with due as (
          select de_id from pgque.delayed_events
           where de_queue_name = $1 and de_deliver_at <= now()
           order by de_deliver_at, de_id limit 10000 for update skip locked),
        taken as (
          delete from pgque.delayed_events d using due
           where d.de_id = due.de_id
          returning d.*)
        insert into %s (ev_id, ev_time, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
        select nextval(%L), now(), de_type, de_data, de_extra1, de_extra2, de_extra3, de_extra4
          from (select * from taken order by de_deliver_at, de_id) ordered
        $sql$, pgque._current_table(v_queue), 'pgque.event_' || v_queue.queue_id || '_id_seq')
        using v_name;
      get diagnostics v_count = row_count;
      v_total := v_total + v_count;
    exception when others then
      raise warning 'maint_deliver_delayed: queue %: %', v_name, sqlerrm;
    end;
  end loop;
  return v_total;
end
$$;
