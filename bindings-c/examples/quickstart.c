/* Sends an order and handles it. The address of a database is in PGQUE_TEST_DSN; the engine is installed if
 * need be.
 */
#include <pgque.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void or_exit(pgque_error *error) {
    if (error) {
        fprintf(stderr, "%s\n", pgque_error_text(error));
        pgque_error_free(error);
        exit(1);
    }
}

/* region: handler */
static void on_order(int64_t handler, const pgque_message *message, pgque_verdict *verdict, void *user_data) {
    pgque_bytes payload = pgque_message_payload(message);
    printf("order %.*s\n", (int)payload.len, payload.data);
    or_exit(pgque_verdict_ack(verdict));
    or_exit(pgque_consumer_stop(user_data)); /* one is enough for an example */
    (void)handler;
}
/* endregion */

int main(void) {
    const char *dsn = getenv("PGQUE_TEST_DSN");
    const char *order = "{\"id\": 1, \"total\": 99.5}";
    pgque_client *client = NULL;
    pgque_consumer *consumer = NULL;

    /* region: send */
    or_exit(pgque_client_connect(dsn ? dsn : "postgresql://localhost/postgres", &client));
    or_exit(pgque_client_install(client));
    or_exit(pgque_client_create_queue(client, "orders", NULL));
    or_exit(pgque_client_subscribe(client, "orders", "billing", NULL));
    or_exit(pgque_client_send(client, "orders", "order.created", order, strlen(order), NULL));
    /* endregion */

    /* A ticker does this in production: pgque_ticker_run, or the command `pgque ticker`. */
    or_exit(pgque_client_force_next_tick(client, "orders", NULL, NULL));
    or_exit(pgque_client_ticker(client, "orders", NULL, NULL));

    /* region: consume */
    or_exit(pgque_consumer_new(dsn ? dsn : "postgresql://localhost/postgres", "orders", "billing", NULL,
                               &consumer));
    or_exit(pgque_consumer_on(consumer, "order.created", NULL));
    or_exit(pgque_consumer_run(consumer, on_order, consumer));
    /* endregion */

    pgque_consumer_free(consumer);
    pgque_client_free(client);
    return 0;
}
