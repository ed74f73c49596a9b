package pgque

// #include <pgque.h>
import "C"

import "context"

// Limit is how many dead letters [Client.DlqInspect] gives. Default 100.
type Limit int64

// DlqInspect gives the dead letters of a queue, the newest first; none for an unknown queue.
func (c *Client) DlqInspect(ctx context.Context, queue string, options ...Limit) (*Result, error) {
	a := newArguments("dlq_inspect")
	name := a.text("queue", queue)
	limit := C.int64_t(last(options, C.PGQUE_DLQ_LIMIT_DEFAULT))
	return c.table(ctx, a, func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_dlq_inspect(p, name, limit, r)
	})
}

// DlqReplay sends a dead letter again as a new event, which every consumer of the queue receives; its id.
func (c *Client) DlqReplay(ctx context.Context, deadLetterID int64) (int64, error) {
	return c.counted(ctx, newArguments("dlq_replay"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_dlq_replay(p, C.int64_t(deadLetterID), n)
	})
}

// Replayed is the outcome of [Client.DlqReplayAll].
type Replayed struct {
	Replayed int64
	Failed   int64
	// FirstError is why the first of those failed; nil if none did.
	FirstError *string
}

// DlqReplayAll replays every dead letter of a queue; what fails stays and is counted.
func (c *Client) DlqReplayAll(ctx context.Context, queue string) (Replayed, error) {
	a := newArguments("dlq_replay_all")
	name := a.text("queue", queue)
	var replayed *C.pgque_replayed
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_dlq_replay_all(p, name, &replayed)
	})
	if replayed == nil {
		return Replayed{}, err
	}
	defer C.pgque_replayed_free(replayed)
	return Replayed{
		Replayed:   int64(C.pgque_replayed_count(replayed)),
		Failed:     int64(C.pgque_replayed_failed(replayed)),
		FirstError: copied(C.pgque_replayed_first_error(replayed)),
	}, nil
}

// DlqRedeliver gives a dead letter back to the consumer that could not handle it, and to no other: as a retry that is
// due at once, with the id that it had and all of its retries; that id. It fails with [ErrConsumerNotFound] if the
// consumer is not subscribed any more.
func (c *Client) DlqRedeliver(ctx context.Context, deadLetterID int64) (int64, error) {
	return c.counted(ctx, newArguments("dlq_redeliver"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_dlq_redeliver(p, C.int64_t(deadLetterID), n)
	})
}

// DlqRedeliverAll gives all dead letters of a queue, or with [OfConsumer] of one consumer, back to their consumers; how
// many. Those of consumers that are not subscribed any more stay.
func (c *Client) DlqRedeliverAll(ctx context.Context, queue string, consumer ...OfConsumer) (int64, error) {
	a := newArguments("dlq_redeliver_all")
	name := a.text("queue", queue)
	var only *string
	for _, option := range consumer {
		text := string(option)
		only = &text
	}
	consumerName := a.maybeText("consumer", only)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_dlq_redeliver_all(p, name, consumerName, n)
	})
}

// OlderThanOption is made by [OlderThan].
type OlderThanOption struct{ age Interval }

// OlderThan is the age from which on [Client.DlqPurge] deletes. Default 30 days.
func OlderThan[L Length](age L) OlderThanOption { return OlderThanOption{IntervalOf(age)} }

// DlqPurge deletes old dead letters; how many.
func (c *Client) DlqPurge(ctx context.Context, queue string, options ...OlderThanOption) (int64, error) {
	a := newArguments("dlq_purge")
	name := a.text("queue", queue)
	age := last(options, OlderThanOption{}).age.or(a, "older_than", C.pgque_dlq_older_than_default())
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_dlq_purge(p, name, age, n)
	})
}
