package pgque_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// The library's lines come to the logger with level and source, as far as it wants them, until another is set.
func TestLogger(t *testing.T) {
	name := queue(t, connect(t))
	consumer, err := pgque.NewConsumer(dsn, name, "mail")
	ok(t, err)
	var all, errorsOnly lines
	run := func() {
		consumer.Stop()
		ok(t, consumer.Run(ctx))
	}
	pgque.SetLogger(slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: pgque.LevelTrace})))
	defer pgque.SetLogger(nil)
	run()
	equal(t, all.has(`level=INFO msg="consumer mail stopped" logger=pgque`), true)
	pgque.SetLogger(slog.New(slog.NewTextHandler(&errorsOnly, &slog.HandlerOptions{Level: slog.LevelError})))
	run()
	equal(t, errorsOnly.has("stopped"), false)
	pgque.SetLogger(slog.New(panics{slog.NewTextHandler(&all, nil)}))
	run()
}

// panics is a logger's handler that fails; the call that logs must not.
type panics struct{ slog.Handler }

func (p panics) Handle(context.Context, slog.Record) error { panic("on purpose") }
