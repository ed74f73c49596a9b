package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"math"
	"runtime"
)

// Pipeline sends many events without waiting for each answer. Any goroutine may call its methods.
type Pipeline struct{ pipeline *C.pgque_pipeline }

// Pending stands for the answer to a send until it is there. Any goroutine may wait, any number of times; who does not
// leaves the send going.
type Pending struct{ pending *C.pgque_pending }

// Pipeline makes a pipeline on the client's connection. [ErrConflict] for a client made by [Over], whose connection runs
// one call at a time.
func (c *Client) Pipeline(ctx context.Context) (*Pipeline, error) {
	p := &Pipeline{}
	err := c.call(ctx, newArguments("pipeline"), func(client *C.pgque_client) *C.pgque_error {
		return C.pgque_client_pipeline(client, &p.pipeline)
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(p, func(p *Pipeline) { C.pgque_pipeline_free(p.pipeline) })
	return p, nil
}

// Send sends an event without waiting for the answer. Events reach the server in the order of these calls, and before
// whatever is called next on the same client. In a transaction all of them are part of it, and after an error the rest
// fails too; in autocommit each stands for itself. It fails if an argument is wrong or the client is closed; all else is
// told by [Pending.Wait], and by the next [Pipeline.Flush]. It waits only while some 1,000 sends are under way.
func (p *Pipeline) Send(ctx context.Context, queue string, event Event) (*Pending, error) {
	defer runtime.KeepAlive(p)
	return begun(ctx, queue, event, func(name *C.char, made *C.pgque_event, out **C.pgque_pending) *C.pgque_error {
		return C.pgque_pipeline_send(p.pipeline, name, made, out)
	})
}

// Flush waits until everything that was sent is answered, and fails with the first error since the last Flush, also if
// [Pending.Wait] has told it before. When ctx is over before that, the server is told to end the statement that runs.
func (p *Pipeline) Flush(ctx context.Context) error {
	defer runtime.KeepAlive(p)
	return native(ctx, "flush", func() *C.pgque_error { return C.pgque_pipeline_flush(p.pipeline) })
}

// Submit is Send that returns once the event is accepted, in the order of these calls. It fails if an argument is wrong,
// with [ErrClosed] after Close, and with [ErrTimeout] if there was no room for as long as [SendTimeout]; all else is told
// by [Pending.Wait].
func (p *Producer) Submit(ctx context.Context, queue string, event Event) (*Pending, error) {
	defer runtime.KeepAlive(p)
	return begun(ctx, queue, event, func(name *C.char, made *C.pgque_event, out **C.pgque_pending) *C.pgque_error {
		return C.pgque_producer_submit(p.producer, name, made, out)
	})
}

// Wait waits for the answer, and gives the id of the event or fails as the send itself would. When ctx is over before
// that, the send goes on.
func (p *Pending) Wait(ctx context.Context) (int64, error) {
	defer runtime.KeepAlive(p)
	var id C.int64_t
	err := native(ctx, "wait", func() *C.pgque_error {
		return C.pgque_pending_wait(p.pending, C.double(math.Inf(1)), &id)
	})
	return int64(id), err
}

// begun makes a call that begins a send.
func begun(
	ctx context.Context, queue string, event Event,
	call func(*C.char, *C.pgque_event, **C.pgque_pending) *C.pgque_error,
) (*Pending, error) {
	a := newArguments("send")
	defer a.free()
	made := a.event(event)
	defer C.pgque_event_free(made)
	name := a.text("queue", queue)
	if a.err != nil {
		return nil, a.err
	}
	p := &Pending{}
	if err := native(ctx, a.op, func() *C.pgque_error { return call(name, made, &p.pending) }); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(p, func(p *Pending) { C.pgque_pending_free(p.pending) })
	return p, nil
}
