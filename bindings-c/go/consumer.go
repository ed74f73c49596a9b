package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
)

// Handler handles one message. With nil the message is done; [Retry] and [Dead] say what else becomes of it; any
// other error, and a panic, is a retry after the usual delay with its text as the reason.
//
// The context has the values of the one given to [Consumer.Run], but does not end with it: the batch that is being
// handled is finished first. Set a time limit of your own where a handler may hang.
type Handler func(ctx context.Context, message *Message) error

// Consumer hands messages to handlers, batch by batch. No transaction is open while they run.
type Consumer struct {
	consumer *C.pgque_consumer
	running  sync.Mutex

	mu       sync.Mutex
	handlers map[C.int64_t]Handler
}

// NewConsumer makes a consumer, which connects only when it is run. The name must be subscribed, unless there is a
// [Subconsumer].
func NewConsumer(dsn, queue, name string, options ...ConsumerOption) (*Consumer, error) {
	a := newArguments("consumer")
	defer a.free()
	settings := make([]setting, len(options))
	for i, option := range options {
		settings[i] = option.consumerOption()
	}
	chosen := nativeOptions(a, settings)
	defer C.pgque_options_free(chosen)
	address, queueName, consumerName := a.text("dsn", dsn), a.text("queue", queue), a.text("name", name)
	if a.err != nil {
		return nil, a.err
	}
	c := &Consumer{handlers: make(map[C.int64_t]Handler)}
	err := failure(C.pgque_consumer_new(address, queueName, consumerName, chosen, &c.consumer))
	if err != nil {
		return nil, err
	}
	// Memory only: when Run returns it has closed the connection.
	runtime.SetFinalizer(c, func(c *Consumer) { C.pgque_consumer_free(c.consumer) })
	return c, nil
}

// On names the handler of a type, "*" for all types that have none of their own. A later one replaces an earlier one.
func (c *Consumer) On(eventType string, handler Handler) error {
	a := newArguments("on")
	defer a.free()
	name := a.text("type", eventType)
	if handler == nil {
		a.fail(ours(ErrInvalidInput, a.op, "handler must not be nil"))
	}
	if a.err != nil {
		return a.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var number C.int64_t
	a.take(C.pgque_consumer_on(c.consumer, name, &number))
	if a.err != nil {
		return a.err
	}
	c.handlers[number] = handler
	return nil
}

// Run hands out messages until [Consumer.Stop], and then returns nil, or until ctx is over, and then returns its
// error; the batch that is being handled is finished first. A lost connection is replaced, for as long as it takes;
// errors that time cannot mend are returned. One Run at a time.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.running.TryLock() {
		return ours(ErrConflict, "run", "the consumer is running already")
	}
	defer c.running.Unlock()
	defer runtime.KeepAlive(c)
	defer func() { C.pgque_error_free(C.pgque_consumer_close(c.consumer)) }()
	for {
		batch, err := c.next(ctx)
		if batch == nil || err != nil {
			return err
		}
		if err := c.settle(context.WithoutCancel(ctx), batch); err != nil {
			return err
		}
	}
}

// next waits for a batch; nil after Stop.
func (c *Consumer) next(ctx context.Context) (*C.pgque_batch, error) {
	var next C.int32_t
	var batch *C.pgque_batch
	err := native(ctx, "run", func() *C.pgque_error {
		return C.pgque_consumer_next(c.consumer, C.double(math.Inf(1)), &next, &batch)
	})
	return batch, err
}

// settle handles the messages of a batch and finishes it.
func (c *Consumer) settle(ctx context.Context, batch *C.pgque_batch) error {
	defer C.pgque_batch_free(batch)
	for i := C.size_t(0); i < C.pgque_batch_count(batch); i++ {
		if err := c.judge(ctx, batch, i); err != nil {
			return err
		}
	}
	return native(ctx, "finish", func() *C.pgque_error { return C.pgque_consumer_finish(c.consumer, batch) })
}

// judge has one message handled, and notes the verdict.
func (c *Consumer) judge(ctx context.Context, batch *C.pgque_batch, i C.size_t) error {
	c.mu.Lock()
	handler := c.handlers[C.pgque_batch_handler(batch, i)]
	c.mu.Unlock()
	if handler == nil {
		return nil // unknown_handler_policy decides
	}
	message := copiedMessage(C.pgque_batch_message(batch, i))
	verdict := handled(ctx, handler, &message)
	if verdict == nil {
		return failure(C.pgque_batch_ack(batch, i))
	}
	a := newArguments("run")
	defer a.free()
	var reason *string
	if verdict.reason != nil {
		reason = storable(*verdict.reason)
	}
	text := a.maybeText("reason", reason)
	if verdict.dead {
		return failure(C.pgque_batch_dead(batch, i, text))
	}
	return failure(C.pgque_batch_retry(batch, i, verdict.after.native(a, "after"), text))
}

// handled calls the handler; nil when the message is done. A panic is a retry, also one of the error's own methods,
// which a nil pointer in the place of an error has.
func handled(ctx context.Context, handler Handler, message *Message) (verdict *outcome) {
	defer func() {
		if panicked := recover(); panicked != nil {
			verdict = &outcome{reason: storable(fmt.Sprintf("panic: %v", panicked))}
		}
	}()
	if err := handler(ctx, message); err != nil {
		return judged(err)
	}
	return nil
}

// Stop ends the wait of Run at once, or else the next Run: also when called before it. From any goroutine.
func (c *Consumer) Stop() {
	C.pgque_error_free(C.pgque_consumer_stop(c.consumer))
	runtime.KeepAlive(c)
}
