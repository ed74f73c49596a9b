package pgque_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// ticking runs a ticker for the rest of the test.
func ticking(t *testing.T) {
	t.Helper()
	ticker, err := pgque.NewTicker(dsn, pgque.RetryInterval(50*time.Millisecond))
	ok(t, err)
	ended := make(chan error, 1)
	go func() { ended <- ticker.Run(ctx) }()
	t.Cleanup(func() {
		ticker.Stop()
		ok(t, <-ended)
	})
}

// consume runs a consumer, and gives the error with which Run ended.
func consume(ctx context.Context, consumer *pgque.Consumer) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	return ended
}

// typed is an error whose nil pointer cannot give its text.
type typed struct{ text string }

func (e *typed) Error() string { return e.text }

// Errors, panics, Retry and Dead are verdicts, with their texts as reasons; the process and the consumer live on.
func TestVerdictsOfHandlers(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	ticking(t)
	_, err := client.SetQueueConfig(ctx, name, "max_retries", ptr("0"))
	ok(t, err)
	consumer, err := pgque.NewConsumer(dsn, name, "mail", pgque.PollInterval(time.Second), pgque.RetryAfter(0.0))
	ok(t, err)
	handlers := map[string]pgque.Handler{
		"fine":  func(context.Context, *pgque.Message) error { return nil },
		"error": func(context.Context, *pgque.Message) error { return errors.New("an error\x00of bytes \xff") },
		"panic": func(_ context.Context, m *pgque.Message) error {
			var none []int
			return errors.New(fmt.Sprint(none[m.MsgID]))
		},
		"typed nil": func(context.Context, *pgque.Message) error {
			var none *typed
			return none
		},
		"retry": func(context.Context, *pgque.Message) error { return pgque.Retry(time.Duration(0), "later") },
		"dead": func(context.Context, *pgque.Message) error {
			return fmt.Errorf("wrapped: %w", pgque.Dead("beyond repair"))
		},
	}
	var seen atomic.Int64
	for eventType, handler := range handlers {
		handler := handler
		ok(t, consumer.On(eventType, func(ctx context.Context, m *pgque.Message) error {
			seen.Add(1)
			return handler(ctx, m)
		}))
		send(t, client, name, pgque.Event{Type: eventType})
	}
	ended := consume(ctx, consumer)
	eventually(t, "five dead letters", func() bool {
		result, err := client.DlqInspect(ctx, name)
		ok(t, err)
		return len(result.Rows) == 5
	})
	consumer.Stop()
	ok(t, <-ended)
	result, err := client.DlqInspect(ctx, name)
	ok(t, err)
	reasons := fmt.Sprint(result.Rows)
	for _, reason := range []string{
		"an error\uFFFDof bytes \uFFFD", "panic: runtime error: index out of range", "panic: runtime error: invalid memory",
		"later", "beyond repair",
	} {
		equal(t, strings.Contains(reasons, reason), true)
	}
	equal(t, seen.Load(), int64(len(handlers)))
}

// When its context is over, Run finishes the batch, with a context for the handlers that lives on, and returns. A
// second Run at the same time is refused.
func TestRunEndsWithItsContext(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	consumer, err := pgque.NewConsumer(dsn, name, "mail")
	ok(t, err)
	type key struct{}
	running, cancel := context.WithCancel(context.WithValue(ctx, key{}, "value"))
	var handled atomic.Int64
	ok(t, consumer.On("*", func(ctx context.Context, m *pgque.Message) error {
		cancel()
		expect(t, errors.Is(consumer.Run(ctx), pgque.ErrConflict), true)
		expect(t, ctx.Value(key{}), any("value"))
		handled.Add(1)
		return ctx.Err()
	}))
	_, err = client.SendBatch(ctx, name, "t", []any{1, 2, 3})
	ok(t, err)
	tick(t, client, name)
	quickly(t, 10*time.Second, "Run", func() {
		err = <-consume(running, consumer)
	})
	equal(t, errors.Is(err, context.Canceled), true)
	equal(t, handled.Load(), 3)
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail")
	ok(t, err)
	equal(t, len(messages), 0)
}

// An idle Run ends at once, by its context as by Stop; a Stop before Run is not lost.
func TestIdleRunEnds(t *testing.T) {
	name := queue(t, connect(t))
	consumer, err := pgque.NewConsumer(dsn, name, "mail")
	ok(t, err)
	idle, cancel := context.WithCancel(ctx)
	ended := consume(idle, consumer)
	time.AfterFunc(200*time.Millisecond, cancel)
	quickly(t, 5*time.Second, "cancelling", func() { equal(t, errors.Is(<-ended, context.Canceled), true) })
	ended = consume(ctx, consumer)
	time.AfterFunc(200*time.Millisecond, consumer.Stop)
	quickly(t, 5*time.Second, "Stop", func() { ok(t, <-ended) })
	consumer.Stop()
	quickly(t, 5*time.Second, "Run after Stop", func() { ok(t, consumer.Run(ctx)) })
	equal(t, errors.Is(consumer.On("t", nil), pgque.ErrInvalidInput), true)
}

// A consumer that is not subscribed is an error of Run.
func TestRunReturnsLastingErrors(t *testing.T) {
	name := queue(t, connect(t))
	consumer, err := pgque.NewConsumer(dsn, name, "nobody")
	ok(t, err)
	equal(t, errors.Is(consumer.Run(ctx), pgque.ErrConsumerNotFound), true)
}

// Workers that share a consumer get each message once between them.
func TestCooperativeConsumers(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	ticking(t)
	_, err := client.SubscribeSubconsumer(ctx, name, "team", "a")
	ok(t, err)
	var mu sync.Mutex
	seen := map[int64]int{}
	var ends []<-chan error
	var consumers []*pgque.Consumer
	for _, worker := range []string{"a", "b"} {
		consumer, err := pgque.NewConsumer(dsn, name, "team", pgque.Subconsumer(worker), pgque.DeadInterval("5 minutes"))
		ok(t, err)
		ok(t, consumer.On("*", func(_ context.Context, m *pgque.Message) error {
			mu.Lock()
			defer mu.Unlock()
			seen[m.MsgID]++
			return nil
		}))
		consumers, ends = append(consumers, consumer), append(ends, consume(ctx, consumer))
	}
	for i := 0; i < 100; i++ {
		send(t, client, name, pgque.Event{Payload: i})
	}
	eventually(t, "all are seen", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 100 })
	for i, consumer := range consumers {
		consumer.Stop()
		ok(t, <-ends[i])
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("message %d came %d times", id, times)
		}
	}
}

// A ticker ends with its context, too.
func TestTickerEndsWithItsContext(t *testing.T) {
	connect(t)
	ticker, err := pgque.NewTicker(dsn)
	ok(t, err)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	quickly(t, 5*time.Second, "Run", func() {
		equal(t, errors.Is(ticker.Run(short), context.DeadlineExceeded), true)
	})
}
