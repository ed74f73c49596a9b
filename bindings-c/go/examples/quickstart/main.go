// Quickstart sends an order and handles it. The address of a database is in PGQUE_TEST_DSN; the engine is installed
// if need be.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// Order is the payload of our events.
type Order struct {
	ID    int     `json:"id"`
	Total float64 `json:"total"`
}

func main() {
	dsn := os.Getenv("PGQUE_TEST_DSN")
	if dsn == "" {
		dsn = "postgresql://localhost/postgres"
	}
	// Ctrl-C ends what runs, once the batch at hand is finished.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	send(ctx, dsn)
	consume(ctx, dsn)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func send(ctx context.Context, dsn string) {
	// region: send
	client, err := pgque.Connect(ctx, dsn)
	check(err)
	defer client.Close()
	check(client.Install(ctx))
	_, err = client.CreateQueue(ctx, "orders")
	check(err)
	_, err = client.Subscribe(ctx, "orders", "billing")
	check(err)
	_, err = client.Send(ctx, "orders", pgque.Event{Type: "order.created", Payload: Order{ID: 1, Total: 99.5}})
	check(err)
	// endregion
}

func consume(ctx context.Context, dsn string) {
	// In production one for all programs is enough; the command `pgque ticker` serves as well.
	ticker, err := pgque.NewTicker(dsn)
	check(err)
	ticking := make(chan error, 1)
	go func() { ticking <- ticker.Run(ctx) }()

	// region: consume
	consumer, err := pgque.NewConsumer(dsn, "orders", "billing", pgque.RetryAfter(5*time.Second))
	check(err)
	check(consumer.On("order.created", func(ctx context.Context, message *pgque.Message) error {
		var order Order
		if err := message.Decode(&order); err != nil {
			return pgque.Dead(err.Error())
		}
		fmt.Printf("order %d of %.2f\n", order.ID, order.Total)
		consumer.Stop() // one is enough for an example
		return nil
	}))
	if err := consumer.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
	// endregion

	ticker.Stop()
	if err := <-ticking; err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}
