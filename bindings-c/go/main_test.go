package pgque_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

var (
	ctx = context.Background()
	// dsn is that of the tests' own database; empty without a server.
	dsn string
)

func TestMain(m *testing.M) {
	server := os.Getenv("PGQUE_TEST_DSN")
	if server == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(exitInACall) != "" {
		exitInTheMiddleOfACall(server)
	}
	name := fmt.Sprintf("pgque_go_%d", os.Getpid())
	admin, err := pgque.Connect(ctx, server)
	must(err)
	_, err = admin.Execute(ctx, "create database "+name)
	must(err)
	dsn = withDatabase(server, name)
	client, err := pgque.Connect(ctx, dsn)
	must(err)
	must(client.Install(ctx))
	must(client.Close())
	code := m.Run()
	_, err = admin.Execute(ctx, "drop database "+name+" with (force)")
	must(err)
	os.Exit(code)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func withDatabase(dsn, name string) string {
	if !strings.Contains(dsn, "://") {
		return dsn + " dbname=" + name
	}
	address, err := url.Parse(dsn)
	must(err)
	address.Path = "/" + name
	return address.String()
}

func connect(t *testing.T, options ...pgque.ConnectOption) *pgque.Client {
	t.Helper()
	if dsn == "" {
		t.Fatal("PGQUE_TEST_DSN names no server; run scripts/test go")
	}
	client, err := pgque.Connect(ctx, dsn, options...)
	ok(t, err)
	t.Cleanup(func() { ok(t, client.Close()) })
	return client
}

var queues atomic.Int64

// queue makes a queue, with the consumer "mail".
func queue(t *testing.T, client *pgque.Client) string {
	t.Helper()
	name := fmt.Sprintf("queue%d", queues.Add(1))
	_, err := client.CreateQueue(ctx, name)
	ok(t, err)
	_, err = client.Subscribe(ctx, name, "mail")
	ok(t, err)
	return name
}

func tick(t *testing.T, client *pgque.Client, queue string) {
	t.Helper()
	_, err := client.ForceNextTick(ctx, queue)
	ok(t, err)
	_, err = client.Ticker(ctx, queue)
	ok(t, err)
}

func send(t *testing.T, client *pgque.Client, queue string, event pgque.Event) int64 {
	t.Helper()
	id, err := client.Send(ctx, queue, event)
	ok(t, err)
	return id
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// expect is equal for handlers, whose goroutines must not end: their consumer would run for ever.
func expect[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// quickly fails the test if what it does takes longer than it may.
func quickly(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took > limit {
		t.Fatalf("%s took %v", what, took)
	}
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
