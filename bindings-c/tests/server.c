/* Against a server, whose superuser's address is in PGQUE_TEST_DSN: the life of clients, batches and results.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static const char *dsn;
static int lines;

static void count_line(int32_t level, const char *logger, const char *line, void *user_data) {
    CHECK(level >= PGQUE_LOG_ERROR && level <= PGQUE_LOG_TRACE && strncmp(logger, "pgque", 5) == 0 && *line);
    ++*(int *)user_data;
}

static void tick(pgque_client *client) {
    SUCCEEDS(pgque_client_force_next_tick(client, "c_test", NULL, NULL));
    SUCCEEDS(pgque_client_ticker(client, "c_test", NULL, NULL));
}

static void values_of_every_kind(pgque_client *client) {
    const char *sql = "select true as b, 7::bigint as i, 0.5::float8 as f, 't'::text as t, '{}'::jsonb as j, "
                      "1.50::numeric as n, '\\x00ff'::bytea as x, timestamptz '1970-01-01 00:00:01+00' as w, "
                      "array[1,null] as a, null::text as z, $1 as p";
    pgque_bytes params[] = {{"param", 5}};
    pgque_result *result = NULL;
    const pgque_value *value = NULL;
    bool b = false;
    int64_t i = 0;
    double f = 0;
    uint64_t rows = 0;
    SUCCEEDS(pgque_client_execute(client, sql, params, 1, &result));
    CHECK(pgque_result_row_count(result) == 1 && pgque_result_column_count(result) == 11);
    CHECK(pgque_result_rows_affected(result, &rows) && rows == 1);
    CHECK(is(pgque_result_column_name(result, 1), "i"));
    CHECK(pgque_value_bool(pgque_result_value(result, 0, 0), &b) && b);
    CHECK(pgque_value_int64(pgque_result_value(result, 0, 1), &i) && i == 7);
    CHECK(!pgque_value_double(pgque_result_value(result, 0, 1), &f));
    CHECK(pgque_value_double(pgque_result_value(result, 0, 2), &f) && f == 0.5);
    CHECK(is(pgque_value_bytes(pgque_result_value(result, 0, 3)), "t"));
    CHECK(pgque_value_kind(pgque_result_value(result, 0, 4)) == PGQUE_VALUE_JSON);
    CHECK(is(pgque_value_bytes(pgque_result_value(result, 0, 5)), "1.50"));
    CHECK(pgque_value_bytes(pgque_result_value(result, 0, 6)).len == 2);
    CHECK(pgque_value_int64(pgque_result_value(result, 0, 7), &i) && i == 1000000);
    CHECK(pgque_value_item_count(pgque_result_value(result, 0, 8)) == 2);
    CHECK(pgque_value_int64(pgque_value_item(pgque_result_value(result, 0, 8), 0), &i) && i == 1);
    CHECK(pgque_value_kind(pgque_value_item(pgque_result_value(result, 0, 8), 1)) == PGQUE_VALUE_NULL);
    CHECK(pgque_value_kind(pgque_result_value(result, 0, 9)) == PGQUE_VALUE_NULL);
    SUCCEEDS(pgque_result_get(result, 0, "p", &value));
    CHECK(is(pgque_value_bytes(value), "param"));
    SUCCEEDS(pgque_result_get(result, 0, "nowhere", &value));
    CHECK(!value && !pgque_result_value(result, 1, 0));
    pgque_result_free(result);
}

static void a_closed_client_says_so(void) {
    pgque_client *client = NULL;
    pgque_result *result = NULL;
    SUCCEEDS(pgque_client_connect(dsn, &client));
    SUCCEEDS(pgque_client_set_autocommit(client, false));
    SUCCEEDS(pgque_client_execute(client, "select 1", NULL, 0, &result));
    pgque_result_free(result);
    REFUSES(PGQUE_ERROR_CONFLICT, "transaction", pgque_client_set_autocommit(client, true));
    SUCCEEDS(pgque_client_close(client));
    SUCCEEDS(pgque_client_close(client));
    REFUSES(PGQUE_ERROR_CLOSED, "closed", pgque_client_commit(client));
    pgque_client_free(client);
}

static void overflow_tells_the_limit(pgque_client *client) {
    pgque_bytes payloads[] = {{"1", 1}, {"2", 1}};
    int64_t ids[2] = {0, 0}, limit = 0;
    pgque_messages *messages = NULL;
    SUCCEEDS(pgque_client_send_batch(client, "c_test", "n", payloads, 2, ids));
    CHECK(ids[0] > 0 && ids[1] > ids[0]);
    tick(client);
    pgque_error *error = pgque_client_receive(client, "c_test", "c", 1, &messages);
    CHECK(pgque_error_kind(error) == PGQUE_ERROR_OVERFLOW && !messages);
    CHECK(pgque_error_configured_limit(error, &limit) && limit == 1);
    pgque_error_free(error);
}

static void unwanted(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    (void)handler, (void)message, (void)verdict, (void)user_data;
    CHECK(!"this handler is not called");
}

/* The batch of overflow_tells_the_limit, pulled: one message is done, the other gets no verdict and comes
 * again. */
static void a_batch_is_pulled(pgque_consumer *consumer) {
    pgque_batch *batch = NULL;
    int64_t handler = -7;
    int32_t next = 0;
    bool has_message = false;
    size_t index = 7;
    SUCCEEDS(pgque_consumer_begin_run(consumer));
    REFUSES(PGQUE_ERROR_CONFLICT, "running already", pgque_consumer_begin_run(consumer));
    REFUSES(PGQUE_ERROR_CONFLICT, "running already", pgque_consumer_run(consumer, unwanted, NULL));
    SUCCEEDS(pgque_consumer_on(consumer, "n", &handler));
    CHECK(handler == 0);
    SUCCEEDS(pgque_consumer_next(consumer, 10, &next, &batch));
    CHECK(next == PGQUE_NEXT_BATCH && pgque_batch_count(batch) == 2 && pgque_batch_id(batch) > 0);
    CHECK(pgque_batch_handler(batch, 0) == 0 && pgque_batch_handler(batch, 2) == PGQUE_NO_HANDLER);
    CHECK(is(pgque_message_payload(pgque_batch_message(batch, 1)), "2") && !pgque_batch_message(batch, 2));
    CHECK(pgque_batch_lanes(batch) == 1 && !pgque_message_client(pgque_batch_message(batch, 0)));
    for (size_t expected = 0; expected < 2; expected++) {
        SUCCEEDS(pgque_consumer_take(consumer, batch, &has_message, &index));
        CHECK(has_message && index == expected);
    }
    SUCCEEDS(pgque_consumer_take(consumer, batch, &has_message, &index));
    CHECK(!has_message && index == 1);
    SUCCEEDS(pgque_batch_retry(batch, 0, pgque_interval_none(), "later"));
    SUCCEEDS(pgque_batch_ack(batch, 0));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "beyond the last", pgque_batch_ack(batch, 2));
    SUCCEEDS(pgque_consumer_finish(consumer, batch));
    pgque_batch_free(batch);
    SUCCEEDS(pgque_consumer_next(consumer, 0.05, &next, &batch));
    CHECK(next == PGQUE_NEXT_IDLE && !batch);
    SUCCEEDS(pgque_consumer_close(consumer));
    SUCCEEDS(pgque_consumer_close(consumer));
}

typedef struct {
    pgque_client *client;
    pgque_consumer *consumer;
    int calls;
} run;

/* A handler may call the library; it ends the run with its second message. */
static void handle(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    run *r = user_data;
    CHECK(handler == 0 && pgque_message_id(message) > 0);
    SUCCEEDS(pgque_client_touch_subconsumer(r->client, "c_test", "c", "nobody", NULL));
    SUCCEEDS(r->calls == 0 ? pgque_verdict_ack(verdict) : pgque_verdict_dead(verdict, "beyond repair"));
    if (++r->calls == 2) {
        SUCCEEDS(pgque_consumer_stop(r->consumer));
    }
}

static void a_handler_runs(pgque_client *client, pgque_consumer *consumer) {
    run r = {client, consumer, 0};
    int64_t purged = 0;
    pgque_result *letters = NULL;
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "1", 1, NULL));
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "2", 1, NULL));
    tick(client);
    SUCCEEDS(pgque_consumer_run(consumer, handle, &r));
    CHECK(r.calls == 2);
    SUCCEEDS(pgque_client_dlq_inspect(client, "c_test", PGQUE_DLQ_LIMIT_DEFAULT, &letters));
    CHECK(pgque_result_row_count(letters) == 1);
    pgque_result_free(letters);
    SUCCEEDS(pgque_client_dlq_purge(client, "c_test", pgque_interval_seconds(0), &purged));
    CHECK(purged == 1);
}

/* What the callbacks of a consumer are told, as text. */
typedef struct {
    char told[200];
    pgque_consumer *consumer;
    pgque_client *other;
} story;

static void tell(story *s, const char *what) { strncat(s->told, what, sizeof s->told - strlen(s->told) - 1); }

static void before(const pgque_message *message, void *user_data) {
    CHECK(is(pgque_message_type(message), "n") && !pgque_message_client(message));
    tell(user_data, "before ");
}

static void after(const pgque_message *message, const char *outcome, double seconds, void *user_data) {
    CHECK(pgque_message_id(message) > 0 && seconds >= 0);
    tell(user_data, outcome);
    tell(user_data, " ");
}

static void on_failure(int64_t attempt, const char *error, pgque_verdict *verdict, void *user_data) {
    CHECK(attempt == 1 && strcmp(error, "on purpose") == 0);
    SUCCEEDS(pgque_verdict_ack(verdict));
    tell(user_data, "decided ");
}

static void fail_one(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    story *s = user_data;
    SUCCEEDS(pgque_verdict_fail(verdict, "on purpose"));
    SUCCEEDS(pgque_consumer_stop(s->consumer));
    (void)handler, (void)message;
}

static void callbacks_are_called_around_a_handler(pgque_client *client) {
    story s = {"", NULL, NULL};
    pgque_stats stats;
    pgque_health *health = NULL;
    SUCCEEDS(pgque_consumer_new(dsn, "c_test", "c", NULL, &s.consumer));
    SUCCEEDS(pgque_consumer_on(s.consumer, "*", NULL));
    SUCCEEDS(pgque_consumer_before_message(s.consumer, before, &s, NULL));
    SUCCEEDS(pgque_consumer_after_message(s.consumer, after, &s, NULL));
    SUCCEEDS(pgque_consumer_on_failure(s.consumer, on_failure, &s, NULL));
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "1", 1, NULL));
    tick(client);
    SUCCEEDS(pgque_consumer_run(s.consumer, fail_one, &s));
    CHECK(strcmp(s.told, "before failed decided ") == 0);
    SUCCEEDS(pgque_consumer_stats(s.consumer, &stats, sizeof stats));
    CHECK(stats.batches == 1 && stats.failed == 1 && stats.handled == 1 && stats.retried == 0);
    SUCCEEDS(pgque_consumer_health(s.consumer, &health));
    CHECK(strcmp(pgque_health_status(health), "stopped") == 0);
    pgque_health_free(health);
    pgque_consumer_free(s.consumer);
}

/* Writes within the consumer's transaction, which nobody else sees yet, and cannot end it. */
static void write_inside(int64_t handler, const pgque_message *message, pgque_verdict *verdict,
                         void *user_data) {
    story *s = user_data;
    const pgque_client *inside = pgque_message_client(message);
    pgque_result *result = NULL;
    SUCCEEDS(pgque_client_execute(inside, "create table c_test_effect (n bigint)", NULL, 0, &result));
    pgque_result_free(result);
    REFUSES(PGQUE_ERROR_CONFLICT, "verdict", pgque_client_commit(inside));
    REFUSES(PGQUE_ERROR_CONFLICT, "consumer", pgque_client_close(inside));
    SUCCEEDS(pgque_client_execute(s->other, "select to_regclass('c_test_effect') is null as hidden", NULL, 0,
                                  &result));
    bool hidden = false;
    CHECK(pgque_value_bool(pgque_result_value(result, 0, 0), &hidden) && hidden);
    pgque_result_free(result);
    SUCCEEDS(pgque_verdict_ack(verdict));
    SUCCEEDS(pgque_consumer_stop(s->consumer));
    (void)handler;
}

static void a_handler_writes_in_the_transaction(pgque_client *client) {
    story s = {"", NULL, client};
    pgque_options *options = pgque_options_new();
    pgque_result *result = NULL;
    SUCCEEDS(pgque_options_set(options, "transactional", "true"));
    SUCCEEDS(pgque_consumer_new(dsn, "c_test", "c", options, &s.consumer));
    pgque_options_free(options);
    SUCCEEDS(pgque_consumer_on(s.consumer, "*", NULL));
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "1", 1, NULL));
    tick(client);
    SUCCEEDS(pgque_consumer_run(s.consumer, write_inside, &s));
    SUCCEEDS(pgque_client_execute(client, "drop table c_test_effect", NULL, 0, &result));
    pgque_result_free(result);
    pgque_consumer_free(s.consumer);
}

/* The second message is not judged, and has failed. */
static void judge_batch(const pgque_batch *batch, void *user_data) {
    story *s = user_data;
    CHECK(pgque_batch_count(batch) == 2);
    SUCCEEDS(pgque_batch_ack(batch, 0));
    SUCCEEDS(pgque_consumer_stop(s->consumer));
}

static void a_handler_gets_whole_batches(pgque_client *client) {
    story s = {"", NULL, NULL};
    pgque_stats stats;
    pgque_batch *batch = NULL;
    size_t count = 7;
    SUCCEEDS(pgque_consumer_new(dsn, "c_test", "c", NULL, &s.consumer));
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "1", 1, NULL));
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "2", 1, NULL));
    tick(client);
    SUCCEEDS(pgque_consumer_run_batches(s.consumer, judge_batch, &s));
    SUCCEEDS(pgque_consumer_stats(s.consumer, &stats, sizeof stats));
    CHECK(stats.handled == 1 && stats.retried == 1);
    SUCCEEDS(pgque_client_send(client, "c_test", "n", "3", 1, NULL));
    tick(client);
    SUCCEEDS(pgque_consumer_next(s.consumer, 10, NULL, &batch));
    SUCCEEDS(pgque_consumer_take_all(s.consumer, batch, &count));
    CHECK(count == 1);
    SUCCEEDS(pgque_batch_fail(batch, 0, "on purpose"));
    SUCCEEDS(pgque_consumer_finish(s.consumer, batch));
    pgque_batch_free(batch);
    SUCCEEDS(pgque_consumer_stats(s.consumer, &stats, sizeof stats));
    CHECK(stats.handled == 1 && stats.retried == 2 && stats.failed == 2);
    pgque_consumer_free(s.consumer);
}

static void the_ticker_stops(void) {
    pgque_ticker *ticker = NULL;
    SUCCEEDS(pgque_ticker_new(dsn, NULL, &ticker));
    SUCCEEDS(pgque_ticker_stop(ticker));
    SUCCEEDS(pgque_ticker_run(ticker));
    pgque_ticker_free(ticker);
}

static void information_is_owned_by_the_caller(pgque_client *client) {
    pgque_capabilities *capabilities = NULL;
    pgque_notification *notification = NULL;
    pgque_replayed *replayed = NULL;
    char *version = NULL;
    SUCCEEDS(pgque_client_version(client, &version));
    CHECK(version && *version);
    pgque_text_free(version);
    SUCCEEDS(pgque_client_capabilities(client, &capabilities));
    CHECK(pgque_capabilities_server_version(capabilities) > 100000);
    CHECK(pgque_capabilities_finish(capabilities) && pgque_capabilities_ticker_pending(capabilities));
    CHECK(pgque_capabilities_pages(capabilities));
    pgque_capabilities_free(capabilities);
    SUCCEEDS(pgque_client_dlq_replay_all(client, "c_test", &replayed));
    CHECK(pgque_replayed_count(replayed) == 0 && pgque_replayed_failed(replayed) == 0);
    CHECK(!pgque_replayed_first_error(replayed).data);
    pgque_replayed_free(replayed);
    SUCCEEDS(pgque_client_listen(client, "pgque_c_test"));
    tick(client);
    SUCCEEDS(pgque_client_notification(client, 10, &notification));
    CHECK(is(pgque_notification_channel(notification), "pgque_c_test"));
    CHECK(pgque_notification_payload(notification).len > 0);
    CHECK(pgque_notification_process_id(notification) > 0);
    pgque_notification_free(notification);
    SUCCEEDS(pgque_client_unlisten(client, "pgque_c_test"));
}

int main(void) {
    pgque_client *client = NULL;
    pgque_consumer *consumer = NULL;
    dsn = getenv("PGQUE_TEST_DSN");
    if (!dsn) {
        fprintf(stderr, "PGQUE_TEST_DSN is not set\n");
        return 1;
    }
    SUCCEEDS(pgque_set_log(PGQUE_LOG_DEBUG, count_line, &lines, NULL));
    SUCCEEDS(pgque_client_connect(dsn, &client));
    SUCCEEDS(pgque_client_install(client));
    /* What a run that was cut short has left. */
    pgque_error_free(pgque_client_drop_queue(client, "c_test", true, NULL));
    SUCCEEDS(pgque_client_create_queue(client, "c_test", NULL));
    SUCCEEDS(pgque_client_subscribe(client, "c_test", "c", NULL));
    values_of_every_kind(client);
    a_closed_client_says_so();
    overflow_tells_the_limit(client);
    SUCCEEDS(pgque_consumer_new(dsn, "c_test", "c", NULL, &consumer));
    a_batch_is_pulled(consumer);
    a_handler_runs(client, consumer);
    pgque_consumer_free(consumer);
    callbacks_are_called_around_a_handler(client);
    a_handler_writes_in_the_transaction(client);
    a_handler_gets_whole_batches(client);
    the_ticker_stops();
    information_is_owned_by_the_caller(client);
    SUCCEEDS(pgque_client_drop_queue(client, "c_test", true, NULL));
    pgque_client_free(client);
    SUCCEEDS(pgque_set_log(PGQUE_LOG_DEBUG, NULL, NULL, NULL));
    CHECK(lines > 0);
    return done("server");
}
