/* Producers, and many threads that send through one. */
#include "driver.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct named {
    char *name;
    pgque_producer *producer;
    struct named *next;
} named;

static named *all;

static pgque_producer *producer(call *c) {
    const char *name = text(c, "producer");
    for (named *n = all; name && n; n = n->next) {
        if (strcmp(n->name, name) == 0) {
            return n->producer;
        }
    }
    driver_failed(c, "no such producer");
    return NULL;
}

json_t *producer_start(call *c) {
    const char *name = text(c, "producer"), *dsn = text(c, "dsn");
    pgque_options *chosen = options(c);
    pgque_producer *made = NULL;
    if (!c->error) {
        failed(c, pgque_producer_new(dsn, chosen, &made));
    }
    pgque_options_free(chosen);
    if (!c->error) {
        named *n = calloc(1, sizeof *n);
        n->name = strdup(name);
        n->producer = made;
        n->next = all;
        all = n;
    }
    return NULL;
}

json_t *producer_send(call *c) {
    pgque_producer *on = producer(c);
    const char *queue = text(c, "queue");
    pgque_event *made = event(c);
    int64_t id = 0;
    if (!c->error) {
        failed(c, pgque_producer_send_event(on, queue, made, &id));
    }
    pgque_event_free(made);
    return id_text(id);
}

/* What the threads of one request share. */
typedef struct {
    call *c;
    pgque_producer *producer;
    const char *queue, *type;
    char **payloads;
    int64_t *ids;
    size_t count, next;
    pthread_mutex_t lock; /* of next, and of the call's error */
} work;

static bool take(work *w, size_t *index) {
    pthread_mutex_lock(&w->lock);
    bool taken = w->next < w->count && !w->c->error;
    *index = w->next;
    w->next += taken;
    pthread_mutex_unlock(&w->lock);
    return taken;
}

static void *send_some(void *argument) {
    work *w = argument;
    for (size_t i; take(w, &i);) {
        pgque_error *error = pgque_producer_send(w->producer, w->queue, w->type, w->payloads[i],
                                                 strlen(w->payloads[i]), &w->ids[i]);
        if (error) {
            pthread_mutex_lock(&w->lock);
            failed(w->c, error);
            pthread_mutex_unlock(&w->lock);
        }
    }
    return NULL;
}

static void send_all(work *w, size_t tasks) {
    pthread_t *threads = calloc(tasks + 1, sizeof *threads);
    pthread_mutex_init(&w->lock, NULL);
    for (size_t i = 0; i < tasks; i++) {
        pthread_create(&threads[i], NULL, send_some, w);
    }
    for (size_t i = 0; i < tasks; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&w->lock);
    free(threads);
}

json_t *producer_send_many(call *c) {
    const json_t *payloads = json_object_get(c->request, "payloads");
    size_t count = json_array_size(payloads);
    work w = {.c = c, .producer = producer(c), .queue = text(c, "queue"), .type = maybe_text(c, "type")};
    w.payloads = calloc(count + 1, sizeof *w.payloads);
    w.ids = calloc(count + 1, sizeof *w.ids);
    w.count = count;
    for (size_t i = 0; i < count; i++) {
        w.payloads[i] = json_text(json_array_get(payloads, i));
    }
    if (!c->error) {
        send_all(&w, (size_t)integer(c, "tasks", 1));
    }
    json_t *ids = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(ids, id_text(w.ids[i]));
        free(w.payloads[i]);
    }
    free(w.payloads);
    free(w.ids);
    return ids;
}

json_t *producer_submit(call *c) {
    pgque_producer *on = producer(c);
    return on ? submit_all(c, on) : NULL;
}

json_t *producer_flush(call *c) {
    pgque_producer *on = producer(c);
    if (on) {
        failed(c, pgque_producer_flush(on));
    }
    return NULL;
}

json_t *producer_close(call *c) {
    pgque_producer *on = producer(c);
    bool limited = json_is_number(json_object_get(c->request, "deadline"));
    if (on) {
        failed(c, pgque_producer_close(on, limited ? seconds(c, "deadline") : INFINITY));
    }
    return NULL;
}

json_t *producer_stats(call *c) {
    pgque_producer *on = producer(c);
    pgque_producer_counters s;
    if (!on) {
        return NULL;
    }
    failed(c, pgque_producer_stats(on, &s, sizeof s));
    return json_pack("{sI, sI, sI, sI, sI, sI, sI}", "sent", (json_int_t)s.sent, "failed",
                     (json_int_t)s.failed, "uncertain", (json_int_t)s.uncertain, "batches",
                     (json_int_t)s.batches, "batch_size", (json_int_t)s.batch_size, "queue_length",
                     (json_int_t)s.queue_length, "reconnects", (json_int_t)s.reconnects);
}
