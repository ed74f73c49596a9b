-- Change capture: triggers that send every change of a table to a queue.
--
--   create trigger orders_out after insert or update or delete on orders
--     for each row execute function pgque.jsontriga('orders', 'ignore=updated_at', 'when=total > 0')
--
-- Everything here runs with the rights of the user who changes the table and who therefore needs
-- pgque_writer: the arguments may hold SQL expressions. The trigger functions proper see the session's
-- search_path and qualify what they use; expressions are evaluated with it, everything else is not.

-- Columns of the table in its order, with the text of their old and new values; key_position counts
-- from 1 in the key. Values arrive and leave as the text of the whole row: a record parameter would tie
-- the function's plans to the first table of the session.
create or replace function pgque._capture_columns(
  i_relation oid, i_key text[], i_style text, i_old text, i_new text)
returns table (name text, key_position integer, is_magic boolean, old_text text, new_text text)
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_keys integer[];
  v_texts text;
  v_old text[];
  v_new text[];
begin
  select array_agg(a.attname::text order by a.attnum),
         array_agg(coalesce(array_position(i_key, a.attname::text),
                            case when i_key is null then k.position::integer end) order by a.attnum),
         string_agg(format(case
             when i_style <> 'json' then
               -- As in COPY: booleans are t and f.
               $f$case when num_nulls(r.%1$I) = 0 then format('%%s', r.%1$I) end$f$
             when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype,
                                 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) then
               'to_json(r.%1$I)::text'
             else 'to_json(r.%1$I::text)::text' end, a.attname), ', ' order by a.attnum)
    into v_names, v_keys, v_texts
    from pg_attribute a
    left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
    left join lateral unnest(i.indkey) with ordinality k (attnum, position) on k.attnum = a.attnum
   where a.attrelid = i_relation and a.attnum > 0 and not a.attisdropped;

  v_texts := format('select array[%s]::text[] from (select (cast($1 as %s)).*) r', v_texts,
    i_relation::regclass);
  if i_old is not null then
    execute v_texts using i_old into v_old;
  end if;
  if i_new is not null then
    execute v_texts using i_new into v_new;
  end if;
  return query
    select u.name, u.key_position, u.name ~ '^_pgq_ev_(type|extra[1-4])$', u.old_text, u.new_text
      from unnest(v_names, v_keys, v_old, v_new) u (name, key_position, old_text, new_text);
end
$$;

-- Everything but letters, digits, "-", "_" and "." becomes %xx, a space "+".
create or replace function pgque._capture_urlencode(i_text text) returns text
language sql immutable strict
return case when i_text ~ '^[A-Za-z0-9_.-]*$' then i_text else (
  select string_agg(case
           when c ~ '[A-Za-z0-9_.-]' then c
           when c = ' ' then '+'
           else regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g') end,
           '' order by n)
    from regexp_split_to_table(i_text, '') with ordinality s (c, n)) end;

-- A whole row in the trigger's style. sqltriga keeps the row before an update as an insert would.
create or replace function pgque._capture_row(i_style text, i_names text[], i_texts text[])
returns text
language sql immutable
return (
  select case i_style
    when 'json' then
      '{' || coalesce(string_agg(to_json(name)::text || ':' || coalesce(value, 'null'), ',' order by n), '')
      || '}'
    when 'url' then
      coalesce(string_agg(pgque._capture_urlencode(name)
        || coalesce('=' || pgque._capture_urlencode(value), ''), '&' order by n), '')
    else
      format('(%s) values (%s)', string_agg(quote_ident(name), ',' order by n),
        string_agg(coalesce(quote_literal(value), 'null'), ',' order by n))
    end
    from unnest(i_names, i_texts) with ordinality u (name, value, n));

-- The value of a trigger argument's expression over a row, found with the session's search_path: a
-- local setting of a function that pins its own ends with the function.
create or replace function pgque._capture_expression(
  i_search_path text, i_relation oid, i_row text, i_expression text) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  v_row text := format('(select (cast($1 as %s)).*) %I', i_relation::regclass,
    (select relname from pg_class where oid = i_relation));
  v_value text;
begin
  perform set_config('search_path', i_search_path, true);
  execute pg_catalog.format(E'select (%s\n)::pg_catalog.text from %s', i_expression, v_row)
    using i_row into v_value;
  return v_value;
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

  select coalesce(array_agg(name order by key_position) filter (where key_position > 0), '{}') as key,
         string_agg(quote_ident(name) || '=' || quote_literal(coalesce(old_text, new_text)), ' and '
                    order by key_position) filter (where key_position > 0) as key_is,
         string_agg(quote_ident(name) || '=' || quote_literal(new_text), '')
           filter (where key_position = 1) as key_kept,
         bool_or(key_position > 0 and old_text is distinct from new_text) as key_changed,
         bool_or(is_ignored and old_text is distinct from new_text) as ignored_changed,
         bool_or(is_data and old_text is distinct from new_text) as data_changed,
         string_agg(quote_ident(name) || '=' || coalesce(quote_literal(new_text), 'NULL'), ',' order by n)
           filter (where is_data and old_text is distinct from new_text) as changes,
         array_agg(name order by n) filter (where is_data) as names,
         array_agg(old_text order by n) filter (where is_data) as old_texts,
         array_agg(new_text order by n) filter (where is_data) as new_texts,
         coalesce(jsonb_object_agg(substr(name, 6), case i_style
                    when 'json' then coalesce(new_text, old_text)::json #>> '{}'
                    else coalesce(new_text, old_text) end) filter (where is_magic), '{}') as overrides
    into v
    from (select c.*, not c.is_magic and not c.is_ignored as is_data
            from (select *, not is_magic
                            and name = any (coalesce(pgque._capture_names(v_options ->> 'ignore'), '{}'))
                              as is_ignored
                    from pgque._capture_columns(i_relation, pgque._capture_names(v_options ->> 'pkey'),
                           i_style, i_old, i_new) with ordinality
                           _ (name, key_position, is_magic, old_text, new_text, n)) c) c;

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
     and pgque._capture_expression(i_search_path, i_relation, coalesce(i_new, i_old),
           v_options ->> 'when')::boolean is not true then
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
    foreach v_field in array array['ev_type', 'ev_extra1', 'ev_extra2', 'ev_extra3', 'ev_extra4'] loop
      if v_options ? v_field then
        v.overrides := v.overrides || jsonb_build_object(v_field, pgque._capture_expression(
          i_search_path, i_relation, coalesce(i_new, i_old), v_options ->> v_field));
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
