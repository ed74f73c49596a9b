"""What the engine's calls cost on the server, beside a plain INSERT and, where it is installed, classic PgQ.

Every figure is the median of several rounds, and in each round the competitors take turns, so that a busy
machine slows all of them. Compare ratios; the times depend on the machine. "cpu" is the processor time of
the server's process where Linux tells it: what the elapsed time would be if nothing else ran.
"""

import argparse
import json
import os
import statistics
import threading
import time

import psycopg
from psycopg.conninfo import make_conninfo

HELPERS = """
-- Microseconds of processor time of this process; NULL where the system does not say.
create function public.cpu() returns float8 language plpgsql as $$
begin
  return split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1000;
exception when others then
  return null;
end $$;

create function public.us(started timestamptz, n bigint) returns float8 language sql
  return extract(epoch from clock_timestamp() - started) * 1e6 / n;

-- Elapsed and processor time of each call.
create function public.repeat_call(call text, n integer) returns float8[] language plpgsql as $f$
begin
  execute format($d$create or replace function pg_temp.loop(n integer) returns float8[] language plpgsql as $b$
    declare c float8 := public.cpu(); t timestamptz := clock_timestamp();
    begin
      for i in 1 .. n loop %s; end loop;
      return array[public.us(t, n), (public.cpu() - c) / n];
    end $b$ $d$, call);
  return pg_temp.loop(n);
end $f$;

create procedure public.fill(queue text, batches integer, events integer) language plpgsql as $$
begin
  for i in 1 .. batches loop
    perform pgque.send_batch(queue, array_fill('{"a":1}'::text, array[events])); commit;
    perform pgque.ticker_pending(); commit;
  end loop;
end $$;

create procedure public.pairs(n integer, inout us float8[] default null) language plpgsql as $$
declare c float8 := public.cpu(); t timestamptz := clock_timestamp(); v_batch bigint;
begin
  for i in 1 .. n loop
    select max(batch_id) into v_batch from pgque.receive('pairs', 'c'); commit;
    perform pgque.ack(v_batch); commit;
  end loop;
  us := array[public.us(t, n), (public.cpu() - c) / n];
end $$;
"""

PLAIN = """insert into public.plain (ev_id, ev_time, ev_type, ev_data)
           values (nextval('public.plain_seq'), now(), 'default', '{"a":1}')"""


def medians(pairs):
    """Of elapsed and of processor times."""
    return [
        None if None in column else statistics.median(column) for column in zip(*pairs, strict=True)
    ]


class Bench:
    def __init__(self, dsn, rounds, scale):
        self.dsn, self.rounds, self.scale = dsn, rounds, scale
        self.sql = self.connect()
        self.rows = []
        self.peer = self.ask(
            "select exists (select from pg_available_extensions where name = 'pgq')"
        )

    def connect(self):
        return psycopg.connect(self.dsn, autocommit=True)

    def ask(self, sql, *args):
        # Without arguments there is no placeholder to look for, and % means itself.
        row = self.sql.execute(sql, args or None).fetchone()
        return row[0] if row else None

    def run(self, *statements):
        for statement in statements:
            self.sql.execute(statement)

    def timed(self, sql, *args):
        """Seconds that the statement took: elapsed, as the server's caller sees it, and of processor time."""
        cpu = self.ask("select public.cpu()")
        started = time.perf_counter()
        self.sql.execute(sql, args or None).fetchall()
        elapsed = time.perf_counter() - started
        return [elapsed, (self.ask("select public.cpu()") - cpu) / 1e6 if cpu is not None else None]

    def n(self, count):
        return max(1, int(count * self.scale))

    def queue(self, name, *consumers):
        self.run(f"select pgque.create_queue('{name}')")
        for consumer in consumers:
            self.run(f"select pgque.subscribe('{name}', '{consumer}')")

    def row(self, work, ours, unit, target, cpu=None, **beside):
        self.rows.append(
            {
                "work": work,
                "ours": ours,
                "cpu": cpu,
                "unit": unit,
                "target": target,
                "beside": beside,
            }
        )

    def alternate(self, competitors):
        """The median of each competitor, which take turns."""
        figures = {name: [] for name in competitors}
        for _ in range(self.rounds):
            for name, measure in competitors.items():
                figures[name].append(measure())
        return {name: medians(values) for name, values in figures.items()}

    # --- producing ---------------------------------------------------------------------------------------

    def prepare(self):
        self.run(HELPERS)
        self.run(
            "create sequence public.plain_seq",
            "create table public.plain (like pgque.event_template including defaults)",
            "create index on public.plain (ev_txid)",
        )
        self.queue("send")
        if self.peer:
            self.run("create extension pgq", "select pgq.create_queue('send')")

    def send(self):
        count = self.n(20000)

        def loop(call):
            return lambda: self.ask("select public.repeat_call(%s, %s)", call, count)

        competitors = {
            "ours": loop("""perform pgque.send('send', 'default', '{"a":1}'::text)"""),
            "as jsonb": loop("""perform pgque.send('send', '{"a":1}'::jsonb)"""),
            "plain INSERT": loop(PLAIN),
        }
        if self.peer:
            competitors["pgq.insert_event"] = loop(
                """perform pgq.insert_event('send', 'default', '{"a":1}')"""
            )
        for measure in competitors.values():
            measure()
        us = self.alternate(competitors)
        elapsed, cpu = us.pop("ours")
        self.row("send in a loop", elapsed, "µs", "≤ 12", cpu, **flat(us))

    def send_batch(self):
        count = self.n(100)

        def loop(call):
            return lambda: self.ask("select public.repeat_call(%s, %s)", call, count)

        us = self.alternate(
            {
                "ours": loop(
                    """perform pgque.send_batch('send', 'default', array_fill('{"a":1}'::text, array[1000]))"""
                ),
                "plain INSERT": loop("""insert into public.plain (ev_id, ev_time, ev_type, ev_data)
                select nextval('public.plain_seq'), now(), 'default', d
                  from unnest(array_fill('{"a":1}'::text, array[1000])) d"""),
            }
        )
        (ours, ours_cpu), (plain, plain_cpu) = us["ours"], us["plain INSERT"]
        self.row(
            "send_batch of 1000, rate against plain INSERT",
            plain / ours,
            "x",
            "≥ 0.5",
            plain_cpu / ours_cpu if ours_cpu else None,
            **{"µs/event": ours / 1000, "plain": plain / 1000},
        )

    # --- consuming ---------------------------------------------------------------------------------------

    def receive_large(self):
        count = self.n(500000)
        self.queue("large", "c")
        events = (
            f"select pgque.send_batch('large', array_fill('{{\"a\":1}}'::text, array[{count}]))"
        )
        self.run(events, "select pgque.ticker_pending()")
        competitors = {
            "ours": lambda: self.timed("select count(*) from pgque.receive('large', 'c', null)")
        }
        if self.peer:
            self.run(
                "select pgq.create_queue('large')",
                "select pgq.register_consumer('large', 'c')",
                f"""select count(pgq.insert_event('large', 'default', '{{"a":1}}'))
                           from generate_series(1, {count})""",
                "select pgq.force_tick('large')",
                "select pgq.ticker('large')",
            )
            batch = self.ask("select pgq.next_batch('large', 'c')")
            competitors["pgq.get_batch_events"] = lambda: self.timed(
                f"select count(*) from pgq.get_batch_events({batch})"
            )
        seconds = self.alternate(competitors)
        rate = {
            name: [value and count / value / 1e6 for value in pair]
            for name, pair in seconds.items()
        }
        elapsed, cpu = rate.pop("ours")
        self.row(f"receive of {count} events", elapsed, "M/s", "≥ 1", cpu, **flat(rate))

    def pairs(self):
        count, rounds = self.n(600), self.rounds
        self.queue("pairs", "c")
        self.run(f"call public.fill('pairs', {2 * rounds * count}, 20)")
        quiet, cpu = medians([self.ask(f"call public.pairs({count})") for _ in range(rounds)])
        with self.connect() as old:
            old.execute("begin isolation level repeatable read")
            old.execute("select count(*) from pgque.subscription")
            held = [self.ask(f"call public.pairs({count})") for _ in range(rounds)]
            old.execute("rollback")
        self.row("receive + ack of 20 events", quiet, "µs", "≤ 450", cpu, reference=900.0)
        self.row(
            "… under an old snapshot, last against first",
            held[-1][0] / held[0][0],
            "x",
            "≈ 1",
            held[-1][1] / held[0][1] if cpu else None,
            **{"first µs": held[0][0], "last µs": held[-1][0]},
        )

    def verdicts(self):
        count = self.n(10000)
        self.queue("nack", "c")
        self.run(f"call public.fill('nack', 1, {count})")
        each, cpu = self.timed(
            "select count(pgque.nack(batch_id, m, '0 s')) from pgque.receive('nack', 'c', null) m"
        )
        self.row(f"nack of each of {count}", each, "s", "≤ 5", cpu)
        self.run("delete from pgque.retry_queue")
        batch, ids = self.sql.execute(
            "select max(batch_id), array_agg(msg_id) from pgque.receive('nack', 'c', null)"
        ).fetchone()
        # Retries are due at once, for the next row.
        elapsed, cpu = self.timed(
            "select pgque.finish(%s, %s, %s::interval[])", batch, ids, ["0 s"] * len(ids)
        )
        self.row("finish with all of them failed", elapsed, "s", "≤ 0.5", cpu)
        elapsed, cpu = self.timed("select pgque.maint_retry_events()")
        left = self.ask("select count(*) from pgque.retry_queue")
        self.row(
            f"{count} due retries moved by one call", elapsed, "s", "≤ 1", cpu, left=float(left)
        )

    def pages(self):
        count = self.n(1000000)
        self.queue("pages", "c")
        # In lots, for the server would need much memory for all of them at once; all in one transaction.
        self.run(
            f"""select count(pgque.send_batch('pages', 't', array_fill(repeat('x', 1000), array[1000])))
                  from generate_series(1, {count // 1000})""",
            "select pgque.ticker_pending()",
        )
        token, pages, left = None, [], True
        started = time.perf_counter()
        while left:
            elapsed, _ = self.timed("select pgque.receive_page('pages', 'c', 'w', 10000) is null")
            pages.append(elapsed)
            token = self.ask("select page_token from pgque.page_state where page_worker = 'w'")
            left = not self.ask("select batch_finished from pgque.ack_page(%s, 'w')", token)
        total = time.perf_counter() - started
        self.row("first page of 10000, of a batch of GB", pages[0] * 1000, "ms", "≤ 200")
        self.row(f"all {len(pages)} pages with ack", total, "s", "≤ 30", slowest=max(pages) * 1000)

    def cooperative(self):
        windows = self.n(40)
        seconds = {}
        for workers in (1, 2, 4):
            name = f"coop{workers}"
            self.queue(name)
            for worker in range(workers):
                self.run(f"select pgque.subscribe_subconsumer('{name}', 'g', 'w{worker}')")
            self.run(f"call public.fill('{name}', {windows}, 1)")
            sessions = [self.connect() for _ in range(workers)]
            threads = [
                threading.Thread(target=work, args=(session, name, worker))
                for worker, session in enumerate(sessions)
            ]
            started = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds[workers] = time.perf_counter() - started
            for session in sessions:
                session.close()
        for workers, target in ((2, "≥ 1.8"), (4, "≥ 3.5")):
            self.row(
                f"{workers} cooperative workers against 1",
                seconds[1] / seconds[workers],
                "x",
                target,
                **{"1 s": seconds[1], f"{workers} s": seconds[workers]},
            )

    def idle(self):
        self.queue("idle", "c")
        self.run(
            "call public.fill('idle', 1, 1)",
            "select pgque.ack(batch_id) from pgque.receive('idle', 'c')",
        )
        figures = []
        # The least of several: the server writes WAL of its own now and then.
        for _ in range(5):
            with self.sql.transaction():
                position = self.ask("select pg_current_wal_insert_lsn()")
                self.run("select pgque.receive('idle', 'c')")
                xid = self.ask("select (pg_current_xact_id_if_assigned() is not null)::integer")
                figures.append(
                    (
                        xid,
                        float(
                            self.ask("select pg_current_wal_insert_lsn() - %s::pg_lsn", position)
                        ),
                    )
                )
        xid, wal = min(figures)
        self.row("idle receive: transaction ids", float(xid), "", "0", **{"WAL bytes": wal})

    def ticker(self):
        count = self.n(1000)
        self.run("set client_min_messages = error")
        for first in range(0, count, 50):
            self.run(
                f"select pgque.create_queue('idle' || i) from generate_series({first}, {min(first + 49, count - 1)}) i"
            )
        for _ in range(3):
            self.run("select pgque.ticker()")
        elapsed, cpu = medians(
            [self.timed("select pgque.ticker()") for _ in range(5 * self.rounds)]
        )
        self.row(f"ticker, {count} idle queues", elapsed * 1000, "ms", "≤ 10", cpu and cpu * 1000)


def work(session, queue, worker):
    """Receives, works for 50 ms and acknowledges, in one transaction each, until nothing is left."""
    receive = f"select max(batch_id) from pgque.receive_coop('{queue}', 'g', 'w{worker}')"
    while True:
        with session.transaction():
            batch = session.execute(receive).fetchone()[0]
            if batch is None:
                return
            time.sleep(0.05)
            session.execute(f"select pgque.ack({batch})")


def flat(figures):
    """Elapsed times under the competitors' names, processor times beside them."""
    out = {}
    for name, (elapsed, cpu) in figures.items():
        out[name] = elapsed
        if cpu is not None:
            out[f"{name} (cpu)"] = cpu
    return out


def report(bench):
    lines = [("work", "measured", "cpu", "reach", "beside")]
    for row in bench.rows:
        beside = ", ".join(f"{name} {value:.4g}" for name, value in row["beside"].items())
        cpu = "" if row["cpu"] is None else f"{row['cpu']:.4g}"
        lines.append(
            (row["work"], f"{row['ours']:.4g} {row['unit']}".strip(), cpu, row["target"], beside)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
    if not bench.peer:
        print("classic PgQ is not installed here (Debian: postgresql-15-pgq3)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each competitor (default 3)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="part of the full amount of work (default 1)"
    )
    parser.add_argument("--only", action="append", help="a group of rows; may be repeated")
    parser.add_argument("--sql", default=os.path.join(os.path.dirname(__file__), "../../core/sql"))
    options = parser.parse_args()

    dsn = os.environ["PGQUE_TEST_DSN"]
    name = f"pgque_bench_{os.getpid()}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        try:
            measure(make_conninfo(dsn, dbname=name), options)
        finally:
            admin.execute(f"drop database {name} with (force)")


def measure(dsn, options):
    with psycopg.connect(dsn) as installer:
        for file in sorted(os.listdir(options.sql)):
            if file.endswith(".sql"):
                with open(os.path.join(options.sql, file), encoding="utf-8") as text:
                    installer.execute(text.read())
    bench = Bench(dsn, options.rounds, options.scale)
    bench.prepare()
    groups = [
        "send",
        "send_batch",
        "receive_large",
        "pairs",
        "verdicts",
        "pages",
        "cooperative",
        "idle",
        "ticker",
    ]
    for group in options.only or groups:
        getattr(bench, group)()
    if options.json:
        print(json.dumps(bench.rows, indent=2, ensure_ascii=False))
    else:
        report(bench)
    bench.sql.close()


if __name__ == "__main__":
    main()
