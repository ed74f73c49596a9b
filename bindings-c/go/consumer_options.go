package pgque

import (
	"strconv"
	"time"
)

// ConsumerOption is an option of [NewConsumer].
type ConsumerOption interface{ consumerOption() setting }

// PollInterval is how long to wait for a notification before looking anyway. Default 30 s.
type PollInterval time.Duration

// PageSize is how many messages of a large batch are held at once, 1 to 10000. Default 5000.
type PageSize int64

// RetryBackoff is "fixed", the default, or "exponential": the delay of a failed message then doubles with each attempt,
// from [RetryAfter] up to [RetryAfterMax], less a random part of up to a half.
type RetryBackoff string

// RetryAfterMax is the longest delay of exponential back-off. Default one hour.
type RetryAfterMax time.Duration

// UnknownHandlerPolicy says what becomes of a message whose type has no handler: "nack", the default, or "ack".
type UnknownHandlerPolicy string

// Subconsumer is the name of this worker among those that share the consumer; "auto" makes one up, and gives it up again
// on stop. Default none: not cooperative.
type Subconsumer string

// Concurrency is how many handlers run at once, 1 to 1000, each on a goroutine. Default 1.
type Concurrency int

// OrderedBy keeps the order of messages of one "type", or of one value of "extra1" to "extra4", among several handlers.
// Default none.
type OrderedBy string

// StopPolicy says what a stop does with the batch in hand: "drain", the default, has it handled; "handback" has the
// messages that no handler has yet delivered again.
type StopPolicy string

// StopTimeout is how long a stop waits for the batch in hand; what is not done by then goes back, and the handlers'
// contexts end. Default without limit.
type StopTimeout time.Duration

// Transactional has receive, handlers and acknowledgement be one transaction, whose client is [Message.Client]: effects
// in the same database are exactly once. One handler at a time. Default off.
type Transactional bool

// EmbeddedTicker runs a ticker beside the consumer, with a role that is a member of pgque_admin. Default off.
type EmbeddedTicker bool

// ListenDSN is a direct connection to hear of news and to hold the consumer's turn, where the other leads through a
// pooler. Default none: behind a pooler the consumer then looks every [PollInterval], and with [MaxMessages], or on
// PgQue 0.2, two of its name both get each batch.
type ListenDSN string

func (n MaxMessages) consumerOption() setting      { return number("max_messages", int64(n)) }
func (n PageSize) consumerOption() setting         { return number("page_size", int64(n)) }
func (n Concurrency) consumerOption() setting      { return number("concurrency", int64(n)) }
func (p PollInterval) consumerOption() setting     { return lasting("poll_interval", time.Duration(p)) }
func (r RetryAfterOption) consumerOption() setting { return setting{"retry_after", r.after.option()} }
func (r RetryAfterMax) consumerOption() setting    { return lasting("retry_after_max", time.Duration(r)) }
func (r RetryBackoff) consumerOption() setting     { return setting{"retry_backoff", string(r)} }
func (d DeadIntervalOption) consumerOption() setting {
	return setting{"dead_interval", d.after.option()}
}
func (s Subconsumer) consumerOption() setting    { return setting{"subconsumer", string(s)} }
func (o OrderedBy) consumerOption() setting      { return setting{"ordered_by", string(o)} }
func (s StopPolicy) consumerOption() setting     { return setting{"stop_policy", string(s)} }
func (s StopTimeout) consumerOption() setting    { return lasting("stop_timeout", time.Duration(s)) }
func (t Transactional) consumerOption() setting  { return flag("transactional", bool(t)) }
func (t EmbeddedTicker) consumerOption() setting { return flag("ticker", bool(t)) }
func (d ListenDSN) consumerOption() setting      { return setting{"listen_dsn", string(d)} }
func (n NamedOption) consumerOption() setting    { return setting{n.Name, n.Value} }
func (u UnknownHandlerPolicy) consumerOption() setting {
	return setting{"unknown_handler_policy", string(u)}
}

func number(name string, n int64) setting { return setting{name, strconv.FormatInt(n, 10)} }
func flag(name string, on bool) setting   { return setting{name, strconv.FormatBool(on)} }
