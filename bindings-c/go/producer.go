package pgque

// #include "callbacks.h"
import "C"

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/cgo"
)

// Producer sends events, many at once: what goroutines send at the same time is gathered into few transactions, without
// being held back for that, and each call is answered with its own id or error. A lost connection is replaced, and
// nothing is sent twice because of it: if it cannot be found out whether an event is stored, its sender gets an error
// that is [Error.Uncertain]. Any goroutine may call its methods.
type Producer struct{ producer *C.pgque_producer }

// NewProducer makes a producer, which connects only for the first event.
func NewProducer(dsn string, options ...ProducerOption) (*Producer, error) {
	a := newArguments("producer")
	defer a.free()
	settings := make([]setting, len(options))
	for i, option := range options {
		settings[i] = option.producerOption()
	}
	chosen := nativeOptions(a, settings)
	defer C.pgque_options_free(chosen)
	address := a.text("dsn", dsn)
	if a.err != nil {
		return nil, a.err
	}
	p := &Producer{}
	if err := failure(C.pgque_producer_new(address, chosen, &p.producer)); err != nil {
		return nil, err
	}
	// Only for a producer that was forgotten: what it has accepted is sent all the same.
	runtime.SetFinalizer(p, func(p *Producer) { C.pgque_producer_free(p.producer) })
	return p, nil
}

// Send sends one event, and gives its id once it is stored. It fails as [Client.Send]; with [ErrTimeout] if there was no
// room, or no server, for as long as [SendTimeout], and the event is not stored; and with [ErrClosed] after Close. When
// ctx is over before the answer, an event that the producer had accepted is sent all the same.
func (p *Producer) Send(ctx context.Context, queue string, event Event) (int64, error) {
	a := newArguments("send")
	defer a.free()
	made := a.event(event)
	defer C.pgque_event_free(made)
	name := a.text("queue", queue)
	if a.err != nil {
		return 0, a.err
	}
	if err := ctx.Err(); err != nil {
		return 0, interrupted(a.op, err)
	}
	defer runtime.KeepAlive(p)
	return answer(ctx, func(handle C.uintptr_t, post **C.pgque_post) *C.pgque_error {
		return C.pgque_go_post(p.producer, name, made, handle, post)
	})
}

// sent is what became of an event.
type sent struct {
	answered chan struct{}
	id       C.int64_t
	err      *C.pgque_error
}

// answer waits as a goroutine: a call of C that waits would keep a thread, and there may be more senders than threads.
func answer(ctx context.Context, call func(C.uintptr_t, **C.pgque_post) *C.pgque_error) (int64, error) {
	s := &sent{answered: make(chan struct{})}
	handle := cgo.NewHandle(s) // until C calls pgqueGoSent
	var post *C.pgque_post
	if err := failure(call(C.uintptr_t(handle), &post)); err != nil {
		handle.Delete()
		return 0, err
	}
	select {
	case <-s.answered:
	case <-ctx.Done():
	}
	C.pgque_post_free(post)
	<-s.answered
	err := failure(s.err)
	if errors.Is(err, ErrInterrupted) && ctx.Err() != nil {
		err = interrupted("send", ctx.Err())
	}
	return int64(s.id), err
}

//export pgqueGoSent
func pgqueGoSent(id C.int64_t, err *C.pgque_error, handle C.uintptr_t) {
	s := cgo.Handle(handle).Value().(*sent)
	cgo.Handle(handle).Delete()
	s.id, s.err = id, err
	close(s.answered)
}

// Flush waits until everything that was accepted before is answered, well or not.
func (p *Producer) Flush(ctx context.Context) error {
	defer runtime.KeepAlive(p)
	return native(ctx, "flush", func() *C.pgque_error { return C.pgque_producer_flush(p.producer) })
}

// Close accepts nothing more, and waits until everything accepted is answered, or ctx is over. Senders whose events are
// not sent by then get [ErrClosed], and Close [ErrTimeout], with the error of ctx as its cause. Twice is fine.
func (p *Producer) Close(ctx context.Context) error {
	defer runtime.KeepAlive(p)
	err := native(ctx, "close", func() *C.pgque_error {
		return C.pgque_producer_close(p.producer, C.double(math.Inf(1)))
	})
	if !errors.Is(err, ErrInterrupted) {
		return err
	}
	err = failure(C.pgque_producer_close(p.producer, 0))
	if left, ok := err.(*Error); ok {
		left.cause = ctx.Err()
	}
	return err
}

// ProducerStats are counts since a producer was made, and the newest readings of what goes up and down.
type ProducerStats struct {
	// Sent are events stored.
	Sent int64
	// Failed are events whose sender got an error.
	Failed int64
	// Uncertain are those of them of which it is not known whether they are stored.
	Uncertain int64
	// Batches are transactions that stored events; Sent / Batches is the average size of a batch.
	Batches int64
	// BatchSize is how many events the newest of them has.
	BatchSize int64
	// QueueLength is how many events were accepted and are not answered yet.
	QueueLength int64
	// Reconnects are connections that were lost, or could not be made.
	Reconnects int64
	// LastError is the newest, of the connection or of a sender; empty if there was none.
	LastError string
}

// Stats reads the counters, all of one moment. At any time, from any goroutine.
func (p *Producer) Stats() ProducerStats {
	defer runtime.KeepAlive(p)
	var s C.pgque_producer_counters
	var lastError *C.char
	// They fail on a nil pointer only.
	C.pgque_error_free(C.pgque_producer_stats(p.producer, &s, C.sizeof_pgque_producer_counters))
	C.pgque_error_free(C.pgque_producer_last_error(p.producer, &lastError))
	defer C.pgque_text_free(lastError)
	return ProducerStats{
		Sent:        int64(s.sent),
		Failed:      int64(s.failed),
		Uncertain:   int64(s.uncertain),
		Batches:     int64(s.batches),
		BatchSize:   int64(s.batch_size),
		QueueLength: int64(s.queue_length),
		Reconnects:  int64(s.reconnects),
		LastError:   C.GoString(lastError),
	}
}
