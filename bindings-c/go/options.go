package pgque

// #include <pgque.h>
import "C"

import (
	"time"
)

// ReceiveCoopOption is an option of [Client.ReceiveCoop]: [MaxMessages] or [DeadInterval].
type ReceiveCoopOption interface{ receiveCoop(*receiveCoopOptions) }

// NackOption is an option of [Client.Nack].
type NackOption interface{ nack(*nackOptions) }

// TickerOption is an option of [NewTicker].
type TickerOption interface{ tickerOption() setting }

// MaxMessages is the largest batch to accept; a larger one is [ErrOverflow]. By default 100 for Receive and
// ReceiveCoop, 2147483647 for a consumer.
type MaxMessages int64

// RetryAfterOption is made by [RetryAfter].
type RetryAfterOption struct{ after Interval }

// RetryAfter is the delay of a failed message. Default 60 s.
func RetryAfter[L Length](after L) RetryAfterOption { return RetryAfterOption{IntervalOf(after)} }

// DeadIntervalOption is made by [DeadInterval].
type DeadIntervalOption struct{ after Interval }

// DeadInterval has the batch of a worker that was silent for so long taken over. Default never.
func DeadInterval[L Length](after L) DeadIntervalOption { return DeadIntervalOption{IntervalOf(after)} }

// Reason says why a message is sent back; it is kept with the dead letter.
type Reason string

// TickInterval is the time between ticks while events flow. Default 10 ms.
type TickInterval time.Duration

// TickIntervalMax is the time between ticks when nothing is new; the first new event ends the pause. Default 1 s.
type TickIntervalMax time.Duration

// RetryInterval is the time between looks for due retries. Default 1 s.
type RetryInterval time.Duration

// MaintInterval is the time between maintenance runs. Default 10 s.
type MaintInterval time.Duration

// StandbyInterval is the time between attempts of a standby to take over. Default 1 s.
type StandbyInterval time.Duration

// NamedOption is an option of a consumer, producer or ticker by its name in all languages, with times in seconds; what is
// unknown is [ErrConfiguration].
type NamedOption struct{ Name, Value string }

type receiveCoopOptions struct {
	maxMessages  MaxMessages
	deadInterval Interval
}

type nackOptions struct {
	after  Interval
	reason *string
}

type setting struct{ name, value string }

func (n MaxMessages) receiveCoop(o *receiveCoopOptions)        { o.maxMessages = n }
func (d DeadIntervalOption) receiveCoop(o *receiveCoopOptions) { o.deadInterval = d.after }

func (r RetryAfterOption) nack(o *nackOptions) { o.after = r.after }
func (r Reason) nack(o *nackOptions)           { o.reason = (*string)(&r) }

func (n NamedOption) tickerOption() setting  { return setting{n.Name, n.Value} }
func (i TickInterval) tickerOption() setting { return lasting("tick_interval", time.Duration(i)) }
func (i TickIntervalMax) tickerOption() setting {
	return lasting("tick_interval_max", time.Duration(i))
}
func (i RetryInterval) tickerOption() setting   { return lasting("retry_interval", time.Duration(i)) }
func (i MaintInterval) tickerOption() setting   { return lasting("maint_interval", time.Duration(i)) }
func (i StandbyInterval) tickerOption() setting { return lasting("standby_interval", time.Duration(i)) }

func lasting(name string, length time.Duration) setting {
	return setting{name, seconds(length.Seconds())}
}

// nativeOptions is to be freed by the caller.
func nativeOptions(a *arguments, settings []setting) *C.pgque_options {
	options := C.pgque_options_new()
	for _, s := range settings {
		a.take(C.pgque_options_set(options, a.text("option", s.name), a.text(s.name, s.value)))
	}
	return options
}
