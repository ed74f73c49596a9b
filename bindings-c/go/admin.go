package pgque

// #include <pgque.h>
import "C"

import "context"

// LibraryVersion is the version of the library that runs, for instance 0.1.0.
func LibraryVersion() string { return C.GoString(C.pgque_version()) }

// Install installs the engine, or brings an existing one up to date; repeating it is harmless. [ErrConflict] if the
// database has a pgque schema that is not ours.
func (c *Client) Install(ctx context.Context) error {
	return c.call(ctx, newArguments("install"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_install(p)
	})
}

// Uninstall removes the engine with all queues and events.
func (c *Client) Uninstall(ctx context.Context) error {
	return c.call(ctx, newArguments("uninstall"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_uninstall(p)
	})
}

// Version is the engine's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version *C.char
	err := c.call(ctx, newArguments("version"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_version(p, &version)
	})
	defer C.pgque_text_free(version)
	return C.GoString(version), err
}

// Capabilities is what the server offers.
type Capabilities struct {
	// ServerVersion is PostgreSQL's, for instance 150018.
	ServerVersion int64
	// Finish: the engine settles a batch in one call.
	Finish bool
	// TickerPending: the engine can tick every queue with new events.
	TickerPending bool
	// Pages: the engine hands out large batches in pages.
	Pages bool
}

// Capabilities asks, once for each client, what the server offers.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	var found *C.pgque_capabilities
	err := c.call(ctx, newArguments("capabilities"), func(p *C.pgque_client) *C.pgque_error {
		return C.pgque_client_capabilities(p, &found)
	})
	defer C.pgque_capabilities_free(found)
	return Capabilities{
		ServerVersion: int64(C.pgque_capabilities_server_version(found)),
		Finish:        bool(C.pgque_capabilities_finish(found)),
		TickerPending: bool(C.pgque_capabilities_ticker_pending(found)),
		Pages:         bool(C.pgque_capabilities_pages(found)),
	}, err
}

// CreateQueue creates a queue. 1, or 0 if it existed.
func (c *Client) CreateQueue(ctx context.Context, queue string) (int64, error) {
	a := newArguments("create_queue")
	name := a.text("queue", queue)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_create_queue(p, name, n)
	})
}

// Force has [Client.DropQueue] drop a queue with its consumers; without it they are [ErrConflict].
type Force bool

// DropQueue drops a queue with its events.
func (c *Client) DropQueue(ctx context.Context, queue string, options ...Force) (int64, error) {
	a := newArguments("drop_queue")
	name := a.text("queue", queue)
	force := C.bool(last(options, false))
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_drop_queue(p, name, force, n)
	})
}

// SetQueueConfig sets one setting of a queue; nil resets it.
func (c *Client) SetQueueConfig(ctx context.Context, queue, name string, value *string) (int64, error) {
	a := newArguments("set_queue_config")
	queueName, settingName, setTo := a.text("queue", queue), a.text("name", name), a.maybeText("value", value)
	return c.counted(ctx, a, func(p *C.pgque_client, n *C.int64_t) *C.pgque_error {
		return C.pgque_client_set_queue_config(p, queueName, settingName, setTo, n)
	})
}

// Status has one row for each part of the engine: component, status, detail.
func (c *Client) Status(ctx context.Context) (*Result, error) {
	return c.table(ctx, newArguments("status"), func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_status(p, r)
	})
}

// OfQueue and OfConsumer restrict what [Client.QueueInfo] and [Client.ConsumerInfo] tell.
type (
	OfQueue    string
	OfConsumer string
)

// QueueInfoOption is an option of [Client.QueueInfo]: [OfQueue].
type QueueInfoOption = OfQueue

// ConsumerInfoOption is an option of [Client.ConsumerInfo]: [OfQueue] or [OfConsumer].
type ConsumerInfoOption interface {
	consumerInfo(queue, consumer **string)
}

func (q OfQueue) consumerInfo(queue, _ **string)       { *queue = (*string)(&q) }
func (n OfConsumer) consumerInfo(_, consumer **string) { *consumer = (*string)(&n) }

// QueueInfo tells about all queues, or about one; no row for an unknown one. Intervals are in seconds.
func (c *Client) QueueInfo(ctx context.Context, options ...QueueInfoOption) (*Result, error) {
	a := newArguments("queue_info")
	var name *C.char
	if len(options) > 0 {
		name = a.text("queue", string(last(options, "")))
	}
	return c.table(ctx, a, func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_queue_info(p, name, r)
	})
}

// ConsumerInfo tells about all subscriptions, or those of a queue, or of a consumer. Intervals are in seconds.
func (c *Client) ConsumerInfo(ctx context.Context, options ...ConsumerInfoOption) (*Result, error) {
	a := newArguments("consumer_info")
	var queue, consumer *string
	for _, option := range options {
		option.consumerInfo(&queue, &consumer)
	}
	queueName, consumerName := a.maybeText("queue", queue), a.maybeText("consumer", consumer)
	return c.table(ctx, a, func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_consumer_info(p, queueName, consumerName, r)
	})
}

// BatchInfo tells about an open batch; no row for an unknown one. Intervals are in seconds.
func (c *Client) BatchInfo(ctx context.Context, batchID int64) (*Result, error) {
	return c.table(ctx, newArguments("batch_info"), func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_batch_info(p, C.int64_t(batchID), r)
	})
}
