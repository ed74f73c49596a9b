/* Which operation makes which call. An argument that is wrong is kept in the call, and the library not
 * called. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

#define CALL(library)                                                                                        \
    do {                                                                                                     \
        if (!c->error) {                                                                                     \
            failed(c, library);                                                                              \
        }                                                                                                    \
    } while (0)

static const json_t *argument(call *c, const char *name) { return json_object_get(c->request, name); }

static json_t *do_close(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_close(on));
    return NULL;
}

static json_t *do_begin(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_begin(on));
    return NULL;
}

static json_t *do_commit(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_commit(on));
    return NULL;
}

static json_t *do_rollback(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_rollback(on));
    return NULL;
}

static json_t *do_install(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_install(on));
    return NULL;
}

static json_t *do_uninstall(call *c) {
    pgque_client *on = client(c);
    CALL(pgque_client_uninstall(on));
    return NULL;
}

static json_t *do_execute(call *c) {
    pgque_client *on = client(c);
    const char *sql = text(c, "sql");
    const json_t *params = argument(c, "params");
    size_t count = json_array_size(params);
    pgque_bytes *views = calloc(count + 1, sizeof *views);
    for (size_t i = 0; i < count; i++) {
        views[i] = bytes(json_array_get(params, i));
    }
    pgque_result *result = NULL;
    CALL(pgque_client_execute(on, sql, views, count, &result));
    free(views);
    return result ? table_json(result) : NULL;
}

static json_t *do_listen(call *c) {
    pgque_client *on = client(c);
    const char *channel = text(c, "channel");
    CALL(pgque_client_listen(on, channel));
    return NULL;
}

static json_t *do_unlisten(call *c) {
    pgque_client *on = client(c);
    const char *channel = text(c, "channel");
    CALL(pgque_client_unlisten(on, channel));
    return NULL;
}

static json_t *do_notification(call *c) {
    pgque_client *on = client(c);
    pgque_notification *arrived = NULL;
    CALL(pgque_client_notification(on, seconds(c, "timeout"), &arrived));
    if (!arrived) {
        return NULL;
    }
    json_t *made = json_pack("{so, so}", "channel", text_or_null(pgque_notification_channel(arrived)),
                             "payload", text_or_null(pgque_notification_payload(arrived)));
    pgque_notification_free(arrived);
    return made;
}

static json_t *do_capabilities(call *c) {
    pgque_client *on = client(c);
    pgque_capabilities *offers = NULL;
    CALL(pgque_client_capabilities(on, &offers));
    json_t *made =
        json_pack("{sI, sb, sb, sb}", "server_version", (json_int_t)pgque_capabilities_server_version(offers),
                  "finish", pgque_capabilities_finish(offers), "ticker_pending",
                  pgque_capabilities_ticker_pending(offers), "pages", pgque_capabilities_pages(offers));
    pgque_capabilities_free(offers);
    return made;
}

static json_t *do_version(call *c) {
    pgque_client *on = client(c);
    char *version = NULL;
    CALL(pgque_client_version(on, &version));
    json_t *made = json_string(version);
    pgque_text_free(version);
    return made;
}

static bool has_extra(call *c) {
    return argument(c, "extra1") || argument(c, "extra2") || argument(c, "extra3") || argument(c, "extra4");
}

/* JSON text, to be freed; NULL if the payload is opaque. */
static char *json_payload(call *c) {
    const char *special = maybe_text(c, "special");
    const json_t *payload = argument(c, "payload");
    return special ? special_payload(c, special) : payload ? json_text(payload) : NULL;
}

pgque_event *event(call *c) {
    static const char *const names[] = {"extra1", "extra2", "extra3", "extra4"};
    const char *type = maybe_text(c, "type");
    char *json = json_payload(c);
    pgque_bytes opaque = bytes(argument(c, "text"));
    pgque_event *made = pgque_event_new();
    CALL(pgque_event_set_type(made, type));
    if (json) {
        CALL(pgque_event_set_payload(made, json, strlen(json)));
    } else {
        CALL(pgque_event_set_text(made, opaque.data, opaque.len));
    }
    for (size_t i = 0; i < 4; i++) {
        pgque_bytes extra = bytes(argument(c, names[i]));
        CALL(pgque_event_set_extra(made, i + 1, extra.data, extra.len));
    }
    free(json);
    return made;
}

static void send_event(call *c, pgque_client *on, const char *queue, int64_t *msg_id) {
    pgque_event *made = event(c);
    CALL(pgque_client_send_event(on, queue, made, msg_id));
    pgque_event_free(made);
}

static json_t *do_send(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *type = maybe_text(c, "type");
    char *json = json_payload(c);
    pgque_bytes opaque = bytes(argument(c, "text"));
    int64_t msg_id = 0;
    if (has_extra(c)) {
        send_event(c, on, queue, &msg_id);
    } else if (json) {
        CALL(pgque_client_send(on, queue, type, json, strlen(json), &msg_id));
    } else {
        CALL(pgque_client_send_text(on, queue, type, opaque.data, opaque.len, &msg_id));
    }
    free(json);
    return id_text(msg_id);
}

static json_t *do_send_batch(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *type = maybe_text(c, "type");
    const json_t *texts = argument(c, "texts"), *payloads = texts ? texts : argument(c, "payloads");
    size_t count = json_array_size(payloads);
    pgque_bytes *views = calloc(count + 1, sizeof *views);
    char **jsons = calloc(count + 1, sizeof *jsons);
    int64_t *ids = calloc(count + 1, sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        views[i] = bytes(json_array_get(payloads, i));
        if (!texts) {
            jsons[i] = json_text(json_array_get(payloads, i));
            views[i].data = jsons[i];
            views[i].len = strlen(jsons[i]);
        }
    }
    CALL(texts ? pgque_client_send_batch_text(on, queue, type, views, count, ids)
               : pgque_client_send_batch(on, queue, type, views, count, ids));
    json_t *made = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(made, id_text(ids[i]));
        free(jsons[i]);
    }
    free(ids);
    free(jsons);
    free(views);
    return made;
}

static json_t *do_subscribe(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer");
    int64_t count = 0;
    CALL(pgque_client_subscribe(on, queue, consumer, &count));
    return json_integer(count);
}

static json_t *do_unsubscribe(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer");
    int64_t count = 0;
    CALL(pgque_client_unsubscribe(on, queue, consumer, &count));
    return json_integer(count);
}

static json_t *do_subscribe_subconsumer(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer"), *member = text(c, "subconsumer");
    int64_t count = 0;
    CALL(pgque_client_subscribe_subconsumer(on, queue, consumer, member, flag(c, "convert_normal"), &count));
    return json_integer(count);
}

static json_t *do_unsubscribe_subconsumer(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer"), *member = text(c, "subconsumer");
    int64_t handling = integer(c, "batch_handling", PGQUE_BATCH_HANDLING_DEFAULT), count = 0;
    CALL(pgque_client_unsubscribe_subconsumer(on, queue, consumer, member, handling, &count));
    return json_integer(count);
}

static json_t *do_touch_subconsumer(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer"), *member = text(c, "subconsumer");
    int64_t count = 0;
    CALL(pgque_client_touch_subconsumer(on, queue, consumer, member, &count));
    return json_integer(count);
}

static json_t *do_receive(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer");
    int64_t max_messages = integer(c, "max_messages", PGQUE_MAX_MESSAGES_DEFAULT);
    pgque_messages *messages = NULL;
    CALL(pgque_client_receive(on, queue, consumer, max_messages, &messages));
    return messages_json(messages);
}

static json_t *do_receive_coop(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = text(c, "consumer"), *member = text(c, "subconsumer");
    int64_t max_messages = integer(c, "max_messages", PGQUE_MAX_MESSAGES_DEFAULT);
    pgque_interval dead = interval_or(c, "dead_interval", pgque_interval_none());
    pgque_messages *messages = NULL;
    CALL(pgque_client_receive_coop(on, queue, consumer, member, max_messages, dead, &messages));
    return messages_json(messages);
}

static json_t *do_ack(call *c) {
    pgque_client *on = client(c);
    int64_t batch_id = id(c, argument(c, "batch_id")), count = 0;
    CALL(pgque_client_ack(on, batch_id, &count));
    return json_integer(count);
}

static json_t *do_nack(call *c) {
    pgque_client *on = client(c);
    int64_t batch_id = id(c, argument(c, "batch_id")), msg_id = id(c, argument(c, "msg_id"));
    pgque_interval after = interval_or(c, "retry_after", pgque_interval_seconds(PGQUE_RETRY_AFTER_DEFAULT));
    const char *reason = maybe_text(c, "reason");
    CALL(pgque_client_nack(on, batch_id, msg_id, after, reason));
    return NULL;
}

static void add_verdict(call *c, pgque_verdicts *verdicts, const json_t *given) {
    int64_t msg_id = id(c, json_object_get(given, "msg_id"));
    pgque_interval after = interval(c, json_object_get(given, "after"), "after");
    const char *reason = plain_text(c, json_object_get(given, "reason"), "reason");
    const char *verdict = plain_text(c, json_object_get(given, "verdict"), "verdict");
    if (verdict && strcmp(verdict, "ack") == 0) {
        CALL(pgque_verdicts_ack(verdicts, msg_id));
    } else if (verdict && strcmp(verdict, "retry") == 0) {
        CALL(pgque_verdicts_retry(verdicts, msg_id, after, reason));
    } else if (verdict && strcmp(verdict, "dead") == 0) {
        CALL(pgque_verdicts_dead(verdicts, msg_id, reason));
    } else {
        driver_failed(c, "no such verdict");
    }
}

static json_t *do_finish(call *c) {
    pgque_client *on = client(c);
    int64_t batch_id = id(c, argument(c, "batch_id")), count = 0;
    pgque_verdicts *verdicts = pgque_verdicts_new();
    size_t i;
    json_t *given;
    json_array_foreach(argument(c, "verdicts"), i, given) { add_verdict(c, verdicts, given); }
    CALL(pgque_client_finish(on, batch_id, verdicts, &count));
    pgque_verdicts_free(verdicts);
    return json_integer(count);
}

typedef pgque_error *tick_call(const pgque_client *, const char *, bool *, int64_t *);

static json_t *tick(call *c, tick_call *library) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    bool has_tick = false;
    int64_t tick_id = 0;
    CALL(library(on, queue, &has_tick, &tick_id));
    return has_tick ? id_text(tick_id) : NULL;
}

static json_t *do_ticker(call *c) { return tick(c, pgque_client_ticker); }
static json_t *do_force_next_tick(call *c) { return tick(c, pgque_client_force_next_tick); }
static json_t *do_force_tick(call *c) { return tick(c, pgque_client_force_tick); }

typedef pgque_error *count_call(const pgque_client *, int64_t *);

static json_t *count_of(call *c, count_call *library) {
    pgque_client *on = client(c);
    int64_t count = 0;
    CALL(library(on, &count));
    return json_integer(count);
}

static json_t *do_ticker_all(call *c) { return count_of(c, pgque_client_ticker_all); }
static json_t *do_maint(call *c) { return count_of(c, pgque_client_maint); }
static json_t *do_maint_retry_events(call *c) { return count_of(c, pgque_client_maint_retry_events); }

static json_t *do_create_queue(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    int64_t count = 0;
    CALL(pgque_client_create_queue(on, queue, &count));
    return json_integer(count);
}

static json_t *do_drop_queue(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    int64_t count = 0;
    CALL(pgque_client_drop_queue(on, queue, flag(c, "force"), &count));
    return json_integer(count);
}

static json_t *do_set_queue_config(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *name = text(c, "name"), *value = maybe_text(c, "value");
    int64_t count = 0;
    CALL(pgque_client_set_queue_config(on, queue, name, value, &count));
    return json_integer(count);
}

static json_t *do_status(call *c) {
    pgque_client *on = client(c);
    pgque_result *result = NULL;
    CALL(pgque_client_status(on, &result));
    return table_json(result);
}

static json_t *do_queue_info(call *c) {
    pgque_client *on = client(c);
    const char *queue = maybe_text(c, "queue");
    pgque_result *result = NULL;
    CALL(pgque_client_queue_info(on, queue, &result));
    return table_json(result);
}

static json_t *do_consumer_info(call *c) {
    pgque_client *on = client(c);
    const char *queue = maybe_text(c, "queue"), *consumer = maybe_text(c, "consumer");
    pgque_result *result = NULL;
    CALL(pgque_client_consumer_info(on, queue, consumer, &result));
    return table_json(result);
}

static json_t *do_batch_info(call *c) {
    pgque_client *on = client(c);
    int64_t batch_id = id(c, argument(c, "batch_id"));
    pgque_result *result = NULL;
    CALL(pgque_client_batch_info(on, batch_id, &result));
    return table_json(result);
}

static json_t *do_dlq_inspect(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    int64_t limit = integer(c, "limit", PGQUE_DLQ_LIMIT_DEFAULT);
    pgque_result *result = NULL;
    CALL(pgque_client_dlq_inspect(on, queue, limit, &result));
    return table_json(result);
}

static json_t *do_dlq_replay(call *c) {
    pgque_client *on = client(c);
    int64_t dead_letter_id = id(c, argument(c, "dead_letter_id")), msg_id = 0;
    CALL(pgque_client_dlq_replay(on, dead_letter_id, &msg_id));
    return id_text(msg_id);
}

static json_t *do_dlq_replay_all(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    pgque_replayed *done = NULL;
    CALL(pgque_client_dlq_replay_all(on, queue, &done));
    json_t *made = json_pack("{sI, sI, so}", "replayed", (json_int_t)pgque_replayed_count(done), "failed",
                             (json_int_t)pgque_replayed_failed(done), "first_error",
                             text_or_null(pgque_replayed_first_error(done)));
    pgque_replayed_free(done);
    return made;
}

static json_t *do_dlq_redeliver(call *c) {
    pgque_client *on = client(c);
    int64_t dead_letter_id = id(c, argument(c, "dead_letter_id")), msg_id = 0;
    CALL(pgque_client_dlq_redeliver(on, dead_letter_id, &msg_id));
    return id_text(msg_id);
}

static json_t *do_dlq_redeliver_all(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue"), *consumer = maybe_text(c, "consumer");
    int64_t count = 0;
    CALL(pgque_client_dlq_redeliver_all(on, queue, consumer, &count));
    return json_integer(count);
}

static json_t *do_dlq_purge(call *c) {
    pgque_client *on = client(c);
    const char *queue = text(c, "queue");
    pgque_interval older_than = interval_or(c, "older_than", pgque_dlq_older_than_default());
    int64_t count = 0;
    CALL(pgque_client_dlq_purge(on, queue, older_than, &count));
    return json_integer(count);
}

static json_t *do_hello(call *c);

static const struct {
    const char *op;
    json_t *(*answer)(call *c);
} operations[] = {
    {"hello", do_hello},
    {"connect", connect_own},
    {"connect_caller", connect_caller},
    {"caller_execute", caller_execute},
    {"close", do_close},
    {"begin", do_begin},
    {"commit", do_commit},
    {"rollback", do_rollback},
    {"execute", do_execute},
    {"listen", do_listen},
    {"unlisten", do_unlisten},
    {"notification", do_notification},
    {"capabilities", do_capabilities},
    {"version", do_version},
    {"send", do_send},
    {"pipelined", do_pipelined},
    {"send_batch", do_send_batch},
    {"subscribe", do_subscribe},
    {"unsubscribe", do_unsubscribe},
    {"subscribe_subconsumer", do_subscribe_subconsumer},
    {"unsubscribe_subconsumer", do_unsubscribe_subconsumer},
    {"touch_subconsumer", do_touch_subconsumer},
    {"receive", do_receive},
    {"receive_coop", do_receive_coop},
    {"ack", do_ack},
    {"nack", do_nack},
    {"finish", do_finish},
    {"ticker", do_ticker},
    {"ticker_all", do_ticker_all},
    {"force_next_tick", do_force_next_tick},
    {"force_tick", do_force_tick},
    {"maint", do_maint},
    {"maint_retry_events", do_maint_retry_events},
    {"install", do_install},
    {"uninstall", do_uninstall},
    {"status", do_status},
    {"create_queue", do_create_queue},
    {"drop_queue", do_drop_queue},
    {"set_queue_config", do_set_queue_config},
    {"queue_info", do_queue_info},
    {"consumer_info", do_consumer_info},
    {"batch_info", do_batch_info},
    {"dlq_inspect", do_dlq_inspect},
    {"dlq_replay", do_dlq_replay},
    {"dlq_replay_all", do_dlq_replay_all},
    {"dlq_redeliver", do_dlq_redeliver},
    {"dlq_redeliver_all", do_dlq_redeliver_all},
    {"dlq_purge", do_dlq_purge},
    {"consumer_start", consumer_start},
    {"consumer_seen", consumer_seen},
    {"consumer_ask_stop", consumer_ask_stop},
    {"consumer_stats", consumer_stats},
    {"consumer_health", consumer_health},
    {"consumer_hooks", consumer_hooks},
    {"consumer_stop", consumer_stop},
    {"ticker_start", ticker_start},
    {"ticker_stop", ticker_stop},
    {"ticker_stats", ticker_stats},
    {"producer_start", producer_start},
    {"producer_send", producer_send},
    {"producer_send_many", producer_send_many},
    {"producer_submit", producer_submit},
    {"producer_flush", producer_flush},
    {"producer_close", producer_close},
    {"producer_stats", producer_stats},
};

static const size_t operation_count = sizeof operations / sizeof *operations;

static json_t *do_hello(call *c) {
    (void)c;
    json_t *names = json_array();
    for (size_t i = 0; i < operation_count; i++) {
        json_array_append_new(names, json_string(operations[i].op));
    }
    return json_pack("{ss, ss, so}", "language", "c", "version", pgque_version(), "operations", names);
}

json_t *answer(call *c) {
    for (size_t i = 0; i < operation_count; i++) {
        if (strcmp(operations[i].op, c->op) == 0) {
            return operations[i].answer(c);
        }
    }
    c->unknown = true;
    return NULL;
}
