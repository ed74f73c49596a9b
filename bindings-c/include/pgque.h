/*
 * libpgque: the client of PgQue, an event log and queue inside PostgreSQL.
 *
 * Errors      A function that can fail returns `pgque_error *`: NULL on success, else an error that the caller
 *             frees. Results are written through pointers, and only on success.
 * Arguments   No pointer may be NULL unless the function says so; a NULL is answered with an error, and every
 *             `_free` takes NULL quietly. Text is UTF-8. Names end with NUL; payloads and views have a length.
 *             Arguments are copied: they need not outlive the call.
 * Results     An object that a function makes belongs to the caller, until the `_free` of its type. A pointer or
 *             view into an object lives as long as that object. A pointer for a number or flag may be NULL when the
 *             caller does not want it; one for an object may not.
 * Threads     "Any thread" means several at once, too; "one thread at a time" means that calls on one object must
 *             not overlap. Nobody may free an object that another thread still uses.
 * Processes   After fork() the child must connect anew; calls on inherited objects fail with `closed`.
 */


#ifndef PGQUE_H
#define PGQUE_H

/* Generated from bindings-c/src by cbindgen. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The ABI that this header describes; the library's own is `pgque_abi_version()`. The name of the shared library
 * ends with it.
 */
#define PGQUE_ABI_VERSION 0

/**
 * The kinds. A kind that this header does not know yet keeps its number.
 */
#define PGQUE_ERROR_CONNECTION 1

#define PGQUE_ERROR_CONFIGURATION 2

#define PGQUE_ERROR_CLOSED 3

#define PGQUE_ERROR_TIMEOUT 4

#define PGQUE_ERROR_QUEUE_NOT_FOUND 5

#define PGQUE_ERROR_CONSUMER_NOT_FOUND 6

#define PGQUE_ERROR_BATCH_NOT_FOUND 7

#define PGQUE_ERROR_OVERFLOW 8

#define PGQUE_ERROR_PERMISSION_DENIED 9

#define PGQUE_ERROR_INVALID_INPUT 10

#define PGQUE_ERROR_CONFLICT 11

#define PGQUE_ERROR_NOT_INSTALLED 12

#define PGQUE_ERROR_SERVER 13

#define PGQUE_ERROR_INTERNAL 14

#define PGQUE_ERROR_INTERRUPTED 15

/**
 * The usual `max_messages` of `pgque_client_receive` and `pgque_client_receive_coop`.
 */
#define PGQUE_MAX_MESSAGES_DEFAULT 100

/**
 * The usual delay of a retry, in seconds.
 */
#define PGQUE_RETRY_AFTER_DEFAULT 60.0

/**
 * The usual `batch_handling` of `pgque_client_unsubscribe_subconsumer`.
 */
#define PGQUE_BATCH_HANDLING_DEFAULT 0

/**
 * The usual `limit` of `pgque_client_dlq_inspect`.
 */
#define PGQUE_DLQ_LIMIT_DEFAULT 100

#define PGQUE_INTERVAL_NONE 0

#define PGQUE_INTERVAL_SECONDS 1

#define PGQUE_INTERVAL_TEXT 2

/**
 * What `pgque_consumer_next` came back with: a batch to handle and to finish.
 */
#define PGQUE_NEXT_BATCH 1

/**
 * Nothing within the time limit.
 */
#define PGQUE_NEXT_IDLE 2

/**
 * `pgque_consumer_stop` was called. The consumer may be used again.
 */
#define PGQUE_NEXT_STOPPED 3

/**
 * The number of the handler of a message that has none; `unknown_handler_policy` decides on it.
 */
#define PGQUE_NO_HANDLER -1

#define PGQUE_VALUE_NULL 0

#define PGQUE_VALUE_BOOL 1

#define PGQUE_VALUE_INT 2

#define PGQUE_VALUE_FLOAT 3

#define PGQUE_VALUE_TEXT 4

/**
 * `json` and `jsonb`, as text.
 */
#define PGQUE_VALUE_JSON 5

/**
 * `numeric`, as decimal text.
 */
#define PGQUE_VALUE_NUMERIC 6

#define PGQUE_VALUE_BYTES 7

/**
 * `timestamptz`, in microseconds since 1970.
 */
#define PGQUE_VALUE_TIMESTAMP 8

#define PGQUE_VALUE_ARRAY 9

/**
 * A kind that this version of the header does not know.
 */
#define PGQUE_VALUE_UNKNOWN -1

#define PGQUE_LOG_ERROR 1

#define PGQUE_LOG_WARN 2

#define PGQUE_LOG_INFO 3

#define PGQUE_LOG_DEBUG 4

#define PGQUE_LOG_TRACE 5

/**
 * What the caller's connection answers to one statement. Lives until the callback returns; only its thread may use
 * it.
 */
typedef struct pgque_answer pgque_answer;

/**
 * The messages of one batch, or of a page of a large one. Any thread.
 */
typedef struct pgque_batch pgque_batch;

/**
 * What the server at the other end offers. Any thread may read it.
 */
typedef struct pgque_capabilities pgque_capabilities;

/**
 * A client of one database. Any thread; calls from several threads share the connection, and its transaction.
 */
typedef struct pgque_client pgque_client;

/**
 * Receives batches and finishes them. One thread at a time, except where a function is for any thread.
 */
typedef struct pgque_consumer pgque_consumer;

/**
 * Why a call failed. Any thread may read it; its texts end with NUL and live until `pgque_error_free`.
 */
typedef struct pgque_error pgque_error;

/**
 * An event to send with everything it can have. One thread at a time.
 */
typedef struct pgque_event pgque_event;

/**
 * How a consumer or ticker fares. Any thread may read it; its texts end with NUL and live until `pgque_health_free`.
 */
typedef struct pgque_health pgque_health;

/**
 * One event as a consumer receives it. Belongs to the messages or the batch that it came from.
 */
typedef struct pgque_message pgque_message;

/**
 * The messages of one batch. Any thread may read them.
 */
typedef struct pgque_messages pgque_messages;

/**
 * A NOTIFY that arrived. Any thread may read it.
 */
typedef struct pgque_notification pgque_notification;

/**
 * Options by name, for `pgque_consumer_new`, `pgque_producer_new` and `pgque_ticker_new`. One thread at a time.
 */
typedef struct pgque_options pgque_options;

/**
 * What stands for the answer to a send until it is there. Any thread.
 */
typedef struct pgque_pending pgque_pending;

/**
 * A way to send many events without waiting for each answer. Any thread.
 */
typedef struct pgque_pipeline pgque_pipeline;

/**
 * A posted event on its way.
 */
typedef struct pgque_post pgque_post;

/**
 * Sends events, many at once: what several threads send at the same time is gathered into few transactions, without
 * being held back for that, and each call is answered with its own id or error. A lost connection is replaced, and
 * nothing is sent twice because of it. Any thread.
 */
typedef struct pgque_producer pgque_producer;

/**
 * The outcome of `pgque_client_dlq_replay_all`. Any thread may read it.
 */
typedef struct pgque_replayed pgque_replayed;

/**
 * Columns and rows. Any thread may read them.
 */
typedef struct pgque_result pgque_result;

/**
 * Runs the engine of one database, without which nothing is delivered. Many may run; one works, the others stand
 * by. Any thread.
 */
typedef struct pgque_ticker pgque_ticker;

/**
 * One cell. Belongs to the result that it came from.
 */
typedef struct pgque_value pgque_value;

/**
 * The verdict of a handler on its message. Lives until the handler returns; only the handler's thread may use it.
 */
typedef struct pgque_verdict pgque_verdict;

/**
 * What becomes of the messages of a batch, for `pgque_client_finish`. One thread at a time.
 */
typedef struct pgque_verdicts pgque_verdicts;

/**
 * A length of time. Made by the three functions below.
 */
typedef struct {
  int32_t kind;
  double seconds;
  const char *text;
} pgque_interval;

/**
 * Bytes that belong to something else and live as long as it does. `data` is NULL for SQL NULL, and not NULL for
 * the empty text. Not terminated by NUL.
 */
typedef struct {
  const char *data;
  size_t len;
} pgque_bytes;

/**
 * All of a message at once, for languages in which a call costs more than a copy. Grows at its end only.
 */
typedef struct {
  int64_t msg_id;
  int64_t batch_id;
  int64_t created_at_us;
  pgque_bytes event_type;
  pgque_bytes payload;
  /**
   * `extra1` to `extra4`.
   */
  pgque_bytes extra[4];
  int32_t retry_count;
  /**
   * False on the first delivery, when there is no retry count.
   */
  bool has_retry_count;
} pgque_message_fields;

/**
 * Is told what became of a posted event: its id, or an error that is not NULL and belongs to the callback, until
 * `pgque_error_free`. Called once for each, on a thread of the library's, perhaps before `pgque_producer_post_event`
 * has returned. It must be quick, make no call that blocks, not throw nor jump out.
 */
typedef void (*pgque_sent_callback)(int64_t msg_id, pgque_error *error, void *user_data);

/**
 * Counts since the producer was made, and the newest readings of what goes up and down. Grows at its end only.
 */
typedef struct {
  /**
   * Events stored.
   */
  uint64_t sent;
  /**
   * Events whose sender got an error.
   */
  uint64_t failed;
  /**
   * Events of these of which it is not known whether they are stored.
   */
  uint64_t uncertain;
  /**
   * Transactions that stored events; `sent / batches` is the average size of a batch.
   */
  uint64_t batches;
  /**
   * Events in the newest of them.
   */
  uint64_t batch_size;
  /**
   * Events that were accepted and are not answered yet.
   */
  uint64_t queue_length;
  /**
   * Connections that were lost, or could not be made.
   */
  uint64_t reconnects;
} pgque_producer_counters;

/**
 * Handles one message: `handler` is the number that `pgque_consumer_on` gave. It tells its verdict by one of the
 * `pgque_verdict` functions; without one the message counts as failed. Called on the thread inside
 * `pgque_consumer_run`, or with `concurrency` beyond 1 on several threads of the library's at once. It may make any
 * call but those of this consumer other than stop, stats and health. Message and verdict die when it returns. It
 * must not throw nor jump out.
 */
typedef void (*pgque_handler)(int64_t handler,
                              const pgque_message *message,
                              pgque_verdict *verdict,
                              void *user_data);

/**
 * Handles the messages of a batch, or of a page of a large one, and judges each by the `pgque_batch` functions; one
 * that it does not judge counts as failed. It must not free the batch. Called on the thread inside
 * `pgque_consumer_run_batches`; otherwise as `pgque_handler`.
 */
typedef void (*pgque_batch_callback)(const pgque_batch *batch, void *user_data);

/**
 * Decides on a failed message: `attempt` is the number of this delivery, from 1, as far as retries count; `error`
 * ends with NUL. It tells its verdict by one of the `pgque_verdict` functions, or leaves it to the options; without a
 * reason the error is the reason. Called on the handler's thread, from several at once with `concurrency` beyond 1;
 * what it is given dies when it returns. It must not throw nor jump out.
 */
typedef void (*pgque_failure_callback)(int64_t attempt,
                                       const char *error,
                                       pgque_verdict *verdict,
                                       void *user_data);

/**
 * Frees the `user_data` of a callback once it is needed no more. May be NULL.
 */
typedef void (*pgque_free_callback)(void *user_data);

/**
 * Is told of a message that a handler is about to get. Threads and lifetimes as for `pgque_failure_callback`.
 */
typedef void (*pgque_before_callback)(const pgque_message *message, void *user_data);

/**
 * Is told of a message that a handler had: `outcome` is `ack`, `retry`, `dead` or `failed`, `seconds` the time that
 * the handler took. Threads and lifetimes as for `pgque_failure_callback`.
 */
typedef void (*pgque_after_callback)(const pgque_message *message,
                                     const char *outcome,
                                     double seconds,
                                     void *user_data);

/**
 * Counts since the consumer was made, and the newest readings of what goes up and down. Grows at its end only.
 */
typedef struct {
  uint64_t batches;
  uint64_t received;
  /**
   * Messages that are done.
   */
  uint64_t handled;
  /**
   * Messages whose handler failed, whatever became of them.
   */
  uint64_t failed;
  /**
   * Messages that went to the retry queue.
   */
  uint64_t retried;
  /**
   * Messages that went to the dead letters at once.
   */
  uint64_t dead;
  /**
   * Messages that went back unhandled, or whose handlers were still running, at a stop.
   */
  uint64_t handed_back;
  /**
   * Connections made after the first.
   */
  uint64_t reconnects;
  /**
   * Messages in the newest batch or page.
   */
  uint64_t batch_size;
  /**
   * Time in handlers, summed over all of them.
   */
  double handler_seconds;
  /**
   * Events between the newest batch and the newest tick, looked at every ten seconds; 0 once there is nothing.
   */
  uint64_t lag_events;
  /**
   * Age of the newest message of the newest batch when it arrived; 0 once there is nothing.
   */
  double lag_seconds;
} pgque_stats;

/**
 * Counts since the ticker was made. Grows at its end only.
 */
typedef struct {
  /**
   * Ticks, over all queues.
   */
  uint64_t ticks;
  /**
   * Messages put back into their queues when their delay was over.
   */
  uint64_t retries;
  /**
   * Tables that were emptied and taken into use.
   */
  uint64_t rotations;
  /**
   * Connections that were lost, or could not be made.
   */
  uint64_t reconnects;
  /**
   * Steps that the server refused; the next round tries them again.
   */
  uint64_t failures;
} pgque_ticker_counters;

/**
 * Runs a statement on the caller's connection. `sql` holds `$1`, `$2` and so on, for which `params` has `params_count`
 * texts that end with NUL, or NULL for SQL NULL; they fit libpq's `PQexecParams`. Every row of the answer goes to
 * `pgque_answer_add_row`, all columns as text. True when the statement ran; false when it failed, which
 * `pgque_answer_server_error` or `pgque_answer_connection_error` describes. Called only on the thread inside a call
 * on that client; what it is given dies when it returns. It must not call that client, nor throw.
 */
typedef bool (*pgque_query_callback)(const char *sql,
                                     const char *const *params,
                                     size_t params_count,
                                     pgque_answer *answer,
                                     void *user_data);

/**
 * Answers whether the calling thread wants to end its wait. Asked about every 50 ms on a thread inside a call that
 * waits, for every such call of the process; it must be quick, make no call of this library, nor throw.
 */
typedef bool (*pgque_interrupt_callback)(void);

/**
 * Takes a line: its level, one of `PGQUE_LOG_*`, the logger's name (`pgque`, `pgque.consumer.<name>`,
 * `pgque.ticker`) and the text, both of which end with NUL and die when it returns. May be called from any thread,
 * several at once, the library's own among them; it must not call `pgque_set_log`, nor throw.
 */
typedef void (*pgque_log_callback)(int32_t level, const char *logger, const char *line, void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI of the library that runs; differs from `PGQUE_ABI_VERSION` if the program was compiled for another one.
 * Any thread; never blocks.
 */
uint32_t pgque_abi_version(void);

/**
 * The version of the library that runs, for instance `0.1.0`. Static: never freed. Any thread; never blocks.
 */
const char *pgque_version(void);

/**
 * The kind, one of `PGQUE_ERROR_*`; 0 for NULL. Never blocks.
 */
int32_t pgque_error_kind(const pgque_error *error);

/**
 * The kind's name, for instance `queue_not_found`; NULL for NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_kind_name(const pgque_error *error);

/**
 * The operation that failed, for instance `receive`; NULL for NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_op(const pgque_error *error);

/**
 * What went wrong, without the operation; NULL for NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_message(const pgque_error *error);

/**
 * Operation, message and hint in one line for people; NULL for NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_text(const pgque_error *error);

/**
 * The server's SQLSTATE, or NULL if the server said nothing. Lives as long as the error. Never blocks.
 */
const char *pgque_error_sqlstate(const pgque_error *error);

/**
 * The server's detail, or NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_detail(const pgque_error *error);

/**
 * The server's hint, or NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_hint(const pgque_error *error);

/**
 * The constraint that was violated, or NULL. Lives as long as the error. Never blocks.
 */
const char *pgque_error_constraint(const pgque_error *error);

/**
 * Whether the same call may succeed later without any change by the caller, or doing anything twice. Never blocks.
 */
bool pgque_error_retriable(const pgque_error *error);

/**
 * Whether it is not known if the call took effect: to repeat it could do it twice. Never blocks.
 */
bool pgque_error_is_uncertain(const pgque_error *error);

/**
 * The caller's limit that an `overflow` exceeded; false, and nothing written, for other errors. Never blocks.
 */
bool pgque_error_configured_limit(const pgque_error *error, int64_t *limit);

/**
 * For wrappers in languages whose texts know their length: `invalid_input`, as an error of the operation `op`, if
 * `text` holds a NUL and would be cut when passed as a text that ends with one, or if it is not UTF-8. Any thread;
 * never blocks.
 */
pgque_error *pgque_text_check(const char *op,
                              const char *argument,
                              const char *text,
                              size_t text_len);

/**
 * Frees an error. NULL is fine. Once for each error; never blocks.
 */
void pgque_error_free(pgque_error *error);

/**
 * No length of time, where one is optional. Never blocks.
 */
pgque_interval pgque_interval_none(void);

/**
 * A number of seconds. The call that gets it refuses what is negative or not a number. Never blocks.
 */
pgque_interval pgque_interval_seconds(double seconds);

/**
 * PostgreSQL interval text, for instance `5 minutes`. Points to the caller's text, which must live until the
 * call that gets the interval has returned. Never blocks.
 */
pgque_interval pgque_interval_text(const char *text);

/**
 * The usual age in `pgque_client_dlq_purge`. Never blocks.
 */
pgque_interval pgque_dlq_older_than_default(void);

/**
 * An empty set of options, to be freed by `pgque_options_free`. Any thread; never blocks.
 */
pgque_options *pgque_options_new(void);

/**
 * Sets an option, with times in seconds; a later value of the same name replaces an earlier one. Whether the name
 * exists and the value fits is told by the function that is given the options. Never blocks.
 *
 * Of a consumer:
 * - `poll_interval`: how long to wait for a notification before looking anyway; 30.
 * - `max_messages`: the largest batch to accept, a larger one is `overflow`; 2147483647, which is no limit.
 * - `page_size`: how many messages of a large batch are read at once, 1 to 10000, three pages ahead; 5000.
 * - `retry_after`: the delay of a failed message, seconds or interval text; 60.
 * - `retry_backoff`: `fixed`, or `exponential`, by which the delay doubles with each attempt, less jitter; `fixed`.
 * - `retry_after_max`: the longest delay of exponential back-off; 3600.
 * - `unknown_handler_policy`: `nack` or `ack` what has no handler; `nack`.
 * - `subconsumer`: the name of this worker among those that share the consumer, `auto` makes one up; none.
 * - `dead_interval`: take over the batch of a worker that was silent for so long, seconds or interval text; never.
 * - `concurrency`: how many handlers run at once, 1 to 1000; 1.
 * - `ordered_by`: `type`, or `extra1` to `extra4`, by which messages keep their order among several handlers; none.
 * - `stop_policy`: what a stop does with the batch in hand: `drain` it, or `handback` what no handler has yet; `drain`.
 * - `stop_timeout`: how long a stop waits for the batch in hand; what is not done by then goes back; no limit.
 * - `transactional`: `true` has receive, handlers and acknowledgement be one transaction; `false`.
 * - `ticker`: `true` runs a ticker beside the consumer, which needs the role `pgque_admin`; `false`.
 * - `listen_dsn`: a direct connection to hear of news and to hold the consumer's turn, where the other leads through a
 *   pooler; none: behind a pooler the consumer then looks every `poll_interval`, and with `max_messages`, or on PgQue
 *   0.2, two of its name both get each batch.
 *
 * Of a producer:
 * - `linger`: how long to wait for company once there is something to send; 0, for what queues up while the last batch
 *   is on its way is company enough.
 * - `batch_size_max`, `batch_bytes_max`: the most events, and bytes of events, in a batch; 1000 and 4194304.
 * - `queue_size_max`, `queue_bytes_max`: the most events that wait for the next batch, and bytes of events that are not
 *   stored yet, beyond which a send waits; 10000 and 67108864.
 * - `send_timeout`: how long an event may wait to be sent, also while the server is away; 60.
 *
 * Of a ticker: `tick_interval`, `tick_interval_max`, `retry_interval`, `maint_interval`, `standby_interval`.
 */
pgque_error *pgque_options_set(pgque_options *options,
                               const char *name,
                               const char *value);

/**
 * Frees options; what was made with them keeps its own copy. NULL is fine. Never blocks.
 */
void pgque_options_free(pgque_options *options);

/**
 * Connects with a connection string of libpq, as URI or keywords, in autocommit. The client belongs to the caller,
 * until `pgque_client_free`. Any thread; blocks until connected or `connect_timeout` is over.
 */
pgque_error *pgque_client_connect(const char *dsn,
                                  pgque_client **client);

/**
 * With autocommit off the first statement opens a transaction, which commit or rollback ends. `conflict` while a
 * transaction is open. Any thread; never blocks.
 */
pgque_error *pgque_client_set_autocommit(const pgque_client *client,
                                         bool on);

/**
 * Closes the connection; an open transaction is rolled back. Later calls fail with `closed`; the client must still
 * be freed. Twice is fine. `conflict` for a client from `pgque_message_client`. Any thread; waits for the statement
 * that runs now.
 */
pgque_error *pgque_client_close(const pgque_client *client);

/**
 * Closes and frees a client. NULL is fine. Once, when no thread uses it any more; never blocks.
 */
void pgque_client_free(pgque_client *client);

/**
 * Opens a transaction, also in autocommit. `conflict` inside one. Any thread; blocks.
 */
pgque_error *pgque_client_begin(const pgque_client *client);

/**
 * Commits; without a transaction nothing happens. A transaction in which a statement failed is rolled back and the
 * call fails. Any thread; blocks.
 */
pgque_error *pgque_client_commit(const pgque_client *client);

/**
 * Rolls back; without a transaction nothing happens. Any thread; blocks.
 */
pgque_error *pgque_client_rollback(const pgque_client *client);

/**
 * Runs any one statement but BEGIN, COMMIT and ROLLBACK. `params` are texts for `$1`, `$2` and so on, `data` NULL for SQL
 * NULL; may be NULL when there are none. The result belongs to the caller, until `pgque_result_free`. Any thread;
 * blocks.
 */
pgque_error *pgque_client_execute(const pgque_client *client,
                                  const char *sql,
                                  const pgque_bytes *params,
                                  size_t params_count,
                                  pgque_result **result);

/**
 * Subscribes to a channel, from the commit on. Any thread; blocks.
 */
pgque_error *pgque_client_listen(const pgque_client *client, const char *channel);

/**
 * Ends the subscription to a channel. Any thread; blocks.
 */
pgque_error *pgque_client_unlisten(const pgque_client *client, const char *channel);

/**
 * Waits for a notification, up to so many seconds; INFINITY waits without limit. Writes NULL when the time is over,
 * else a notification that belongs to the caller, until `pgque_notification_free`. Any thread; blocks.
 */
pgque_error *pgque_client_notification(const pgque_client *client,
                                       double timeout_seconds,
                                       pgque_notification **notification);

/**
 * Sends one event of JSON text and gives its id; it is seen by nobody before the commit. `event_type` NULL means
 * `default`. `invalid_input` before anything is sent if the payload is not JSON. Any thread; blocks.
 */
pgque_error *pgque_client_send(const pgque_client *client,
                               const char *queue,
                               const char *event_type,
                               const char *payload,
                               size_t payload_len,
                               int64_t *msg_id);

/**
 * As `pgque_client_send` for any text, stored byte for byte; `payload` NULL is SQL NULL. Any thread; blocks.
 */
pgque_error *pgque_client_send_text(const pgque_client *client,
                                    const char *queue,
                                    const char *event_type,
                                    const char *payload,
                                    size_t payload_len,
                                    int64_t *msg_id);

/**
 * As `pgque_client_send` for an event with everything it can have. Any thread; blocks.
 */
pgque_error *pgque_client_send_event(const pgque_client *client,
                                     const char *queue,
                                     const pgque_event *event,
                                     int64_t *msg_id);

/**
 * Sends many events of JSON text in one statement: all or none. `event_type` is stored as given, NULL as SQL NULL.
 * `msg_ids` has room for `payloads_count` ids, which come in the order of the payloads; it may be NULL. Any thread;
 * blocks.
 */
pgque_error *pgque_client_send_batch(const pgque_client *client,
                                     const char *queue,
                                     const char *event_type,
                                     const pgque_bytes *payloads,
                                     size_t payloads_count,
                                     int64_t *msg_ids);

/**
 * As `pgque_client_send_batch` for any texts, stored byte for byte; `data` NULL is SQL NULL. Any thread; blocks.
 */
pgque_error *pgque_client_send_batch_text(const pgque_client *client,
                                          const char *queue,
                                          const char *event_type,
                                          const pgque_bytes *payloads,
                                          size_t payloads_count,
                                          int64_t *msg_ids);

/**
 * Registers a consumer at the newest tick. 1 if it is new, 0 if it existed. Any thread; blocks.
 */
pgque_error *pgque_client_subscribe(const pgque_client *client,
                                    const char *queue,
                                    const char *consumer,
                                    int64_t *count);

/**
 * Removes a consumer with its retries. 1, or 0 if there was none. Any thread; blocks.
 */
pgque_error *pgque_client_unsubscribe(const pgque_client *client,
                                      const char *queue,
                                      const char *consumer,
                                      int64_t *count);

/**
 * Registers a cooperative worker. 1 if it is new, 0 if it existed. `convert_normal` turns an ordinary consumer of
 * that name into a cooperative one; without it such a consumer is a `conflict`. Any thread; blocks.
 */
pgque_error *pgque_client_subscribe_subconsumer(const pgque_client *client,
                                                const char *queue,
                                                const char *consumer,
                                                const char *subconsumer,
                                                bool convert_normal,
                                                int64_t *count);

/**
 * Removes a cooperative worker. 1, or 0 if there was none. `batch_handling` says what becomes of an open batch:
 * 0 refuses with `conflict`, 1 sends its messages to the retry queue. Any thread; blocks.
 */
pgque_error *pgque_client_unsubscribe_subconsumer(const pgque_client *client,
                                                  const char *queue,
                                                  const char *consumer,
                                                  const char *subconsumer,
                                                  int64_t batch_handling,
                                                  int64_t *count);

/**
 * Says that a cooperative worker is alive. 1, or 0 if there is none. Any thread; blocks.
 */
pgque_error *pgque_client_touch_subconsumer(const pgque_client *client,
                                            const char *queue,
                                            const char *consumer,
                                            const char *subconsumer,
                                            int64_t *count);

/**
 * Gives the open batch of the consumer, or opens the next one; no messages when there is none. With more than
 * `max_messages` in the batch it fails with `overflow` and nothing is advanced. The messages belong to the caller,
 * until `pgque_messages_free`. Any thread; blocks.
 */
pgque_error *pgque_client_receive(const pgque_client *client,
                                  const char *queue,
                                  const char *consumer,
                                  int64_t max_messages,
                                  pgque_messages **messages);

/**
 * As `pgque_client_receive` for one cooperative worker, which is registered on the fly. With a `dead_interval`
 * (else `pgque_interval_none()`) the batch of a worker that was silent for so long is taken over. Any thread;
 * blocks.
 */
pgque_error *pgque_client_receive_coop(const pgque_client *client,
                                       const char *queue,
                                       const char *consumer,
                                       const char *subconsumer,
                                       int64_t max_messages,
                                       pgque_interval dead_interval,
                                       pgque_messages **messages);

/**
 * Finishes a batch. 1, or 0 if it is unknown, already finished or taken over. Any thread; blocks.
 */
pgque_error *pgque_client_ack(const pgque_client *client, int64_t batch_id, int64_t *count);

/**
 * Has one message of an open batch delivered again after a delay; the batch must still be acknowledged. `reason`
 * may be NULL. `batch_not_found` once the batch is finished. Any thread; blocks.
 */
pgque_error *pgque_client_nack(const pgque_client *client,
                               int64_t batch_id,
                               int64_t msg_id,
                               pgque_interval retry_after,
                               const char *reason);

/**
 * Settles a batch: what is not named is done, the rest is retried or dead-lettered, all or nothing. 1, or 0 without
 * any effect if the batch is unknown, already finished or taken over. Any thread; blocks.
 */
pgque_error *pgque_client_finish(const pgque_client *client,
                                 int64_t batch_id,
                                 const pgque_verdicts *verdicts,
                                 int64_t *count);

/**
 * How many messages; 0 for NULL. Never blocks.
 */
size_t pgque_messages_count(const pgque_messages *messages);

/**
 * One message, or NULL beyond the last. Lives as long as the messages. Never blocks.
 */
const pgque_message *pgque_messages_get(const pgque_messages *messages, size_t index);

/**
 * Frees the messages and with them every view into them. NULL is fine. Never blocks.
 */
void pgque_messages_free(pgque_messages *messages);

/**
 * Unique within the queue; kept when the message is retried. 0 for NULL. Never blocks.
 */
int64_t pgque_message_id(const pgque_message *message);

/**
 * The batch to acknowledge. 0 for NULL. Never blocks.
 */
int64_t pgque_message_batch_id(const pgque_message *message);

/**
 * The type; NULL when the producer stored NULL. A view into the message. Never blocks.
 */
pgque_bytes pgque_message_type(const pgque_message *message);

/**
 * The stored text, usually JSON; NULL for SQL NULL. A view into the message. Never blocks.
 */
pgque_bytes pgque_message_payload(const pgque_message *message);

/**
 * `extra1` to `extra4` by its number from 1; NULL for SQL NULL or another number. A view into the message. Never
 * blocks.
 */
pgque_bytes pgque_message_extra(const pgque_message *message,
                                size_t number);

/**
 * How often the message was retried; false, and nothing written, on its first delivery. Never blocks.
 */
bool pgque_message_retry_count(const pgque_message *message, int32_t *retry_count);

/**
 * The number of this delivery, from 1, as far as retries count. 0 for NULL. Never blocks.
 */
int64_t pgque_message_attempt(const pgque_message *message);

/**
 * When the producing transaction began, in microseconds since 1970. 0 for NULL. Never blocks.
 */
int64_t pgque_message_created_at_us(const pgque_message *message);

/**
 * In transactional mode, the client of the transaction that the effects of the message's handler belong to; NULL
 * otherwise, and in hooks. Begin, commit, rollback and close answer `conflict`. Belongs to the message, and is for
 * use until its handler returns, or the message is judged; never to be freed. Never blocks.
 */
const pgque_client *pgque_message_client(const pgque_message *message);

/**
 * Fills in the fields of a message; `fields_size` is `sizeof(pgque_message_fields)`, by which the library knows
 * the header that the program was compiled with. False, and nothing written, if a pointer is NULL. The views live
 * as long as the message. Never blocks.
 */
bool pgque_message_view(const pgque_message *message,
                        pgque_message_fields *fields,
                        size_t fields_size);

/**
 * An event of type `default` with the JSON payload `null`, to be freed by `pgque_event_free`. Any thread; never
 * blocks.
 */
pgque_event *pgque_event_new(void);

/**
 * Sets the type; NULL means `default`. Never blocks.
 */
pgque_error *pgque_event_set_type(pgque_event *event, const char *event_type);

/**
 * Sets the payload to JSON text, which is checked when the event is sent. Never blocks.
 */
pgque_error *pgque_event_set_payload(pgque_event *event, const char *payload, size_t payload_len);

/**
 * Sets the payload to any text, stored byte for byte; NULL is SQL NULL. Never blocks.
 */
pgque_error *pgque_event_set_text(pgque_event *event, const char *payload, size_t payload_len);

/**
 * Sets `extra1` to `extra4` by its number from 1; NULL is SQL NULL. Never blocks.
 */
pgque_error *pgque_event_set_extra(pgque_event *event, size_t number, const char *extra, size_t extra_len);

/**
 * Frees an event; it may be sent any number of times before. NULL is fine. Never blocks.
 */
void pgque_event_free(pgque_event *event);

/**
 * The channel; NULL for NULL. A view into the notification. Never blocks.
 */
pgque_bytes pgque_notification_channel(const pgque_notification *notification);

/**
 * The payload, which may be empty; NULL for NULL. A view into the notification. Never blocks.
 */
pgque_bytes pgque_notification_payload(const pgque_notification *notification);

/**
 * The server process that notified; 0 for NULL. Never blocks.
 */
int32_t pgque_notification_process_id(const pgque_notification *notification);

/**
 * Frees a notification. NULL is fine. Never blocks.
 */
void pgque_notification_free(pgque_notification *notification);

/**
 * Makes a pipeline on the client's connection, which it may outlive. `conflict` for a client on the caller's own
 * connection, which runs one call at a time. The pipeline belongs to the caller, until `pgque_pipeline_free`. Any
 * thread; never blocks.
 */
pgque_error *pgque_client_pipeline(const pgque_client *client,
                                   pgque_pipeline **pipeline);

/**
 * Sends an event without waiting for the answer. Events reach the server in the order of these calls, and before
 * whatever is called next on the same client. In a transaction all of them are part of it, and after an error the rest
 * fails too; in autocommit each stands for itself. Fails at once if an argument is wrong or the client is closed; all
 * else is told by `pgque_pending_wait`, and by the next `pgque_pipeline_flush`. `pending` may be NULL, else it belongs
 * to the caller, until `pgque_pending_free`. Any thread; blocks only while some 1,000 sends are under way.
 */
pgque_error *pgque_pipeline_send(const pgque_pipeline *pipeline,
                                 const char *queue,
                                 const pgque_event *event,
                                 pgque_pending **pending);

/**
 * Waits until everything that was sent is answered, and fails with the first error since the last flush, also if
 * `pgque_pending_wait` has told it before. Any thread; blocks.
 */
pgque_error *pgque_pipeline_flush(const pgque_pipeline *pipeline);

/**
 * Frees a pipeline; what was sent goes on, but its errors are lost without a flush before. NULL is fine. Once, when no
 * thread uses it any more; never blocks.
 */
void pgque_pipeline_free(pgque_pipeline *pipeline);

/**
 * Waits for the answer, up to so many seconds, and gives the id of the event or fails as the send itself would;
 * INFINITY waits without limit. `timeout` when the time is over: the send goes on. Any number of times. Any thread;
 * blocks.
 */
pgque_error *pgque_pending_wait(const pgque_pending *pending,
                                double timeout_seconds,
                                int64_t *msg_id);

/**
 * Frees a pending answer; the send goes on. NULL is fine. Once, when no thread uses it any more; never blocks.
 */
void pgque_pending_free(pgque_pending *pending);

/**
 * Makes a producer, which connects only for the first event. `options` may be NULL for the defaults, and are copied.
 * `configuration` if an option is wrong. The producer belongs to the caller, until `pgque_producer_free`. Any thread;
 * never blocks.
 */
pgque_error *pgque_producer_new(const char *dsn,
                                const pgque_options *options,
                                pgque_producer **producer);

/**
 * Sends one event of JSON text, and gives its id once it is stored. `event_type` NULL means `default`. Fails as
 * `pgque_client_send`; with `timeout` if there was no room, or no server, for as long as `send_timeout`, and the event
 * is not stored; with `closed` after `pgque_producer_close`; and if the connection was lost at the wrong moment, with
 * an error for which `pgque_error_is_uncertain` holds. Any thread; blocks.
 */
pgque_error *pgque_producer_send(const pgque_producer *producer,
                                 const char *queue,
                                 const char *event_type,
                                 const char *payload,
                                 size_t payload_len,
                                 int64_t *msg_id);

/**
 * As `pgque_producer_send` for any text, stored byte for byte; `payload` NULL is SQL NULL. Any thread; blocks.
 */
pgque_error *pgque_producer_send_text(const pgque_producer *producer,
                                      const char *queue,
                                      const char *event_type,
                                      const char *payload,
                                      size_t payload_len,
                                      int64_t *msg_id);

/**
 * As `pgque_producer_send` for an event with everything it can have. Any thread; blocks.
 */
pgque_error *pgque_producer_send_event(const pgque_producer *producer,
                                       const char *queue,
                                       const pgque_event *event,
                                       int64_t *msg_id);

/**
 * As `pgque_producer_send_event`, but returns once the event is accepted, in the order of these calls; the answer is
 * told by `pgque_pending_wait`. `pending` may be NULL, else it belongs to the caller, until `pgque_pending_free`. Fails
 * at once if an argument is wrong, the producer closed, or its queue full for as long as `send_timeout`. Any thread;
 * blocks only while the queue is full.
 */
pgque_error *pgque_producer_submit(const pgque_producer *producer,
                                   const char *queue,
                                   const pgque_event *event,
                                   pgque_pending **pending);

/**
 * As `pgque_producer_send_event`, but returns at once and has `callback` told. For wrappers in languages whose tasks
 * are no threads: nothing but the number of tasks, each of which waits for its answer, bounds how many events are on
 * their way. `user_data` is handed to `callback` and may be NULL. What is returned as an error is not posted. The post
 * belongs to the caller, until `pgque_post_free`. Any thread; never blocks.
 */
pgque_error *pgque_producer_post_event(const pgque_producer *producer,
                                       const char *queue,
                                       const pgque_event *event,
                                       pgque_sent_callback callback,
                                       void *user_data,
                                       pgque_post **post);

/**
 * Frees a post, and gives up waiting for its answer if that has not come: the callback is then told `interrupted`, and
 * the event is stored all the same if the producer had accepted it. NULL is fine. Any thread; never blocks.
 */
void pgque_post_free(pgque_post *post);

/**
 * Waits until everything that was accepted before is answered, well or not. Any thread; blocks.
 */
pgque_error *pgque_producer_flush(const pgque_producer *producer);

/**
 * Accepts nothing more, and waits until everything accepted is answered, up to so many seconds; INFINITY waits without
 * limit. When the time is over, senders whose events are not sent get a `closed` error, and this fails with `timeout`.
 * The producer must still be freed. Twice is fine. Any thread; blocks.
 */
pgque_error *pgque_producer_close(const pgque_producer *producer,
                                  double deadline_seconds);

/**
 * Fills in the counters, all of one moment; `counters_size` is `sizeof(pgque_producer_counters)`, by which the library
 * knows the header that the program was compiled with. Any thread; never blocks.
 */
pgque_error *pgque_producer_stats(const pgque_producer *producer,
                                  pgque_producer_counters *counters,
                                  size_t counters_size);

/**
 * The newest error, of the connection or of a sender, as a text that belongs to the caller, until `pgque_text_free`;
 * writes NULL if there was none. Any thread; never blocks.
 */
pgque_error *pgque_producer_last_error(const pgque_producer *producer,
                                       char **last_error);

/**
 * Frees a producer; what it has accepted is sent all the same, if the process lives long enough for it: close it first
 * to wait for that. NULL is fine. Once, when no thread uses it any more; never blocks.
 */
void pgque_producer_free(pgque_producer *producer);

/**
 * No verdicts yet, to be freed by `pgque_verdicts_free`. Any thread; never blocks.
 */
pgque_verdicts *pgque_verdicts_new(void);

/**
 * The message is done, as is one that is not named. Never blocks.
 */
pgque_error *pgque_verdicts_ack(pgque_verdicts *verdicts, int64_t msg_id);

/**
 * Deliver the message again after a delay; `pgque_interval_none()` is the usual one. `reason` may be NULL. Never
 * blocks.
 */
pgque_error *pgque_verdicts_retry(pgque_verdicts *verdicts,
                                  int64_t msg_id,
                                  pgque_interval after,
                                  const char *reason);

/**
 * Dead-letter the message now. `reason` may be NULL. Never blocks.
 */
pgque_error *pgque_verdicts_dead(pgque_verdicts *verdicts, int64_t msg_id, const char *reason);

/**
 * Frees verdicts. NULL is fine. Never blocks.
 */
void pgque_verdicts_free(pgque_verdicts *verdicts);

/**
 * The message is done. Never blocks.
 */
pgque_error *pgque_verdict_ack(pgque_verdict *verdict);

/**
 * Deliver the message again after a delay; `pgque_interval_none()` is the consumer's `retry_after`. `reason` may be
 * NULL. Never blocks.
 */
pgque_error *pgque_verdict_retry(pgque_verdict *verdict,
                                 pgque_interval after,
                                 const char *reason);

/**
 * Dead-letter the message now. `reason` may be NULL. Never blocks.
 */
pgque_error *pgque_verdict_dead(pgque_verdict *verdict, const char *reason);

/**
 * The handler failed: the error is logged and becomes the reason, and `retry_after` and `retry_backoff`, or the
 * callback of `pgque_consumer_on_failure`, say when the message comes again. Never blocks.
 */
pgque_error *pgque_verdict_fail(pgque_verdict *verdict,
                                const char *error);

/**
 * Makes a consumer, which connects only when it is run. `name` must be subscribed, unless the option `subconsumer`
 * is set. `options` may be NULL for the defaults, and are copied. `configuration` if an option is wrong. The
 * consumer belongs to the caller, until `pgque_consumer_free`. Any thread; never blocks.
 */
pgque_error *pgque_consumer_new(const char *dsn,
                                const char *queue,
                                const char *name,
                                const pgque_options *options,
                                pgque_consumer **consumer);

/**
 * Names a type to handle, `*` for all that have no handler of their own, and gives the number of its handler: 0 for
 * the first, and so on; the same type gets the same number again. `conflict` after `pgque_consumer_on_batch`. Any
 * thread; never blocks.
 */
pgque_error *pgque_consumer_on(const pgque_consumer *consumer,
                               const char *event_type,
                               int64_t *handler);

/**
 * All messages are for one handler of whole batches, of the number 0. `conflict` after `pgque_consumer_on`. Not
 * needed before `pgque_consumer_run_batches`. Any thread; never blocks.
 */
pgque_error *pgque_consumer_on_batch(const pgque_consumer *consumer);

/**
 * Waits for the next batch, up to so many seconds while there is none; INFINITY waits without limit. Writes one of
 * `PGQUE_NEXT_*`, and the batch, or NULL when there is none. The batch belongs to the caller, until
 * `pgque_batch_free`. Reconnects for as long as it takes; errors that time cannot mend are returned. One thread at
 * a time; blocks.
 */
pgque_error *pgque_consumer_next(const pgque_consumer *consumer,
                                 double timeout_seconds,
                                 int32_t *next,
                                 pgque_batch **batch);

/**
 * Has the messages of a batch handled one after the other: gives the position of the next message to handle, or
 * false when there is none, or the consumer stops. So many threads as `pgque_batch_lanes` says may each take a
 * message, handle it, judge it by the `pgque_batch` functions, take the next. Messages without a handler are settled
 * on the way, by `unknown_handler_policy`. Never blocks, but for transactional mode, where what the handler before
 * did is kept or undone, as its message was judged.
 */
pgque_error *pgque_consumer_take(const pgque_consumer *consumer,
                                 const pgque_batch *batch,
                                 bool *has_message,
                                 size_t *index);

/**
 * As `pgque_consumer_take`, for a handler of whole batches: gives how many messages there are to handle, which is
 * all of the batch, or 0 if the consumer stops.
 */
pgque_error *pgque_consumer_take_all(const pgque_consumer *consumer,
                                     const pgque_batch *batch,
                                     size_t *count);

/**
 * Settles a batch as its messages were judged. What was taken and not judged counts as failed, or goes back if the
 * stop does not wait any more; what was not taken goes back if the consumer stops. All or nothing: if it cannot be
 * done now, this is logged and the batch is delivered again; only errors that time cannot mend are returned. The
 * batch must still be freed. One thread at a time; blocks.
 */
pgque_error *pgque_consumer_finish(const pgque_consumer *consumer,
                                   const pgque_batch *batch);

/**
 * Handles messages until `pgque_consumer_stop`, calling `handler` for each that has a handler, with the option
 * `concurrency` on so many threads at once. `user_data` is handed to it and may be NULL. When a stop is forced, or its
 * `stop_timeout` is over, handlers on threads of the library's are not waited for: they may still use `user_data` when
 * this returns. `conflict` while the consumer runs already. Blocks.
 */
pgque_error *pgque_consumer_run(const pgque_consumer *consumer,
                                pgque_handler handler,
                                void *user_data);

/**
 * Handles whole batches, or pages of large ones, until `pgque_consumer_stop`. `user_data` is handed to `handler` and
 * may be NULL. `conflict` while the consumer runs already, and after `pgque_consumer_on`. Blocks.
 */
pgque_error *pgque_consumer_run_batches(const pgque_consumer *consumer,
                                        pgque_batch_callback handler,
                                        void *user_data);

/**
 * Marks the consumer as running, until `pgque_consumer_close`, for who makes a run of `pgque_consumer_next` and
 * `pgque_consumer_finish`. `conflict` while the consumer runs already. Any thread; never blocks.
 */
pgque_error *pgque_consumer_begin_run(const pgque_consumer *consumer);

/**
 * Ends the current wait of the consumer at once, or else the next: also when called before it. What becomes of the
 * batch in hand is said by the options `stop_policy` and `stop_timeout`; by default it is handled first. A second
 * call forces: nothing more is handled, and no handler waited for but one that runs on the thread inside
 * `pgque_consumer_run`. Any thread, but not a signal handler; never blocks.
 */
pgque_error *pgque_consumer_stop(const pgque_consumer *consumer);

/**
 * Whether a stop was asked for and not yet answered; false for NULL. Any thread; never blocks.
 */
bool pgque_consumer_is_stopping(const pgque_consumer *consumer);

/**
 * Waits until a stop is forced, or its `stop_timeout` is over. Who has handlers on threads of its own waits for them
 * no longer then, and calls `pgque_consumer_finish`. Any thread; blocks.
 */
pgque_error *pgque_consumer_overdue(const pgque_consumer *consumer);

/**
 * Ends the run and gives up the connection; an unfinished batch is delivered again. `pgque_consumer_run` does so
 * itself. The consumer may be used again and must still be freed. Twice is fine. One thread at a time; blocks for the
 * call that runs now.
 */
pgque_error *pgque_consumer_close(const pgque_consumer *consumer);

/**
 * Frees a consumer and gives up its connection. NULL is fine. Once, when no thread uses it any more; never blocks.
 */
void pgque_consumer_free(pgque_consumer *consumer);

/**
 * The id under which the batch is open; 0 for NULL. Never blocks.
 */
int64_t pgque_batch_id(const pgque_batch *batch);

/**
 * How many messages; 0 for NULL. Never blocks.
 */
size_t pgque_batch_count(const pgque_batch *batch);

/**
 * One message, or NULL beyond the last. Lives as long as the batch. Never blocks.
 */
const pgque_message *pgque_batch_message(const pgque_batch *batch, size_t index);

/**
 * The number of the handler of a message, or `PGQUE_NO_HANDLER`. Never blocks.
 */
int64_t pgque_batch_handler(const pgque_batch *batch, size_t index);

/**
 * How many threads may take and handle messages at once: the option `concurrency`, but no more than there are
 * messages; 0 for NULL. Never blocks.
 */
size_t pgque_batch_lanes(const pgque_batch *batch);

/**
 * The message at this index is done. The last word on a message counts, until the batch is finished. Calls the hook
 * of `pgque_consumer_after_message`, as the others do; never blocks.
 */
pgque_error *pgque_batch_ack(const pgque_batch *batch,
                             size_t index);

/**
 * Deliver the message at this index again after a delay; `pgque_interval_none()` is the consumer's `retry_after`.
 * `reason` may be NULL. Never blocks.
 */
pgque_error *pgque_batch_retry(const pgque_batch *batch,
                               size_t index,
                               pgque_interval after,
                               const char *reason);

/**
 * Dead-letter the message at this index now. `reason` may be NULL. Never blocks.
 */
pgque_error *pgque_batch_dead(const pgque_batch *batch, size_t index, const char *reason);

/**
 * The handler of the message at this index failed: the error is logged and becomes the reason, and `retry_after` and
 * `retry_backoff`, or the callback of `pgque_consumer_on_failure`, say when the message comes again. Never blocks.
 */
pgque_error *pgque_batch_fail(const pgque_batch *batch,
                              size_t index,
                              const char *error);

/**
 * Frees a batch and its messages. One that was not finished is delivered again. NULL is fine. Never blocks.
 */
void pgque_batch_free(pgque_batch *batch);

/**
 * Has `callback` decide on failed messages, in place of `retry_after` and `retry_backoff`, and of an earlier callback.
 * `user_data` is handed to it, and to `free_user_data`, which may be NULL, once neither the consumer nor a batch
 * needs it. Holds for batches that are received from then on. Any thread; never blocks.
 */
pgque_error *pgque_consumer_on_failure(const pgque_consumer *consumer,
                                       pgque_failure_callback callback,
                                       void *user_data,
                                       pgque_free_callback free_user_data);

/**
 * Has `callback` told of each message before its handler; otherwise as `pgque_consumer_on_failure`.
 */
pgque_error *pgque_consumer_before_message(const pgque_consumer *consumer,
                                           pgque_before_callback callback,
                                           void *user_data,
                                           pgque_free_callback free_user_data);

/**
 * Has `callback` told of each message after its handler; otherwise as `pgque_consumer_on_failure`.
 */
pgque_error *pgque_consumer_after_message(const pgque_consumer *consumer,
                                          pgque_after_callback callback,
                                          void *user_data,
                                          pgque_free_callback free_user_data);

/**
 * Fills in the counters, all of one moment; `stats_size` is `sizeof(pgque_stats)`, by which the library knows the
 * header that the program was compiled with. Any thread, also while the consumer runs; never blocks.
 */
pgque_error *pgque_consumer_stats(const pgque_consumer *consumer,
                                  pgque_stats *stats,
                                  size_t stats_size);

/**
 * Tells how the consumer fares at this moment. The answer belongs to the caller, until `pgque_health_free`. Any
 * thread, also while the consumer runs; never blocks.
 */
pgque_error *pgque_consumer_health(const pgque_consumer *consumer,
                                   pgque_health **health);

/**
 * Of a consumer `stopped`, `connecting`, `retrying` (it waits after a failure), `standby` (another consumer of this
 * name is at work), `idle` (it waits for messages) or `handling`; of a ticker `stopped`, `connecting`, `standby`
 * (another ticker is at work) or `leading` (this one is); NULL for NULL. Lives as long as the health. Never blocks.
 */
const char *pgque_health_status(const pgque_health *health);

/**
 * Whether the loop works: it waits for messages or events, for its turn, or is at work. Never blocks.
 */
bool pgque_health_alive(const pgque_health *health);

/**
 * Since when the status holds, in microseconds since 1970; 0 for NULL. Never blocks.
 */
int64_t pgque_health_since_us(const pgque_health *health);

/**
 * The newest failure of the loop, or NULL if there was none; those of handlers are only counted. Lives as long as the
 * health. Never blocks.
 */
const char *pgque_health_last_error(const pgque_health *health);

/**
 * When that was, in microseconds since 1970; false, and nothing written, if there was none, and for a ticker. Never
 * blocks.
 */
bool pgque_health_last_error_at_us(const pgque_health *health,
                                   int64_t *last_error_at_us);

/**
 * Frees health. NULL is fine. Never blocks.
 */
void pgque_health_free(pgque_health *health);

/**
 * Makes a ticker, which connects only when it is run, with a role that is a member of `pgque_admin`. `options` may
 * be NULL for the defaults, and are copied. `configuration` if an option is wrong. The ticker belongs to the caller,
 * until `pgque_ticker_free`. Any thread; never blocks.
 */
pgque_error *pgque_ticker_new(const char *dsn,
                              const pgque_options *options,
                              pgque_ticker **ticker);

/**
 * Works, or stands by, until `pgque_ticker_stop`. Reconnects for as long as it takes; errors that time cannot mend
 * are returned. One thread at a time; blocks.
 */
pgque_error *pgque_ticker_run(const pgque_ticker *ticker);

/**
 * Ends the current run at once, or else the next. Any thread, but not a signal handler; never blocks.
 */
pgque_error *pgque_ticker_stop(const pgque_ticker *ticker);

/**
 * Fills in the counters, all of one moment; `counters_size` is `sizeof(pgque_ticker_counters)`, by which the library
 * knows the header that the program was compiled with. Any thread, also while the ticker runs; never blocks.
 */
pgque_error *pgque_ticker_stats(const pgque_ticker *ticker,
                                pgque_ticker_counters *counters,
                                size_t counters_size);

/**
 * Tells how the ticker fares at this moment. The answer belongs to the caller, until `pgque_health_free`. Any thread,
 * also while the ticker runs; never blocks.
 */
pgque_error *pgque_ticker_health(const pgque_ticker *ticker,
                                 pgque_health **health);

/**
 * Frees a ticker. NULL is fine. Once, when no thread uses it any more; never blocks.
 */
void pgque_ticker_free(pgque_ticker *ticker);

/**
 * Installs the engine, or brings an existing one up to date; repeating it is harmless. `conflict` if the database
 * has a `pgque` schema that is not ours. Any thread; blocks.
 */
pgque_error *pgque_client_install(const pgque_client *client);

/**
 * Removes the engine with all queues and events. Any thread; blocks.
 */
pgque_error *pgque_client_uninstall(const pgque_client *client);

/**
 * The engine's version, which ends with NUL and belongs to the caller, until `pgque_text_free`. Any thread; blocks.
 */
pgque_error *pgque_client_version(const pgque_client *client,
                                  char **version);

/**
 * Frees a text that a function gave to the caller. NULL is fine. Never blocks.
 */
void pgque_text_free(char *text);

/**
 * Asks, once for each client, what the server offers. The answer belongs to the caller, until
 * `pgque_capabilities_free`. Any thread; blocks.
 */
pgque_error *pgque_client_capabilities(const pgque_client *client, pgque_capabilities **capabilities);

/**
 * PostgreSQL's version, for instance 150018; 0 for NULL. Never blocks.
 */
int64_t pgque_capabilities_server_version(const pgque_capabilities *capabilities);

/**
 * Whether the engine settles a batch in one call. Never blocks.
 */
bool pgque_capabilities_finish(const pgque_capabilities *capabilities);

/**
 * Whether the engine can tick every queue with new events. Never blocks.
 */
bool pgque_capabilities_ticker_pending(const pgque_capabilities *capabilities);

/**
 * Whether the engine hands out large batches in pages. Never blocks.
 */
bool pgque_capabilities_pages(const pgque_capabilities *capabilities);

/**
 * Frees capabilities. NULL is fine. Never blocks.
 */
void pgque_capabilities_free(pgque_capabilities *capabilities);

/**
 * Ticks one queue if its settings ask for it. Writes whether there was a tick, and only then its id. Any thread;
 * blocks.
 */
pgque_error *pgque_client_ticker(const pgque_client *client,
                                 const char *queue,
                                 bool *has_tick,
                                 int64_t *tick_id);

/**
 * Has the next `pgque_client_ticker` of the queue tick in any case. Writes whether the queue has a tick, and only
 * then the id of its newest. Any thread; blocks.
 */
pgque_error *pgque_client_force_next_tick(const pgque_client *client,
                                          const char *queue,
                                          bool *has_tick,
                                          int64_t *tick_id);

/**
 * Alias of `pgque_client_force_next_tick`. Any thread; blocks.
 */
pgque_error *pgque_client_force_tick(const pgque_client *client,
                                     const char *queue,
                                     bool *has_tick,
                                     int64_t *tick_id);

/**
 * Ticks all queues whose settings ask for it; how many ticked. Any thread; blocks.
 */
pgque_error *pgque_client_ticker_all(const pgque_client *client, int64_t *count);

/**
 * Runs due maintenance, table rotation above all; how much was done. Any thread; blocks.
 */
pgque_error *pgque_client_maint(const pgque_client *client, int64_t *count);

/**
 * Puts messages whose retry delay is over back into their queues; how many. Any thread; blocks.
 */
pgque_error *pgque_client_maint_retry_events(const pgque_client *client, int64_t *count);

/**
 * Creates a queue. 1, or 0 if it existed. Any thread; blocks.
 */
pgque_error *pgque_client_create_queue(const pgque_client *client, const char *queue, int64_t *count);

/**
 * Drops a queue with its events. `conflict` while consumers are subscribed, unless `force`. Any thread; blocks.
 */
pgque_error *pgque_client_drop_queue(const pgque_client *client,
                                     const char *queue,
                                     bool force,
                                     int64_t *count);

/**
 * Sets one setting of a queue; `value` NULL resets it. Any thread; blocks.
 */
pgque_error *pgque_client_set_queue_config(const pgque_client *client,
                                           const char *queue,
                                           const char *name,
                                           const char *value,
                                           int64_t *count);

/**
 * One row for each part of the engine: `component`, `status`, `detail`. The result belongs to the caller, until
 * `pgque_result_free`. Any thread; blocks.
 */
pgque_error *pgque_client_status(const pgque_client *client,
                                 pgque_result **result);

/**
 * One queue, or all with NULL; no row for an unknown one. Intervals are in seconds. The result belongs to the
 * caller, until `pgque_result_free`. Any thread; blocks.
 */
pgque_error *pgque_client_queue_info(const pgque_client *client, const char *queue, pgque_result **result);

/**
 * The subscriptions of a queue and a consumer; NULL means all. Intervals are in seconds. The result belongs to the
 * caller, until `pgque_result_free`. Any thread; blocks.
 */
pgque_error *pgque_client_consumer_info(const pgque_client *client,
                                        const char *queue,
                                        const char *consumer,
                                        pgque_result **result);

/**
 * An open batch; no row for an unknown one. Intervals are in seconds. The result belongs to the caller, until
 * `pgque_result_free`. Any thread; blocks.
 */
pgque_error *pgque_client_batch_info(const pgque_client *client, int64_t batch_id, pgque_result **result);

/**
 * The dead letters of a queue, the newest first; none for an unknown queue. The result belongs to the caller, until
 * `pgque_result_free`. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_inspect(const pgque_client *client,
                                      const char *queue,
                                      int64_t limit,
                                      pgque_result **result);

/**
 * Sends a dead letter again as a new event, which every consumer of the queue receives; its id. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_replay(const pgque_client *client,
                                     int64_t dead_letter_id,
                                     int64_t *msg_id);

/**
 * Replays every dead letter of a queue; what fails stays and is counted. The outcome belongs to the caller, until
 * `pgque_replayed_free`. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_replay_all(const pgque_client *client,
                                         const char *queue,
                                         pgque_replayed **replayed);

/**
 * How many were replayed. Never blocks.
 */
int64_t pgque_replayed_count(const pgque_replayed *replayed);

/**
 * How many failed. Never blocks.
 */
int64_t pgque_replayed_failed(const pgque_replayed *replayed);

/**
 * Why the first of those failed; NULL if none did. A view into the outcome. Never blocks.
 */
pgque_bytes pgque_replayed_first_error(const pgque_replayed *replayed);

/**
 * Frees an outcome. NULL is fine. Never blocks.
 */
void pgque_replayed_free(pgque_replayed *replayed);

/**
 * Gives a dead letter back to the consumer that could not handle it, and to no other: as a retry that is due at once,
 * with the id that it had and all of its retries; that id. `PGQUE_ERROR_CONSUMER_NOT_FOUND` if the consumer is not
 * subscribed any more. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_redeliver(const pgque_client *client,
                                        int64_t dead_letter_id,
                                        int64_t *msg_id);

/**
 * Gives all dead letters of a queue, or of the consumer unless it is NULL, back to their consumers; how many. Those of
 * consumers that are not subscribed any more stay. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_redeliver_all(const pgque_client *client,
                                            const char *queue,
                                            const char *consumer,
                                            int64_t *count);

/**
 * Deletes dead letters that are older than the given time; how many. Any thread; blocks.
 */
pgque_error *pgque_client_dlq_purge(const pgque_client *client,
                                    const char *queue,
                                    pgque_interval older_than,
                                    int64_t *count);

/**
 * How many columns; 0 for NULL, and for a statement without a result. Never blocks.
 */
size_t pgque_result_column_count(const pgque_result *result);

/**
 * The name of a column; NULL beyond the last. A view into the result. Never blocks.
 */
pgque_bytes pgque_result_column_name(const pgque_result *result, size_t column);

/**
 * How many rows; 0 for NULL. Never blocks.
 */
size_t pgque_result_row_count(const pgque_result *result);

/**
 * How many rows were returned or changed; false, and nothing written, where the statement counts none. Never
 * blocks.
 */
bool pgque_result_rows_affected(const pgque_result *result, uint64_t *rows_affected);

/**
 * One cell; NULL beyond the last row or column. SQL NULL is a value of the kind `PGQUE_VALUE_NULL`. Lives as long
 * as the result. Never blocks.
 */
const pgque_value *pgque_result_value(const pgque_result *result,
                                      size_t row,
                                      size_t column);

/**
 * One cell by the name of its column; writes NULL if there is no such row or column. Lives as long as the result.
 * Never blocks.
 */
pgque_error *pgque_result_get(const pgque_result *result,
                              size_t row,
                              const char *column,
                              const pgque_value **value);

/**
 * Frees a result and with it every view into it. NULL is fine. Never blocks.
 */
void pgque_result_free(pgque_result *result);

/**
 * One of `PGQUE_VALUE_*`; `PGQUE_VALUE_NULL` for NULL. Never blocks.
 */
int32_t pgque_value_kind(const pgque_value *value);

/**
 * A value of the kind bool; false, and nothing written, for others. Never blocks.
 */
bool pgque_value_bool(const pgque_value *value, bool *out);

/**
 * A value of the kind int, or the microseconds of a timestamp; false, and nothing written, for others. Never
 * blocks.
 */
bool pgque_value_int64(const pgque_value *value, int64_t *out);

/**
 * A value of the kind float; false, and nothing written, for others. Never blocks.
 */
bool pgque_value_double(const pgque_value *value, double *out);

/**
 * A value of the kinds text, json, numeric or bytes; NULL for others. A view into the result. Never blocks.
 */
pgque_bytes pgque_value_bytes(const pgque_value *value);

/**
 * How many items a value of the kind array has; 0 for others. Never blocks.
 */
size_t pgque_value_item_count(const pgque_value *value);

/**
 * One item of an array; NULL beyond the last. Lives as long as the result. Never blocks.
 */
const pgque_value *pgque_value_item(const pgque_value *value, size_t index);

/**
 * Makes a client on a connection of the caller's, so that every call is part of whatever transaction is open there.
 * Begin, commit, rollback, execute, listen and install answer `conflict`: use the connection itself. `user_data` is
 * handed to `query`, and to `free_user_data`, which may be NULL, when the client is freed or could not be made. The
 * client belongs to the caller, until `pgque_client_free`. As the connection, it is for one thread at a time; never
 * blocks.
 */
pgque_error *pgque_client_over(pgque_query_callback query,
                               void *user_data,
                               pgque_free_callback free_user_data,
                               pgque_client **client);

/**
 * Adds a row: one text for each column, `data` NULL for SQL NULL. The texts are copied. Never blocks.
 */
pgque_error *pgque_answer_add_row(pgque_answer *answer, const pgque_bytes *cells, size_t cells_count);

/**
 * Tells that the server reported an error. All but `sqlstate` and `message` may be NULL. Never blocks.
 */
pgque_error *pgque_answer_server_error(pgque_answer *answer,
                                       const char *sqlstate,
                                       const char *message,
                                       const char *detail,
                                       const char *hint,
                                       const char *constraint);

/**
 * Tells that the connection is lost, closed or unusable. Never blocks.
 */
pgque_error *pgque_answer_connection_error(pgque_answer *answer, const char *message);

/**
 * Has calls that wait ask `callback`, and fail with `interrupted` when it says true. What the server was asked to do
 * may be done all the same. Once in a process, before other calls: `conflict` the second time. Any thread; never
 * blocks.
 */
pgque_error *pgque_set_interrupt(pgque_interrupt_callback callback);

/**
 * Sends log lines up to a level to `callback`, or to nobody with NULL, in place of an earlier one. `user_data` is
 * handed to it, and to `free_user_data`, which may be NULL, once it is replaced. Holds for the whole process. Any
 * thread; waits for lines that are being taken.
 */
pgque_error *pgque_set_log(int32_t level,
                           pgque_log_callback callback,
                           void *user_data,
                           pgque_free_callback free_user_data);

/**
 * Writes a line as the library writes its own, for wrappers that call handlers themselves. `level` is one of
 * `PGQUE_LOG_*`, `logger` for instance `pgque.consumer.<name>`. Any thread; may call the callback of `pgque_set_log`.
 */
pgque_error *pgque_log(int32_t level,
                       const char *logger,
                       const char *line);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PGQUE_H */
