/* A worker of the demo: see README.md beside this file. */

#define _POSIX_C_SOURCE 200809L

#include <pgque.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check(pgque_error *error) {
    if (error) {
        fprintf(stderr, "%s\n", pgque_error_text(error));
        exit(1);
    }
}

/* The number after "order": in the payload. */
static long order_of(pgque_bytes payload) {
    char text[256];
    const char *key = "\"order\":";
    size_t len = payload.len < sizeof text ? payload.len : sizeof text - 1;
    memcpy(text, payload.data, len);
    text[len] = '\0';
    const char *found = strstr(text, key);
    return found ? strtol(found + strlen(key), NULL, 10) : -1;
}

static void handle(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    (void)handler;
    (void)user_data;
    long order = order_of(pgque_message_payload(message));
    int32_t retries = 0;
    bool retried = pgque_message_retry_count(message, &retries);
    nanosleep(&(struct timespec){.tv_nsec = 2 * 1000 * 1000}, NULL);
    bool declined = order % 250 == 0 && !retried;
    bool failed = declined || order % 1000 == 1;
    printf("%ld %d %s\n", order, (int)retries, failed ? "failed" : "ok");
    fflush(stdout);
    if (failed)
        check(pgque_verdict_retry(verdict, pgque_interval_none(),
                                  declined ? "card declined" : "no such address"));
    else
        check(pgque_verdict_ack(verdict));
}

/* A signal handler may not call the library; a thread that waits for the signal
 * may. */
static void *stop_at_signal(void *consumer) {
    sigset_t signals;
    int signal;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigwait(&signals, &signal);
    check(pgque_consumer_stop(consumer));
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    pgque_options *options = pgque_options_new();
    check(pgque_options_set(options, "retry_after", "1"));
    check(pgque_options_set(options, "subconsumer", argv[3]));
    check(pgque_options_set(options, "dead_interval", "2 seconds"));
    pgque_consumer *consumer;
    check(pgque_consumer_new(argv[1], "orders", argv[2], options, &consumer));
    pgque_options_free(options);
    check(pgque_consumer_on(consumer, "order.placed", NULL));

    pthread_t stopper;
    pthread_create(&stopper, NULL, stop_at_signal, consumer);
    check(pgque_consumer_run(consumer, handle, NULL));
    pthread_join(stopper, NULL);
    pgque_consumer_free(consumer);
    return 0;
}
