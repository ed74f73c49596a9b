package pgque

// #include <pgque.h>
import "C"

import "context"

// Receive gives the open batch of the consumer, or opens the next one; no messages when there is none. Until the
// batch is acknowledged the same one comes again.
func (c *Client) Receive(ctx context.Context, queue, consumer string, options ...MaxMessages) ([]Message, error) {
	a := newArguments("receive")
	max := C.int64_t(last(options, C.PGQUE_MAX_MESSAGES_DEFAULT))
	queueName, consumerName := a.text("queue", queue), a.text("consumer", consumer)
	var messages *C.pgque_messages
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_receive(p, queueName, consumerName, max, &messages)
	})
	return takenMessages(messages), err
}

// ReceiveCoop is Receive for one cooperative worker, which is registered on the fly.
func (c *Client) ReceiveCoop(
	ctx context.Context, queue, consumer, subconsumer string, options ...ReceiveCoopOption,
) ([]Message, error) {
	a := newArguments("receive_coop")
	o := receiveCoopOptions{maxMessages: C.PGQUE_MAX_MESSAGES_DEFAULT}
	for _, option := range options {
		option.receiveCoop(&o)
	}
	m := a.member(queue, consumer, subconsumer)
	dead := o.deadInterval.native(a, "dead_interval")
	var messages *C.pgque_messages
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error {
		max := C.int64_t(o.maxMessages)
		return C.pgque_client_receive_coop(p, m.queue, m.consumer, m.subconsumer, max, dead, &messages)
	})
	return takenMessages(messages), err
}

// Ack finishes a batch. 1, or 0 if it is unknown, already finished or taken over.
func (c *Client) Ack(ctx context.Context, batchID int64) (int64, error) {
	return c.counted(ctx, newArguments("ack"), func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_ack(p, C.int64_t(batchID), n)
	})
}

// Nack has one message of an open batch delivered again after a delay; the batch must still be acknowledged.
// [ErrBatchNotFound] once the batch is finished.
func (c *Client) Nack(ctx context.Context, batchID, msgID int64, options ...NackOption) error {
	a := newArguments("nack")
	var o nackOptions
	for _, option := range options {
		option.nack(&o)
	}
	after := o.after.or(a, "retry_after", C.pgque_interval_seconds(C.PGQUE_RETRY_AFTER_DEFAULT))
	reason := a.maybeText("reason", o.reason)
	return c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_nack(p, C.int64_t(batchID), C.int64_t(msgID), after, reason)
	})
}

// Finish settles a batch: what is not named is done, the rest is retried or dead-lettered, all or nothing. 1, or 0
// without any effect if the batch is unknown, already finished or taken over.
func (c *Client) Finish(ctx context.Context, batchID int64, verdicts ...Verdict) (int64, error) {
	a := newArguments("finish")
	given := C.pgque_verdicts_new()
	defer C.pgque_verdicts_free(given)
	for _, verdict := range verdicts {
		a.take(verdict.native(a, given))
	}
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_finish(p, C.int64_t(batchID), given, n)
	})
}
