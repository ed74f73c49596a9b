-- The schema and the three roles.
--
-- All files of this directory run in name order, in one transaction. Running them again over an
-- existing installation changes nothing that holds data: tables and sequences are created only when
-- missing, functions are replaced in place (same oid), grants are written down again.

set local client_min_messages = warning;

-- Nothing the installer calls may be shadowed by an object of the caller's own search_path.
set local search_path = pg_catalog, pg_temp;

-- A superuser who re-runs the installer acts for the role that owns the schema, so that one role
-- owns everything; a definer function with a second owner would not reach the tables.
do $$
declare
  v_owner name;
begin
  select pg_get_userbyid(nspowner) into v_owner from pg_namespace where nspname = 'pgque';
  if v_owner is not null and v_owner <> current_user then
    execute format('set local role %I', v_owner);
  end if;
end
$$;

create schema if not exists pgque;

-- Roles belong to the whole cluster and outlive an uninstall. Two databases may be installed at the
-- same moment, hence the exception handler. pg_authid is not read: it needs a superuser.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['pgque_reader', 'pgque_writer', 'pgque_admin'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      begin
        execute format('create role %I nologin', v_role);
      exception when duplicate_object or unique_violation then
        null;
      end;
    end if;
  end loop;
end
$$;

-- The admin consumes and produces too; reader and writer are siblings. An older release made the
-- writer a reader: that is taken back.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['pgque_reader', 'pgque_writer'] loop
    if not exists (
      select from pg_auth_members m
       where m.roleid = (select oid from pg_roles where rolname = v_role)
         and m.member = (select oid from pg_roles where rolname = 'pgque_admin')
    ) then
      execute format('grant %I to pgque_admin', v_role);
    end if;
  end loop;

  if exists (
    select from pg_auth_members m
     where m.roleid = (select oid from pg_roles where rolname = 'pgque_reader')
       and m.member = (select oid from pg_roles where rolname = 'pgque_writer')
  ) then
    revoke pgque_reader from pgque_writer;
  end if;
end
$$;
