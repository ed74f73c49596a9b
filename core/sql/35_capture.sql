-- Change capture: triggers that send every change of a table to a queue.
--
--   create trigger orders_out after insert or update or delete on orders
--     for each row execute function pgque.jsontriga('orders', 'ignore=updated_at', 'when=total > 0')
--
-- Everything here runs with the rights of the user who changes the table and who therefore needs
-- pgque_writer: the arguments may hold SQL expressions. The trigger functions proper see the session's
-- search_path and qualify what they use; expressions are evaluated with it, everything else is not.

-- The values of SQL expressions over a row. The row comes as text: a record parameter would tie the
-- function's plans to the first table of the session. The session's search_path is set only here; a
-- local setting of a function that pins its own ends with the function.
create or replace function pgque._capture_evaluate(
  i_search_path text, i_relation oid, i_row text, i_expressions text) returns text[]
language plpgsql strict set search_path = pg_catalog, pg_temp
as $$
declare
  v_values text[];
  v_sql text := format(
    'select array[%s]::pg_catalog.text[] from (select (cast($1 as %s)).*) %I', i_expressions,
    i_relation::regclass, (select relname from pg_class where oid = i_relation));
begin
  perform set_config('search_path', i_search_path, true);
  execute v_sql using i_row into v_values;
  return v_values;
end
$$;

-- Columns of the table in its order, with the texts of their old and new values; key_position counts
-- from 1 within the key.
create or replace function pgque._capture_columns(
  i_style text, i_relation oid, i_key text[], i_search_path text, i_old text, i_new text)
returns table (name text, key_position integer, is_magic boolean, old_text text, new_text text)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
  v_names text[];
  v_keys integer[];
  v_texts text;
begin
  select array_agg(a.attname::text order by a.attnum),
         array_agg(case when i_key is null then k.position::integer
                        else array_position(i_key, a.attname::text) end order by a.attnum),
         string_agg(format(case
             when i_style <> 'json' then
               -- As COPY writes them: booleans are t and f.
               $f$case when pg_catalog.num_nulls(%1$I) operator(pg_catalog.=) 0
                       then pg_catalog.format('%%s', %1$I) end$f$
             when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype,
                                 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
               'pg_catalog.to_json(%1$I)::pg_catalog.text'
             else 'pg_catalog.to_json(%1$I::pg_catalog.text)::pg_catalog.text' end, a.attname),
           ', ' order by a.attnum)
    into v_names, v_keys, v_texts
    from pg_attribute a
    left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
    left join lateral unnest(i.indkey) with ordinality k (attnum, position)
      on k.attnum = a.attnum and k.position <= i.indnkeyatts
   where a.attrelid = i_relation and a.attnum > 0 and not a.attisdropped;
  return query
    select u.name, u.key_position, u.name ~ '^_pgq_ev_(type|extra[1-4])$', u.old_text, u.new_text
      from unnest(v_names, v_keys,
             pgque._capture_evaluate(i_search_path, i_relation, i_old, v_texts),
             pgque._capture_evaluate(i_search_path, i_relation, i_new, v_texts))
           u (name, key_position, old_text, new_text);
end
$$;

-- Everything but letters, digits, "-", "_" and "." becomes %xx, a space "+". Run by run: a character at
-- a time would take milliseconds for a long text.
create or replace function pgque._capture_urlencode(i_text text) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp
as $$
begin
  if i_text ~ '^[A-Za-z0-9_.-]*$' then
    return i_text;
  end if;
  return (
    select string_agg(case
             when run[1] ~ '^[A-Za-z0-9_.-]' then run[1]
             else replace(regexp_replace(encode(convert_to(run[1], 'UTF8'), 'hex'), '(..)', '%\1', 'g'),
                    '%20', '+') end, '' order by n)
      from regexp_matches(i_text, '[A-Za-z0-9_.-]+|[^A-Za-z0-9_.-]+', 'g') with ordinality m (run, n));
end
$$;

-- A whole row in the trigger's style. sqltriga keeps the row before an update as an insert would.
create or replace function pgque._capture_row(i_style text, i_names text[], i_texts text[])
returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  case i_style
    when 'json' then
      return '{' || coalesce((
        select string_agg(to_json(name)::text || ':' || coalesce(value, 'null'), ',' order by n)
          from unnest(i_names, i_texts) with ordinality u (name, value, n)), '') || '}';
    when 'url' then
      return coalesce((
        select string_agg(pgque._capture_urlencode(name)
                 || coalesce('=' || pgque._capture_urlencode(value), ''), '&' order by n)
          from unnest(i_names, i_texts) with ordinality u (name, value, n)), '');
    else
      return (
        select format('(%s) values (%s)', string_agg(quote_ident(name), ',' order by n),
                 string_agg(coalesce(quote_literal(value), 'null'), ',' order by n))
          from unnest(i_names, i_texts) with ordinality u (name, value, n));
  end case;
end
$$;

-- The arguments after the queue's name: {"deny": true, "ignore": "a,b", "when": "…"}.
create or replace function pgque._capture_options(i_arguments text[]) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
  v_argument text;
  v_options jsonb := '{}';
begin
  if i_arguments[array_lower(i_arguments, 1)] is null then
    raise exception 'Trigger needs queue name' using errcode = '22023';
  end if;
  foreach v_argument in array i_arguments[array_lower(i_arguments, 1) + 1:] loop
    if v_argument in ('skip', 'SKIP', 'backup', 'deny') then
      v_options := v_options || jsonb_build_object(lower(v_argument), true);
    elsif v_argument ~ '^(ignore|pkey|when|ev_type|ev_extra[1-4])=' then
      v_options := v_options || jsonb_build_object(split_part(v_argument, '=', 1),
        substr(v_argument, position('=' in v_argument) + 1));
    else
      raise exception 'bad argument: %', v_argument using errcode = '22023';
    end if;
  end loop;
  return v_options;
end
$$;

create or replace function pgque._capture_names(i_list text) returns text[]
language sql immutable
return regexp_split_to_array(btrim(i_list), '\s*,\s*');

-- What happened to one row, summed up over its columns. Planning this for every row
-- would cost more than everything else.
create or replace function pgque._capture_change(
  i_style text, i_relation oid, i_options jsonb, i_search_path text, i_old text, i_new text,
  out key text[], out key_is text, out key_kept text, out key_changed boolean,
  out ignored_changed boolean, out data_changed boolean, out changes text,
  out names text[], out old_texts text[], out new_texts text[], out overrides jsonb)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
as $$
begin
  select coalesce(array_agg(name order by key_position) filter (where key_position > 0), '{}'),
         string_agg(quote_ident(name) || '=' || quote_literal(coalesce(old_text, new_text)), ' and '
                    order by key_position) filter (where key_position > 0),
         string_agg(quote_ident(name) || '=' || quote_literal(new_text), '')
           filter (where key_position = 1),
         coalesce(bool_or(key_position > 0 and changed), false),
         coalesce(bool_or(is_ignored and changed), false),
         coalesce(bool_or(is_data and changed), false),
         string_agg(quote_ident(name) || '=' || coalesce(quote_literal(new_text), 'NULL'), ','
                    order by position) filter (where is_data and changed),
         array_agg(name order by position) filter (where is_data),
         array_agg(old_text order by position) filter (where is_data),
         array_agg(new_text order by position) filter (where is_data),
         -- A column _pgq_ev_type names the field ev_type.
         coalesce(jsonb_object_agg(substr(name, 6), case i_style
                    when 'json' then coalesce(new_text, old_text)::json #>> '{}'
                    else coalesce(new_text, old_text) end) filter (where is_magic), '{}')
    into key, key_is, key_kept, key_changed, ignored_changed, data_changed, changes, names, old_texts,
         new_texts, overrides
    from (select *, old_text is distinct from new_text as changed,
                 not is_magic and is_listed as is_ignored, not is_magic and not is_listed as is_data
            from (select *, name = any (pgque._capture_names(coalesce(i_options ->> 'ignore', '')))
                              as is_listed
                    from pgque._capture_columns(i_style, i_relation,
                           pgque._capture_names(i_options ->> 'pkey'), i_search_path, i_old, i_new)
                         with ordinality
                         _ (name, key_position, is_magic, old_text, new_text, position)) listed) sorted;
end
$$;

-- Sends one change. True if the row operation goes on. A truncation concerns no row: its event has no
-- data, and expressions are not asked.
create or replace function pgque._capture(
  i_style text, i_op text, i_when text, i_relation oid, i_arguments text[], i_search_path text,
  i_old text, i_new text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_options jsonb;
  v_queue text := i_arguments[array_lower(i_arguments, 1)];
  v_passes boolean;
  v_schema text;
  v_table text;
  v record;
  v_field text;
  v_event pgque.event_template;
begin
  if current_setting('session_replication_role') = 'local' then
    return true;
  end if;
  v_options := pgque._capture_options(i_arguments);
  v_passes := i_when <> 'AFTER' and i_op <> 'TRUNCATE' and not v_options ? 'skip';
  if i_op not in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') then
    raise exception 'TG_OP not supported: %', i_op using errcode = '0A000';
  end if;
  select nspname, relname into v_schema, v_table
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = i_relation;
  if v_options ? 'deny' then
    raise exception 'Table ''%.%'' to queue ''%'': change not allowed (%)',
      v_schema, v_table, v_queue, i_op using errcode = 'PQ005';
  end if;

  select * into v
    from pgque._capture_change(i_style, i_relation, v_options, i_search_path, i_old, i_new);
  if cardinality(v.key) < cardinality(pgque._capture_names(v_options ->> 'pkey')) then
    raise exception 'no such column in pkey=%', v_options ->> 'pkey' using errcode = '22023';
  end if;
  if i_op in ('UPDATE', 'DELETE') and cardinality(v.key) = 0 then
    raise exception 'Update/Delete on table without pkey' using errcode = 'PQ005';
  end if;
  if i_op = 'UPDATE' then
    if v.key_changed then
      raise exception 'primary key update not allowed' using errcode = 'PQ005';
    end if;
    if v.ignored_changed and not v.data_changed then
      return v_passes;
    end if;
  end if;
  if i_op <> 'TRUNCATE' and v_options ? 'when'
     and (pgque._capture_evaluate(i_search_path, i_relation, coalesce(i_new, i_old),
            '(' || (v_options ->> 'when') || E'\n)'))[1]::boolean is not true then
    return v_passes;
  end if;

  v_event.ev_extra1 := v_schema || '.' || v_table;
  v_event.ev_type := case
    when i_style = 'json' then
      format('{"op":%s,"table":%s,"pkey":%s}', to_json(i_op), to_json(array[v_schema, v_table]),
        to_json(v.key))
    when i_op = 'TRUNCATE' then 'R'
    when i_style = 'url' then left(i_op, 1) || ':' || array_to_string(v.key, ',')
    else left(i_op, 1) end;
  v_event.ev_data := case
    when i_op = 'TRUNCATE' then case i_style when 'json' then '{}' else '' end
    when i_style <> 'sql' or i_op = 'INSERT' then
      pgque._capture_row(i_style, v.names, case i_op when 'DELETE' then v.old_texts else v.new_texts end)
    when i_op = 'DELETE' then v.key_is
    -- Nothing changed: the first key column is set to itself.
    else coalesce(v.changes, v.key_kept) || ' where ' || v.key_is end;
  if i_op = 'UPDATE' and v_options ? 'backup' then
    v_event.ev_extra2 := pgque._capture_row(i_style, v.names, v.old_texts);
  end if;

  if i_op <> 'TRUNCATE' then
    for v_field in select unnest(array['ev_type', 'ev_extra1', 'ev_extra2', 'ev_extra3', 'ev_extra4'])
    loop
      if v_options ? v_field then
        v.overrides := v.overrides || jsonb_build_object(v_field,
          (pgque._capture_evaluate(i_search_path, i_relation, coalesce(i_new, i_old),
             '(' || (v_options ->> v_field) || E'\n)::pg_catalog.text'))[1]);
      end if;
    end loop;
    v_event := jsonb_populate_record(v_event, v.overrides);
  end if;
  perform pgque.insert_event(v_queue, v_event.ev_type, v_event.ev_data,
    v_event.ev_extra1, v_event.ev_extra2, v_event.ev_extra3, v_event.ev_extra4);
  return v_passes;
end
$$;

-- JSON: {"id":1,"name":"x"}
create or replace function pgque.jsontriga() returns trigger
language plpgsql
as $$
begin
  if not pgque._capture('json', tg_op, tg_when, tg_relid, tg_argv,
       pg_catalog.current_setting('search_path'), old::pg_catalog.text, new::pg_catalog.text) then
    return null;
  elsif tg_op operator(pg_catalog.=) 'DELETE' then
    return old;
  end if;
  return new;
end
$$;

-- URL-encoded pairs: id=1&name=x
create or replace function pgque.logutriga() returns trigger
language plpgsql
as $$
begin
  if not pgque._capture('url', tg_op, tg_when, tg_relid, tg_argv,
       pg_catalog.current_setting('search_path'), old::pg_catalog.text, new::pg_catalog.text) then
    return null;
  elsif tg_op operator(pg_catalog.=) 'DELETE' then
    return old;
  end if;
  return new;
end
$$;

-- SQL fragments: name='y' where id='1'
create or replace function pgque.sqltriga() returns trigger
language plpgsql
as $$
begin
  if not pgque._capture('sql', tg_op, tg_when, tg_relid, tg_argv,
       pg_catalog.current_setting('search_path'), old::pg_catalog.text, new::pg_catalog.text) then
    return null;
  elsif tg_op operator(pg_catalog.=) 'DELETE' then
    return old;
  end if;
  return new;
end
$$;
