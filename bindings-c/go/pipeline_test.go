package pgque_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// Answers outlive the pipeline, and a flush tells the first error.
func TestSendsAreAnsweredLater(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	pipeline, err := client.Pipeline(ctx)
	ok(t, err)
	var pending []*pgque.Pending
	for n := 0; n < 100; n++ {
		one, err := pipeline.Send(ctx, name, pgque.Event{Payload: n})
		ok(t, err)
		pending = append(pending, one)
	}
	ok(t, pipeline.Flush(ctx))
	_, err = pipeline.Send(ctx, name, pgque.Event{Payload: func() {}})
	expect(t, errors.Is(err, pgque.ErrInvalidInput), true)
	_, err = pipeline.Send(ctx, "nowhere", pgque.Event{})
	ok(t, err)
	expect(t, errors.Is(pipeline.Flush(ctx), pgque.ErrQueueNotFound), true)
	last := int64(0)
	for _, one := range pending {
		id, err := one.Wait(ctx)
		ok(t, err)
		expect(t, id > last, true)
		last = id
	}
}

// A wait ends with its context; the send goes on.
func TestAWaitForAnAnswerEndsWithItsContext(t *testing.T) {
	client, holder := connect(t), connect(t)
	name := queue(t, client)
	ok(t, holder.Begin(ctx))
	table, err := holder.Execute(ctx, "select queue_data_pfx as name from pgque.queue where queue_name = $1", name)
	ok(t, err)
	_, err = holder.Execute(ctx, "lock table "+table.Get(0, "name").(string)+" in access exclusive mode")
	ok(t, err)
	pipeline, err := client.Pipeline(ctx)
	ok(t, err)
	pending, err := pipeline.Send(ctx, name, pgque.Event{Payload: 1})
	ok(t, err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = pending.Wait(short)
	expect(t, errors.Is(err, context.DeadlineExceeded), true)
	ok(t, holder.Rollback(ctx))
	id, err := pending.Wait(ctx)
	ok(t, err)
	expect(t, id > 0, true)
	ok(t, pipeline.Flush(ctx))
}

func TestSubmitsAreAnsweredLater(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	producer := newProducer(t, dsn)
	pending, err := producer.Submit(ctx, name, pgque.Event{Payload: 1})
	ok(t, err)
	ok(t, producer.Close(ctx))
	id, err := pending.Wait(ctx)
	ok(t, err)
	expect(t, id > 0, true)
	_, err = producer.Submit(ctx, name, pgque.Event{})
	expect(t, errors.Is(err, pgque.ErrClosed), true)
}
