/* Tickers, which run on threads of their own. */
#include "driver.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct running {
    char *name;
    pgque_ticker *ticker;
    pthread_t thread;
    pgque_error *ended_with;
    struct running *next;
} running;

static running *all;

static void *run(void *argument) {
    running *r = argument;
    r->ended_with = pgque_ticker_run(r->ticker);
    return NULL;
}

json_t *ticker_start(call *c) {
    const char *handle_name = text(c, "ticker"), *dsn = text(c, "dsn");
    pgque_options *chosen = options(c);
    pgque_ticker *ticker = NULL;
    if (!c->error) {
        failed(c, pgque_ticker_new(dsn, chosen, &ticker));
    }
    pgque_options_free(chosen);
    if (!c->error) {
        running *r = calloc(1, sizeof *r);
        r->name = strdup(handle_name);
        r->ticker = ticker;
        r->next = all;
        all = r;
        pthread_create(&r->thread, NULL, run, r);
    }
    return NULL;
}

json_t *ticker_stop(call *c) {
    const char *name = text(c, "ticker");
    running **place = &all;
    while (name && *place && strcmp((*place)->name, name) != 0) {
        place = &(*place)->next;
    }
    if (!name || !*place) {
        driver_failed(c, "no such ticker");
        return NULL;
    }
    running *r = *place;
    *place = r->next;
    failed(c, pgque_ticker_stop(r->ticker));
    pthread_join(r->thread, NULL);
    failed(c, r->ended_with);
    pgque_ticker_free(r->ticker);
    free(r->name);
    free(r);
    return NULL;
}
