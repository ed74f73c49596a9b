package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"fmt"
)

// Event is what is sent.
type Event struct {
	// Type is "default" when it is empty.
	Type string
	// Payload is any value that encoding/json writes. A string, []byte or json.RawMessage is JSON text as it stands
	// and must be valid; [Text] is any text at all.
	Payload any
	// Extra are extra1 to extra4; nil is SQL NULL.
	Extra [4]*string
}

// Text is a payload that is stored byte for byte, JSON or not.
type Text string

// NullText is a payload of SQL NULL; nil is JSON null.
var NullText *Text

// Send sends one event and gives its id; it is seen by nobody before the commit. [ErrInvalidInput] before anything
// is sent if the payload is not JSON.
func (c *Client) Send(ctx context.Context, queue string, event Event) (int64, error) {
	a := newArguments("send")
	made := a.event(event)
	defer C.pgque_event_free(made)
	name := a.text("queue", queue)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_send_event(p, name, made, n)
	})
}

// event is to be freed by the caller.
func (a *arguments) event(event Event) *C.pgque_event {
	made := C.pgque_event_new()
	a.take(C.pgque_event_set_type(made, a.text("type", event.Type)))
	a.payload(made, event.Payload)
	for i, extra := range event.Extra {
		if extra != nil {
			a.take(C.pgque_event_set_extra(made, C.size_t(i+1), pointer(*extra), C.size_t(len(*extra))))
		}
	}
	return made
}

func (a *arguments) payload(event *C.pgque_event, payload any) {
	body, err := written(a.op, "payload", payload)
	switch {
	case err != nil:
		a.fail(err)
	case !body.opaque:
		a.take(C.pgque_event_set_payload(event, pointer(*body.text), C.size_t(len(*body.text))))
	case body.text == nil:
		a.take(C.pgque_event_set_text(event, nil, 0))
	default:
		a.take(C.pgque_event_set_text(event, pointer(*body.text), C.size_t(len(*body.text))))
	}
}

// NullType has [Client.SendBatch] store SQL NULL as the type.
type NullType bool

// SendBatch sends many events of one type in one statement: all or none. The ids are in the order of the payloads,
// which are all [Text] or none of them is. Unlike in Send the type is stored as given, also when it is empty.
func (c *Client) SendBatch(
	ctx context.Context, queue, eventType string, payloads []any, options ...NullType,
) ([]int64, error) {
	a := newArguments("send_batch")
	queueName, typeName := a.text("queue", queue), a.text("type", eventType)
	if last(options, false) {
		typeName = nil
	}
	texts, opaque := a.batch(payloads)
	bodies, count := a.bodies(texts)
	// One more, so that there is an address to give for an empty batch.
	ids := make([]C.int64_t, len(payloads)+1)
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error {
		if opaque {
			return C.pgque_client_send_batch_text(p, queueName, typeName, bodies, count, &ids[0])
		}
		return C.pgque_client_send_batch(p, queueName, typeName, bodies, count, &ids[0])
	})
	if err != nil {
		return nil, err
	}
	found := make([]int64, len(payloads))
	for i := range found {
		found[i] = int64(ids[i])
	}
	return found, nil
}

func (a *arguments) batch(payloads []any) (texts []*string, opaque bool) {
	texts = make([]*string, len(payloads))
	for i, payload := range payloads {
		name := fmt.Sprintf("payloads[%d]", i)
		body, err := written(a.op, name, payload)
		if err != nil {
			a.fail(err)
			continue
		}
		if i == 0 {
			opaque = body.opaque
		}
		if body.opaque != opaque {
			a.fail(ours(ErrInvalidInput, a.op, name+": a batch is all pgque.Text or none"))
		}
		texts[i] = body.text
	}
	return texts, opaque
}
