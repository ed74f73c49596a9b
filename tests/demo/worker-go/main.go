// A worker of the demo: see README.md in the folder above.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

func handle(_ context.Context, message *pgque.Message) error {
	var placed struct{ Order int }
	if err := message.Decode(&placed); err != nil {
		return err
	}
	retries := 0
	if message.RetryCount != nil {
		retries = *message.RetryCount
	}
	time.Sleep(2 * time.Millisecond)
	declined := placed.Order%250 == 0 && retries == 0
	outcome, err := "ok", error(nil)
	switch {
	case declined:
		outcome, err = "failed", errors.New("card declined")
	case placed.Order%1000 == 1:
		outcome, err = "failed", errors.New("no such address")
	}
	fmt.Println(placed.Order, retries, outcome)
	return err
}

func main() {
	dsn, name, member := os.Args[1], os.Args[2], os.Args[3]
	consumer, err := pgque.NewConsumer(dsn, "orders", name,
		pgque.Subconsumer(member), pgque.DeadInterval("2 seconds"), pgque.RetryAfter(time.Second))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.On("order.placed", handle); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := consumer.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}
