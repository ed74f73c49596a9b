/* Sends that are begun one behind the other, and waited for together. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>

/* Begins one of the request's events on a pipeline or a producer. */
typedef pgque_error *begin(void *on, const char *queue, const pgque_event *event, pgque_pending **pending);

static pgque_error *on_pipeline(void *on, const char *queue, const pgque_event *event,
                                pgque_pending **pending) {
    return pgque_pipeline_send(on, queue, event, pending);
}

static pgque_error *on_producer(void *on, const char *queue, const pgque_event *event,
                                pgque_pending **pending) {
    return pgque_producer_submit(on, queue, event, pending);
}

static json_t *outcome(pgque_pending *pending, json_t *refused) {
    int64_t id = 0;
    pgque_error *error = pending ? pgque_pending_wait(pending, INFINITY, &id) : NULL;
    pgque_pending_free(pending);
    if (refused || error) {
        return json_pack("{so}", "error", refused ? refused : library_error(error));
    }
    return json_pack("{so}", "id", id_text(id));
}

/* What each event was begun with: its answer to come, or why there is none. */
typedef struct {
    pgque_pending *pending;
    json_t *refused;
} begun;

static begun *begin_all(call *c, begin *send, void *on) {
    const json_t *events = json_object_get(c->request, "events");
    size_t count = json_array_size(events);
    begun *all = calloc(count + 1, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        call one = {json_array_get(events, i), c->op, NULL, false};
        const char *queue = text(&one, "queue");
        pgque_event *made = event(&one);
        if (!one.error) {
            failed(&one, send(on, queue, made, &all[i].pending));
        }
        pgque_event_free(made);
        all[i].refused = one.error;
    }
    return all;
}

static json_t *ended(call *c, begun *all, json_t *flush) {
    size_t count = json_array_size(json_object_get(c->request, "events"));
    json_t *outcomes = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(outcomes, outcome(all[i].pending, all[i].refused));
    }
    free(all);
    return json_pack("{so, so}", "outcomes", outcomes, "flush", flush ? flush : json_null());
}

json_t *do_pipelined(call *c) {
    pgque_client *on = client(c);
    pgque_pipeline *pipeline = NULL;
    if (!c->error) {
        failed(c, pgque_client_pipeline(on, &pipeline));
    }
    if (c->error) {
        return NULL;
    }
    begun *all = begin_all(c, on_pipeline, pipeline);
    call end = {NULL, NULL, NULL, false};
    if (flag(c, "commit")) {
        failed(&end, pgque_client_commit(on));
    }
    failed(&end, pgque_pipeline_flush(pipeline));
    pgque_pipeline_free(pipeline);
    return ended(c, all, end.error);
}

json_t *submit_all(call *c, pgque_producer *on) {
    begun *all = begin_all(c, on_producer, on);
    call end = {NULL, NULL, NULL, false};
    failed(&end, pgque_producer_flush(on));
    return ended(c, all, end.error);
}
