/* The C driver of the conformance suite: JSON lines in, library calls, JSON lines out. No assertions. */
#ifndef DRIVER_H
#define DRIVER_H

#include <jansson.h>
#include <pgque.h>

/* One request. The first thing that fails is kept in `error`; what follows is then not done. */
typedef struct {
    json_t *request;
    const char *op;
    json_t *error;
    bool unknown;
} call;

/* args.c: reading arguments. What is wrong with one is kept in the call. */
const char *text(call *c, const char *name);       /* must be there */
const char *maybe_text(call *c, const char *name); /* NULL for what is null or not named */
const char *plain_text(call *c, const json_t *value, const char *name);
pgque_bytes bytes(const json_t *value);
int64_t id(call *c, const json_t *value);
int64_t integer(call *c, const char *name, int64_t otherwise);
bool flag(call *c, const char *name);
double seconds(call *c, const char *name);
pgque_interval interval(call *c, const json_t *value, const char *name);
pgque_interval interval_or(call *c, const char *name, pgque_interval otherwise);
char *json_text(const json_t *value); /* a string is JSON text already; to be freed */
char *special_payload(call *c, const char *name);
pgque_options *options(call *c);

/* json.c: writing answers. Every function that takes an object of the library's frees it. */
void failed(call *c, pgque_error *error);
void driver_failed(call *c, const char *message);
json_t *library_error(pgque_error *error);
json_t *id_text(int64_t id);
json_t *text_or_null(pgque_bytes bytes);
json_t *message_json(const pgque_message *message);
json_t *messages_json(pgque_messages *messages);
json_t *table_json(pgque_result *result);

/* clients.c: the clients by their names, the caller's own connections behind some of them. */
pgque_client *client(call *c);
json_t *connect_own(call *c);
json_t *connect_caller(call *c);
json_t *caller_execute(call *c);

/* caller.c: libpq. */
typedef struct pg_conn caller_connection;
caller_connection *caller_open(call *c, const char *dsn);
void caller_close(void *connection);
void caller_run(call *c, caller_connection *connection, const char *sql);
bool caller_query(const char *sql, const char *const *params, size_t params_count, pgque_answer *answer,
                  void *connection);

/* calls.c: which operation makes which call. */
json_t *answer(call *c);
pgque_event *event(call *c); /* of the arguments of a send; to be freed */

/* consumer.c: consumers, which run on threads of their own. */
json_t *consumer_start(call *c);
json_t *consumer_seen(call *c);
json_t *consumer_ask_stop(call *c);
json_t *consumer_stats(call *c);
json_t *consumer_health(call *c);
json_t *consumer_hooks(call *c);
json_t *consumer_stop(call *c);

/* ticker.c: tickers, which do as well. */
json_t *ticker_start(call *c);
json_t *ticker_stop(call *c);
json_t *ticker_stats(call *c);

/* pipeline.c: sends that are begun one behind the other. */
json_t *do_pipelined(call *c);
json_t *submit_all(call *c, pgque_producer *on);

/* producer.c: producers, and threads that share one. */
json_t *producer_start(call *c);
json_t *producer_send(call *c);
json_t *producer_send_many(call *c);
json_t *producer_submit(call *c);
json_t *producer_flush(call *c);
json_t *producer_close(call *c);
json_t *producer_stats(call *c);

#endif
