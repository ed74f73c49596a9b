/* Reads requests, answers each on a line. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *answer_line(const char *line) {
    json_error_t why;
    call c = {json_loads(line, JSON_ALLOW_NUL, &why), NULL, NULL, false};
    json_t *reply = json_object(), *result = NULL;
    json_object_set(reply, "id", json_object_get(c.request, "id"));
    if (!c.request) {
        driver_failed(&c, why.text);
    } else if ((c.op = text(&c, "op")) != NULL) {
        result = answer(&c);
    }
    if (c.unknown) {
        json_object_set_new(reply, "unknown", json_true());
    } else if (c.error) {
        json_object_set_new(reply, "error", c.error);
    } else {
        json_object_set_new(reply, "ok", result ? result : json_null());
    }
    if (c.unknown || c.error) {
        json_decref(result);
    }
    json_decref(c.request);
    return reply;
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        json_t *reply = answer_line(line);
        json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        fflush(stdout);
        json_decref(reply);
    }
    free(line);
    /* A handler that still sleeps must not keep the process. */
    return 0;
}
