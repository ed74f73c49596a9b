package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"fmt"
	"time"
)

// hooks are a consumer's callbacks around its handlers; any may be nil. A hook that panics is logged and changes nothing.
type hooks struct {
	consumer  string
	before    func(context.Context, *Message) context.Context
	after     func(context.Context, *Message, string, time.Duration)
	onFailure func(int64, error) error
}

// BeforeMessage has hook called before each message, on its handler's goroutine. The context that it returns, unless it
// is nil, is that of the handler and of the hook after it: a place for a span of a trace. A handler of whole batches gets
// its own context. Nil removes the hook. Holds for messages that are handed out from then on.
func (c *Consumer) BeforeMessage(hook func(ctx context.Context, message *Message) context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks.before = hook
}

// AfterMessage has hook called after each message, on its handler's goroutine, with what became of it: "ack", "retry",
// "dead" or "failed"; and the time that the handler took. Nil removes the hook.
func (c *Consumer) AfterMessage(
	hook func(ctx context.Context, message *Message, outcome string, took time.Duration),
) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks.after = hook
}

// OnFailure has decide say what becomes of a message whose handler failed, in place of [RetryAfter] and
// [RetryBackoff]: [Retry] or [Dead], whose reason is the error's text if they have none. Anything else, and nil, leaves
// it to these options. Attempt is the number of this delivery, from 1, as far as retries count. Called on the handler's
// goroutine. Nil removes it.
func (c *Consumer) OnFailure(decide func(attempt int64, err error) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks.onFailure = decide
}

func (h hooks) begins(ctx context.Context, message *Message) context.Context {
	if h.before != nil {
		h.guarded("before_message", func() {
			if changed := h.before(ctx, message); changed != nil {
				ctx = changed
			}
		})
	}
	return ctx
}

func (h hooks) ended(ctx context.Context, message *Message, verdict *outcome, took time.Duration) {
	if h.after != nil {
		h.guarded("after_message", func() { h.after(ctx, message, verdict.name(), took) })
	}
}

// decides is the verdict on a failed message; nil if the options decide.
func (h hooks) decides(attempt int64, failed error) (verdict *outcome) {
	if h.onFailure == nil {
		return nil
	}
	h.guarded("on_failure", func() {
		decided := h.onFailure(attempt, failed)
		if decided == nil {
			return
		}
		if found := *judged(decided); found.failed == nil {
			if found.reason == nil {
				found.reason = storable(failed.Error())
			}
			verdict = &found
		}
	})
	return verdict
}

func (h hooks) guarded(name string, call func()) {
	defer func() {
		if panicked := recover(); panicked != nil {
			h.log(fmt.Sprintf("hook %s failed: panic: %v", name, panicked))
		}
	}()
	call()
}

// log writes an error of a hook beside the library's own lines.
func (h hooks) log(line string) {
	a := newArguments("log")
	defer a.free()
	logger, text := a.text("logger", "pgque.consumer."+h.consumer), a.text("line", *storable(line))
	C.pgque_error_free(C.pgque_log(C.PGQUE_LOG_ERROR, logger, text))
}

// name is what became of a message that has this verdict, nil when it is done.
func (o *outcome) name() string {
	switch {
	case o == nil:
		return "ack"
	case o.failed != nil:
		return "failed"
	case o.dead:
		return "dead"
	}
	return "retry"
}
