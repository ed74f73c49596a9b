/* NULL and bad UTF-8 at every door are errors that name the argument; every free takes NULL. Without a
 * server: the client stands on a connection that answers nothing. */
#include "check.h"

#include <math.h>

static const char BAD[] = "\xff\xfe";
#define NULLED(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must not be NULL", call)
#define MISREAD(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must be valid UTF-8", call)

static bool unasked(const char *sql, const char *const *params, size_t params_count, pgque_answer *answer,
                    void *user_data) {
    (void)params, (void)params_count, (void)answer, (void)user_data;
    fprintf(stderr, "asked: %s\n", sql);
    failures++;
    return false;
}

static void frees_take_null(void) {
    pgque_error_free(NULL);
    pgque_client_free(NULL);
    pgque_options_free(NULL);
    pgque_event_free(NULL);
    pgque_messages_free(NULL);
    pgque_notification_free(NULL);
    pgque_result_free(NULL);
    pgque_capabilities_free(NULL);
    pgque_replayed_free(NULL);
    pgque_verdicts_free(NULL);
    pgque_batch_free(NULL);
    pgque_health_free(NULL);
    pgque_consumer_free(NULL);
    pgque_ticker_free(NULL);
    pgque_text_free(NULL);
}

static void accessors_take_null(void) {
    int64_t number = 7;
    int32_t retry_count = 7;
    uint64_t rows = 7;
    double real = 7;
    bool yes = true;
    pgque_message_fields fields;
    CHECK(pgque_error_kind(NULL) == 0 && !pgque_error_kind_name(NULL) && !pgque_error_op(NULL));
    CHECK(!pgque_error_message(NULL) && !pgque_error_text(NULL) && !pgque_error_sqlstate(NULL));
    CHECK(!pgque_error_detail(NULL) && !pgque_error_hint(NULL) && !pgque_error_constraint(NULL));
    CHECK(!pgque_error_retriable(NULL) && !pgque_error_configured_limit(NULL, &number));
    CHECK(pgque_messages_count(NULL) == 0 && !pgque_messages_get(NULL, 0));
    CHECK(pgque_message_id(NULL) == 0 && pgque_message_batch_id(NULL) == 0);
    CHECK(!pgque_message_type(NULL).data && !pgque_message_payload(NULL).data);
    CHECK(!pgque_message_extra(NULL, 1).data && pgque_message_created_at_us(NULL) == 0);
    CHECK(!pgque_message_retry_count(NULL, &retry_count));
    CHECK(!pgque_message_view(NULL, &fields, sizeof fields));
    CHECK(!pgque_notification_channel(NULL).data && !pgque_notification_payload(NULL).data);
    CHECK(pgque_notification_process_id(NULL) == 0);
    CHECK(pgque_result_column_count(NULL) == 0 && !pgque_result_column_name(NULL, 0).data);
    CHECK(pgque_result_row_count(NULL) == 0 && !pgque_result_rows_affected(NULL, &rows));
    CHECK(!pgque_result_value(NULL, 0, 0) && pgque_value_kind(NULL) == PGQUE_VALUE_NULL);
    CHECK(!pgque_value_bool(NULL, &yes) && !pgque_value_int64(NULL, &number));
    CHECK(!pgque_value_double(NULL, &real) && !pgque_value_bytes(NULL).data);
    CHECK(pgque_value_item_count(NULL) == 0 && !pgque_value_item(NULL, 0));
    CHECK(pgque_capabilities_server_version(NULL) == 0 && !pgque_capabilities_finish(NULL));
    CHECK(!pgque_capabilities_ticker_pending(NULL) && !pgque_capabilities_pages(NULL));
    CHECK(pgque_replayed_count(NULL) == 0);
    CHECK(pgque_replayed_failed(NULL) == 0 && !pgque_replayed_first_error(NULL).data);
    CHECK(pgque_batch_id(NULL) == 0 && pgque_batch_count(NULL) == 0 && !pgque_batch_message(NULL, 0));
    CHECK(pgque_batch_handler(NULL, 0) == PGQUE_NO_HANDLER && pgque_batch_lanes(NULL) == 0);
    CHECK(pgque_message_attempt(NULL) == 0);
    CHECK(!pgque_message_client(NULL) && !pgque_consumer_is_stopping(NULL));
    CHECK(!pgque_health_status(NULL) && !pgque_health_alive(NULL) && pgque_health_since_us(NULL) == 0);
    CHECK(!pgque_health_last_error(NULL) && !pgque_health_last_error_at_us(NULL, &number));
    CHECK(number == 7 && retry_count == 7 && rows == 7 && real == 7 && yes);
}

static void the_connection_refuses(pgque_client *on) {
    pgque_client *client = NULL;
    pgque_result *result = NULL;
    pgque_notification *notification = NULL;
    NULLED(pgque_client_connect(NULL, &client));
    NULLED(pgque_client_connect("host=localhost", NULL));
    MISREAD(pgque_client_connect(BAD, &client));
    REFUSES(PGQUE_ERROR_CONFIGURATION, "nonsense", pgque_client_connect("nonsense=1", &client));
    NULLED(pgque_client_over(NULL, NULL, NULL, &client));
    NULLED(pgque_client_over(unasked, NULL, NULL, NULL));
    NULLED(pgque_client_set_autocommit(NULL, true));
    NULLED(pgque_client_close(NULL));
    NULLED(pgque_client_begin(NULL));
    NULLED(pgque_client_commit(NULL));
    NULLED(pgque_client_rollback(NULL));
    NULLED(pgque_client_execute(NULL, "select 1", NULL, 0, &result));
    NULLED(pgque_client_execute(on, "select 1", NULL, 0, NULL));
    NULLED(pgque_client_execute(on, "select $1", NULL, 1, &result));
    NULLED(pgque_client_listen(NULL, "c"));
    NULLED(pgque_client_unlisten(NULL, "c"));
    NULLED(pgque_client_notification(NULL, 0, &notification));
    NULLED(pgque_client_notification(on, 0, NULL));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "timeout_seconds", pgque_client_notification(on, -1, &notification));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "timeout_seconds", pgque_client_notification(on, NAN, &notification));
    REFUSES(PGQUE_ERROR_CONFLICT, "caller", pgque_client_begin(on));
    REFUSES(PGQUE_ERROR_CONFLICT, "caller", pgque_client_notification(on, 0, &notification));
    CHECK(!client && !result && !notification);
}

static void sending_refuses(pgque_client *on) {
    pgque_event *event = pgque_event_new();
    pgque_bytes nothing = {NULL, 0}, bad = {BAD, 2}, nul = {"a\0b", 3};
    int64_t id = 7;
    NULLED(pgque_client_send(NULL, "q", NULL, "1", 1, &id));
    NULLED(pgque_client_send(on, NULL, NULL, "1", 1, &id));
    NULLED(pgque_client_send(on, "q", NULL, NULL, 0, &id));
    MISREAD(pgque_client_send(on, BAD, NULL, "1", 1, &id));
    MISREAD(pgque_client_send(on, "q", BAD, "1", 1, &id));
    MISREAD(pgque_client_send(on, "q", NULL, BAD, 2, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload is not valid JSON",
            pgque_client_send(on, "q", NULL, "{", 1, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload", pgque_client_send(on, "q", NULL, "\"a\0b\"", 5, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload must not be longer",
            pgque_client_send(on, "q", NULL, "1", (size_t)-1, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payloads must not be longer",
            pgque_client_send_batch(on, "q", NULL, &nul, (size_t)-1, &id));
    NULLED(pgque_client_send_text(NULL, "q", NULL, "1", 1, &id));
    NULLED(pgque_client_send_text(on, "q", NULL, NULL, 1, &id));
    MISREAD(pgque_client_send_text(on, "q", NULL, BAD, 2, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "NUL", pgque_client_send_text(on, "q", NULL, "a\0b", 3, &id));
    NULLED(pgque_client_send_event(NULL, "q", event, &id));
    NULLED(pgque_client_send_event(on, "q", NULL, &id));
    NULLED(pgque_client_send_event(on, NULL, event, &id));
    NULLED(pgque_client_send_batch(NULL, "q", NULL, &nothing, 0, &id));
    NULLED(pgque_client_send_batch(on, "q", NULL, NULL, 1, &id));
    NULLED(pgque_client_send_batch(on, "q", NULL, &nothing, 1, &id));
    MISREAD(pgque_client_send_batch(on, "q", NULL, &bad, 1, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payloads[0]", pgque_client_send_batch(on, "q", NULL, &bad, 1, &id));
    NULLED(pgque_client_send_batch_text(NULL, "q", NULL, &nothing, 1, &id));
    NULLED(pgque_client_send_batch_text(on, NULL, NULL, &nothing, 1, &id));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "NUL", pgque_client_send_batch_text(on, "q", NULL, &nul, 1, &id));
    SUCCEEDS(pgque_client_send_batch(on, "q", NULL, NULL, 0, NULL));
    NULLED(pgque_event_set_type(NULL, "t"));
    NULLED(pgque_event_set_payload(event, NULL, 0));
    NULLED(pgque_event_set_text(NULL, "x", 1));
    NULLED(pgque_event_set_extra(NULL, 1, "x", 1));
    MISREAD(pgque_event_set_type(event, BAD));
    MISREAD(pgque_event_set_payload(event, BAD, 2));
    MISREAD(pgque_event_set_text(event, BAD, 2));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "number", pgque_event_set_extra(event, 0, "x", 1));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "number", pgque_event_set_extra(event, 5, "x", 1));
    CHECK(id == 7);
    pgque_event_free(event);
}

static void subscribing_refuses(pgque_client *on) {
    int64_t count = 7;
    NULLED(pgque_client_subscribe(NULL, "q", "c", &count));
    NULLED(pgque_client_subscribe(on, NULL, "c", &count));
    MISREAD(pgque_client_subscribe(on, "q", BAD, &count));
    NULLED(pgque_client_unsubscribe(NULL, "q", "c", &count));
    NULLED(pgque_client_unsubscribe(on, "q", NULL, &count));
    NULLED(pgque_client_subscribe_subconsumer(NULL, "q", "c", "s", false, &count));
    MISREAD(pgque_client_subscribe_subconsumer(on, "q", "c", BAD, false, &count));
    NULLED(pgque_client_unsubscribe_subconsumer(NULL, "q", "c", "s", 0, &count));
    NULLED(pgque_client_unsubscribe_subconsumer(on, "q", "c", NULL, 0, &count));
    NULLED(pgque_client_touch_subconsumer(NULL, "q", "c", "s", &count));
    NULLED(pgque_client_touch_subconsumer(on, "q", NULL, "s", &count));
    CHECK(count == 7);
}

static void consuming_refuses(pgque_client *on) {
    pgque_messages *messages = NULL;
    pgque_verdicts *verdicts = pgque_verdicts_new();
    pgque_interval none = pgque_interval_none(), minute = pgque_interval_seconds(60), odd = {9, 0, NULL};
    int64_t count = 7;
    NULLED(pgque_client_receive(NULL, "q", "c", 1, &messages));
    NULLED(pgque_client_receive(on, NULL, "c", 1, &messages));
    NULLED(pgque_client_receive(on, "q", "c", 1, NULL));
    MISREAD(pgque_client_receive(on, BAD, "c", 1, &messages));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "max_messages", pgque_client_receive(on, "q", "c", 0, &messages));
    NULLED(pgque_client_receive_coop(NULL, "q", "c", "s", 1, none, &messages));
    NULLED(pgque_client_receive_coop(on, "q", "c", NULL, 1, none, &messages));
    NULLED(pgque_client_receive_coop(on, "q", "c", "s", 1, pgque_interval_text(NULL), &messages));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "pgque_interval",
            pgque_client_receive_coop(on, "q", "c", "s", 1, odd, &messages));
    NULLED(pgque_client_ack(NULL, 1, &count));
    NULLED(pgque_client_nack(NULL, 1, 1, minute, NULL));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "retry_after must be given", pgque_client_nack(on, 1, 1, none, NULL));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "retry_after",
            pgque_client_nack(on, 1, 1, pgque_interval_seconds(-1), NULL));
    MISREAD(pgque_client_nack(on, 1, 1, minute, BAD));
    NULLED(pgque_client_finish(NULL, 1, verdicts, &count));
    NULLED(pgque_client_finish(on, 1, NULL, &count));
    NULLED(pgque_verdicts_ack(NULL, 1));
    NULLED(pgque_verdicts_retry(NULL, 1, none, NULL));
    NULLED(pgque_verdicts_dead(NULL, 1, NULL));
    MISREAD(pgque_verdicts_dead(verdicts, 1, BAD));
    NULLED(pgque_verdict_ack(NULL));
    NULLED(pgque_verdict_retry(NULL, none, NULL));
    NULLED(pgque_verdict_dead(NULL, NULL));
    NULLED(pgque_verdict_fail(NULL, "error"));
    CHECK(!messages && count == 7);
    pgque_verdicts_free(verdicts);
}

static void administering_refuses(pgque_client *on) {
    pgque_result *result = NULL;
    pgque_capabilities *capabilities = NULL;
    pgque_replayed *replayed = NULL;
    char *version = NULL;
    bool has_tick = false;
    int64_t count = 7;
    NULLED(pgque_client_install(NULL));
    NULLED(pgque_client_uninstall(NULL));
    NULLED(pgque_client_version(NULL, &version));
    NULLED(pgque_client_version(on, NULL));
    NULLED(pgque_client_capabilities(NULL, &capabilities));
    NULLED(pgque_client_capabilities(on, NULL));
    NULLED(pgque_client_ticker(NULL, "q", &has_tick, &count));
    NULLED(pgque_client_ticker(on, NULL, &has_tick, &count));
    NULLED(pgque_client_force_next_tick(NULL, "q", &has_tick, &count));
    NULLED(pgque_client_force_tick(on, NULL, &has_tick, &count));
    NULLED(pgque_client_ticker_all(NULL, &count));
    NULLED(pgque_client_maint(NULL, &count));
    NULLED(pgque_client_maint_retry_events(NULL, &count));
    NULLED(pgque_client_create_queue(NULL, "q", &count));
    MISREAD(pgque_client_create_queue(on, BAD, &count));
    NULLED(pgque_client_drop_queue(on, NULL, false, &count));
    NULLED(pgque_client_set_queue_config(on, "q", NULL, NULL, &count));
    MISREAD(pgque_client_set_queue_config(on, "q", "n", BAD, &count));
    NULLED(pgque_client_status(NULL, &result));
    NULLED(pgque_client_status(on, NULL));
    MISREAD(pgque_client_queue_info(on, BAD, &result));
    MISREAD(pgque_client_consumer_info(on, NULL, BAD, &result));
    NULLED(pgque_client_batch_info(NULL, 1, &result));
    NULLED(pgque_client_dlq_inspect(on, NULL, 1, &result));
    NULLED(pgque_client_dlq_replay(NULL, 1, &count));
    NULLED(pgque_client_dlq_replay_all(on, NULL, &replayed));
    NULLED(pgque_client_dlq_replay_all(on, "q", NULL));
    NULLED(pgque_client_dlq_redeliver(NULL, 1, &count));
    NULLED(pgque_client_dlq_redeliver_all(on, NULL, NULL, &count));
    NULLED(pgque_client_dlq_purge(on, NULL, pgque_dlq_older_than_default(), &count));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "older_than must be given",
            pgque_client_dlq_purge(on, "q", pgque_interval_none(), &count));
    NULLED(pgque_result_get(NULL, 0, "c", NULL));
    NULLED(pgque_answer_add_row(NULL, NULL, 0));
    NULLED(pgque_answer_server_error(NULL, "00000", "m", NULL, NULL, NULL));
    NULLED(pgque_answer_connection_error(NULL, "m"));
    CHECK(!result && !capabilities && !replayed && !version && !has_tick && count == 7);
}

static void loops_refuse(void) {
    pgque_options *options = pgque_options_new();
    pgque_consumer *consumer = NULL;
    pgque_ticker *ticker = NULL;
    pgque_batch *batch = NULL;
    int64_t handler = 7;
    int32_t next = 7;
    NULLED(pgque_options_set(NULL, "n", "v"));
    NULLED(pgque_options_set(options, NULL, "v"));
    MISREAD(pgque_options_set(options, "n", BAD));
    SUCCEEDS(pgque_options_set(options, "speed", "high"));
    REFUSES(PGQUE_ERROR_CONFIGURATION, "speed", pgque_consumer_new("host=h", "q", "c", options, &consumer));
    REFUSES(PGQUE_ERROR_CONFIGURATION, "speed", pgque_ticker_new("host=h", options, &ticker));
    pgque_options_free(options);
    NULLED(pgque_consumer_new(NULL, "q", "c", NULL, &consumer));
    NULLED(pgque_consumer_new("host=h", "q", "c", NULL, NULL));
    MISREAD(pgque_consumer_new("host=h", "q", BAD, NULL, &consumer));
    NULLED(pgque_ticker_new("host=h", NULL, NULL));
    CHECK(!consumer && !ticker);

    SUCCEEDS(pgque_consumer_new("host=h", "q", "c", NULL, &consumer));
    NULLED(pgque_consumer_on(NULL, "t", &handler));
    NULLED(pgque_consumer_on(consumer, NULL, &handler));
    MISREAD(pgque_consumer_on(consumer, BAD, &handler));
    NULLED(pgque_consumer_next(NULL, 0, &next, &batch));
    NULLED(pgque_consumer_next(consumer, 0, &next, NULL));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "timeout_seconds", pgque_consumer_next(consumer, -1, &next, &batch));
    NULLED(pgque_consumer_finish(consumer, NULL));
    NULLED(pgque_consumer_run(NULL, NULL, NULL));
    NULLED(pgque_consumer_run(consumer, NULL, NULL));
    NULLED(pgque_consumer_run_batches(NULL, NULL, NULL));
    NULLED(pgque_consumer_run_batches(consumer, NULL, NULL));
    NULLED(pgque_consumer_stop(NULL));
    NULLED(pgque_consumer_close(NULL));
    NULLED(pgque_consumer_begin_run(NULL));
    NULLED(pgque_consumer_overdue(NULL));
    NULLED(pgque_consumer_take(consumer, NULL, NULL, NULL));
    NULLED(pgque_consumer_take_all(consumer, NULL, NULL));
    NULLED(pgque_batch_ack(NULL, 0));
    NULLED(pgque_batch_retry(NULL, 0, pgque_interval_none(), NULL));
    NULLED(pgque_batch_dead(NULL, 0, NULL));
    NULLED(pgque_batch_fail(NULL, 0, "error"));
    NULLED(pgque_ticker_run(NULL));
    NULLED(pgque_ticker_stop(NULL));
    CHECK(handler == 7 && next == 7 && !batch);
    /* A stop before the start is not lost. */
    SUCCEEDS(pgque_consumer_stop(consumer));
    CHECK(pgque_consumer_is_stopping(consumer));
    SUCCEEDS(pgque_consumer_next(consumer, INFINITY, &next, &batch));
    CHECK(next == PGQUE_NEXT_STOPPED && !batch && !pgque_consumer_is_stopping(consumer));
    /* The second stop forces. */
    SUCCEEDS(pgque_consumer_stop(consumer));
    SUCCEEDS(pgque_consumer_stop(consumer));
    SUCCEEDS(pgque_consumer_overdue(consumer));
    pgque_consumer_free(consumer);
}

static void ignore_message(const pgque_message *message, void *user_data) { (void)message, (void)user_data; }

static void count_free(void *user_data) { ++*(int *)user_data; }

static void readings_and_callbacks_refuse(void) {
    pgque_consumer *consumer = NULL;
    pgque_health *health = NULL;
    pgque_stats stats;
    int freed = 0;
    SUCCEEDS(pgque_consumer_new("host=h", "q", "c", NULL, &consumer));
    NULLED(pgque_consumer_stats(NULL, &stats, sizeof stats));
    NULLED(pgque_consumer_stats(consumer, NULL, sizeof stats));
    NULLED(pgque_consumer_health(NULL, &health));
    NULLED(pgque_consumer_health(consumer, NULL));
    SUCCEEDS(pgque_consumer_stats(consumer, &stats, sizeof stats));
    CHECK(stats.batches == 0 && stats.lag_seconds == 0);
    SUCCEEDS(pgque_consumer_health(consumer, &health));
    CHECK(strcmp(pgque_health_status(health), "stopped") == 0 && !pgque_health_alive(health));
    CHECK(pgque_health_since_us(health) > 0 && !pgque_health_last_error(health));
    CHECK(!pgque_health_last_error_at_us(health, NULL));
    pgque_health_free(health);
    NULLED(pgque_consumer_on_failure(consumer, NULL, &freed, count_free));
    NULLED(pgque_consumer_after_message(consumer, NULL, NULL, NULL));
    NULLED(pgque_consumer_before_message(NULL, ignore_message, &freed, count_free));
    CHECK(freed == 2);
    SUCCEEDS(pgque_consumer_before_message(consumer, ignore_message, &freed, count_free));
    SUCCEEDS(pgque_consumer_before_message(consumer, ignore_message, &freed, count_free));
    CHECK(freed == 3);
    SUCCEEDS(pgque_consumer_on_batch(consumer));
    NULLED(pgque_consumer_on_batch(NULL));
    REFUSES(PGQUE_ERROR_CONFLICT, "two consumers", pgque_consumer_on(consumer, "t", NULL));
    pgque_consumer_free(consumer);
    CHECK(freed == 4);
}

static void ignore_line(int32_t level, const char *logger, const char *line, void *user_data) {
    (void)level, (void)logger, (void)line, (void)user_data;
}

static void user_data_is_freed_once(void) {
    int freed = 0;
    pgque_client *client = NULL;
    SUCCEEDS(pgque_client_over(unasked, &freed, count_free, &client));
    CHECK(freed == 0);
    pgque_client_free(client);
    CHECK(freed == 1);
    NULLED(pgque_client_over(NULL, &freed, count_free, &client));
    CHECK(freed == 2);
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "level", pgque_set_log(9, ignore_line, &freed, count_free));
    CHECK(freed == 3);
    SUCCEEDS(pgque_set_log(PGQUE_LOG_TRACE, ignore_line, &freed, count_free));
    SUCCEEDS(pgque_log(PGQUE_LOG_INFO, "pgque.consumer.c", "a line"));
    NULLED(pgque_log(PGQUE_LOG_INFO, NULL, "a line"));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "level", pgque_log(9, "pgque", "a line"));
    SUCCEEDS(pgque_set_log(PGQUE_LOG_ERROR, NULL, NULL, NULL));
    CHECK(freed == 4);
}

static void wrappers_texts_are_checked(void) {
    SUCCEEDS(pgque_text_check("send", "queue", "orders", 6));
    MISREAD(pgque_text_check("send", "queue", BAD, 2));
    pgque_error *error = pgque_text_check("send", "queue", "a\0b", 3);
    CHECK(pgque_error_kind(error) == PGQUE_ERROR_INVALID_INPUT && error);
    CHECK(strcmp(pgque_error_op(error), "send") == 0 && strstr(pgque_error_text(error), "send: queue must"));
    CHECK(strcmp(pgque_error_kind_name(error), "invalid_input") == 0 && !pgque_error_retriable(error));
    CHECK(!pgque_error_sqlstate(error));
    pgque_error_free(error);
}

static bool always(void) { return true; }

/* Nobody listens at port 1: the consumer tries for ever, unless it is interrupted. */
static void a_wait_is_interrupted(void) {
    pgque_consumer *consumer = NULL;
    pgque_batch *batch = NULL;
    NULLED(pgque_set_interrupt(NULL));
    SUCCEEDS(pgque_set_interrupt(always));
    REFUSES(PGQUE_ERROR_CONFLICT, "already", pgque_set_interrupt(always));
    SUCCEEDS(pgque_consumer_new("host=127.0.0.1 port=1", "q", "c", NULL, &consumer));
    REFUSES(PGQUE_ERROR_INTERRUPTED, "interrupted", pgque_consumer_next(consumer, INFINITY, NULL, &batch));
    CHECK(!batch);
    pgque_consumer_free(consumer);
}

int main(void) {
    pgque_client *on = NULL;
    CHECK(pgque_abi_version() == PGQUE_ABI_VERSION && strlen(pgque_version()) > 0);
    SUCCEEDS(pgque_client_over(unasked, NULL, NULL, &on));
    frees_take_null();
    accessors_take_null();
    the_connection_refuses(on);
    sending_refuses(on);
    subscribing_refuses(on);
    consuming_refuses(on);
    administering_refuses(on);
    loops_refuse();
    readings_and_callbacks_refuse();
    user_data_is_freed_once();
    wrappers_texts_are_checked();
    a_wait_is_interrupted(); /* for the rest of the process */
    SUCCEEDS(pgque_client_close(on));
    SUCCEEDS(pgque_client_close(on));
    pgque_client_free(on);
    return done("doors");
}
