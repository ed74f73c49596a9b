package pgque

import "time"

// ProducerOption is an option of [NewProducer].
type ProducerOption interface{ producerOption() setting }

// Linger is how long to wait for company once there is something to send. Default 0: what queues up while the last batch
// is on its way is company enough.
type Linger time.Duration

// BatchSizeMax is the most events in a batch. Default 1000.
type BatchSizeMax int64

// BatchBytesMax is the most bytes of events in a batch, unless a single one is larger. Default 4 MiB.
type BatchBytesMax int64

// QueueSizeMax is the most events that wait for the next batch; beyond it Send waits. Default 10,000.
type QueueSizeMax int64

// QueueBytesMax is the most bytes of events that are not stored yet; beyond it Send waits. Default 64 MiB.
type QueueBytesMax int64

// SendTimeout is how long an event may wait to be sent, also while the server is away. Default 60 s.
type SendTimeout time.Duration

func (l Linger) producerOption() setting        { return lasting("linger", time.Duration(l)) }
func (n BatchSizeMax) producerOption() setting  { return number("batch_size_max", int64(n)) }
func (n BatchBytesMax) producerOption() setting { return number("batch_bytes_max", int64(n)) }
func (n QueueSizeMax) producerOption() setting  { return number("queue_size_max", int64(n)) }
func (n QueueBytesMax) producerOption() setting { return number("queue_bytes_max", int64(n)) }
func (s SendTimeout) producerOption() setting   { return lasting("send_timeout", time.Duration(s)) }
func (n NamedOption) producerOption() setting   { return setting{n.Name, n.Value} }
