package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// batch is one on its way through the handlers.
type batch struct {
	consumer *Consumer
	native   *C.pgque_batch

	mu      sync.Mutex
	lent    *Client // the handler's, in transactional mode
	givenUp bool
}

// handle has the messages of a batch handled, on as many goroutines as may run at once, and finishes it. Handlers that
// still run when the context ends are left behind.
func (c *Consumer) handle(ctx context.Context, native *C.pgque_batch) error {
	b := &batch{consumer: c, native: native}
	lane, lanes := b.lane, int(C.pgque_batch_lanes(native))
	if handler := c.wholeBatches(); handler != nil {
		lane, lanes = func(ctx context.Context) error { return b.whole(ctx, handler) }, 1
	}
	ended := make(chan error, lanes)
	for i := 0; i < lanes; i++ {
		go func() {
			var err error
			defer func() { ended <- err }() // also when the handler ends its goroutine
			err = lane(ctx)
		}()
	}
	left, err := await(ctx, ended, lanes)
	b.giveUp()
	if err == nil {
		err = failure(C.pgque_consumer_finish(c.consumer, native))
	}
	if left == 0 {
		C.pgque_batch_free(native)
		return err
	}
	go func() {
		_, _ = await(context.Background(), ended, left)
		C.pgque_batch_free(native)
	}()
	return err
}

// await waits for so many lanes, until the context ends; how many are left, and the first error.
func await(ctx context.Context, ended <-chan error, lanes int) (left int, first error) {
	for left = lanes; left > 0; left-- {
		select {
		case err := <-ended:
			if first == nil {
				first = err
			}
		case <-ctx.Done():
			return left, first
		}
	}
	return 0, first
}

// lane handles messages until there are no more for it.
func (b *batch) lane(ctx context.Context) error {
	for ctx.Err() == nil {
		var more C.bool
		var i C.size_t
		err := failure(C.pgque_consumer_take(b.consumer.consumer, b.native, &more, &i))
		if err != nil || !bool(more) {
			return err
		}
		if err := b.one(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// one has a message handled and settles it.
func (b *batch) one(ctx context.Context, i C.size_t) error {
	handler, hooks := b.consumer.registered(C.pgque_batch_handler(b.native, i))
	message := b.message(i)
	ctx = hooks.begins(ctx, message)
	began := time.Now()
	verdict := judgement(func() error { return handler(ctx, message) })
	message.client.expire()
	hooks.ended(ctx, message, verdict, time.Since(began))
	return b.settle(hooks, i, verdict)
}

// whole has all messages handled at once and settles them.
func (b *batch) whole(ctx context.Context, handler BatchHandler) error {
	var count C.size_t
	err := failure(C.pgque_consumer_take_all(b.consumer.consumer, b.native, &count))
	if err != nil || count == 0 {
		return err
	}
	_, hooks := b.consumer.registered(0)
	messages, contexts := make([]*Message, int(count)), make([]context.Context, int(count))
	client := b.lend(C.pgque_message_client(C.pgque_batch_message(b.native, 0)))
	for i := range messages {
		copied := copiedMessage(C.pgque_batch_message(b.native, C.size_t(i)))
		copied.client = client
		messages[i] = &copied
		contexts[i] = hooks.begins(ctx, &copied)
	}
	began := time.Now()
	verdicts := judgements(ctx, handler, messages)
	client.expire()
	took := time.Since(began)
	for i, message := range messages {
		hooks.ended(contexts[i], message, verdicts[i], took)
		if err := b.settle(hooks, C.size_t(i), verdicts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) message(i C.size_t) *Message {
	native := C.pgque_batch_message(b.native, i)
	message := copiedMessage(native)
	message.client = b.lend(C.pgque_message_client(native))
	return &message
}

// settle tells the library what became of a message.
func (b *batch) settle(hooks hooks, i C.size_t, verdict *outcome) error {
	if verdict != nil && verdict.failed != nil {
		if err := b.tell(i, verdict); err != nil {
			return err
		}
		attempt := int64(C.pgque_message_attempt(C.pgque_batch_message(b.native, i)))
		if verdict = hooks.decides(attempt, verdict.failed); verdict == nil {
			return nil
		}
	}
	return b.tell(i, verdict)
}

func (b *batch) tell(i C.size_t, verdict *outcome) error {
	if verdict == nil {
		return failure(C.pgque_batch_ack(b.native, i))
	}
	a := newArguments("run")
	defer a.free()
	var reason *string
	if verdict.reason != nil {
		reason = storable(*verdict.reason)
	}
	text, after := a.maybeText("reason", reason), verdict.after.native(a, "after")
	switch {
	case a.err != nil:
		// A length of time with a NUL must not keep the batch from being finished.
		return failure(C.pgque_batch_fail(b.native, i, a.text("error", *storable(a.err.Error()))))
	case verdict.failed != nil:
		return failure(C.pgque_batch_fail(b.native, i, text))
	case verdict.dead:
		return failure(C.pgque_batch_dead(b.native, i, text))
	}
	return failure(C.pgque_batch_retry(b.native, i, after, text))
}

// lend gives a handler the client of its transaction; nil outside of transactional mode.
func (b *batch) lend(native *C.pgque_client) *Client {
	client := lentClient(native)
	if client == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	client.closed = b.givenUp
	b.lent = client
	return client
}

// giveUp keeps a handler that is left behind out of what becomes of the transaction.
func (b *batch) giveUp() {
	b.mu.Lock()
	b.givenUp = true
	lent := b.lent
	b.mu.Unlock()
	lent.expire()
}

func (c *Consumer) wholeBatches() BatchHandler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.batchHandler
}

func (c *Consumer) registered(number C.int64_t) (Handler, hooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handlers[number], c.hooks
}

// judgement is nil when the message is done. A panic is a failure, also one of the error's own methods, which a nil
// pointer in the place of an error has.
func judgement(handle func() error) (verdict *outcome) {
	defer func() {
		if panicked := recover(); panicked != nil {
			verdict = judged(fmt.Errorf("panic: %v", panicked))
		}
	}()
	if err := handle(); err != nil {
		return judged(err)
	}
	return nil
}

var errNoVerdict = errors.New("the handler gave no verdict")

// judgements are those of a handler of whole batches, in the order of the messages.
func judgements(ctx context.Context, handler BatchHandler, messages []*Message) []*outcome {
	given := map[int64]*outcome{}
	rest := judgement(func() error {
		verdicts, err := handler(ctx, messages)
		for _, verdict := range verdicts {
			given[verdict.MsgID] = judgement(func() error { return verdict.Outcome })
		}
		if err == nil {
			err = errNoVerdict
		}
		return err
	})
	found := make([]*outcome, len(messages))
	for i, message := range messages {
		verdict, is := given[message.MsgID]
		if !is {
			verdict = rest
		}
		found[i] = verdict
	}
	return found
}
