package main

import (
	"context"
	"encoding/json"
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
	runner   runner
	consumer *pgque.Consumer // nil for a ticker
	ended    chan error

	mu     sync.Mutex
	seen   []any
	failed map[int64]bool
	hooks  []string
	more   chan struct{} // closed and replaced when there is more to see
	inside int           // handlers that wait for others
	met    chan struct{} // closed and replaced when enough of them are there
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
	state := &running{
		consumer: consumer, failed: map[int64]bool{}, hooks: []string{},
		more: make(chan struct{}), met: make(chan struct{}),
	}
	handlers, _ := r["handlers"].(map[string]any)
	for eventType, behaviour := range handlers {
		if err := consumer.On(eventType, state.handler(behaviour.(string))); err != nil {
			return nil, err
		}
	}
	if behaviour := r.maybeText("batch_handler"); behaviour != nil {
		if err := consumer.OnBatch(state.batchHandler(*behaviour)); err != nil {
			return nil, err
		}
	}
	if decision := r.maybeText("on_failure"); decision != nil {
		consumer.OnFailure(decide(*decision))
	}
	if r["hooks"] == true {
		state.addHooks(consumer)
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

func stats(s pgque.Stats) any {
	return map[string]any{
		"batches": s.Batches, "received": s.Received, "handled": s.Handled, "failed": s.Failed,
		"retried": s.Retried, "dead": s.Dead, "handed_back": s.HandedBack, "reconnects": s.Reconnects,
		"batch_size": s.BatchSize, "handler_seconds": s.HandlerSeconds, "lag_events": s.LagEvents,
		"lag_seconds": s.LagSeconds,
	}
}

func tickerStats(s pgque.TickerStats) any {
	return map[string]any{
		"state": s.State, "since": micros(s.Since), "last_error": orNull(s.LastError), "ticks": s.Ticks,
		"retries": s.Retries, "rotations": s.Rotations, "reconnects": s.Reconnects, "failures": s.Failures,
	}
}

func health(h pgque.Health) any {
	return map[string]any{
		"status": h.Status, "alive": h.Alive, "since": micros(h.Since), "last_error": orNull(h.LastError),
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
