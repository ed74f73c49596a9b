/* A check that tells where it failed and lets the test go on; `done` gives the exit code. */
#ifndef CHECK_H
#define CHECK_H

#include <pgque.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition) check(condition, #condition, __FILE__, __LINE__)
#define SUCCEEDS(call) succeeds(call, #call, __FILE__, __LINE__)
/* The error is of that kind and its message holds `says`. */
#define REFUSES(kind, says, call) refuses(kind, says, call, #call, __FILE__, __LINE__)

static inline void check(bool holds, const char *what, const char *file, int line) {
    if (!holds) {
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
        failures++;
    }
}

static inline void succeeds(pgque_error *error, const char *what, const char *file, int line) {
    if (error) {
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, pgque_error_text(error));
        failures++;
    }
    pgque_error_free(error);
}

static inline void refuses(int32_t kind, const char *says, pgque_error *error, const char *what,
                           const char *file, int line) {
    if (pgque_error_kind(error) != kind || !strstr(pgque_error_message(error), says)) {
        fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, error ? pgque_error_text(error) : "no error");
        failures++;
    }
    pgque_error_free(error);
}

static inline bool is(pgque_bytes bytes, const char *text) {
    return bytes.data && bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

static inline int done(const char *name) {
    printf("%s: %s\n", name, failures ? "failed" : "ok");
    return failures != 0;
}

#endif
