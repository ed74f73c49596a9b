/* Consumers and tickers, which run on threads of their own. */
#include "driver.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A running consumer, or a running ticker. */
typedef struct running {
    char *name;
    pgque_consumer *consumer;
    pgque_ticker *ticker;
    json_t *behaviours;    /* in the order of the handlers' numbers */
    json_t *failed_before; /* message ids, the handler's own */
    json_t *seen;          /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    pgque_error *ended_with;
    struct running *next;
} running;

static running *all;

static running *add(const char *name) {
    running *r = calloc(1, sizeof *r);
    r->name = strdup(name);
    r->behaviours = json_array();
    r->failed_before = json_object();
    r->seen = json_array();
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->next = all;
    all = r;
    return r;
}

static running **find(call *c, const char *argument) {
    const char *name = text(c, argument);
    for (running **r = &all; name && *r; r = &(*r)->next) {
        if (strcmp((*r)->name, name) == 0) {
            return r;
        }
    }
    driver_failed(c, "no such handle");
    return NULL;
}

static bool first_time(running *r, const pgque_message *message) {
    json_t *msg_id = id_text(pgque_message_id(message));
    bool first = !json_object_get(r->failed_before, json_string_value(msg_id));
    json_object_set_new(r->failed_before, json_string_value(msg_id), json_true());
    json_decref(msg_id);
    return first;
}

static pgque_error *fail(pgque_verdict *verdict) {
    return pgque_verdict_retry(verdict, pgque_interval_none(), "handler failed on purpose");
}

static pgque_error *behave(running *r, const char *behaviour, const pgque_message *message,
                           pgque_verdict *verdict) {
    if (strcmp(behaviour, "fail") == 0 || (strcmp(behaviour, "fail_once") == 0 && first_time(r, message))) {
        return fail(verdict);
    }
    if (strcmp(behaviour, "retry") == 0) {
        return pgque_verdict_retry(verdict, pgque_interval_seconds(0), "later");
    }
    if (strcmp(behaviour, "dead") == 0) {
        return pgque_verdict_dead(verdict, "beyond repair");
    }
    if (strcmp(behaviour, "hang") == 0) {
        sleep(60);
    } else if (strcmp(behaviour, "slow") == 0) {
        sleep(3);
    }
    return pgque_verdict_ack(verdict);
}

static void handle(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    running *r = user_data;
    pthread_mutex_lock(&r->lock);
    json_array_append_new(r->seen, message_json(message));
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    const char *behaviour = json_string_value(json_array_get(r->behaviours, (size_t)handler));
    pgque_error_free(behave(r, behaviour, message, verdict));
}

static void *run_consumer(void *argument) {
    running *r = argument;
    r->ended_with = pgque_consumer_run(r->consumer, handle, r);
    return NULL;
}

static void *run_ticker(void *argument) {
    running *r = argument;
    r->ended_with = pgque_ticker_run(r->ticker);
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
        running *r = add(handle_name);
        r->consumer = consumer;
        add_handlers(c, r);
        pthread_create(&r->thread, NULL, run_consumer, r);
    }
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
        running *r = add(handle_name);
        r->ticker = ticker;
        pthread_create(&r->thread, NULL, run_ticker, r);
    }
    return NULL;
}

json_t *consumer_seen(call *c) {
    running **r = find(c, "consumer");
    if (!r) {
        return NULL;
    }
    size_t count = (size_t)integer(c, "count", 0);
    double timeout = seconds(c, "timeout");
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)timeout;
    end.tv_nsec += (long)((timeout - (double)(time_t)timeout) * 1e9);
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&(*r)->lock);
    int timed_out = 0;
    while (json_array_size((*r)->seen) < count && !timed_out) {
        timed_out = pthread_cond_timedwait(&(*r)->changed, &(*r)->lock, &end);
    }
    json_t *copy = json_deep_copy((*r)->seen);
    pthread_mutex_unlock(&(*r)->lock);
    return copy;
}

static json_t *stop(call *c, running **place) {
    running *r = *place;
    *place = r->next;
    failed(c, r->consumer ? pgque_consumer_stop(r->consumer) : pgque_ticker_stop(r->ticker));
    pthread_join(r->thread, NULL);
    failed(c, r->ended_with);
    pgque_consumer_free(r->consumer);
    pgque_ticker_free(r->ticker);
    json_decref(r->behaviours);
    json_decref(r->failed_before);
    json_decref(r->seen);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r->name);
    free(r);
    return NULL;
}

json_t *consumer_stop(call *c) {
    running **place = find(c, "consumer");
    return place ? stop(c, place) : NULL;
}

json_t *ticker_stop(call *c) {
    running **place = find(c, "ticker");
    return place ? stop(c, place) : NULL;
}
