-- Pages: reading one open batch in parts, each acknowledged by itself. Memory is bounded by the page,
-- not by the batch.
--
-- The pages of a batch follow its transactions, in the order (ev_txid, ev_id) of the index, so that a page
-- costs the same in a batch of any size; within a page messages are in the order of their ids, as they are
-- in a batch that is received whole. Events of one batch never change, so the position of the last
-- acknowledged event says all: a page handed out again after a crash has the same events. While a batch is read in pages its
-- subscription row says so (sub_paged), and every call on the whole batch is refused.

-- One row per subscription that ever read pages: how far it is (page_after), the page that is handed
-- out (from page_token on; NULLs when none is), and the receipt of the last acknowledged one.
create table if not exists pgque.page_state (
  page_queue        integer not null references pgque.queue (queue_id) on delete cascade,
  page_consumer     integer not null references pgque.consumer (co_id) on delete cascade,
  page_batch        bigint,
  page_number       integer not null default 1,
  page_after_id     bigint,
  page_after_txid   xid8,
  page_epoch        bigint not null default 0,
  page_token        uuid,
  page_worker       text,
  page_lease        interval,
  page_lease_until  timestamptz,
  page_last_id      bigint,
  page_last_txid    xid8,
  page_is_last      boolean,
  receipt_token     uuid,
  receipt_worker    text,
  receipt_failures  jsonb,
  receipt_finished  boolean,
  constraint page_state_pkey primary key (page_queue, page_consumer),
  constraint page_token_key unique (page_token),
  constraint receipt_token_key unique (receipt_token)
);

do $$
begin
  if to_regtype('pgque.batch_page') is null then
    create type pgque.batch_page as (
      status      text,
      batch_id    bigint,
      page_token  uuid,
      page_number integer,
      is_last     boolean,
      messages    pgque.message[],
      lease_until timestamptz,
      fence_epoch bigint
    );
  end if;
end
$$;

-- Whole-batch calls come through here: what they would do includes pages acknowledged long ago.
create or replace function pgque._refuse_paged(i_sub pgque.subscription) returns void
language plpgsql
as $$
begin
  if i_sub.sub_paged then
    raise exception 'batch % is being read in pages', i_sub.sub_batch
      using errcode = '55000', hint = 'Use receive_page and ack_page until the batch is finished.';
  end if;
end
$$;

create or replace function pgque._check_page_arguments(
  i_worker text, i_page_size integer, i_lease interval) returns void
language plpgsql
as $$
declare
  v_problem text := case
    when coalesce(i_worker, '') = '' then 'worker must not be empty'
    when (i_page_size between 1 and 10000) is not true then
      format('page_size must be between 1 and 10000, got %s', coalesce(i_page_size::text, 'NULL'))
    when (i_lease > '0' and i_lease <= '1 day') is not true then
      format('lease must be above 0 and at most 1 day, got %s', coalesce(i_lease::text, 'NULL'))
  end;
begin
  if v_problem is not null then
    raise exception 'receive_page: %', v_problem using errcode = '22023';
  end if;
end
$$;

-- Hands a page of the subscription's open batch to a worker; NULL when no event is left. The caller
-- holds the subscription row. The owner of a page gets it again with its lease renewed; anybody else
-- only after the lease has run out, and then under a new token, so that the old owner is fenced.
create or replace function pgque._hand_out_page(
  i_sub pgque.subscription, i_worker text, i_page_size integer, i_lease interval)
returns pgque.batch_page
language plpgsql
as $$
declare
  v_state pgque.page_state;
  v_page record;
  v_answer pgque.batch_page;
begin
  insert into pgque.page_state (page_queue, page_consumer)
  select i_sub.sub_queue, i_sub.sub_consumer
   where not exists (select from pgque.page_state
                      where page_queue = i_sub.sub_queue and page_consumer = i_sub.sub_consumer)
  on conflict do nothing;
  select * into v_state from pgque.page_state
   where page_queue = i_sub.sub_queue and page_consumer = i_sub.sub_consumer;
  if v_state.page_batch is distinct from i_sub.sub_batch then
    v_state := pgque._clear_page(v_state);
    v_state.page_batch := i_sub.sub_batch;
    v_state.page_number := 1;
    v_state.page_after_id := null;
    v_state.page_after_txid := null;
  end if;
  if v_state.page_token is not null and v_state.page_worker is distinct from i_worker
     and v_state.page_lease_until > clock_timestamp() then
    v_answer.status := 'busy';
    v_answer.lease_until := v_state.page_lease_until;
    return v_answer;
  end if;

  v_page := pgque._read_page(i_sub, v_state, i_page_size);
  if v_page.messages is null then
    return null;
  end if;
  if v_state.page_token is null then
    v_state.page_last_id := v_page.last_id;
    v_state.page_last_txid := v_page.last_txid;
    v_state.page_is_last := v_page.is_last;
  end if;
  if v_state.page_token is null or v_state.page_worker is distinct from i_worker then
    v_state.page_token := gen_random_uuid();
    v_state.page_epoch := v_state.page_epoch + 1;
    v_state.page_worker := i_worker;
  end if;
  v_state.page_lease := i_lease;
  v_state.page_lease_until := clock_timestamp() + i_lease;
  perform pgque._save_page(v_state);
  return row('page', i_sub.sub_batch, v_state.page_token, v_state.page_number, v_state.page_is_last,
    v_page.messages, v_state.page_lease_until, v_state.page_epoch)::pgque.batch_page;
end
$$;

-- Nothing is handed out any more; the position and the receipt stay.
create or replace function pgque._clear_page(i_state pgque.page_state) returns pgque.page_state
language plpgsql
as $$
begin
  i_state.page_token := null;
  i_state.page_worker := null;
  i_state.page_lease := null;
  i_state.page_lease_until := null;
  i_state.page_last_id := null;
  i_state.page_last_txid := null;
  i_state.page_is_last := null;
  return i_state;
end
$$;

create or replace function pgque._save_page(i_state pgque.page_state) returns void
language plpgsql
as $$
begin
  update pgque.page_state
     set (page_batch, page_number, page_after_id, page_after_txid, page_epoch, page_token, page_worker,
          page_lease, page_lease_until, page_last_id, page_last_txid, page_is_last,
          receipt_token, receipt_worker, receipt_failures, receipt_finished)
       = (i_state.page_batch, i_state.page_number, i_state.page_after_id, i_state.page_after_txid,
          i_state.page_epoch, i_state.page_token, i_state.page_worker,
          i_state.page_lease, i_state.page_lease_until, i_state.page_last_id, i_state.page_last_txid,
          i_state.page_is_last,
          i_state.receipt_token, i_state.receipt_worker, i_state.receipt_failures,
          i_state.receipt_finished)
   where page_queue = i_state.page_queue and page_consumer = i_state.page_consumer;
end
$$;

create or replace function pgque._page_is_leased(i_queue_id integer, i_consumer_id integer)
returns boolean
language plpgsql
as $$
begin
  return exists (
    select from pgque.page_state
     where page_queue = i_queue_id and page_consumer = i_consumer_id
       and page_lease_until > clock_timestamp());
end
$$;

-- A takeover carries the acknowledged position over, and the page that was handed out: the same events,
-- but under a new token, whose owner has yet to come.
create or replace function pgque._move_pages(
  i_victim pgque.subscription, i_member pgque.subscription) returns void
language plpgsql
as $$
declare
  v_from pgque.page_state;
  v_to pgque.page_state;
begin
  insert into pgque.page_state (page_queue, page_consumer)
  values (i_member.sub_queue, i_member.sub_consumer) on conflict do nothing;
  select * into v_from from pgque.page_state
   where page_queue = i_victim.sub_queue and page_consumer = i_victim.sub_consumer;
  select * into v_to from pgque.page_state
   where page_queue = i_member.sub_queue and page_consumer = i_member.sub_consumer;

  v_to := pgque._clear_page(v_to);
  v_to.page_batch := i_member.sub_batch;
  v_to.page_number := v_from.page_number;
  v_to.page_after_id := v_from.page_after_id;
  v_to.page_after_txid := v_from.page_after_txid;
  v_to.page_epoch := greatest(v_from.page_epoch, v_to.page_epoch);
  if v_from.page_token is not null then
    v_to.page_token := gen_random_uuid();
    v_to.page_last_id := v_from.page_last_id;
    v_to.page_last_txid := v_from.page_last_txid;
    v_to.page_is_last := v_from.page_is_last;
  end if;
  v_from := pgque._clear_page(v_from);
  v_from.page_batch := null;
  perform pgque._save_page(v_from);
  perform pgque._save_page(v_to);
end
$$;

-- A page of the normal consumer's batch, opening the next window when none is open. The answer's status:
-- "page"; "idle", no window; "advanced", the window had no events and was finished; "busy", another
-- worker holds the page, see lease_until.
create or replace function pgque.receive_page(
  i_queue text, i_consumer text, i_worker text, i_page_size integer default 100,
  i_lease interval default '60 seconds') returns pgque.batch_page
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub pgque.subscription;
  v_answer pgque.batch_page;
begin
  perform pgque._check_page_arguments(i_worker, i_page_size, i_lease);
  v_answer.status := 'idle';
  v_sub := pgque._subscription(i_queue, i_consumer);
  if v_sub.sub_role <> 'normal' then
    perform pgque._refuse_coop(v_sub, i_queue, i_consumer);
    return v_answer;
  end if;
  if v_sub.sub_batch is null and not exists (
       select from pgque.tick where tick_queue = v_sub.sub_queue and tick_id > v_sub.sub_last_tick) then
    return v_answer;
  end if;

  v_sub := pgque._lock_subscription(v_sub, i_queue, i_consumer);
  if v_sub.sub_role <> 'normal' then
    return v_answer;
  end if;
  if v_sub.sub_batch is null then
    v_sub.sub_last_tick := pgque._skip_windows(v_sub, v_sub.sub_last_tick);
    v_sub.sub_next_tick := pgque._next_tick(v_sub.sub_queue, v_sub.sub_last_tick,
      null::interval, null::integer, null::interval);
    if v_sub.sub_next_tick is null then
      return v_answer;
    end if;
    v_sub.sub_batch := nextval('pgque.batch_id_seq');
  end if;

  v_answer := pgque._hand_out_page(v_sub, i_worker, i_page_size, i_lease);
  if v_answer.status is null then
    v_answer.status := 'advanced';
    v_sub.sub_last_tick := v_sub.sub_next_tick;
    v_sub.sub_next_tick := null;
    v_sub.sub_batch := null;
  elsif v_sub.sub_paged then
    return v_answer;
  end if;
  v_sub.sub_paged := v_sub.sub_batch is not null;
  perform pgque._move_cursor(v_sub);
  return v_answer;
end
$$;

-- The same for a worker of a cooperative group, which must have been registered. With a dead interval it
-- may take over the batch of a member that has been silent for so long, and whose page, if it holds one,
-- is past its lease too.
create or replace function pgque.receive_page_coop(
  i_queue text, i_consumer text, i_subconsumer text, i_worker text, i_page_size integer default 100,
  i_dead_interval interval default null, i_lease interval default '60 seconds')
returns pgque.batch_page
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_answer pgque.batch_page;
begin
  perform pgque._check_page_arguments(i_worker, i_page_size, i_lease);
  perform pgque._check_coop_names(i_queue, i_consumer, i_subconsumer);
  select * into v from pgque._coop_rows(i_queue, i_consumer, i_subconsumer);
  if (v.member).sub_id is null then
    -- Raises for an unknown queue, or for a name that is not subscribed.
    perform pgque._subscription(i_queue, i_consumer || '.' || i_subconsumer);
    raise exception 'Not subscriber to queue: %/%', i_queue, i_consumer || '.' || i_subconsumer
      using errcode = 'PQ002';
  end if;

  v_answer.status := 'idle';
  select * into v from pgque._coop_enter(i_queue, i_consumer, i_subconsumer, i_dead_interval, true);
  if not v.has_work then
    return v_answer;
  end if;
  if (v.member).sub_batch is null then
    select * into v from pgque._coop_window_with_events(v.main, v.member);
    if (v.member).sub_batch is null then
      if v.moved then
        v_answer.status := 'advanced';
      end if;
      return v_answer;
    end if;
  end if;

  v_answer := pgque._hand_out_page(v.member, i_worker, i_page_size, i_lease);
  if v_answer.status is null then
    v_answer.status := 'advanced';
    perform pgque._give(v.member, null::bigint, null::bigint, null::bigint);
  end if;
  update pgque.subscription set sub_paged = not sub_paged
   where sub_queue = (v.member).sub_queue and sub_consumer = (v.member).sub_consumer
     and sub_paged is distinct from (v_answer.status <> 'advanced');
  return v_answer;
end
$$;

-- Gives the member the first free window that has events; the empty ones before it are passed over.
-- moved: there was none, and the group's cursor is behind the empty ones.
create or replace function pgque._coop_window_with_events(
  i_main pgque.subscription, i_member pgque.subscription,
  out member pgque.subscription, out moved boolean)
language plpgsql
as $$
declare
  c_windows constant integer := 1000;
  v_window record;
  v_some boolean;
  v_passed int8multirange := '{}';
begin
  member := i_member;
  for v_window in select * from pgque._free_windows(i_main, c_windows) loop
    execute 'select exists (' || pgque._batch_sql(i_member, v_window.win_start, v_window.win_end,
      '1'::text, ''::text) || ')' into v_some;
    continue when v_some and not pgque._claim(i_main, v_window.win_start, v_window.win_end);
    v_passed := v_passed + int8multirange(int8range(v_window.win_start, v_window.win_end));
    if v_some then
      perform pgque._settle(i_main, v_passed, v_window.win_start, v_window.win_end);
      member := pgque._give(i_member, v_window.win_start, v_window.win_end,
        nextval('pgque.batch_id_seq'));
      return;
    end if;
  end loop;
  perform pgque._settle(i_main, v_passed, null::bigint, null::bigint);
  moved := not isempty(v_passed) and exists (
    select from pgque.subscription
     where sub_queue = i_main.sub_queue and sub_consumer = i_main.sub_consumer
       and sub_last_tick > i_main.sub_last_tick);
end
$$;

-- Finds the page of a token, locks its subscription, and reads both again: what was found may have
-- changed hands before the lock.
create or replace function pgque._lock_page(
  i_function text, i_token uuid, i_worker text,
  out sub pgque.subscription, out state pgque.page_state)
language plpgsql
as $$
declare
  v pgque.page_state;
begin
  if i_token is null or coalesce(i_worker, '') = '' then
    raise exception '%: % must not be empty', i_function,
      case when i_token is null then 'page_token' else 'worker' end using errcode = '22023';
  end if;
  select * into v from pgque.page_state where page_token = i_token or receipt_token = i_token;
  select * into sub from pgque.subscription
   where sub_queue = v.page_queue and sub_consumer = v.page_consumer for no key update;
  select * into state from pgque.page_state
   where page_queue = sub.sub_queue and page_consumer = sub.sub_consumer
     and (receipt_token = i_token and receipt_worker = i_worker
          or page_token = i_token and page_worker = i_worker and page_batch = sub.sub_batch);
  if state.page_queue is null then
    raise exception '%: the page is not held by this worker any more', i_function
      using errcode = 'PQP01', hint = 'Discard the page and call receive_page again.';
  end if;
end
$$;

-- Acknowledges a page, as one step: failed messages are routed to retry or dead letters, the position
-- moves behind the page, the last page finishes the batch. The receipt of the latest page is kept, so
-- that a worker that did not hear the answer may ask again.
create or replace function pgque.ack_page(
  i_page_token uuid, i_worker text, i_failures jsonb default '[]',
  out status text, out batch_finished boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_sub pgque.subscription;
  v_state pgque.page_state;
  v_failures jsonb := pgque._page_failures(i_failures);
begin
  select * into v from pgque._lock_page('ack_page'::text, i_page_token, i_worker);
  v_sub := v.sub;
  v_state := v.state;
  if v_state.receipt_token = i_page_token then
    if v_state.receipt_failures <> v_failures then
      raise exception 'ack_page: the page was acknowledged with other failures' using errcode = 'PQP02';
    end if;
    status := 'already_acked';
    batch_finished := v_state.receipt_finished;
    return;
  end if;

  if v_failures <> '[]' then
    perform pgque._route_failures(v_sub, v_state, v_failures);
  end if;
  v_state.receipt_token := i_page_token;
  v_state.receipt_worker := i_worker;
  v_state.receipt_failures := v_failures;
  v_state.receipt_finished := v_state.page_is_last;
  v_state.page_after_id := v_state.page_last_id;
  v_state.page_after_txid := v_state.page_last_txid;
  v_state.page_number := v_state.page_number + 1;
  v_state := pgque._clear_page(v_state);
  status := 'acked';
  batch_finished := v_state.receipt_finished;
  if batch_finished then
    v_state.page_batch := null;
    update pgque.subscription set sub_paged = false
     where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
    perform pgque.finish_batch(v_sub.sub_batch);
  elsif v_sub.sub_role = 'coop_member' then
    update pgque.subscription set sub_active = now()
     where sub_queue = v_sub.sub_queue and sub_consumer = v_sub.sub_consumer;
  end if;
  perform pgque._save_page(v_state);
end
$$;

-- Checks the descriptors and puts them into one form and order, so that two requests can be compared.
create or replace function pgque._page_failures(i_failures jsonb) returns jsonb
language plpgsql immutable
as $$
declare
  v jsonb;
  v_list jsonb;
begin
  if jsonb_typeof(i_failures) is distinct from 'array' then
    raise exception 'ack_page: failures must be a JSON array' using errcode = '22023';
  end if;
  for v in select * from jsonb_array_elements(i_failures) loop
    if (case when jsonb_typeof(v) <> 'object' then false
             else v - '{msg_id,retry_after_seconds,reason,dead,counted}'::text[] = '{}'
               and jsonb_typeof(v->'msg_id') = 'string'
               and v->>'msg_id' ~ '^(0|-?[1-9][0-9]{0,18})$'
               and (v->>'msg_id')::numeric between -9223372036854775808 and 9223372036854775807
               and coalesce(jsonb_typeof(v->'reason'), 'null') in ('string', 'null')
               and coalesce(jsonb_typeof(v->'dead'), 'null') in ('boolean', 'null')
               and coalesce(jsonb_typeof(v->'counted'), 'null') in ('boolean', 'null')
               and case coalesce(jsonb_typeof(v->'retry_after_seconds'), 'null')
                     when 'null' then true
                     when 'number' then (v->>'retry_after_seconds')::numeric between 0 and 2147483647
                     else false end
        end) is not true then
      raise exception 'ack_page: not a failure descriptor: %', left(v::text, 200)
        using errcode = '22023',
              hint = 'Expected {"msg_id": "<decimal>", "retry_after_seconds": <number>, "reason": "<text>", '
                     '"dead": <boolean>, "counted": <boolean>}, all but the first optional.';
    end if;
  end loop;
  select jsonb_agg(jsonb_build_array(e->>'msg_id',
           coalesce((e->>'retry_after_seconds')::numeric, 60), e->>'reason',
           coalesce((e->>'dead')::boolean, false), coalesce((e->>'counted')::boolean, true)) order by (e->>'msg_id')::bigint)
    into v_list from jsonb_array_elements(i_failures) e;
  if jsonb_array_length(v_list) > (select count(distinct e->>0) from jsonb_array_elements(v_list) e) then
    raise exception 'ack_page: a msg_id is listed twice' using errcode = '22023';
  end if;
  return coalesce(v_list, '[]');
end
$$;

-- Routes failed messages as finish() does, each of which must be one event of the page, and of the batch.
create or replace function pgque._route_failures(
  i_sub pgque.subscription, i_state pgque.page_state, i_failures jsonb) returns void
language plpgsql
as $$
declare
  v_ids bigint[];
  v_after interval[];
  v_reasons text[];
  v_dead boolean[];
  v_counted boolean[];
  v_wrong record;
begin
  select array_agg((e->>0)::bigint order by n), array_agg(make_interval(secs => (e->>1)::float8) order by n),
         array_agg(e->>2 order by n), array_agg((e->>3)::boolean order by n),
         array_agg((e->>4)::boolean order by n)
    into v_ids, v_after, v_reasons, v_dead, v_counted
    from jsonb_array_elements(i_failures) with ordinality f (e, n);
  execute format($sql$
    select id, count(ev_id) as found,
           count(*) filter (where ($2 is null or (ev_txid, ev_id) > ($3, $2))
                              and (ev_txid, ev_id) <= ($5, $4)) as in_page
      from unnest($1) id left join (%s) e on ev_id = id
     group by id having count(ev_id) <> 1
         or count(*) filter (where ($2 is null or (ev_txid, ev_id) > ($3, $2))
                               and (ev_txid, ev_id) <= ($5, $4)) <> 1
     order by id limit 1
    $sql$, pgque._batch_sql(i_sub, i_sub.sub_last_tick, i_sub.sub_next_tick, 'ev_id, ev_txid'::text,
             pgque._ids_filter(v_ids)))
    into v_wrong
    using v_ids, i_state.page_after_id, i_state.page_after_txid, i_state.page_last_id,
          i_state.page_last_txid;
  if v_wrong.in_page = 0 then
    raise exception 'ack_page: msg_id % is not in the page', v_wrong.id using errcode = '22023';
  elsif v_wrong.found > 1 then
    raise exception 'ack_page: msg_id % is ambiguous, the batch has % such events',
      v_wrong.id, v_wrong.found using errcode = '21000';
  end if;
  perform pgque._route_events(i_sub, v_ids, v_after, v_dead, v_reasons, v_counted);
end
$$;

-- A new lease of the length that was asked for with the page; returns its end.
create or replace function pgque.renew_page(i_page_token uuid, i_worker text) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v record;
  v_state pgque.page_state;
begin
  select * into v from pgque._lock_page('renew_page'::text, i_page_token, i_worker);
  v_state := v.state;
  if v_state.page_token is distinct from i_page_token then
    raise exception 'renew_page: the page has been acknowledged' using errcode = 'PQP01';
  end if;
  v_state.page_lease_until := clock_timestamp() + v_state.page_lease;
  perform pgque._save_page(v_state);
  return v_state.page_lease_until;
end
$$;

-- Ends the lease of a page that nobody works on: the next asker gets it at once. False if it is not held any more.
create or replace function pgque.release_page(i_page_token uuid, i_worker text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update pgque.page_state set page_lease_until = clock_timestamp()
   where page_token = i_page_token and page_worker = i_worker;
  return found;
end
$$;
