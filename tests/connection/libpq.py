"""Connects with libpq itself: lines of JSON in (dsn, env, sql), what came of it out. Each in a process of its own, for
libpq reads the environment."""

import json
import os
import sys

from psycopg import pq


def connect(dsn: str, sql: str) -> dict:
    connection = pq.PGconn.connect(dsn.encode())
    if connection.status != pq.ConnStatus.OK:
        return {"error": connection.error_message.decode(errors="replace").strip()}
    result = connection.exec_(sql.encode())
    if result.status != pq.ExecStatus.TUPLES_OK:
        return {"error": result.error_message.decode(errors="replace").strip()}
    return {"connected": result.get_value(0, 0).decode()}


for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        # OpenSSL asks there for the password of a key.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["env"])
        print(json.dumps(connect(request["dsn"], request["sql"])), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
