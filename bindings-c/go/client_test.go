package pgque_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// A context that is over before the call ends it before anything is sent.
func TestContextThatIsOver(t *testing.T) {
	client := connect(t)
	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err := client.CreateQueue(over, "never")
	equal(t, errors.Is(err, context.Canceled) && errors.Is(err, pgque.ErrInterrupted), true)
	_, err = pgque.Connect(over, dsn)
	equal(t, errors.Is(err, context.Canceled), true)
	result, err := client.QueueInfo(ctx, pgque.OfQueue("never"))
	ok(t, err)
	equal(t, len(result.Rows), 0)
}

// A context that ends during a call ends the call, with its own error.
func TestContextEndsACall(t *testing.T) {
	client := connect(t)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	quickly(t, 5*time.Second, "a call past its deadline", func() {
		_, err := client.Execute(short, "select pg_sleep(30)")
		equal(t, errors.Is(err, context.DeadlineExceeded), true)
	})
	// Not only is it no longer waited for: the server has given it up.
	result, err := connect(t).Execute(ctx,
		"select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'")
	ok(t, err)
	equal(t, result.Rows[0][0], any(int64(0)))
	_, err = client.Execute(ctx, "select 1")
	ok(t, err)
	waiting, cancel := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, cancel)
	quickly(t, 5*time.Second, "a cancelled wait", func() {
		_, err := connect(t).Notification(waiting, time.Minute)
		equal(t, errors.Is(err, context.Canceled), true)
	})
}

// Close twice is fine; later calls, and calls that wait, fail with closed or the loss of the connection.
func TestCloseTwice(t *testing.T) {
	client := connect(t)
	ok(t, client.Close())
	ok(t, client.Close())
	_, err := client.Version(ctx)
	equal(t, errors.Is(err, pgque.ErrClosed), true)
}

// A client that was forgotten gives back its connection in the end.
func TestForgottenClientIsFreed(t *testing.T) {
	client := connect(t)
	count := func() int64 {
		result, err := client.Execute(ctx, "select count(*) from pg_stat_activity where application_name = 'forgotten'")
		ok(t, err)
		return result.Rows[0][0].(int64)
	}
	func() {
		forgotten, err := pgque.Connect(ctx, withOption(dsn, "application_name", "forgotten"))
		ok(t, err)
		equal(t, count(), 1)
		runtime.KeepAlive(forgotten)
	}()
	eventually(t, "the connection is closed", func() bool { runtime.GC(); return count() == 0 })
}

func withOption(dsn, name, value string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return fmt.Sprintf("%s %s=%s", dsn, name, value)
	case strings.Contains(dsn, "?"):
		return fmt.Sprintf("%s&%s=%s", dsn, name, value)
	}
	return fmt.Sprintf("%s?%s=%s", dsn, name, value)
}

// Goroutines share a client, one of them closes it, and nothing is used after it was freed.
func TestConcurrentUse(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := 0; i < 50; i++ {
				_, err := client.Send(cancelled, name, pgque.Event{Payload: i})
				if err != nil && !errors.Is(err, pgque.ErrClosed) {
					t.Error(err)
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	ok(t, client.Close())
	workers.Wait()
}

// A transaction commits what succeeds and rolls back what fails or panics.
func TestTransaction(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	failed := errors.New("on purpose")
	err := client.Transaction(ctx, func(tx *pgque.Client) error { send(t, tx, name, pgque.Event{}); return failed })
	equal(t, err, failed)
	func() {
		defer func() { equal(t, recover(), any("on purpose")) }()
		_ = client.Transaction(ctx, func(tx *pgque.Client) error { send(t, tx, name, pgque.Event{}); panic("on purpose") })
	}()
	var kept int64
	ok(t, client.Transaction(ctx, func(tx *pgque.Client) error { kept = send(t, tx, name, pgque.Event{}); return nil }))
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail")
	ok(t, err)
	equal(t, len(messages), 1)
	equal(t, messages[0].MsgID, kept)
}

// With autocommit off a statement opens a transaction, which Close rolls back.
func TestAutocommitOff(t *testing.T) {
	client, other := connect(t, pgque.Autocommit(false)), connect(t)
	_, err := client.Execute(ctx, "create table never (id integer)")
	ok(t, err)
	ok(t, client.Close())
	eventually(t, "the table is gone", func() bool {
		result, err := other.Execute(ctx, "select to_regclass('never')::text")
		return err == nil && result.Rows[0][0] == nil
	})
}

// Execute takes and gives native values.
func TestExecuteValues(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)
	result, err := connect(t).Execute(ctx,
		"select $1::bigint as n, $2::text as t, $3::bool as b, $4::float8 as f, $5::timestamptz as at, $6::text as none",
		7, "x", true, 0.5, at, nil)
	ok(t, err)
	for column, want := range map[string]any{"n": int64(7), "t": "x", "b": true, "f": 0.5, "at": at, "none": nil, "?": nil} {
		equal(t, result.Get(0, column), want)
	}
	equal(t, result.RowsAffected, 1)
	_, err = connect(t).Execute(ctx, "select $1", struct{}{})
	equal(t, errors.Is(err, pgque.ErrInvalidInput), true)
}

// Thousands of calls, with results and with errors, leave no memory behind.
func TestCallsDoNotLeak(t *testing.T) {
	client := connect(t)
	some, cancel := context.WithCancel(ctx)
	defer cancel()
	calls := func(n int) {
		for i := 0; i < n; i++ {
			_, err := client.Send(some, "nowhere", pgque.Event{Payload: strings.Repeat("1", 10000), Extra: [4]*string{ptr("x")}})
			equal(t, errors.Is(err, pgque.ErrQueueNotFound), true)
			_, err = client.Execute(some, "select repeat('x', 10000), $1", "y")
			ok(t, err)
		}
	}
	calls(500)
	before := resident(t)
	calls(3000)
	if grown := resident(t) - before; grown > 16<<20 { // had each left its ten kilobytes, it would be 60
		t.Fatalf("grew by %d bytes", grown)
	}
}

func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	var total, pages int
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("memory is told on Linux only")
	}
	_, err = fmt.Sscan(string(text), &total, &pages)
	ok(t, err)
	return pages * os.Getpagesize()
}
