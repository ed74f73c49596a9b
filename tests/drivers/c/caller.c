/* A connection of the caller's own, by libpq, given to the library to run its statements on. */
#include "driver.h"

#include <libpq-fe.h>
#include <stdlib.h>

static void caller_failed(call *c, PGconn *connection, const PGresult *result) {
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (!c->error) {
        c->error = json_pack("{ss, si, ss, ss?}", "kind", "caller", "number", 0, "message",
                             message ? message : PQerrorMessage(connection), "sqlstate", sqlstate);
    }
}

caller_connection *caller_open(call *c, const char *dsn) {
    PGconn *connection = PQconnectdb(dsn);
    if (PQstatus(connection) != CONNECTION_OK || PQsetClientEncoding(connection, "UTF8") != 0) {
        caller_failed(c, connection, NULL);
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

void caller_close(void *connection) { PQfinish(connection); }

void caller_run(call *c, caller_connection *connection, const char *sql) {
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        caller_failed(c, connection, result);
    }
    PQclear(result);
}

static void tell_error(pgque_answer *answer, PGconn *connection, const PGresult *result) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    pgque_error *error;
    if (sqlstate) {
        error =
            pgque_answer_server_error(answer, sqlstate, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
                                      PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL),
                                      PQresultErrorField(result, PG_DIAG_MESSAGE_HINT),
                                      PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME));
    } else {
        error = pgque_answer_connection_error(answer, PQerrorMessage(connection));
    }
    pgque_error_free(error);
}

static bool tell_row(pgque_answer *answer, const PGresult *result, int row) {
    int count = PQnfields(result);
    pgque_bytes *cells = calloc((size_t)count + 1, sizeof *cells);
    for (int i = 0; i < count; i++) {
        if (!PQgetisnull(result, row, i)) {
            cells[i].data = PQgetvalue(result, row, i);
            cells[i].len = (size_t)PQgetlength(result, row, i);
        }
    }
    pgque_error *error = pgque_answer_add_row(answer, cells, (size_t)count);
    bool told = error == NULL;
    pgque_error_free(error);
    free(cells);
    return told;
}

bool caller_query(const char *sql, const char *const *params, size_t params_count, pgque_answer *answer,
                  void *connection) {
    PGresult *result = PQexecParams(connection, sql, (int)params_count, NULL, params, NULL, NULL, 0);
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!ok) {
        tell_error(answer, connection, result);
    }
    for (int row = 0; ok && row < PQntuples(result); row++) {
        ok = tell_row(answer, result, row);
    }
    PQclear(result);
    return ok;
}
