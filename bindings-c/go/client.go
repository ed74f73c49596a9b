// Package pgque is the client of PgQue, an event log and queue inside PostgreSQL.
//
// Delivery is at least once, in batches that ticks cut: some process must run a [Ticker] (or pg_cron), or nothing
// arrives.
//
// Every call that may wait takes a context. When it is over the call returns within about 50 ms with an error that
// errors.Is knows as context.Canceled or context.DeadlineExceeded; what the server was asked to do by then may be
// done all the same. Errors are of type [*Error]; its kinds ([ErrQueueNotFound] and so on) are for errors.Is.
package pgque

// #include "callbacks.h"
import "C"

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Client is a client of one database, for any number of goroutines. They share one connection, and its transaction.
type Client struct {
	mu     sync.Mutex
	client *C.pgque_client // nil once freed
	calls  int             // that use it now
	closed bool
	// Over the caller's connection calls must not overlap; nil otherwise.
	over *caller
	// Of a client that a handler has for a while: closed once its last call has ended. Else nil.
	unused chan struct{}
}

// ConnectOption is an option of [Connect].
type ConnectOption interface{ connect(*Client) error }

// Autocommit is on by default. When it is off the first statement opens a transaction, which commit or rollback ends.
type Autocommit bool

func (on Autocommit) connect(c *Client) error {
	return failure(C.pgque_client_set_autocommit(c.client, C.bool(on)))
}

// Connect connects with a connection string of libpq, as URI or keywords.
func Connect(ctx context.Context, dsn string, options ...ConnectOption) (*Client, error) {
	a := newArguments("connect")
	defer a.free()
	text := a.text("dsn", dsn)
	if a.err != nil {
		return nil, a.err
	}
	var made *C.pgque_client
	err := native(ctx, a.op, func() *C.pgque_error { return C.pgque_client_connect(text, &made) })
	if err != nil {
		return nil, err
	}
	c := newClient(made)
	for _, option := range options {
		if err := option.connect(c); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func newClient(made *C.pgque_client) *Client {
	c := &Client{client: made}
	// Only for a client that was forgotten: Close gives the connection back at once.
	runtime.SetFinalizer(c, func(c *Client) { C.pgque_client_free(c.client) })
	return c
}

// Close closes the connection; an open transaction is rolled back, and later calls fail with [ErrClosed]. Twice is
// fine. A Notification that waits ends with [ErrClosed]. The connection below a client made by [Over] stays open.
// [ErrConflict] for the client of a message, which is the consumer's.
func (c *Client) Close() error {
	client, err := c.enter("close")
	if err != nil {
		return nil
	}
	defer c.leave()
	if c.unused == nil {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
	}
	return failure(C.pgque_client_close(client))
}

// lentClient is the consumer's own, for a handler to use until expire. NULL is nil.
func lentClient(lent *C.pgque_client) *Client {
	if lent == nil {
		return nil
	}
	return &Client{client: lent, unused: make(chan struct{})}
}

// expire takes a lent client back from its handler, and waits for calls that the handler has left behind: they are
// part of the transaction that goes on now.
func (c *Client) expire() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.closed = true
	calls := c.calls
	c.mu.Unlock()
	if calls > 0 {
		<-c.unused
	}
}

// enter keeps the client from being freed until leave.
func (c *Client) enter(op string) (*C.pgque_client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		if c.unused != nil {
			return nil, ours(ErrClosed, op, "the client was the message's, whose handler has returned")
		}
		return nil, ours(ErrClosed, op, "the client is closed; connect again")
	}
	c.calls++
	return c.client, nil
}

func (c *Client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls--
	if c.closed && c.calls == 0 {
		if c.unused != nil {
			close(c.unused)
			return
		}
		C.pgque_client_free(c.client)
		c.client = nil
		runtime.SetFinalizer(c, nil)
	}
}

// call makes a call unless an argument is wrong, and lets go of the arguments.
func (c *Client) call(ctx context.Context, a *arguments, call func(*C.pgque_client) *C.pgque_error) error {
	defer a.free()
	client, err := c.enter(a.op)
	if err != nil {
		return err
	}
	defer c.leave()
	if a.err != nil {
		return a.err
	}
	run := func() error { return native(ctx, a.op, func() *C.pgque_error { return call(client) }) }
	if c.over != nil {
		return c.over.during(ctx, a.op, run)
	}
	return run()
}

// counted makes a call that answers a number.
func (c *Client) counted(
	ctx context.Context, a *arguments, call func(*C.pgque_client, *C.int64_t) *C.pgque_error,
) (int64, error) {
	var n C.int64_t
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error { return call(p, &n) })
	return int64(n), err
}

// Begin opens a transaction, also in autocommit; [ErrConflict] inside one.
func (c *Client) Begin(ctx context.Context) error {
	return c.call(ctx, newArguments("begin"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_begin(p)
	})
}

// Commit commits; without a transaction nothing happens. A transaction in which a statement failed is rolled back
// and the call fails.
func (c *Client) Commit(ctx context.Context) error {
	return c.call(ctx, newArguments("commit"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_commit(p)
	})
}

// Rollback rolls back; without a transaction nothing happens.
func (c *Client) Rollback(ctx context.Context) error {
	return c.call(ctx, newArguments("rollback"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_rollback(p)
	})
}

// Transaction runs do between Begin and Commit, or Rollback if it fails or panics. Whatever other goroutines do on
// the client meanwhile is part of it.
func (c *Client) Transaction(ctx context.Context, do func(*Client) error) error {
	if err := c.Begin(ctx); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			// Also when ctx is over, or the transaction would stay open.
			_ = c.Rollback(context.WithoutCancel(ctx))
		}
	}()
	if err := do(c); err != nil {
		return err
	}
	err := c.Commit(ctx)
	done = err == nil
	return err
}

// Listen subscribes to a channel, from the commit on.
func (c *Client) Listen(ctx context.Context, channel string) error {
	a := newArguments("listen")
	name := a.text("channel", channel)
	return c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error { return C.pgque_client_listen(p, name) })
}

// Unlisten ends the subscription to a channel.
func (c *Client) Unlisten(ctx context.Context, channel string) error {
	a := newArguments("unlisten")
	name := a.text("channel", channel)
	return c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error { return C.pgque_client_unlisten(p, name) })
}

// Notification is a NOTIFY that arrived.
type Notification struct {
	Channel   string
	Payload   string
	ProcessID int32
}

// Notification waits for a notification; nil when the time is over.
func (c *Client) Notification(ctx context.Context, timeout time.Duration) (*Notification, error) {
	var arrived *C.pgque_notification
	err := c.call(ctx, newArguments("notification"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_notification(p, C.double(timeout.Seconds()), &arrived)
	})
	if arrived == nil {
		return nil, err
	}
	defer C.pgque_notification_free(arrived)
	return &Notification{
		Channel:   copiedText(C.pgque_notification_channel(arrived)),
		Payload:   copiedText(C.pgque_notification_payload(arrived)),
		ProcessID: int32(C.pgque_notification_process_id(arrived)),
	}, nil
}
