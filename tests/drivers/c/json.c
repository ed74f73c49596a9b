/* Writing answers. */
#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *c_text_or_null(const char *value) { return value ? json_string(value) : json_null(); }

json_t *library_error(pgque_error *error) {
    int64_t limit = 0;
    bool limited = pgque_error_configured_limit(error, &limit);
    json_t *facts = json_pack(
        "{so, si, so, so, so, so, so, sb, sb, so}", "kind", c_text_or_null(pgque_error_kind_name(error)),
        "number", (int)pgque_error_kind(error), "op", c_text_or_null(pgque_error_op(error)), "message",
        c_text_or_null(pgque_error_message(error)), "sqlstate", c_text_or_null(pgque_error_sqlstate(error)),
        "detail", c_text_or_null(pgque_error_detail(error)), "hint", c_text_or_null(pgque_error_hint(error)),
        "retriable", pgque_error_retriable(error), "uncertain", pgque_error_is_uncertain(error),
        "configured_limit", limited ? json_integer(limit) : json_null());
    pgque_error_free(error);
    return facts;
}

void failed(call *c, pgque_error *error) {
    if (error && !c->error) {
        c->error = library_error(error);
    } else {
        pgque_error_free(error);
    }
}

void driver_failed(call *c, const char *message) {
    if (!c->error) {
        c->error = json_pack("{ss, si, ss}", "kind", "driver", "number", 0, "message", message);
    }
}

json_t *id_text(int64_t id) { return json_sprintf("%" PRId64, id); }

json_t *text_or_null(pgque_bytes bytes) {
    return bytes.data ? json_stringn(bytes.data, bytes.len) : json_null();
}

/* By the one call for all fields, which the accessors are compared with in the library's own tests. */
json_t *message_json(const pgque_message *message) {
    pgque_message_fields m;
    if (!pgque_message_view(message, &m, sizeof m)) {
        return json_null();
    }
    return json_pack(
        "{so, so, so, so, so, so, so, so, so, so}", "msg_id", id_text(m.msg_id), "batch_id",
        id_text(m.batch_id), "type", text_or_null(m.event_type), "payload", text_or_null(m.payload),
        "retry_count", m.has_retry_count ? json_integer(m.retry_count) : json_null(), "created_at",
        id_text(m.created_at_us), "extra1", text_or_null(m.extra[0]), "extra2", text_or_null(m.extra[1]),
        "extra3", text_or_null(m.extra[2]), "extra4", text_or_null(m.extra[3]));
}

json_t *messages_json(pgque_messages *messages) {
    json_t *list = json_array();
    for (size_t i = 0; i < pgque_messages_count(messages); i++) {
        json_array_append_new(list, message_json(pgque_messages_get(messages, i)));
    }
    pgque_messages_free(messages);
    return list;
}

/* As few digits as name this number and no other. */
static json_t *shortest(double number) {
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number) {
            break;
        }
    }
    return json_string(digits);
}

static json_t *hex(pgque_bytes bytes) {
    char *digits = malloc(2 * bytes.len + 1);
    digits[0] = '\0';
    for (size_t i = 0; i < bytes.len; i++) {
        snprintf(digits + 2 * i, 3, "%02x", (unsigned)(unsigned char)bytes.data[i]);
    }
    json_t *made = json_string(digits);
    free(digits);
    return made;
}

static json_t *cell_json(const pgque_value *value) {
    bool yes = false;
    int64_t number = 0;
    double real = 0;
    json_t *items;
    switch (pgque_value_kind(value)) {
    case PGQUE_VALUE_BOOL:
        pgque_value_bool(value, &yes);
        return json_string(yes ? "true" : "false");
    case PGQUE_VALUE_INT:
    case PGQUE_VALUE_TIMESTAMP:
        pgque_value_int64(value, &number);
        return id_text(number);
    case PGQUE_VALUE_FLOAT:
        pgque_value_double(value, &real);
        return shortest(real);
    case PGQUE_VALUE_TEXT:
    case PGQUE_VALUE_JSON:
    case PGQUE_VALUE_NUMERIC:
        return text_or_null(pgque_value_bytes(value));
    case PGQUE_VALUE_BYTES:
        return hex(pgque_value_bytes(value));
    case PGQUE_VALUE_ARRAY:
        items = json_array();
        for (size_t i = 0; i < pgque_value_item_count(value); i++) {
            json_array_append_new(items, cell_json(pgque_value_item(value, i)));
        }
        return items;
    default:
        return json_null();
    }
}

json_t *table_json(pgque_result *result) {
    json_t *columns = json_array(), *rows = json_array();
    uint64_t affected = 0;
    bool counted = pgque_result_rows_affected(result, &affected);
    for (size_t i = 0; i < pgque_result_column_count(result); i++) {
        json_array_append_new(columns, text_or_null(pgque_result_column_name(result, i)));
    }
    for (size_t r = 0; r < pgque_result_row_count(result); r++) {
        json_t *row = json_array();
        for (size_t i = 0; i < pgque_result_column_count(result); i++) {
            json_array_append_new(row, cell_json(pgque_result_value(result, r, i)));
        }
        json_array_append_new(rows, row);
    }
    pgque_result_free(result);
    return json_pack("{so, so, so}", "columns", columns, "rows", rows, "rows_affected",
                     counted ? json_integer((json_int_t)affected) : json_null());
}
