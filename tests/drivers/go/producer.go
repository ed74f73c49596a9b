package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

func (d *driver) startProducer(r request) (any, error) {
	var options []pgque.ProducerOption
	for _, option := range named(r) {
		options = append(options, option)
	}
	producer, err := pgque.NewProducer(r.text("dsn"), options...)
	d.producers[r.text("producer")] = producer
	return nil, err
}

// producerCalls are the operations of a producer.
var producerCalls = map[string]func(*pgque.Producer, request) (any, error){
	"producer_send": func(p *pgque.Producer, r request) (any, error) {
		return asID(p.Send(background, r.text("queue"), r.event()))
	},
	"producer_send_many": sendMany,
	"producer_submit": func(p *pgque.Producer, r request) (any, error) {
		return sendAll(r, p.Submit, func() error { return p.Flush(background) })
	},
	"producer_flush": func(p *pgque.Producer, r request) (any, error) { return nil, p.Flush(background) },
	"producer_close": func(p *pgque.Producer, r request) (any, error) {
		ctx := background
		if r.has("deadline") {
			limited, cancel := context.WithTimeout(ctx, r.seconds("deadline"))
			defer cancel()
			ctx = limited
		}
		return nil, p.Close(ctx)
	},
	"producer_stats": func(p *pgque.Producer, r request) (any, error) {
		s := p.Stats()
		return map[string]any{
			"sent": s.Sent, "failed": s.Failed, "uncertain": s.Uncertain, "batches": s.Batches,
			"batch_size": s.BatchSize, "queue_length": s.QueueLength, "reconnects": s.Reconnects,
		}, nil
	},
}

// sendMany sends each payload by a call of its own, from so many goroutines at once.
func sendMany(p *pgque.Producer, r request) (any, error) {
	queue, eventType, payloads := r.text("queue"), "", r.payloads()
	if given := r.maybeText("type"); given != nil {
		eventType = *given
	}
	ids, failures := make([]string, len(payloads)), make([]error, r.number("tasks"))
	var next atomic.Int64
	var group sync.WaitGroup
	for task := range failures {
		group.Add(1)
		go func(task int) {
			defer group.Done()
			for failures[task] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(payloads) {
					return
				}
				var id int64
				id, failures[task] = p.Send(background, queue, pgque.Event{Type: eventType, Payload: payloads[i]})
				ids[i] = strconv.FormatInt(id, 10)
			}
		}(task)
	}
	group.Wait()
	return ids, errors.Join(failures...)
}
