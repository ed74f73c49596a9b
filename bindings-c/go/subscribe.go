package pgque

// #include <pgque.h>
import "C"

import "context"

// Subscribe registers a consumer at the newest tick. 1 if it is new, 0 if it existed.
func (c *Client) Subscribe(ctx context.Context, queue, consumer string) (int64, error) {
	a := newArguments("subscribe")
	queueName, consumerName := a.text("queue", queue), a.text("consumer", consumer)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_subscribe(p, queueName, consumerName, n)
	})
}

// Unsubscribe removes a consumer with its retries. 1, or 0 if there was none.
func (c *Client) Unsubscribe(ctx context.Context, queue, consumer string) (int64, error) {
	a := newArguments("unsubscribe")
	queueName, consumerName := a.text("queue", queue), a.text("consumer", consumer)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_unsubscribe(p, queueName, consumerName, n)
	})
}

// member is a cooperative worker.
type member struct{ queue, consumer, subconsumer *C.char }

func (a *arguments) member(queue, consumer, subconsumer string) member {
	return member{a.text("queue", queue), a.text("consumer", consumer), a.text("subconsumer", subconsumer)}
}

// ConvertNormal has [Client.SubscribeSubconsumer] turn an ordinary consumer of that name into a cooperative one;
// without it such a consumer is [ErrConflict].
type ConvertNormal bool

// SubscribeSubconsumer registers a cooperative worker. 1 if it is new, 0 if it existed.
func (c *Client) SubscribeSubconsumer(
	ctx context.Context, queue, consumer, subconsumer string, options ...ConvertNormal,
) (int64, error) {
	a := newArguments("subscribe_subconsumer")
	m := a.member(queue, consumer, subconsumer)
	convert := C.bool(last(options, false))
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_subscribe_subconsumer(p, m.queue, m.consumer, m.subconsumer, convert, n)
	})
}

// BatchHandling says what becomes of an open batch in [Client.UnsubscribeSubconsumer]: 0, the default, refuses with
// [ErrConflict], 1 sends its messages to the retry queue.
type BatchHandling int64

// UnsubscribeSubconsumer removes a cooperative worker. 1, or 0 if there was none.
func (c *Client) UnsubscribeSubconsumer(
	ctx context.Context, queue, consumer, subconsumer string, options ...BatchHandling,
) (int64, error) {
	a := newArguments("unsubscribe_subconsumer")
	m := a.member(queue, consumer, subconsumer)
	handling := C.int64_t(last(options, C.PGQUE_BATCH_HANDLING_DEFAULT))
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_unsubscribe_subconsumer(p, m.queue, m.consumer, m.subconsumer, handling, n)
	})
}

// TouchSubconsumer says that a cooperative worker is alive. 1, or 0 if there is none.
func (c *Client) TouchSubconsumer(ctx context.Context, queue, consumer, subconsumer string) (int64, error) {
	a := newArguments("touch_subconsumer")
	m := a.member(queue, consumer, subconsumer)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_touch_subconsumer(p, m.queue, m.consumer, m.subconsumer, n)
	})
}

// last is the option that counts, or the default.
func last[T any](options []T, usual T) T {
	if len(options) == 0 {
		return usual
	}
	return options[len(options)-1]
}
