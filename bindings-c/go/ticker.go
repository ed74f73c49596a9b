package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Ticker runs the engine of one database, without which nothing is delivered. Many may run; one works, the others
// stand by.
type Ticker struct {
	ticker  *C.pgque_ticker
	running sync.Mutex
}

// NewTicker makes a ticker, which connects only when it is run, with a role that is a member of pgque_admin.
func NewTicker(dsn string, options ...TickerOption) (*Ticker, error) {
	a := newArguments("ticker")
	defer a.free()
	settings := make([]setting, len(options))
	for i, option := range options {
		settings[i] = option.tickerOption()
	}
	chosen := nativeOptions(a, settings)
	defer C.pgque_options_free(chosen)
	address := a.text("dsn", dsn)
	if a.err != nil {
		return nil, a.err
	}
	t := &Ticker{}
	if err := failure(C.pgque_ticker_new(address, chosen, &t.ticker)); err != nil {
		return nil, err
	}
	// Memory only: when Run returns the connection is closed.
	runtime.SetFinalizer(t, func(t *Ticker) { C.pgque_ticker_free(t.ticker) })
	return t, nil
}

// Run works, or stands by, until [Ticker.Stop], and then returns nil, or until ctx is over, and then returns its
// error. It reconnects for as long as it takes; errors that time cannot mend are returned. One Run at a time.
func (t *Ticker) Run(ctx context.Context) error {
	if !t.running.TryLock() {
		return ours(ErrConflict, "run", "the ticker is running already")
	}
	defer t.running.Unlock()
	defer runtime.KeepAlive(t)
	return native(ctx, "run", func() *C.pgque_error { return C.pgque_ticker_run(t.ticker) })
}

// Stop ends Run at once, or else the next: also when called before it. From any goroutine.
func (t *Ticker) Stop() {
	C.pgque_error_free(C.pgque_ticker_stop(t.ticker))
	runtime.KeepAlive(t)
}

// TickerStats tell where a ticker stands, and count what it has done since it was made.
type TickerStats struct {
	// State is "stopped", "connecting", "standby" (another ticker is at work) or "leading" (this one is).
	State string
	// Since is when it came to its state.
	Since time.Time
	// Ticks are those of all queues.
	Ticks int64
	// Retries are messages put back into their queues when their delay was over.
	Retries int64
	// Rotations are tables that were emptied and taken into use.
	Rotations int64
	// Reconnects are connections that were lost, or could not be made.
	Reconnects int64
	// Failures are steps that the server refused; the next round tries them again.
	Failures int64
	// LastError is the latest of either; empty if there was none.
	LastError string
}

// Stats tell how the ticker fares. At any time, from any goroutine.
func (t *Ticker) Stats() TickerStats {
	defer runtime.KeepAlive(t)
	var s C.pgque_ticker_counters
	var health *C.pgque_health
	// They fail on a nil pointer only.
	C.pgque_error_free(C.pgque_ticker_stats(t.ticker, &s, C.sizeof_pgque_ticker_counters))
	C.pgque_error_free(C.pgque_ticker_health(t.ticker, &health))
	defer C.pgque_health_free(health)
	return TickerStats{
		State:      C.GoString(C.pgque_health_status(health)),
		Since:      time.UnixMicro(int64(C.pgque_health_since_us(health))).UTC(),
		Ticks:      int64(s.ticks),
		Retries:    int64(s.retries),
		Rotations:  int64(s.rotations),
		Reconnects: int64(s.reconnects),
		Failures:   int64(s.failures),
		LastError:  C.GoString(C.pgque_health_last_error(health)),
	}
}
