/* How the process around the library may fork and end; a superuser's address is in PGQUE_TEST_DSN. */
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process that hangs is to be seen, not waited for. */
enum { PATIENCE_SECONDS = 60 };

static const char *dsn;

static void *wait_for_a_notification(void *client) {
    pgque_notification *notification = NULL;
    pgque_error_free(pgque_client_notification(client, 3600, &notification));
    pgque_notification_free(notification);
    return NULL;
}

static void *run(void *consumer) {
    pgque_batch *batch = NULL;
    pgque_error_free(pgque_consumer_next(consumer, 3600, NULL, &batch));
    pgque_batch_free(batch);
    return NULL;
}

/* A thread is in a call when main returns. */
static void exits_in_the_middle_of_a_call(void) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        pgque_client *client = NULL;
        pthread_t thread;
        alarm(PATIENCE_SECONDS);
        SUCCEEDS(pgque_client_connect(dsn, &client));
        CHECK(pthread_create(&thread, NULL, wait_for_a_notification, client) == 0);
        usleep(300000);
        exit(failures);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void in_the_child(pgque_client *client, pgque_producer *producer, pgque_consumer *consumer) {
    pgque_batch *batch = NULL;
    pgque_producer_counters counters = {0};
    pgque_client *again = NULL;
    char *version = NULL;
    REFUSES(PGQUE_ERROR_CLOSED, "fork", pgque_client_version(client, &version));
    REFUSES(PGQUE_ERROR_CLOSED, "fork", pgque_producer_send(producer, "c_process", NULL, "1", 1, NULL));
    REFUSES(PGQUE_ERROR_CLOSED, "fork", pgque_consumer_next(consumer, 0, NULL, &batch));
    SUCCEEDS(pgque_producer_stats(producer, &counters, sizeof counters));
    CHECK(counters.sent == 0);
    SUCCEEDS(pgque_consumer_stop(consumer));
    SUCCEEDS(pgque_client_close(client));
    SUCCEEDS(pgque_producer_close(producer, 0));
    pgque_consumer_free(consumer);
    pgque_producer_free(producer);
    pgque_client_free(client);
    SUCCEEDS(pgque_client_connect(dsn, &again));
    SUCCEEDS(pgque_client_send(again, "c_process", NULL, "1", 1, NULL));
    pgque_client_free(again);
}

/* What the parent uses is refused in the child, and goes on in the parent. */
static void a_forked_child_starts_anew(pgque_client *client) {
    pgque_producer *producer = NULL;
    pgque_consumer *consumer = NULL;
    pthread_t thread;
    SUCCEEDS(pgque_producer_new(dsn, NULL, &producer));
    SUCCEEDS(pgque_producer_send(producer, "c_process", NULL, "1", 1, NULL));
    SUCCEEDS(pgque_consumer_new(dsn, "c_process", "c", NULL, &consumer));
    CHECK(pthread_create(&thread, NULL, run, consumer) == 0);
    usleep(300000);
    for (int i = 0; i < 5; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            alarm(PATIENCE_SECONDS);
            in_the_child(client, producer, consumer);
            _exit(failures);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        SUCCEEDS(pgque_client_send(client, "c_process", NULL, "1", 1, NULL));
    }
    SUCCEEDS(pgque_producer_send(producer, "c_process", NULL, "1", 1, NULL));
    SUCCEEDS(pgque_consumer_stop(consumer));
    pthread_join(thread, NULL);
    pgque_consumer_free(consumer);
    pgque_producer_free(producer);
}

int main(void) {
    pgque_client *client = NULL;
    dsn = getenv("PGQUE_TEST_DSN");
    if (!dsn) {
        fprintf(stderr, "PGQUE_TEST_DSN is not set\n");
        return 1;
    }
    exits_in_the_middle_of_a_call();
    SUCCEEDS(pgque_client_connect(dsn, &client));
    SUCCEEDS(pgque_client_install(client));
    pgque_error_free(pgque_client_drop_queue(client, "c_process", true, NULL));
    SUCCEEDS(pgque_client_create_queue(client, "c_process", NULL));
    SUCCEEDS(pgque_client_subscribe(client, "c_process", "c", NULL));
    a_forked_child_starts_anew(client);
    SUCCEEDS(pgque_client_drop_queue(client, "c_process", true, NULL));
    pgque_client_free(client);
    return done("process");
}
