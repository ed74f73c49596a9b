package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

type runner interface {
	Run(context.Context) error
	Stop()
}

// running is a consumer or ticker that runs in the background.
type running struct {
	runner runner
	ended  chan error

	mu     sync.Mutex
	seen   []any
	failed map[int64]bool
	more   chan struct{} // closed and replaced when there is more to see
}

func start(runner runner, r *running) *running {
	r.runner, r.ended = runner, make(chan error, 1)
	go func() { r.ended <- runner.Run(context.Background()) }()
	return r
}

func (d *driver) stop(name string) (any, error) {
	r := d.running[name]
	delete(d.running, name)
	r.runner.Stop()
	return nil, <-r.ended
}

func (d *driver) startConsumer(r request) (any, error) {
	var options []pgque.ConsumerOption
	for _, option := range named(r) {
		options = append(options, option)
	}
	consumer, err := pgque.NewConsumer(r.text("dsn"), r.text("queue"), r.text("name"), options...)
	if err != nil {
		return nil, err
	}
	state := &running{failed: map[int64]bool{}, more: make(chan struct{})}
	handlers, _ := r["handlers"].(map[string]any)
	for eventType, behaviour := range handlers {
		if err := consumer.On(eventType, state.handler(behaviour.(string))); err != nil {
			return nil, err
		}
	}
	d.running[r.text("consumer")] = start(consumer, state)
	return nil, nil
}

func (d *driver) startTicker(r request) (any, error) {
	var options []pgque.TickerOption
	for _, option := range named(r) {
		options = append(options, option)
	}
	ticker, err := pgque.NewTicker(r.text("dsn"), options...)
	if err != nil {
		return nil, err
	}
	d.running[r.text("ticker")] = start(ticker, &running{})
	return nil, nil
}

// named are the options of the request, by their names, numbers as they were written.
func named(r request) []pgque.NamedOption {
	var options []pgque.NamedOption
	given, _ := r["options"].(map[string]any)
	for name, value := range given {
		text := fmt.Sprint(value)
		if number, ok := value.(json.Number); ok {
			text = number.String()
		}
		options = append(options, pgque.NamedOption{Name: name, Value: text})
	}
	return options
}

func (r *running) handler(behaviour string) pgque.Handler {
	return func(ctx context.Context, m *pgque.Message) error {
		again := r.see(m)
		switch behaviour {
		case "fail":
			return errors.New("handler failed on purpose")
		case "fail_once":
			if !again {
				return errors.New("handler failed on purpose")
			}
		case "retry":
			return pgque.Retry(0*time.Second, "later")
		case "dead":
			return pgque.Dead("beyond repair")
		case "hang":
			time.Sleep(60 * time.Second)
		case "slow":
			time.Sleep(3 * time.Second)
		}
		return nil
	}
}

// see notes a message; whether it was seen before.
func (r *running) see(m *pgque.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	again := r.failed[m.MsgID]
	r.failed[m.MsgID] = true
	r.seen = append(r.seen, message(m))
	close(r.more)
	r.more = make(chan struct{})
	return again
}

func (r *running) wait(count int, timeout time.Duration) []any {
	over := time.After(timeout)
	for {
		r.mu.Lock()
		seen, more := append([]any{}, r.seen...), r.more
		r.mu.Unlock()
		if len(seen) >= count {
			return seen
		}
		select {
		case <-more:
		case <-over:
			return seen
		}
	}
}
