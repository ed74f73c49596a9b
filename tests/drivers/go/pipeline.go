package main

import (
	"context"
	"errors"
	"strconv"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

func pipelined(c *pgque.Client, r request) (any, error) {
	pipeline, err := c.Pipeline(background)
	if err != nil {
		return nil, err
	}
	return sendAll(r, pipeline.Send, func() error {
		var committed error
		if r["commit"] == true {
			committed = c.Commit(background)
		}
		flushed := pipeline.Flush(background)
		if committed != nil {
			return committed
		}
		return flushed
	})
}

type send func(context.Context, string, pgque.Event) (*pgque.Pending, error)

// sendAll gives the outcome of each of the request's events, and of the flush behind them.
func sendAll(r request, send send, flush func() error) (any, error) {
	type begun struct {
		pending *pgque.Pending
		err     error
	}
	var all []begun
	for _, item := range r["events"].([]any) {
		event := request(item.(map[string]any))
		pending, err := send(background, event.text("queue"), event.event())
		all = append(all, begun{pending, err})
	}
	flushed := faultOrNull(flush())
	outcomes := make([]any, len(all))
	for i, b := range all {
		var id int64
		err := b.err
		if err == nil {
			id, err = b.pending.Wait(background)
		}
		if err != nil {
			outcomes[i] = map[string]any{"error": fault(err)}
		} else {
			outcomes[i] = map[string]any{"id": strconv.FormatInt(id, 10)}
		}
	}
	return map[string]any{"outcomes": outcomes, "flush": flushed}, nil
}

func faultOrNull(err error) any {
	if err == nil {
		return nil
	}
	var ours *pgque.Error
	if !errors.As(err, &ours) {
		panic(err)
	}
	return fault(err)
}
