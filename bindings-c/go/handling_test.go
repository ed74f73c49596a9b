package pgque_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// sent is a queue with a consumer "mail" and one batch of so many messages.
func sent(t *testing.T, client *pgque.Client, count int) string {
	t.Helper()
	name := queue(t, client)
	_, err := client.SendBatch(ctx, name, "t", make([]any, count))
	ok(t, err)
	tick(t, client, name)
	return name
}

func mail(t *testing.T, name string, options ...pgque.ConsumerOption) *pgque.Consumer {
	t.Helper()
	consumer, err := pgque.NewConsumer(dsn, name, "mail", options...)
	ok(t, err)
	return consumer
}

func retries(t *testing.T, client *pgque.Client, name string) int64 {
	t.Helper()
	result, err := client.Execute(ctx, `select count(*) as n from pgque.retry_queue r
		join pgque.queue q on q.queue_id = r.ev_queue where q.queue_name = $1`, name)
	ok(t, err)
	return result.Get(0, "n").(int64)
}

// Every option reaches the library by its name; one that is wrong is refused when the consumer is made.
func TestOptionsOfConsumers(t *testing.T) {
	_, err := pgque.NewConsumer("host=h", "q", "c",
		pgque.PollInterval(time.Second), pgque.MaxMessages(10), pgque.PageSize(100), pgque.RetryAfter(time.Second),
		pgque.RetryBackoff("exponential"), pgque.RetryAfterMax(time.Minute), pgque.UnknownHandlerPolicy("ack"),
		pgque.Subconsumer("auto"), pgque.DeadInterval("1 minute"), pgque.Concurrency(4), pgque.OrderedBy("extra1"),
		pgque.StopPolicy("handback"), pgque.StopTimeout(time.Second), pgque.EmbeddedTicker(true),
		pgque.Transactional(false))
	ok(t, err)
	for name, option := range map[string]pgque.ConsumerOption{
		"page_size": pgque.PageSize(0), "retry_backoff": pgque.RetryBackoff("none"), "concurrency": pgque.Concurrency(0),
		"retry_after_max": pgque.RetryAfterMax(-1), "ordered_by": pgque.OrderedBy("payload"),
		"stop_policy": pgque.StopPolicy("maybe"), "stop_timeout": pgque.StopTimeout(-1),
	} {
		_, err := pgque.NewConsumer("host=h", "q", "c", option)
		equal(t, errors.Is(err, pgque.ErrConfiguration) && strings.Contains(err.Error(), name), true)
	}
	_, err = pgque.NewConsumer("host=h", "q", "c", pgque.Transactional(true), pgque.Concurrency(2))
	equal(t, errors.Is(err, pgque.ErrConfiguration), true)
}

// With Concurrency handlers run on goroutines at once; the counters tell of them, and Health that the loop lived.
func TestHandlersMeet(t *testing.T) {
	client := connect(t)
	consumer := mail(t, sent(t, client, 3), pgque.Concurrency(3))
	var together sync.WaitGroup
	together.Add(3)
	equal(t, consumer.Health().Status, "stopped")
	ok(t, consumer.On("*", func(context.Context, *pgque.Message) error {
		together.Done()
		together.Wait() // for ever, if they are called one after the other
		expect(t, consumer.Health().Status, "handling")
		consumer.Stop()
		return nil
	}))
	quickly(t, 10*time.Second, "Run", func() { ok(t, <-consume(ctx, consumer)) })
	stats := consumer.Stats()
	equal(t, stats.Batches, 1)
	equal(t, stats.Received, 3)
	equal(t, stats.Handled+stats.HandedBack, 3)
	equal(t, consumer.Health().LastError, "")
	equal(t, consumer.Health().LastErrorAt.IsZero(), true)
}

// A batch handler gives verdicts by message id; an error is that of the messages it gives none on, as is a panic.
func TestBatchHandler(t *testing.T) {
	client := connect(t)
	name := sent(t, client, 4)
	consumer := mail(t, name)
	equal(t, errors.Is(consumer.OnBatch(nil), pgque.ErrInvalidInput), true)
	ok(t, consumer.OnBatch(func(_ context.Context, messages []*pgque.Message) ([]pgque.Verdict, error) {
		consumer.Stop()
		dead := pgque.Verdict{MsgID: messages[1].MsgID, Outcome: pgque.Dead("beyond repair")}
		return append(pgque.Acked(messages[0]), dead), errors.New("the rest has failed")
	}))
	equal(t, errors.Is(consumer.On("t", func(context.Context, *pgque.Message) error { return nil }), pgque.ErrConflict), true)
	ok(t, consumer.Run(ctx))
	stats := consumer.Stats()
	equal(t, fmt.Sprint(stats.Handled, stats.Dead, stats.Retried, stats.Failed), "1 1 2 2")
	ok(t, consumer.OnBatch(func(_ context.Context, messages []*pgque.Message) ([]pgque.Verdict, error) {
		consumer.Stop()
		panic("on purpose")
	}))
	send(t, client, name, pgque.Event{})
	tick(t, client, name)
	ok(t, consumer.Run(ctx))
	equal(t, consumer.Stats().Failed, 3)
	equal(t, retries(t, client, name), 3)
}

// The context of BeforeMessage goes through handler and AfterMessage; OnFailure gets the handler's own error, and its
// verdict the error's text. Hooks that panic are logged and change nothing.
func TestHooks(t *testing.T) {
	client := connect(t)
	name := sent(t, client, 1)
	var lines bytes.Buffer
	pgque.SetLogger(slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelError})))
	defer pgque.SetLogger(nil)
	consumer := mail(t, name)
	type key struct{}
	reason := errors.New("no such customer")
	var told []string
	consumer.BeforeMessage(func(ctx context.Context, m *pgque.Message) context.Context {
		told = append(told, "before")
		return context.WithValue(ctx, key{}, m.MsgID)
	})
	consumer.AfterMessage(func(ctx context.Context, m *pgque.Message, outcome string, took time.Duration) {
		expect(t, ctx.Value(key{}), any(m.MsgID))
		told = append(told, outcome)
		panic("in the hook")
	})
	consumer.OnFailure(func(attempt int64, err error) error {
		told = append(told, fmt.Sprint(attempt, errors.Is(err, reason)))
		return pgque.Dead("")
	})
	ok(t, consumer.On("*", func(ctx context.Context, m *pgque.Message) error {
		expect(t, ctx.Value(key{}), any(m.MsgID))
		told = append(told, "handler")
		consumer.Stop()
		return fmt.Errorf("wrapped: %w", reason)
	}))
	ok(t, consumer.Run(ctx))
	equal(t, strings.Join(told, ", "), "before, handler, failed, 1 true")
	letters, err := client.DlqInspect(ctx, name)
	ok(t, err)
	equal(t, len(letters.Rows), 1)
	equal(t, letters.Get(0, "reason"), any("wrapped: no such customer"))
	equal(t, strings.Contains(lines.String(), "hook after_message failed: panic: in the hook"), true)
	equal(t, strings.Contains(lines.String(), "logger=pgque.consumer.mail"), true)
}

// When OnFailure panics, or gives no verdict, the options decide.
func TestOptionsDecideWithoutAVerdict(t *testing.T) {
	client := connect(t)
	name := sent(t, client, 2)
	consumer := mail(t, name)
	calls, handled := 0, 0
	consumer.OnFailure(func(_ int64, err error) error {
		if calls++; calls == 1 {
			panic("on purpose")
		}
		return err
	})
	ok(t, consumer.On("*", func(context.Context, *pgque.Message) error {
		// Once: a second stop would not wait for this handler.
		if handled++; handled == 2 {
			consumer.Stop()
		}
		return errors.New("failed")
	}))
	ok(t, consumer.Run(ctx))
	equal(t, consumer.Stats().Retried, 2)
	equal(t, retries(t, client, name), 2)
}

// The client of a message belongs to the consumer's transaction: it cannot end it, and is gone after the handler. What
// a failed handler wrote is undone. A call that a handler has left behind is still part of its transaction.
func TestTransactionalHandlers(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	_, err := client.Execute(ctx, "create table effects (n bigint)")
	ok(t, err)
	defer func() {
		_, err := client.Execute(ctx, "drop table effects")
		ok(t, err)
	}()
	for _, eventType := range []string{"good", "bad", "last"} {
		send(t, client, name, pgque.Event{Type: eventType})
	}
	tick(t, client, name)
	consumer := mail(t, name, pgque.Transactional(true))
	var kept *pgque.Client
	write := func(ctx context.Context, m *pgque.Message) error {
		_, err := m.Client().Execute(ctx, "insert into effects values ($1)", m.MsgID)
		return err
	}
	ok(t, consumer.On("good", func(ctx context.Context, m *pgque.Message) error {
		kept = m.Client()
		expect(t, errors.Is(kept.Commit(ctx), pgque.ErrConflict), true)
		expect(t, errors.Is(kept.Close(), pgque.ErrConflict), true)
		return write(ctx, m)
	}))
	ok(t, consumer.On("bad", func(ctx context.Context, m *pgque.Message) error {
		_, err := kept.Execute(ctx, "select 1")
		expect(t, errors.Is(err, pgque.ErrClosed), true)
		return errors.Join(write(ctx, m), errors.New("on purpose"))
	}))
	begun := make(chan struct{})
	ok(t, consumer.On("last", func(ctx context.Context, m *pgque.Message) error {
		consumer.Stop()
		inside := m.Client()
		go func() {
			close(begun)
			_, _ = inside.Execute(ctx, "insert into effects select 0 from pg_sleep(0.3)")
		}()
		<-begun
		time.Sleep(50 * time.Millisecond)
		return nil
	}))
	ok(t, consumer.Run(ctx))
	result, err := client.Execute(ctx, "select count(*) as n, min(n) as least from effects")
	ok(t, err)
	equal(t, result.Get(0, "n"), any(int64(2)))
	equal(t, result.Get(0, "least"), any(int64(0)))
	equal(t, retries(t, client, name), 1)
}

// A second Stop forces: Run leaves a handler behind whose context ends, and its message comes again. The rest of the
// batch is handled by nobody, also when the consumer runs again.
func TestForcedStopLeavesHandlersBehind(t *testing.T) {
	client := connect(t)
	name := sent(t, client, 3)
	consumer := mail(t, name)
	entered, left, calls := make(chan struct{}), make(chan error, 1), 0
	ok(t, consumer.On("*", func(ctx context.Context, _ *pgque.Message) error {
		if calls++; calls == 1 {
			close(entered)
		}
		<-ctx.Done()
		time.Sleep(200 * time.Millisecond) // it does not hurry
		left <- ctx.Err()
		return nil
	}))
	ended := consume(ctx, consumer)
	<-entered
	consumer.Stop()
	consumer.Stop()
	quickly(t, 5*time.Second, "Run", func() { ok(t, <-ended) })
	equal(t, consumer.Stats().HandedBack, 3)
	equal(t, retries(t, client, name), 3)
	again := consume(ctx, consumer)
	equal(t, <-left, context.Canceled)
	consumer.Stop()
	ok(t, <-again)
	equal(t, calls, 1)
}

// The end of the context is a stop, to which the policy and the deadline apply.
func TestEndOfTheContextIsAStop(t *testing.T) {
	client := connect(t)
	name := sent(t, client, 3)
	handback := mail(t, name, pgque.StopPolicy("handback"))
	running, cancel := context.WithCancel(ctx)
	ok(t, handback.On("*", func(context.Context, *pgque.Message) error {
		cancel()
		eventually(t, "it stops", func() bool { return handback.Stats().Received == 3 && running.Err() != nil })
		time.Sleep(100 * time.Millisecond)
		return nil
	}))
	equal(t, errors.Is(handback.Run(running), context.Canceled), true)
	equal(t, handback.Stats().HandedBack, 2)
	timeout := mail(t, sent(t, client, 1), pgque.StopTimeout(200*time.Millisecond))
	running, cancel = context.WithCancel(ctx)
	ok(t, timeout.On("*", func(ctx context.Context, _ *pgque.Message) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}))
	quickly(t, 5*time.Second, "Run", func() {
		equal(t, errors.Is(timeout.Run(running), context.Canceled), true)
	})
}

// Stop, and then the end of the context, are one stop: the batch is handled whole.
func TestStopAndTheEndOfTheContextForceNothing(t *testing.T) {
	client := connect(t)
	consumer := mail(t, sent(t, client, 3))
	running, cancel := context.WithCancel(ctx)
	first := true
	ok(t, consumer.On("*", func(ctx context.Context, _ *pgque.Message) error {
		if first {
			consumer.Stop()
			cancel()
			first = false
			time.Sleep(100 * time.Millisecond)
		}
		return ctx.Err()
	}))
	equal(t, errors.Is(consumer.Run(running), context.Canceled), true)
	equal(t, consumer.Stats().Handled, 3)
}

// A context that is over when Run fails ends no later Run.
func TestNoStopIsLeftBehind(t *testing.T) {
	client := connect(t)
	consumer := mail(t, sent(t, client, 1))
	running, cancel := context.WithCancel(ctx)
	first := true
	ok(t, consumer.On("*", func(context.Context, *pgque.Message) error {
		if !first {
			consumer.Stop()
			return nil
		}
		first = false
		_, err := client.Execute(ctx, "alter function pgque.ack(bigint) rename to ack_gone")
		cancel()
		time.Sleep(100 * time.Millisecond) // so that the stop is there
		return err
	}))
	failed := consumer.Run(running)
	_, err := client.Execute(ctx, "alter function pgque.ack_gone(bigint) rename to ack")
	ok(t, err)
	equal(t, failed != nil && !errors.Is(failed, context.Canceled), true)
	ok(t, consumer.Run(ctx))
	equal(t, consumer.Stats().Handled, 1)
}
