/* Sends that are begun and waited for later, against the server in PGQUE_TEST_DSN. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

#define NULLED(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must not be NULL", call)
#define MISREAD(call) REFUSES(PGQUE_ERROR_INVALID_INPUT, "must be valid UTF-8", call)

static const char QUEUE[] = "c_pipeline";
static const char BAD[] = "\xff\xfe";
static const char *dsn;

static pgque_event *event_of(const char *json) {
    pgque_event *event = pgque_event_new();
    SUCCEEDS(pgque_event_set_payload(event, json, strlen(json)));
    return event;
}

static void every_door_refuses(pgque_client *client) {
    pgque_pipeline *pipeline = NULL;
    pgque_producer *producer = NULL;
    pgque_pending *pending = NULL;
    pgque_event *event = event_of("1"), *no_json = event_of("{");
    int64_t id = 7;
    NULLED(pgque_client_pipeline(NULL, &pipeline));
    NULLED(pgque_client_pipeline(client, NULL));
    CHECK(!pipeline);
    SUCCEEDS(pgque_client_pipeline(client, &pipeline));
    NULLED(pgque_pipeline_send(NULL, QUEUE, event, &pending));
    NULLED(pgque_pipeline_send(pipeline, NULL, event, &pending));
    NULLED(pgque_pipeline_send(pipeline, QUEUE, NULL, &pending));
    MISREAD(pgque_pipeline_send(pipeline, BAD, event, &pending));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload", pgque_pipeline_send(pipeline, QUEUE, no_json, &pending));
    NULLED(pgque_pipeline_flush(NULL));
    SUCCEEDS(pgque_producer_new(dsn, NULL, &producer));
    NULLED(pgque_producer_submit(NULL, QUEUE, event, &pending));
    NULLED(pgque_producer_submit(producer, NULL, event, &pending));
    NULLED(pgque_producer_submit(producer, QUEUE, NULL, &pending));
    MISREAD(pgque_producer_submit(producer, BAD, event, &pending));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "payload", pgque_producer_submit(producer, QUEUE, no_json, &pending));
    NULLED(pgque_pending_wait(NULL, 1, &id));
    CHECK(id == 7 && !pending);
    SUCCEEDS(pgque_pipeline_send(pipeline, QUEUE, event, &pending));
    REFUSES(PGQUE_ERROR_INVALID_INPUT, "timeout_seconds", pgque_pending_wait(pending, NAN, &id));
    SUCCEEDS(pgque_pipeline_flush(pipeline));
    pgque_pending_free(pending);
    pgque_pending_free(NULL);
    pgque_pipeline_free(pipeline);
    pgque_pipeline_free(NULL);
    pgque_producer_free(producer);
    pgque_event_free(no_json);
    pgque_event_free(event);
}

/* With or without an interest in the ids, which outlive the pipeline. */
static void sends_are_answered_later(pgque_client *client) {
    enum { COUNT = 100 };
    pgque_pipeline *pipeline = NULL;
    pgque_pending *pending[COUNT] = {NULL}, *refused = NULL;
    pgque_event *event = event_of("{\"n\": 1}");
    int64_t ids[COUNT] = {0}, id = 0;
    SUCCEEDS(pgque_client_pipeline(client, &pipeline));
    for (size_t i = 0; i < COUNT; i++) {
        SUCCEEDS(pgque_pipeline_send(pipeline, QUEUE, event, &pending[i]));
        SUCCEEDS(pgque_pipeline_send(pipeline, QUEUE, event, NULL));
    }
    SUCCEEDS(pgque_pipeline_flush(pipeline));
    SUCCEEDS(pgque_pipeline_send(pipeline, "nowhere", event, &refused));
    REFUSES(PGQUE_ERROR_QUEUE_NOT_FOUND, "nowhere", pgque_pipeline_flush(pipeline));
    REFUSES(PGQUE_ERROR_QUEUE_NOT_FOUND, "nowhere", pgque_pending_wait(refused, INFINITY, &id));
    pgque_pending_free(refused);
    pgque_pipeline_free(pipeline);
    for (size_t i = 0; i < COUNT; i++) {
        SUCCEEDS(pgque_pending_wait(pending[i], 0, &ids[i]));
        SUCCEEDS(pgque_pending_wait(pending[i], INFINITY, NULL));
        CHECK(ids[i] > (i ? ids[i - 1] : 0));
        pgque_pending_free(pending[i]);
    }
    pgque_event_free(event);
}

static void submits_are_answered_later(void) {
    pgque_producer *producer = NULL;
    pgque_pending *pending = NULL;
    pgque_event *event = event_of("[]");
    int64_t id = 0;
    SUCCEEDS(pgque_producer_new(dsn, NULL, &producer));
    SUCCEEDS(pgque_producer_submit(producer, QUEUE, event, NULL));
    SUCCEEDS(pgque_producer_submit(producer, QUEUE, event, &pending));
    SUCCEEDS(pgque_producer_close(producer, INFINITY));
    SUCCEEDS(pgque_pending_wait(pending, 0, &id));
    CHECK(id > 0);
    REFUSES(PGQUE_ERROR_CLOSED, "closed", pgque_producer_submit(producer, QUEUE, event, NULL));
    pgque_pending_free(pending);
    pgque_producer_free(producer);
    pgque_event_free(event);
}

int main(void) {
    pgque_client *client = NULL;
    dsn = getenv("PGQUE_TEST_DSN");
    if (!dsn) {
        fprintf(stderr, "PGQUE_TEST_DSN is not set\n");
        return 1;
    }
    SUCCEEDS(pgque_client_connect(dsn, &client));
    SUCCEEDS(pgque_client_install(client));
    /* What a run that was cut short has left. */
    pgque_error_free(pgque_client_drop_queue(client, QUEUE, true, NULL));
    SUCCEEDS(pgque_client_create_queue(client, QUEUE, NULL));
    every_door_refuses(client);
    sends_are_answered_later(client);
    submits_are_answered_later();
    SUCCEEDS(pgque_client_drop_queue(client, QUEUE, true, NULL));
    pgque_client_free(client);
    return done("pipeline");
}
