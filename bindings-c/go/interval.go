package pgque

// #include <pgque.h>
import "C"

import (
	"strconv"
	"time"
)

// Length is what a length of time can be: a time.Duration, a number of seconds, PostgreSQL interval text such as
// "5 minutes", or an [Interval].
type Length interface {
	time.Duration | float64 | string | Interval
}

// Interval is a length of time in one of these forms. The zero value is the usual one of whatever takes it.
type Interval struct {
	kind    C.int32_t
	seconds float64
	text    string
}

// IntervalOf makes an interval.
func IntervalOf[L Length](length L) Interval {
	switch length := any(length).(type) {
	case time.Duration:
		return Interval{kind: C.PGQUE_INTERVAL_SECONDS, seconds: length.Seconds()}
	case float64:
		return Interval{kind: C.PGQUE_INTERVAL_SECONDS, seconds: length}
	case string:
		return Interval{kind: C.PGQUE_INTERVAL_TEXT, text: length}
	case Interval:
		return length
	}
	return Interval{}
}

// native is valid as long as the arguments.
func (i Interval) native(a *arguments, name string) C.pgque_interval {
	switch i.kind {
	case C.PGQUE_INTERVAL_SECONDS:
		return C.pgque_interval_seconds(C.double(i.seconds))
	case C.PGQUE_INTERVAL_TEXT:
		return C.pgque_interval_text(a.text(name, i.text))
	}
	return C.pgque_interval_none()
}

// or is the interval, or the usual one.
func (i Interval) or(a *arguments, name string, usual C.pgque_interval) C.pgque_interval {
	if i.kind == C.PGQUE_INTERVAL_NONE {
		return usual
	}
	return i.native(a, name)
}

// option is the interval as the value of an option.
func (i Interval) option() string {
	if i.kind == C.PGQUE_INTERVAL_TEXT {
		return i.text
	}
	return seconds(i.seconds)
}

func seconds(n float64) string {
	return strconv.FormatFloat(n, 'f', -1, 64)
}
