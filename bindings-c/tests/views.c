/* What a caller's connection answers arrives whole: views, their NULLs, their lifetime. Without a server. */
#include "check.h"

#include <inttypes.h>
#include <stdlib.h>

/* What the fake connection does next. */
typedef struct {
    const char *cells[10];
    int rows;
    bool fails;
    pgque_client *calls_back;
} fake;

static bool answer(const char *sql, const char *const *params, size_t params_count, pgque_answer *answer,
                   void *user_data) {
    fake *f = user_data;
    CHECK(strstr(sql, "pgque.") && params_count > 0 && params[0]);
    if (f->calls_back) {
        REFUSES(PGQUE_ERROR_CONFLICT, "callback", pgque_client_ack(f->calls_back, 1, NULL));
    }
    if (f->fails) {
        SUCCEEDS(pgque_answer_server_error(answer, "PQ001", "queue not found: q", "a detail", "a hint", "c"));
        return false;
    }
    for (int row = 0; row < f->rows; row++) {
        pgque_bytes cells[10];
        for (int i = 0; i < 10; i++) {
            cells[i].data = f->cells[i];
            cells[i].len = f->cells[i] ? strlen(f->cells[i]) : 0;
        }
        SUCCEEDS(pgque_answer_add_row(answer, cells, 10));
    }
    return true;
}

static void accessors_and_the_one_view_agree(const pgque_message *message) {
    pgque_message_fields fields;
    CHECK(pgque_message_view(message, &fields, sizeof fields));
    CHECK(fields.msg_id == pgque_message_id(message));
    CHECK(fields.batch_id == pgque_message_batch_id(message));
    CHECK(fields.created_at_us == pgque_message_created_at_us(message));
    CHECK(fields.event_type.data == pgque_message_type(message).data);
    CHECK(fields.payload.data == pgque_message_payload(message).data);
    CHECK(fields.payload.len == pgque_message_payload(message).len);
    for (size_t i = 0; i < 4; i++) {
        CHECK(fields.extra[i].data == pgque_message_extra(message, i + 1).data);
    }
    CHECK(fields.has_retry_count == pgque_message_retry_count(message, NULL));
}

/* A program that was compiled with an older, shorter structure has nothing written behind it. */
static void a_shorter_structure_is_respected(const pgque_message *message) {
    struct {
        int64_t msg_id;
        int64_t behind;
    } old = {0, 7};
    CHECK(pgque_message_view(message, (pgque_message_fields *)(void *)&old, sizeof old.msg_id));
    CHECK(old.msg_id == INT64_MAX && old.behind == 7);
}

static void messages_arrive_whole(pgque_client *client, fake *f) {
    fake first = {
        {"9223372036854775807", "4", NULL, "", "3", "-1", "z\xcc\x87\xf0\x9f\xa6\x80", NULL, "", "x"},
        2,
        false,
        NULL};
    *f = first;
    pgque_messages *messages = NULL;
    SUCCEEDS(pgque_client_receive(client, "q", "c", PGQUE_MAX_MESSAGES_DEFAULT, &messages));
    CHECK(pgque_messages_count(messages) == 2 && !pgque_messages_get(messages, 2));
    const pgque_message *message = pgque_messages_get(messages, 1);
    int32_t retry_count = 0;
    CHECK(pgque_message_id(message) == INT64_MAX && pgque_message_batch_id(message) == 4);
    CHECK(!pgque_message_type(message).data);
    CHECK(is(pgque_message_payload(message), ""));
    CHECK(pgque_message_retry_count(message, &retry_count) && retry_count == 3);
    CHECK(pgque_message_attempt(message) == 4);
    CHECK(pgque_message_created_at_us(message) == -1);
    CHECK(is(pgque_message_extra(message, 1), f->cells[6]) && !pgque_message_extra(message, 2).data);
    CHECK(is(pgque_message_extra(message, 3), "") && is(pgque_message_extra(message, 4), "x"));
    CHECK(!pgque_message_extra(message, 0).data && !pgque_message_extra(message, 5).data);
    accessors_and_the_one_view_agree(message);
    a_shorter_structure_is_respected(message);
    /* The views are the messages' own, not the connection's. */
    pgque_bytes view = pgque_message_extra(message, 4);
    f->cells[9] = "y";
    CHECK(is(view, "x"));
    pgque_messages_free(messages);
}

static void a_first_delivery_has_no_retry_count(pgque_client *client, fake *f) {
    fake first = {{"1", "4", "t", NULL, NULL, "0", NULL, NULL, NULL, NULL}, 1, false, NULL};
    *f = first;
    pgque_messages *messages = NULL;
    SUCCEEDS(pgque_client_receive(client, "q", "c", 1, &messages));
    const pgque_message *message = pgque_messages_get(messages, 0);
    int32_t retry_count = 7;
    CHECK(!pgque_message_retry_count(message, &retry_count) && retry_count == 7);
    CHECK(is(pgque_message_type(message), "t") && !pgque_message_payload(message).data);
    accessors_and_the_one_view_agree(message);
    pgque_messages_free(messages);
}

static void an_error_keeps_its_facts(pgque_client *client, fake *f) {
    f->fails = true;
    int64_t count = 7;
    pgque_error *error = pgque_client_subscribe(client, "q", "c", &count);
    CHECK(pgque_error_kind(error) == PGQUE_ERROR_QUEUE_NOT_FOUND && error);
    CHECK(strcmp(pgque_error_kind_name(error), "queue_not_found") == 0);
    CHECK(strcmp(pgque_error_op(error), "subscribe") == 0);
    CHECK(strcmp(pgque_error_message(error), "queue not found: q") == 0);
    CHECK(strcmp(pgque_error_text(error), "subscribe: queue not found: q (a hint)") == 0);
    CHECK(strcmp(pgque_error_sqlstate(error), "PQ001") == 0);
    CHECK(strcmp(pgque_error_detail(error), "a detail") == 0);
    CHECK(strcmp(pgque_error_hint(error), "a hint") == 0);
    CHECK(strcmp(pgque_error_constraint(error), "c") == 0);
    CHECK(!pgque_error_retriable(error) && !pgque_error_configured_limit(error, &count) && count == 7);
    pgque_error_free(error);
    f->fails = false;
}

static void a_call_from_within_a_call_is_refused(pgque_client *client, fake *f) {
    f->calls_back = client;
    f->rows = 1;
    f->cells[0] = "1";
    SUCCEEDS(pgque_client_subscribe(client, "q", "c", NULL));
    f->calls_back = NULL;
}

int main(void) {
    fake *f = calloc(1, sizeof *f);
    pgque_client *client = NULL;
    SUCCEEDS(pgque_client_over(answer, f, free, &client));
    messages_arrive_whole(client, f);
    a_first_delivery_has_no_retry_count(client, f);
    an_error_keeps_its_facts(client, f);
    a_call_from_within_a_call_is_refused(client, f);
    pgque_client_free(client);
    return done("views");
}
