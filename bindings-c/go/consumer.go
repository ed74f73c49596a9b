package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"math"
	"runtime"
	"sync"
)

// Handler handles one message. With nil the message is done; [Retry] and [Dead] say what else becomes of it; with any
// other error, and with a panic, it has failed, with its text as the reason.
//
// The context has the values of the one given to [Consumer.Run], but does not end with it: by default a stop waits for
// the handlers. It ends when it does not any more, because the stop was forced or its [StopTimeout] is over.
type Handler func(ctx context.Context, message *Message) error

// BatchHandler handles the messages of a whole batch, or of a page of a large one, and gives a verdict on each. A message
// without one has failed, with the text of the error as the reason, if there is one; [Acked] is for those that are done.
// The context is that of a [Handler].
type BatchHandler func(ctx context.Context, messages []*Message) ([]Verdict, error)

// Consumer hands messages to handlers, batch by batch. No transaction is open while they run, unless it is
// [Transactional]. Of several consumers of one name, one works and the others stand by, unless they are each a
// [Subconsumer]. Any goroutine may call its methods.
type Consumer struct {
	consumer *C.pgque_consumer

	mu           sync.Mutex
	handlers     map[C.int64_t]Handler
	batchHandler BatchHandler
	hooks        hooks
	stopAsked    func() // of the run at work; nil without one
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
	c := &Consumer{handlers: make(map[C.int64_t]Handler), hooks: hooks{consumer: name}}
	err := failure(C.pgque_consumer_new(address, queueName, consumerName, chosen, &c.consumer))
	if err != nil {
		return nil, err
	}
	// Memory only: when Run returns it has closed the connection.
	runtime.SetFinalizer(c, func(c *Consumer) { C.pgque_consumer_free(c.consumer) })
	return c, nil
}

// On names the handler of a type, "*" for all types that have none of their own. A later one replaces an earlier one.
// [ErrConflict] beside [Consumer.OnBatch].
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

// OnBatch names the handler of whole batches, whatever the types. A later one replaces an earlier one. [ErrConflict]
// beside [Consumer.On].
func (c *Consumer) OnBatch(handler BatchHandler) error {
	if handler == nil {
		return ours(ErrInvalidInput, "on_batch", "handler must not be nil")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := failure(C.pgque_consumer_on_batch(c.consumer)); err != nil {
		return err
	}
	c.batchHandler = handler
	return nil
}

// Run hands out messages until [Consumer.Stop], and then returns nil, or until ctx is over, which is a stop as well, and
// then returns its error. A lost connection is replaced, for as long as it takes; errors that time cannot mend are
// returned. One Run at a time, another is [ErrConflict].
func (c *Consumer) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return interrupted("run", err)
	}
	if err := failure(C.pgque_consumer_begin_run(c.consumer)); err != nil {
		return err
	}
	defer runtime.KeepAlive(c)
	defer func() { C.pgque_error_free(C.pgque_consumer_close(c.consumer)) }()
	err := c.runUntilStopped(ctx)
	if err == nil && ctx.Err() != nil {
		return interrupted("run", ctx.Err())
	}
	return err
}

func (c *Consumer) runUntilStopped(ctx context.Context) error {
	handling, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	c.onStop(sync.OnceFunc(func() { go c.watch(handling, giveUp) }))
	defer c.onStop(nil)
	asked := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		c.stopUnlessAsked()
		close(asked)
	})
	err := c.loop(handling)
	if !unwatch() {
		<-asked
		c.answerStop()
	}
	return err
}

func (c *Consumer) loop(handling context.Context) error {
	for {
		var batch *C.pgque_batch
		err := failure(C.pgque_consumer_next(c.consumer, C.double(math.Inf(1)), nil, &batch))
		if batch == nil || err != nil {
			return err
		}
		if err := c.handle(handling, batch); err != nil {
			return err
		}
	}
}

// Stop ends the wait of Run at once, or else of the next Run: also when called before it. What becomes of the batch in
// hand is said by [StopPolicy] and [StopTimeout]; by default it is handled first. A second Stop, or one after the
// context of Run is over, forces: nothing more is handled, and no handler waited for. From any goroutine.
func (c *Consumer) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop()
}

// stopUnlessAsked must not force a stop that was asked for already.
func (c *Consumer) stopUnlessAsked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !C.pgque_consumer_is_stopping(c.consumer) {
		c.stop()
	}
}

func (c *Consumer) stop() {
	C.pgque_error_free(C.pgque_consumer_stop(c.consumer))
	if c.stopAsked != nil {
		c.stopAsked()
	}
}

func (c *Consumer) onStop(asked func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopAsked = asked
}

// watch ends the handlers' context once a stop waits for them no longer. It ends with that context itself.
func (c *Consumer) watch(handling context.Context, giveUp func()) {
	err := native(handling, "run", func() *C.pgque_error { return C.pgque_consumer_overdue(c.consumer) })
	if err == nil {
		giveUp()
	}
	runtime.KeepAlive(c)
}

// answerStop has a stop that came as the loop had ended end no other run.
func (c *Consumer) answerStop() {
	if !C.pgque_consumer_is_stopping(c.consumer) {
		return
	}
	var batch *C.pgque_batch
	C.pgque_error_free(C.pgque_consumer_next(c.consumer, 0, nil, &batch))
	C.pgque_batch_free(batch)
}
