/* What C needs beside pgque.h: a flag for each thread, and callbacks with the types that pgque.h asks for. */
#ifndef PGQUE_GO_CALLBACKS_H
#define PGQUE_GO_CALLBACKS_H

#include <pgque.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pgque_go_flag pgque_go_flag;

/* A flag that is not set. */
pgque_go_flag *pgque_go_flag_new(void);

/* From any thread. */
void pgque_go_flag_set(pgque_go_flag *flag);

/* Has calls of this thread end when the flag is set; the flag before this one, or NULL. */
pgque_go_flag *pgque_go_watch(pgque_go_flag *flag);

bool pgque_go_interrupted(void);

/* `handle` is a cgo.Handle. */
pgque_error *pgque_go_over(uintptr_t handle, pgque_client **client);

pgque_error *pgque_go_post(const pgque_producer *producer, const char *queue, const pgque_event *event,
                           uintptr_t handle, pgque_post **post);

pgque_error *pgque_go_set_log(int32_t level, uintptr_t handle);

#endif
