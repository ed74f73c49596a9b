/* A consumer that runs on a thread of its own. */
#ifndef CONSUMER_H
#define CONSUMER_H

#include "driver.h"

#include <pthread.h>
#include <time.h>

typedef struct running {
    char *name;
    pgque_consumer *consumer;
    json_t *behaviours;          /* in the order of the handlers' numbers */
    const char *batch_behaviour; /* or NULL */
    const char *on_failure;      /* or NULL */
    pthread_t thread;
    pgque_error *ended_with;
    struct running *next;

    pthread_mutex_t lock; /* of all that follows: handlers may run on several threads */
    pthread_cond_t changed;
    json_t *failed_before; /* message ids */
    json_t *seen;
    json_t *hooks;
    int64_t inside;   /* handlers that wait for others */
    int64_t meetings; /* how often enough of them were there */
} running;

/* What a handler of that behaviour does with its message. */
pgque_error *behave(running *r, const char *behaviour, const pgque_message *message, pgque_verdict *verdict);

void see(running *r, const pgque_message *message);
struct timespec after_seconds(double seconds);

#endif
