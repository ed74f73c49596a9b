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

static running **find(call *c) {
    const char *name = text(c, "ticker");
    for (running **r = &all; name && *r; r = &(*r)->next) {
        if (strcmp((*r)->name, name) == 0) {
            return r;
        }
    }
    driver_failed(c, "no such ticker");
    return NULL;
}

json_t *ticker_stats(call *c) {
    running **place = find(c);
    pgque_ticker_counters s;
    pgque_health *health = NULL;
    if (!place) {
        return NULL;
    }
    failed(c, pgque_ticker_stats((*place)->ticker, &s, sizeof s));
    failed(c, pgque_ticker_health((*place)->ticker, &health));
    json_t *made = json_pack("{ss, so, ss?, sI, sI, sI, sI, sI}", "state", pgque_health_status(health),
                             "since", id_text(pgque_health_since_us(health)), "last_error",
                             pgque_health_last_error(health), "ticks", (json_int_t)s.ticks, "retries",
                             (json_int_t)s.retries, "rotations", (json_int_t)s.rotations, "reconnects",
                             (json_int_t)s.reconnects, "failures", (json_int_t)s.failures);
    pgque_health_free(health);
    return made;
}

json_t *ticker_stop(call *c) {
    running **place = find(c);
    if (!place) {
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
