/* The producer, and what a ticker tells: first without a server, then against the one in PGQUE_TEST_DSN. */
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NULLED(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must not be NULL", call)
#define MISREAD(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must be valid UTF-8", call)

/* Nobody listens there. */
static const char AWAY[] = "host=127.0.0.1 port=1 dbname=postgres user=nobody";
static const char BAD[] = "\xff\xfe";
static const char *dsn;

/* Between two looks at what other threads do; false after a quarter of a minute of them. */
static bool rest(int *looks) {
    struct timespec pause = {0, 10000000};
    nanosleep(&pause, NULL);
    return ++*looks < 1500;
}

static void tick(pgque_client *client) {
    SUCCEEDS(pgque_client_force_next_tick(client, "c_producer", NULL, NULL));
    SUCCEEDS(pgque_client_ticker(client, "c_producer", NULL, NULL));
}

static pgque_producer *producer_with(const char *where, const char *option, const char *value) {
    pgque_options *options = pgque_options_new();
    pgque_producer *producer = NULL;
    SUCCEEDS(pgque_options_set(options, option, value));
    SUCCEEDS(pgque_producer_new(where, options, &producer));
    pgque_options_free(options);
    return producer;
}

static void options_are_told_when_it_is_made(void) {
    pgque_options *options = pgque_options_new();
    pgque_producer *producer = NULL;
    SUCCEEDS(pgque_options_set(options, "lingr", "1"));
    REFUSES(PGQUE_ERROR_CONFIGURATION, "linger", pgque_producer_new(AWAY, options, &producer));
    NULLED(pgque_producer_new(NULL, NULL, &producer));
    NULLED(pgque_producer_new(AWAY, NULL, NULL));
    MISREAD(pgque_producer_new(BAD, NULL, &producer));
    CHECK(!producer);
    pgque_options_free(options);
    pgque_producer_free(NULL);
}

/* What the callback of a posted event was told. */
typedef struct {
    pthread_mutex_t lock;
    int calls;
    int64_t id;
    pgque_error *error;
} answered;

static void answer(int64_t msg_id, pgque_error *error, void *user_data) {
    answered *a = user_data;
    pthread_mutex_lock(&a->lock);
    a->calls++;
    a->id = msg_id;
    a->error = error;
    pthread_mutex_unlock(&a->lock);
}

static bool has_answer(answered *a) {
    pthread_mutex_lock(&a->lock);
    bool has = a->calls > 0;
    pthread_mutex_unlock(&a->lock);
    return has;
}

static void every_door_refuses(void) {
    pgque_producer *on = producer_with(AWAY, "linger", "0");
    pgque_ticker *ticker = NULL;
    pgque_event *event = pgque_event_new();
    pgque_producer_counters counters;
    pgque_ticker_counters ticks;
    pgque_health *health = NULL;
    pgque_post *post = NULL;
    char *last_error = NULL;
    int64_t id = 7;
    NULLED(pgque_producer_send(NULL, "q", NULL, "1", 1, &id));
    NULLED(pgque_producer_send(on, NULL, NULL, "1", 1, &id));
    NULLED(pgque_producer_send(on, "q", NULL, NULL, 0, &id));
    MISREAD(pgque_producer_send(on, "q", BAD, "1", 1, &id));
    MISREAD(pgque_producer_send(on, "q", NULL, BAD, 2, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload is not valid JSON",
            pgque_producer_send(on, "q", NULL, "{", 1, &id));
    NULLED(pgque_producer_send_text(NULL, "q", NULL, "1", 1, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "NUL", pgque_producer_send_text(on, "q", NULL, "a\0b", 3, &id));
    NULLED(pgque_producer_send_event(on, "q", NULL, &id));
    NULLED(pgque_producer_send_event(NULL, "q", event, &id));
    NULLED(pgque_producer_post_event(NULL, "q", event, answer, NULL, &post));
    NULLED(pgque_producer_post_event(on, NULL, event, answer, NULL, &post));
    NULLED(pgque_producer_post_event(on, "q", NULL, answer, NULL, &post));
    NULLED(pgque_producer_post_event(on, "q", event, NULL, NULL, &post));
    NULLED(pgque_producer_post_event(on, "q", event, answer, NULL, NULL));
    pgque_post_free(NULL);
    NULLED(pgque_producer_flush(NULL));
    NULLED(pgque_producer_close(NULL, 1));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "deadline_seconds", pgque_producer_close(on, NAN));
    NULLED(pgque_producer_stats(NULL, &counters, sizeof counters));
    NULLED(pgque_producer_stats(on, NULL, sizeof counters));
    NULLED(pgque_producer_last_error(NULL, &last_error));
    NULLED(pgque_producer_last_error(on, NULL));
    SUCCEEDS(pgque_ticker_new(AWAY, NULL, &ticker));
    NULLED(pgque_ticker_stats(NULL, &ticks, sizeof ticks));
    NULLED(pgque_ticker_stats(ticker, NULL, sizeof ticks));
    NULLED(pgque_ticker_health(NULL, &health));
    NULLED(pgque_ticker_health(ticker, NULL));
    CHECK(id == 7 && !last_error && !health && !post && !pgque_error_is_uncertain(NULL));
    SUCCEEDS(pgque_producer_last_error(on, &last_error));
    CHECK(!last_error);
    pgque_ticker_free(ticker);
    pgque_event_free(event);
    pgque_producer_free(on);
}

static void without_a_server_it_gives_up_and_says_why(void) {
    pgque_producer *producer = producer_with(AWAY, "send_timeout", "0.5");
    pgque_producer_counters counters;
    char *last_error = NULL;
    pgque_error *error = pgque_producer_send(producer, "q", NULL, "1", 1, NULL);
    CHECK(pgque_error_kind(error) == PGQUE_ERROR_TIMEOUT && pgque_error_retriable(error));
    CHECK(!pgque_error_is_uncertain(error));
    pgque_error_free(error);
    SUCCEEDS(pgque_producer_stats(producer, &counters, sizeof counters));
    CHECK(counters.failed == 1 && counters.sent == 0 && counters.uncertain == 0 &&
          counters.queue_length == 0);
    CHECK(counters.reconnects > 0);
    SUCCEEDS(pgque_producer_last_error(producer, &last_error));
    CHECK(last_error && strstr(last_error, "not sent"));
    pgque_text_free(last_error);
    pgque_producer_free(producer);
}

static void *send_to_nobody(void *producer) {
    REFUSES(PGQUE_ERROR_CLOSED, "closed", pgque_producer_send(producer, "q", NULL, "1", 1, NULL));
    return NULL;
}

static void the_deadline_of_close_turns_senders_away(void) {
    pgque_producer *producer = producer_with(AWAY, "send_timeout", "600");
    pgque_producer_counters counters = {0};
    pthread_t sender;
    int looks = 0;
    pthread_create(&sender, NULL, send_to_nobody, producer);
    while (counters.queue_length == 0 && rest(&looks)) {
        SUCCEEDS(pgque_producer_stats(producer, &counters, sizeof counters));
    }
    CHECK(counters.queue_length == 1);
    REFUSES(PGQUE_ERROR_TIMEOUT, "not sent", pgque_producer_close(producer, 0.1));
    pthread_join(sender, NULL);
    SUCCEEDS(pgque_producer_close(producer, INFINITY));
    REFUSES(PGQUE_ERROR_CLOSED, "closed", pgque_producer_send(producer, "q", NULL, "1", 1, NULL));
    REFUSES(PGQUE_ERROR_CLOSED, "closed", pgque_producer_flush(producer));
    pgque_producer_free(producer);
}

enum { SENDERS = 16, EACH = 50 };

typedef struct {
    pgque_producer *producer;
    pthread_t thread;
    int64_t ids[EACH];
} sender;

static void *send_many(void *argument) {
    sender *s = argument;
    for (int i = 0; i < EACH; i++) {
        SUCCEEDS(pgque_producer_send(s->producer, "c_producer", "n", "{}", 2, &s->ids[i]));
    }
    return NULL;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Every thread gets its own ids, and they went in fewer transactions than events. */
static void threads_share_one(void) {
    static sender senders[SENDERS];
    static int64_t ids[SENDERS * EACH];
    pgque_producer *producer = producer_with(dsn, "linger", "0.02");
    pgque_producer_counters counters;
    for (int i = 0; i < SENDERS; i++) {
        senders[i].producer = producer;
        pthread_create(&senders[i].thread, NULL, send_many, &senders[i]);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        memcpy(ids + i * EACH, senders[i].ids, sizeof senders[i].ids);
    }
    qsort(ids, SENDERS * EACH, sizeof *ids, ascending);
    for (int i = 1; i < SENDERS * EACH; i++) {
        CHECK(ids[i - 1] > 0 && ids[i] > ids[i - 1]);
    }
    SUCCEEDS(pgque_producer_flush(producer));
    SUCCEEDS(pgque_producer_stats(producer, &counters, sizeof counters));
    CHECK(counters.sent == SENDERS * EACH && counters.failed == 0 && counters.queue_length == 0);
    CHECK(counters.batches > 0 && counters.batches < counters.sent && counters.batch_size > 0);
    SUCCEEDS(pgque_producer_close(producer, 10));
    SUCCEEDS(pgque_producer_close(producer, 10));
    pgque_producer_free(producer);
}

/* Each form of an event arrives as it was given; an unknown queue is an error of its sender alone. */
static void events_arrive_as_they_were_sent(pgque_client *client) {
    pgque_producer *producer = producer_with(dsn, "batch_size_max", "10");
    pgque_event *event = pgque_event_new();
    pgque_messages *messages = NULL;
    int64_t ids[3] = {0};
    SUCCEEDS(pgque_event_set_type(event, "t"));
    SUCCEEDS(pgque_event_set_text(event, "opaque", 6));
    SUCCEEDS(pgque_event_set_extra(event, 4, "x", 1));
    SUCCEEDS(pgque_producer_send(producer, "c_producer", NULL, "[1]", 3, &ids[0]));
    REFUSES(PGQUE_ERROR_QUEUE_NOT_FOUND, "nowhere",
            pgque_producer_send(producer, "nowhere", NULL, "1", 1, NULL));
    SUCCEEDS(pgque_producer_send_text(producer, "c_producer", "t", NULL, 0, &ids[1]));
    SUCCEEDS(pgque_producer_send_event(producer, "c_producer", event, &ids[2]));
    SUCCEEDS(pgque_producer_close(producer, INFINITY));
    pgque_producer_free(producer);
    pgque_event_free(event);
    tick(client);
    SUCCEEDS(pgque_client_receive(client, "c_producer", "c", 10, &messages));
    CHECK(pgque_messages_count(messages) == 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK(pgque_message_id(pgque_messages_get(messages, i)) == ids[i]);
    }
    CHECK(is(pgque_message_type(pgque_messages_get(messages, 0)), "default"));
    CHECK(is(pgque_message_payload(pgque_messages_get(messages, 0)), "[1]"));
    CHECK(!pgque_message_payload(pgque_messages_get(messages, 1)).data);
    CHECK(is(pgque_message_payload(pgque_messages_get(messages, 2)), "opaque"));
    CHECK(is(pgque_message_extra(pgque_messages_get(messages, 2), 4), "x"));
    pgque_messages_free(messages);
}

/* A posted event is answered once, by its id, by its error, or because its sender gave up. */
static void a_posted_event_is_answered_once(const char *where, const char *queue, bool patient,
                                            int32_t kind) {
    pgque_producer *producer = producer_with(where, "linger", "0");
    pgque_event *event = pgque_event_new();
    pgque_post *post = NULL;
    answered a = {PTHREAD_MUTEX_INITIALIZER, 0, 0, NULL};
    int looks = 0;
    SUCCEEDS(pgque_producer_post_event(producer, queue, event, answer, &a, &post));
    while (patient && !has_answer(&a) && rest(&looks)) {
    }
    pgque_post_free(post);
    while (!has_answer(&a) && rest(&looks)) {
    }
    CHECK(a.calls == 1 && pgque_error_kind(a.error) == kind && (a.id > 0) == (kind == 0));
    pgque_error_free(a.error);
    pgque_event_free(event);
    /* With no time at all: the impatient one's event would still be tried. */
    pgque_error_free(pgque_producer_close(producer, 0));
    pgque_producer_free(producer);
}

/* A producer does not outlive fork(): the child is told so, and the parent's goes on. */
static void a_child_is_told(void) {
    pgque_producer *producer = producer_with(dsn, "linger", "0");
    int status = 0;
    SUCCEEDS(pgque_producer_send(producer, "c_producer", NULL, "1", 1, NULL));
    pid_t child = fork();
    if (child == 0) {
        pgque_error *error = pgque_producer_send(producer, "c_producer", NULL, "1", 1, NULL);
        const char *verdict = pgque_error_kind(error) == PGQUE_ERROR_CLOSED ? "true" : "false";
        /* Not _exit, at which valgrind would find what the parent's threads hold, which are not here. */
        execlp(verdict, verdict, (char *)NULL);
        _exit(2);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    SUCCEEDS(pgque_producer_send(producer, "c_producer", NULL, "1", 1, NULL));
    pgque_producer_free(producer);
}

static void *run_ticker(void *ticker) {
    SUCCEEDS(pgque_ticker_run(ticker));
    return NULL;
}

static void a_ticker_tells_what_it_does(void) {
    pgque_ticker *ticker = NULL;
    pgque_ticker_counters counters = {0};
    pgque_health *health = NULL;
    pthread_t thread;
    int looks = 0;
    SUCCEEDS(pgque_ticker_new(dsn, NULL, &ticker));
    SUCCEEDS(pgque_ticker_health(ticker, &health));
    CHECK(strcmp(pgque_health_status(health), "stopped") == 0 && !pgque_health_alive(health));
    CHECK(pgque_health_since_us(health) > 0 && !pgque_health_last_error(health));
    CHECK(!pgque_health_last_error_at_us(health, NULL));
    pgque_health_free(health);
    pthread_create(&thread, NULL, run_ticker, ticker);
    while (counters.ticks == 0 && rest(&looks)) {
        SUCCEEDS(pgque_ticker_stats(ticker, &counters, sizeof counters));
    }
    CHECK(counters.ticks > 0 && counters.failures == 0 && counters.reconnects == 0);
    SUCCEEDS(pgque_ticker_health(ticker, &health));
    CHECK(strcmp(pgque_health_status(health), "leading") == 0 && pgque_health_alive(health));
    pgque_health_free(health);
    SUCCEEDS(pgque_ticker_stop(ticker));
    pthread_join(thread, NULL);
    pgque_ticker_free(ticker);
}

int main(void) {
    pgque_client *client = NULL;
    dsn = getenv("PGQUE_TEST_DSN");
    if (!dsn) {
        fprintf(stderr, "PGQUE_TEST_DSN is not set\n");
        return 1;
    }
    options_are_told_when_it_is_made();
    every_door_refuses();
    without_a_server_it_gives_up_and_says_why();
    the_deadline_of_close_turns_senders_away();
    SUCCEEDS(pgque_client_connect(dsn, &client));
    SUCCEEDS(pgque_client_install(client));
    /* What a run that was cut short has left. */
    pgque_error_free(pgque_client_drop_queue(client, "c_producer", true, NULL));
    SUCCEEDS(pgque_client_create_queue(client, "c_producer", NULL));
    threads_share_one();
    tick(client);
    SUCCEEDS(pgque_client_subscribe(client, "c_producer", "c", NULL));
    events_arrive_as_they_were_sent(client);
    a_posted_event_is_answered_once(AWAY, "q", false, PGQUE_ERROR_INTERRUPTED);
    a_posted_event_is_answered_once(dsn, "c_producer", true, 0);
    a_posted_event_is_answered_once(dsn, "nowhere", true, PGQUE_ERROR_QUEUE_NOT_FOUND);
    a_child_is_told();
    a_ticker_tells_what_it_does();
    SUCCEEDS(pgque_client_drop_queue(client, "c_producer", true, NULL));
    pgque_client_free(client);
    return done("producer");
}
