//! Change-capture triggers: every argument and every rendering.

use postgres::Client;

use crate::support::{Ask, Database, error};

/// A queue `q` and the table of the examples.
fn table() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.client();
    client.run("select pgque.create_queue('q')");
    client.run("create table public.t (id integer primary key, name text, flag boolean)");
    (database, client)
}

fn on(client: &mut Client, function: &str, arguments: &str) {
    client.run(&format!(
        "create trigger a after insert or update or delete on public.t for each row execute function pgque.{function}({arguments});
         create trigger b after truncate on public.t execute function pgque.{function}({arguments})"
    ));
}

/// The events so far, fields joined with `|`, NULL as `~`; empties the queue.
fn events(client: &mut Client) -> Vec<String> {
    let events = client.column(
        "select array_to_string(array[ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4], '|', '~')
           from pgque.event_1 order by ev_id",
    );
    client.run("truncate pgque.event_1, pgque.event_1_0");
    events
}

const CHANGES: &str = "
    insert into public.t values (1, 'x', true), (2, null, null);
    update public.t set name = 'a b&=ü/''', flag = null where id = 1;
    update public.t set name = name where id = 1;
    delete from public.t where id = 2;
    truncate public.t";

#[test]
fn jsontriga_writes_json() {
    let (_database, mut client) = table();
    on(&mut client, "jsontriga", "'q'");
    client.run(CHANGES);
    let event =
        |op: &str, data: &str| format!(r#"{{"op":"{op}","table":["public","t"],"pkey":["id"]}}|{data}|public.t|~|~|~"#);
    let changed = r#"{"id":1,"name":"a b&=ü/'","flag":null}"#;
    assert_eq!(
        events(&mut client),
        [
            event("INSERT", r#"{"id":1,"name":"x","flag":true}"#),
            event("INSERT", r#"{"id":2,"name":null,"flag":null}"#),
            event("UPDATE", changed),
            event("UPDATE", changed),
            event("DELETE", r#"{"id":2,"name":null,"flag":null}"#),
            event("TRUNCATE", "{}"),
        ]
    );
}

#[test]
fn logutriga_writes_urlencoded_pairs() {
    let (_database, mut client) = table();
    on(&mut client, "logutriga", "'q'");
    client.run(CHANGES);
    let changed = "U:id|id=1&name=a+b%26%3d%c3%bc%2f%27&flag|public.t|~|~|~";
    assert_eq!(
        events(&mut client),
        [
            "I:id|id=1&name=x&flag=t|public.t|~|~|~",
            "I:id|id=2&name&flag|public.t|~|~|~",
            changed,
            changed,
            "D:id|id=2&name&flag|public.t|~|~|~",
            "R||public.t|~|~|~",
        ]
    );
}

#[test]
fn urlencoding_keeps_letters_digits_and_three_signs() {
    let (_database, mut client) = table();
    for (text, encoded) in [
        ("", ""),
        ("AZaz09-_.", "AZaz09-_."),
        ("a b  c ", "a+b++c+"),
        ("%20+~/é€😀\n", "%2520%2b%7e%2f%c3%a9%e2%82%ac%f0%9f%98%80%0a"),
    ] {
        let row = client.query_one("select pgque._capture_urlencode($1)", &[&text]).unwrap();
        assert_eq!(row.get::<_, String>(0), encoded);
    }
}

#[test]
fn sqltriga_writes_sql() {
    let (_database, mut client) = table();
    on(&mut client, "sqltriga", "'q'");
    client.run(CHANGES);
    assert_eq!(
        events(&mut client),
        [
            "I|(id,name,flag) values ('1','x','t')|public.t|~|~|~",
            "I|(id,name,flag) values ('2',null,null)|public.t|~|~|~",
            "U|name='a b&=ü/''',flag=NULL where id='1'|public.t|~|~|~",
            "U|id='1' where id='1'|public.t|~|~|~",
            "D|id='2'|public.t|~|~|~",
            "R||public.t|~|~|~",
        ]
    );
}

/// Also a key of two columns not in table order, a dropped column, names that need quotes, and a type whose
/// text depends on the session's search_path.
#[test]
fn every_type_has_its_rendering() {
    let (_database, mut client) = table();
    client.run(
        r#"create table public."Odd" (gone integer, a smallint, b bigint, n numeric, r real, d date,
             ts timestamp, tz timestamptz, arr boolean[], js jsonb, c char(4), "We ird" text, rel regclass,
             primary key (b, a));
           alter table public."Odd" drop column gone;
           set timezone = 'UTC'; set search_path = public"#,
    );
    for function in ["jsontriga", "logutriga", "sqltriga"] {
        client.run(&format!("create trigger {function} after insert on public.\"Odd\" for each row execute function pgque.{function}('q')"));
    }
    client.run(r#"insert into "Odd" values (1, 2, 3.40, 0.5, '2020-01-02', '2020-01-02 03:04:05', '2020-01-02 03:04:05.6+00', '{t,f}', '{"a": 1}', 'x', 'back\slash', 't')"#);
    assert_eq!(
        events(&mut client),
        [
            r#"{"op":"INSERT","table":["public","Odd"],"pkey":["b","a"]}|{"a":1,"b":2,"n":"3.40","r":"0.5","d":"2020-01-02","ts":"2020-01-02T03:04:05","tz":"2020-01-02T03:04:05.6+00:00","arr":"{t,f}","js":"{\"a\": 1}","c":"x","We ird":"back\\slash","rel":"t"}|public.Odd|~|~|~"#,
            "I:b,a|a=1&b=2&n=3.40&r=0.5&d=2020-01-02&ts=2020-01-02+03%3a04%3a05&tz=2020-01-02+03%3a04%3a05.6%2b00&arr=%7bt%2cf%7d&js=%7b%22a%22%3a+1%7d&c=x+++&We+ird=back%5cslash&rel=t|public.Odd|~|~|~",
            r#"I|(a,b,n,r,d,ts,tz,arr,js,c,"We ird",rel) values ('1','2','3.40','0.5','2020-01-02','2020-01-02 03:04:05','2020-01-02 03:04:05.6+00','{t,f}','{"a": 1}','x   ',E'back\\slash','t')|public.Odd|~|~|~"#,
        ]
    );
    client.run(
        "create trigger u after update or delete on public.\"Odd\" for each row execute function pgque.sqltriga('q')",
    );
    client.run("update \"Odd\" set \"We ird\" = 'and', c = 'y'; delete from \"Odd\"");
    assert_eq!(
        events(&mut client),
        ["U|c='y   ',\"We ird\"='and' where b='2' and a='1'|public.Odd|~|~|~", "D|b='2' and a='1'|public.Odd|~|~|~"]
    );
}

#[test]
fn backup_keeps_the_row_before_an_update() {
    let (_database, mut client) = table();
    client.run("insert into public.t values (1, 'x', true)");
    for (function, old) in [
        ("jsontriga", r#"{"id":1,"name":"x","flag":true}"#),
        ("logutriga", "id=1&name=x&flag=t"),
        ("sqltriga", "(id,name,flag) values ('1','x','t')"),
    ] {
        on(&mut client, function, "'q', 'backup'");
        client.run("begin; update public.t set name = 'y'");
        let event = events(&mut client).remove(0);
        assert_eq!(event.split('|').nth(3), Some(old), "{function}");
        client.run("rollback; begin; insert into public.t values (2); delete from public.t where id = 2");
        assert!(events(&mut client).iter().all(|event| event.split('|').nth(3) == Some("~")), "{function}");
        client.run("rollback; drop trigger a on public.t; drop trigger b on public.t");
    }
}

#[test]
fn ignored_columns_are_left_out_and_alone_make_no_event() {
    let (_database, mut client) = table();
    client.run("insert into public.t values (1, 'x', true)");
    on(&mut client, "logutriga", "'q', 'ignore=flag, nothing'");
    client.run("update public.t set flag = false");
    assert_eq!(events(&mut client), [] as [String; 0]);
    client.run("update public.t set flag = true, name = 'y'; update public.t set name = 'y'; insert into public.t values (2, 'z', true)");
    assert_eq!(
        events(&mut client),
        ["U:id|id=1&name=y|public.t|~|~|~", "U:id|id=1&name=y|public.t|~|~|~", "I:id|id=2&name=z|public.t|~|~|~"],
        "an update that changes nothing is an event"
    );
}

#[test]
fn pkey_names_the_key() {
    let (_database, mut client) = table();
    on(&mut client, "sqltriga", "'q', 'pkey=name,id'");
    client.run("insert into public.t values (1, 'x', true); update public.t set flag = false");
    assert_eq!(events(&mut client)[1], "U|flag='f' where name='x' and id='1'|public.t|~|~|~");
    assert_eq!(client.fails("update public.t set name = 'y'"), error("PQ005", "primary key update not allowed"));
    assert_eq!(client.fails("update public.t set id = 5").1, "primary key update not allowed");

    client.run("alter table public.t drop constraint t_pkey; drop trigger a on public.t; drop trigger b on public.t");
    on(&mut client, "jsontriga", "'q'");
    client.run("insert into public.t values (2)");
    assert!(events(&mut client).pop().unwrap().starts_with(r#"{"op":"INSERT","table":["public","t"],"pkey":[]}|"#));
    for change in ["update public.t set name = 'y'", "delete from public.t"] {
        assert_eq!(client.fails(change), error("PQ005", "Update/Delete on table without pkey"));
    }
}

#[test]
fn expressions_override_fields_and_choose_events() {
    let (_database, mut client) = table();
    on(
        &mut client,
        "sqltriga",
        "'q', 'ev_type=upper(name)', 'ev_extra1=null', 'ev_extra2=t.id + 1', 'ev_extra3=flag', 'ev_extra4=current_user -- the end', 'when=id < 10 or name = ''always'''",
    );
    client.run("insert into public.t values (1, 'x', true), (10, 'no', true), (11, 'always', true), (12, null, null)");
    client.run(
        "update public.t set name = 'y' where id = 1; delete from public.t where id in (1, 10); truncate public.t",
    );
    let user: String = client.get("select current_user::text");
    assert_eq!(
        events(&mut client),
        [
            format!("X|(id,name,flag) values ('1','x','t')|~|2|true|{user}"),
            format!("ALWAYS|(id,name,flag) values ('11','always','t')|~|12|true|{user}"),
            format!("Y|name='y' where id='1'|~|2|true|{user}"),
            format!("Y|id='1'|~|2|true|{user}"),
            "R||public.t|~|~|~".to_owned(),
        ]
    );
}

#[test]
fn magic_columns_set_fields_and_are_no_data() {
    let (_database, mut client) = table();
    client.run("create table public.m (id integer primary key, _pgq_ev_type text, _pgq_ev_extra1 integer, _pgq_ev_extra2 text, _pgq_ev_extra3 date, _pgq_ev_extra4 text)");
    for (function, data) in [("jsontriga", r#"{"id":1}"#), ("logutriga", "id=1"), ("sqltriga", "(id) values ('1')")] {
        client.run(&format!("create trigger a after insert on public.m for each row execute function pgque.{function}('q', 'ev_extra4=id || ''!''')"));
        client.run("insert into public.m values (1, 'ty\"pe', 7, null, '2020-01-02', 'overridden')");
        assert_eq!(events(&mut client), [format!("ty\"pe|{data}|7|~|2020-01-02|1!")], "{function}");
        client.run("truncate public.m; drop trigger a on public.m");
    }
    client.run("create trigger d after delete on public.m for each row execute function pgque.logutriga('q')");
    client.run("insert into public.m values (2, 'old', 8); delete from public.m");
    assert_eq!(events(&mut client), ["old|id=2|8|~|~|~"]);
}

#[test]
fn deny_refuses_every_change() {
    let (_database, mut client) = table();
    client.run("insert into public.t values (1)");
    on(&mut client, "logutriga", "'q', 'deny'");
    for (change, op) in [
        ("insert into public.t values (2)", "INSERT"),
        ("update public.t set name = 'y'", "UPDATE"),
        ("delete from public.t", "DELETE"),
        ("truncate public.t", "TRUNCATE"),
    ] {
        let message = format!("Table 'public.t' to queue 'q': change not allowed ({op})");
        assert_eq!(client.fails(change), error("PQ005", &message));
    }
    client.run(
        "set session_replication_role = local; insert into public.t values (2); set session_replication_role = origin",
    );
    assert_eq!(client.get::<i64>("select count(*) from public.t"), 2);
    assert_eq!(events(&mut client), [] as [String; 0]);
}

#[test]
fn skip_suppresses_the_change_itself() {
    let (_database, mut client) = table();
    client.run("insert into public.t values (1)");
    for argument in ["skip", "SKIP"] {
        client.run(&format!("create trigger a before insert or update or delete on public.t for each row execute function pgque.logutriga('q', '{argument}')"));
        client.run("insert into public.t values (2); update public.t set name = 'y'; delete from public.t");
        assert_eq!(
            events(&mut client),
            [
                "I:id|id=2&name&flag|public.t|~|~|~",
                "U:id|id=1&name=y&flag|public.t|~|~|~",
                "D:id|id=1&name&flag|public.t|~|~|~"
            ]
        );
        assert_eq!(client.column::<String>("select t::text from public.t"), ["(1,,)"]);
        client.run("drop trigger a on public.t");
    }
    client.run("create trigger a before insert or update or delete on public.t for each row execute function pgque.logutriga('q')");
    client.run("insert into public.t values (2); update public.t set name = 'y'; delete from public.t where id = 1");
    assert_eq!(client.column::<String>("select t::text from public.t"), ["(2,y,)"], "without skip the change happens");
}

#[test]
fn wrong_arguments_are_refused() {
    let (_database, mut client) = table();
    for (arguments, code, message) in [
        ("", "22023", "Trigger needs queue name"),
        ("'q', 'no'", "22023", "bad argument: no"),
        ("'q', 'ev_data=x'", "22023", "bad argument: ev_data=x"),
        ("'q', 'pkey=id,no'", "22023", "no such column in pkey=id,no"),
        ("'no'", "PQ001", "queue not found: no"),
    ] {
        for function in ["jsontriga", "logutriga", "sqltriga"] {
            on(&mut client, function, arguments);
            assert_eq!(client.fails("insert into public.t values (1)"), error(code, message));
            client.run("drop trigger a on public.t; drop trigger b on public.t");
        }
    }
}

/// The rights that count are those of the user who changes the table: expressions, and the event.
#[test]
fn triggers_run_as_the_user_who_changes_the_table() {
    let (database, mut client) = table();
    client.run("grant all on public.t to pgque_writer, pgque_reader; create table public.secret (x text)");
    for function in ["jsontriga", "logutriga", "sqltriga"] {
        on(&mut client, function, "'q', 'ev_extra2=current_user', 'ev_extra3=current_setting(''search_path'')'");
        let mut writer = database.client_as("pgque_writer");
        writer.run("set search_path = public; insert into t values (1); update t set name = 'y'; delete from t; reset search_path");
        assert!(events(&mut client).iter().all(|event| event.contains("|pgque_writer|public|")), "{function}");
        let mut reader = database.client_as("pgque_reader");
        assert_eq!(reader.fails("insert into public.t values (1)").0, "42501", "{function}");
        client.run("drop trigger a on public.t; drop trigger b on public.t");

        on(&mut client, function, "'q', 'when=(select count(*) from public.secret) = 0'");
        assert_eq!(writer.fails("insert into public.t values (1)").0, "42501", "{function}");
        client.run("drop trigger a on public.t; drop trigger b on public.t");
    }
    let mut writer = database.client_as("pgque_writer");
    writer.run("create temporary table mine (id integer)");
    let create = "create trigger x after insert on mine for each row execute function pgque.logutriga('q')";
    assert_eq!(writer.fails(create).0, "42501", "triggers are made by admins");
}
