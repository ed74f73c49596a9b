package pgque

// #include <pgque.h>
import "C"

import (
	"runtime"
	"time"
)

// Stats are counts since a consumer was made, and the newest readings of what goes up and down.
type Stats struct {
	Batches  int64
	Received int64
	// Handled are messages that are done.
	Handled int64
	// Failed are messages whose handler failed, whatever became of them.
	Failed int64
	// Retried are messages that went to the retry queue.
	Retried int64
	// Dead are messages that went to the dead letters at once.
	Dead int64
	// HandedBack are messages that went back unhandled, or whose handlers were still running, at a stop.
	HandedBack int64
	// Reconnects are connections made after the first.
	Reconnects int64
	// BatchSize is how many messages the newest batch or page has.
	BatchSize int64
	// HandlerSeconds is the time in handlers, summed over all of them.
	HandlerSeconds float64
	// LagEvents are those between the newest batch and the newest tick, looked at every ten seconds; 0 once there is
	// nothing.
	LagEvents int64
	// LagSeconds is the age of the newest message of the newest batch when it arrived; 0 once there is nothing.
	LagSeconds float64
}

// Health tells how a consumer fares.
type Health struct {
	// Status is "stopped", "connecting", "retrying" (it waits after a failure), "standby" (another consumer of this name
	// is at work), "idle" (it waits for messages) or "handling".
	Status string
	// Alive: the loop waits for messages, for its turn, or handles some.
	Alive bool
	// Since is when the status began.
	Since time.Time
	// LastError is the newest failure of the loop, empty if there was none; those of handlers are only counted.
	LastError string
	// LastErrorAt is zero if there was none.
	LastErrorAt time.Time
}

// Stats reads the counters, all of one moment. At any time, from any goroutine.
func (c *Consumer) Stats() Stats {
	var s C.pgque_stats
	// It fails on a nil pointer only.
	C.pgque_error_free(C.pgque_consumer_stats(c.consumer, &s, C.sizeof_pgque_stats))
	runtime.KeepAlive(c)
	return Stats{
		Batches:        int64(s.batches),
		Received:       int64(s.received),
		Handled:        int64(s.handled),
		Failed:         int64(s.failed),
		Retried:        int64(s.retried),
		Dead:           int64(s.dead),
		HandedBack:     int64(s.handed_back),
		Reconnects:     int64(s.reconnects),
		BatchSize:      int64(s.batch_size),
		HandlerSeconds: float64(s.handler_seconds),
		LagEvents:      int64(s.lag_events),
		LagSeconds:     float64(s.lag_seconds),
	}
}

// Health tells how the consumer fares. At any time, from any goroutine.
func (c *Consumer) Health() Health {
	var native *C.pgque_health
	// It fails on a nil pointer only.
	C.pgque_error_free(C.pgque_consumer_health(c.consumer, &native))
	runtime.KeepAlive(c)
	defer C.pgque_health_free(native)
	health := Health{
		Status:    C.GoString(C.pgque_health_status(native)),
		Alive:     bool(C.pgque_health_alive(native)),
		Since:     time.UnixMicro(int64(C.pgque_health_since_us(native))).UTC(),
		LastError: C.GoString(C.pgque_health_last_error(native)),
	}
	var at C.int64_t
	if C.pgque_health_last_error_at_us(native, &at) {
		health.LastErrorAt = time.UnixMicro(int64(at)).UTC()
	}
	return health
}
