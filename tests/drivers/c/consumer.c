/* Consumers, which run on threads of their own. */
#include "consumer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static running *all;

static running *add(const char *name, pgque_consumer *consumer) {
    running *r = calloc(1, sizeof *r);
    r->name = strdup(name);
    r->consumer = consumer;
    r->behaviours = json_array();
    r->failed_before = json_object();
    r->seen = json_array();
    r->hooks = json_array();
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->next = all;
    all = r;
    return r;
}

static running **find(call *c) {
    const char *name = text(c, "consumer");
    for (running **r = &all; name && *r; r = &(*r)->next) {
        if (strcmp((*r)->name, name) == 0) {
            return r;
        }
    }
    driver_failed(c, "no such consumer");
    return NULL;
}

static void handle(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    running *r = user_data;
    see(r, message);
    const char *behaviour = json_string_value(json_array_get(r->behaviours, (size_t)handler));
    pgque_error_free(behave(r, behaviour, message, verdict));
}

static void handle_batch(const pgque_batch *batch, void *user_data) {
    running *r = user_data;
    for (size_t i = 0; i < pgque_batch_count(batch); i++) {
        see(r, pgque_batch_message(batch, i));
        if (strcmp(r->batch_behaviour, "fail") == 0) {
            pgque_error_free(pgque_batch_fail(batch, i, "handler failed on purpose"));
        } else if (i % 2 == 0 || strcmp(r->batch_behaviour, "ack") == 0) {
            pgque_error_free(pgque_batch_ack(batch, i));
        }
    }
}

static void on_failure(int64_t attempt, const char *error, pgque_verdict *verdict, void *user_data) {
    running *r = user_data;
    (void)attempt, (void)error;
    pgque_error_free(strcmp(r->on_failure, "dead") == 0
                         ? pgque_verdict_dead(verdict, NULL)
                         : pgque_verdict_retry(verdict, pgque_interval_seconds(0), NULL));
}

static void note(running *r, const char *format, ...) {
    char line[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&r->lock);
    json_array_append_new(r->hooks, json_string(line));
    pthread_mutex_unlock(&r->lock);
}

static void before(const pgque_message *message, void *user_data) {
    note(user_data, "before %lld", (long long)pgque_message_id(message));
}

static void after(const pgque_message *message, const char *outcome, double seconds, void *user_data) {
    (void)seconds;
    note(user_data, "after %lld %s", (long long)pgque_message_id(message), outcome);
}

static void *run(void *argument) {
    running *r = argument;
    r->ended_with = r->batch_behaviour ? pgque_consumer_run_batches(r->consumer, handle_batch, r)
                                       : pgque_consumer_run(r->consumer, handle, r);
    return NULL;
}

static void add_handlers(call *c, running *r) {
    const char *type;
    json_t *behaviour;
    json_object_foreach(json_object_get(c->request, "handlers"), type, behaviour) {
        int64_t number = 0;
        failed(c, pgque_consumer_on(r->consumer, type, &number));
        json_array_insert(r->behaviours, (size_t)number, behaviour);
    }
}

static void add_callbacks(call *c, running *r) {
    const char *batch_behaviour = maybe_text(c, "batch_handler"), *decision = maybe_text(c, "on_failure");
    if (batch_behaviour) {
        r->batch_behaviour = strdup(batch_behaviour);
    }
    if (decision) {
        r->on_failure = strdup(decision);
        failed(c, pgque_consumer_on_failure(r->consumer, on_failure, r, NULL));
    }
    if (flag(c, "hooks")) {
        failed(c, pgque_consumer_before_message(r->consumer, before, r, NULL));
        failed(c, pgque_consumer_after_message(r->consumer, after, r, NULL));
    }
}

json_t *consumer_start(call *c) {
    const char *handle_name = text(c, "consumer"), *dsn = text(c, "dsn");
    const char *queue = text(c, "queue"), *name = text(c, "name");
    pgque_options *chosen = options(c);
    pgque_consumer *consumer = NULL;
    if (!c->error) {
        failed(c, pgque_consumer_new(dsn, queue, name, chosen, &consumer));
    }
    pgque_options_free(chosen);
    if (!c->error) {
        running *r = add(handle_name, consumer);
        add_handlers(c, r);
        add_callbacks(c, r);
        pthread_create(&r->thread, NULL, run, r);
    }
    return NULL;
}

json_t *consumer_seen(call *c) {
    running **place = find(c);
    if (!place) {
        return NULL;
    }
    running *r = *place;
    size_t count = (size_t)integer(c, "count", 0);
    struct timespec end = after_seconds(seconds(c, "timeout"));
    int timed_out = 0;
    pthread_mutex_lock(&r->lock);
    while (json_array_size(r->seen) < count && !timed_out) {
        timed_out = pthread_cond_timedwait(&r->changed, &r->lock, &end);
    }
    json_t *copy = json_deep_copy(r->seen);
    pthread_mutex_unlock(&r->lock);
    return copy;
}

json_t *consumer_hooks(call *c) {
    running **place = find(c);
    if (!place) {
        return NULL;
    }
    pthread_mutex_lock(&(*place)->lock);
    json_t *copy = json_deep_copy((*place)->hooks);
    pthread_mutex_unlock(&(*place)->lock);
    return copy;
}

json_t *consumer_stats(call *c) {
    running **place = find(c);
    pgque_stats s;
    if (!place) {
        return NULL;
    }
    failed(c, pgque_consumer_stats((*place)->consumer, &s, sizeof s));
    return json_pack("{sI, sI, sI, sI, sI, sI, sI, sI, sI, sf, sI, sf}", "batches", (json_int_t)s.batches,
                     "received", (json_int_t)s.received, "handled", (json_int_t)s.handled, "failed",
                     (json_int_t)s.failed, "retried", (json_int_t)s.retried, "dead", (json_int_t)s.dead,
                     "handed_back", (json_int_t)s.handed_back, "reconnects", (json_int_t)s.reconnects,
                     "batch_size", (json_int_t)s.batch_size, "handler_seconds", s.handler_seconds,
                     "lag_events", (json_int_t)s.lag_events, "lag_seconds", s.lag_seconds);
}

json_t *consumer_health(call *c) {
    running **place = find(c);
    pgque_health *health = NULL;
    if (!place) {
        return NULL;
    }
    failed(c, pgque_consumer_health((*place)->consumer, &health));
    json_t *made = json_pack("{ss, sb, so, ss?}", "status", pgque_health_status(health), "alive",
                             pgque_health_alive(health), "since", id_text(pgque_health_since_us(health)),
                             "last_error", pgque_health_last_error(health));
    pgque_health_free(health);
    return made;
}

json_t *consumer_ask_stop(call *c) {
    running **place = find(c);
    if (place) {
        failed(c, pgque_consumer_stop((*place)->consumer));
    }
    return NULL;
}

json_t *consumer_stop(call *c) {
    running **place = find(c);
    if (!place) {
        return NULL;
    }
    running *r = *place;
    *place = r->next;
    failed(c, pgque_consumer_stop(r->consumer));
    pthread_join(r->thread, NULL);
    failed(c, r->ended_with);
    /* The rest stays: after a forced stop a handler may still use it. */
    pgque_consumer_free(r->consumer);
    return NULL;
}
