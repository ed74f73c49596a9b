package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"runtime"
	"sync"
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
