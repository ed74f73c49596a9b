/* Reading a request's arguments. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* JSON text may hold a NUL, a C string ends there: the library has a word for that. */
const char *plain_text(call *c, const json_t *value, const char *name) {
    if (!json_is_string(value)) {
        return NULL;
    }
    failed(c, pgque_text_check(c->op, name, json_string_value(value), json_string_length(value)));
    return json_string_value(value);
}

const char *maybe_text(call *c, const char *name) {
    return plain_text(c, json_object_get(c->request, name), name);
}

const char *text(call *c, const char *name) {
    const char *found = maybe_text(c, name);
    if (!found) {
        driver_failed(c, "a text argument is missing");
    }
    return found;
}

pgque_bytes bytes(const json_t *value) {
    pgque_bytes view = {json_string_value(value), json_string_length(value)};
    return view;
}

/* A 64-bit id, which travels as text. */
int64_t id(call *c, const json_t *value) {
    if (!json_is_string(value)) {
        driver_failed(c, "an id is missing");
        return 0;
    }
    return strtoll(json_string_value(value), NULL, 10);
}

int64_t integer(call *c, const char *name, int64_t otherwise) {
    const json_t *value = json_object_get(c->request, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool flag(call *c, const char *name) { return json_is_true(json_object_get(c->request, name)); }

double seconds(call *c, const char *name) { return json_number_value(json_object_get(c->request, name)); }

pgque_interval interval(call *c, const json_t *value, const char *name) {
    const char *special = json_string_value(json_object_get(value, "special"));
    if (special) {
        return pgque_interval_seconds(strcmp(special, "nan") == 0 ? NAN : INFINITY);
    }
    if (json_is_number(value)) {
        return pgque_interval_seconds(json_number_value(value));
    }
    if (json_is_string(value)) {
        return pgque_interval_text(plain_text(c, value, name));
    }
    return pgque_interval_none();
}

pgque_interval interval_or(call *c, const char *name, pgque_interval otherwise) {
    const json_t *value = json_object_get(c->request, name);
    return value ? interval(c, value, name) : otherwise;
}

char *json_text(const json_t *value) {
    if (json_is_string(value)) {
        char *copy = malloc(json_string_length(value) + 1);
        return memcpy(copy, json_string_value(value), json_string_length(value) + 1);
    }
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
}

char *special_payload(call *c, const char *name) {
    static const char *const payloads[][2] = {
        {"nan", "NaN"},
        {"lone_surrogate", "{\"text\":\"\\ud800\"}"},
        {"nul", "{\"text\":\"a\\u0000b\"}"},
        {"unserialisable", "hello"},
        {"big_integer", "{\"n\":123456789012345678901234567890}"},
    };
    enum { DEPTH = 200 };
    char *made = calloc(1, 2 * DEPTH + 1);
    if (strcmp(name, "deep") == 0) {
        memset(made, '[', DEPTH);
        memset(made + DEPTH, ']', DEPTH);
        return made;
    }
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        if (strcmp(name, payloads[i][0]) == 0) {
            return strcpy(made, payloads[i][1]);
        }
    }
    driver_failed(c, "no such special payload");
    return made;
}

pgque_options *options(call *c) {
    pgque_options *chosen = pgque_options_new();
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(c->request, "options"), name, value) {
        char *written = json_text(value);
        failed(c, pgque_options_set(chosen, name, written));
        free(written);
    }
    return chosen;
}
