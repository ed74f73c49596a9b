package pgque

// #include <pgque.h>
import "C"

import "context"

// ticked makes a call that answers a tick; nil if there is none.
func (c *Client) ticked(
	ctx context.Context, op, queue string,
	call func(p *C.pgque_client, queue *C.char, has *C.bool, id *C.int64_t) *C.pgque_error,
) (*int64, error) {
	a := newArguments(op)
	name := a.text("queue", queue)
	var has C.bool
	var id C.int64_t
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error { return call(p, name, &has, &id) })
	if !has {
		return nil, err
	}
	tick := int64(id)
	return &tick, err
}

// Ticker ticks one queue if its settings ask for it; the tick's id, or nil. A [Ticker] does it for all queues.
func (c *Client) Ticker(ctx context.Context, queue string) (*int64, error) {
	return c.ticked(ctx, "ticker", queue, func(p *C.pgque_client, q *C.char, has *C.bool, id *C.int64_t) *C.pgque_error {
		return C.pgque_client_ticker(p, q, has, id)
	})
}

// ForceNextTick has the next [Client.Ticker] of the queue tick in any case; the id of the newest tick, or nil.
func (c *Client) ForceNextTick(ctx context.Context, queue string) (*int64, error) {
	return c.ticked(ctx, "force_next_tick", queue,
		func(p *C.pgque_client, q *C.char, has *C.bool, id *C.int64_t) *C.pgque_error {
			return C.pgque_client_force_next_tick(p, q, has, id)
		})
}

// ForceTick is an alias of [Client.ForceNextTick].
func (c *Client) ForceTick(ctx context.Context, queue string) (*int64, error) {
	return c.ticked(ctx, "force_tick", queue,
		func(p *C.pgque_client, q *C.char, has *C.bool, id *C.int64_t) *C.pgque_error {
			return C.pgque_client_force_tick(p, q, has, id)
		})
}

// TickerAll ticks all queues whose settings ask for it; how many ticked.
func (c *Client) TickerAll(ctx context.Context) (int64, error) {
	return c.counted(ctx, newArguments("ticker_all"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_ticker_all(p, n)
	})
}

// Maint runs due maintenance, table rotation above all; how much was done.
func (c *Client) Maint(ctx context.Context) (int64, error) {
	return c.counted(ctx, newArguments("maint"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_maint(p, n)
	})
}

// MaintRetryEvents puts messages whose retry delay is over back into their queues; how many.
func (c *Client) MaintRetryEvents(ctx context.Context) (int64, error) {
	return c.counted(ctx, newArguments("maint_retry_events"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_maint_retry_events(p, n)
	})
}
