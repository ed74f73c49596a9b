#include "callbacks.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "_cgo_export.h"

struct pgque_go_flag {
    atomic_bool set;
};

static _Thread_local pgque_go_flag *watched;

pgque_go_flag *pgque_go_flag_new(void) {
    pgque_go_flag *flag = malloc(sizeof *flag);
    if (!flag)
        abort(); /* as Go does when memory is out */
    atomic_init(&flag->set, false);
    return flag;
}

void pgque_go_flag_set(pgque_go_flag *flag) { atomic_store(&flag->set, true); }

pgque_go_flag *pgque_go_watch(pgque_go_flag *flag) {
    pgque_go_flag *before = watched;
    watched = flag;
    return before;
}

bool pgque_go_interrupted(void) { return watched && atomic_load(&watched->set); }

/* Exported Go functions know no const, and a handle is a number. */

static bool query(const char *sql, const char *const *params, size_t count, pgque_answer *answer,
                  void *user_data) {
    /* Go does not bear the address of an array without items, which is none. */
    return pgqueGoQuery((char *)sql, count ? (char **)params : NULL, count, answer, (uintptr_t)user_data);
}

static void take_line(int32_t level, const char *logger, const char *line, void *user_data) {
    pgqueGoLog(level, (char *)logger, (char *)line, (uintptr_t)user_data);
}

static void sent(int64_t msg_id, pgque_error *error, void *user_data) {
    pgqueGoSent(msg_id, error, (uintptr_t)user_data);
}

static void release(void *user_data) { pgqueGoRelease((uintptr_t)user_data); }

pgque_error *pgque_go_over(uintptr_t handle, pgque_client **client) {
    return pgque_client_over(query, (void *)handle, release, client);
}

pgque_error *pgque_go_set_log(int32_t level, uintptr_t handle) {
    return pgque_set_log(level, handle ? take_line : NULL, (void *)handle, handle ? release : NULL);
}

pgque_error *pgque_go_post(const pgque_producer *producer, const char *queue, const pgque_event *event,
                           uintptr_t handle, pgque_post **post) {
    return pgque_producer_post_event(producer, queue, event, sent, (void *)handle, post);
}
