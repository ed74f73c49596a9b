/* The clients by their names, and the caller's own connections behind some of them. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct named {
    char *name;
    pgque_client *client;
    caller_connection *caller;
    struct named *next;
} named;

static named *clients;

static named *find(call *c) {
    const char *name = text(c, "client");
    for (named *n = clients; name && n; n = n->next) {
        if (strcmp(n->name, name) == 0) {
            return n;
        }
    }
    driver_failed(c, "no such client");
    return NULL;
}

static void add(const char *name, pgque_client *client, caller_connection *caller) {
    named *n = calloc(1, sizeof *n);
    n->name = strdup(name);
    n->client = client;
    n->caller = caller;
    n->next = clients;
    clients = n;
}

pgque_client *client(call *c) {
    named *n = find(c);
    return n ? n->client : NULL;
}

json_t *connect_own(call *c) {
    const char *name = text(c, "client"), *dsn = text(c, "dsn");
    const json_t *autocommit = json_object_get(c->request, "autocommit");
    pgque_client *made = NULL;
    if (!c->error) {
        failed(c, pgque_client_connect(dsn, &made));
    }
    if (!c->error && autocommit) {
        failed(c, pgque_client_set_autocommit(made, json_is_true(autocommit)));
    }
    if (!c->error) {
        add(name, made, NULL);
    }
    return NULL;
}

json_t *connect_caller(call *c) {
    const char *name = text(c, "client"), *dsn = text(c, "dsn");
    caller_connection *caller = c->error ? NULL : caller_open(c, dsn);
    pgque_client *made = NULL;
    if (caller) {
        failed(c, pgque_client_over(caller_query, caller, caller_close, &made));
    }
    if (!c->error) {
        add(name, made, caller);
    }
    return NULL;
}

json_t *caller_execute(call *c) {
    named *n = find(c);
    const char *sql = text(c, "sql");
    if (!c->error && !n->caller) {
        driver_failed(c, "this client is not on a connection of the caller's");
    }
    if (!c->error) {
        caller_run(c, n->caller, sql);
    }
    return NULL;
}
