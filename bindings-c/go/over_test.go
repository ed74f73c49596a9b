package pgque_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// A send over a transaction of database/sql commits and rolls back with it, and leaves the transaction open.
func TestOverATransactionOfDatabaseSQL(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	_, err := client.Execute(ctx, "create table outbox (id integer)")
	ok(t, err)
	t.Cleanup(func() {
		_, err := client.Execute(ctx, "drop table outbox")
		ok(t, err)
	})
	db := sql.OpenDB(connector{})
	t.Cleanup(func() { ok(t, db.Close()) })
	for _, commit := range []bool{false, true} {
		tx, err := db.BeginTx(ctx, nil)
		ok(t, err)
		_, err = tx.Exec("insert into outbox values (1)")
		ok(t, err)
		over, err := pgque.OverSQL(tx)
		ok(t, err)
		send(t, over, name, pgque.Event{Payload: map[string]any{"a": nil}, Extra: [4]*string{ptr("x")}})
		equal(t, errors.Is(over.Begin(ctx), pgque.ErrConflict), true)
		ok(t, over.Close())
		if commit {
			ok(t, tx.Commit())
		} else {
			ok(t, tx.Rollback())
		}
	}
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail")
	ok(t, err)
	equal(t, len(messages), 1)
	result, err := client.Execute(ctx, "select count(*) from outbox")
	ok(t, err)
	equal(t, result.Rows[0][0], any(int64(1)))
}

// Errors of the caller's connection keep their facts, and stay what they were for errors.Is and errors.As.
func TestErrorsOfTheCallersConnection(t *testing.T) {
	connect(t)
	db := sql.OpenDB(connector{})
	t.Cleanup(func() { ok(t, db.Close()) })
	tx, err := db.BeginTx(ctx, nil)
	ok(t, err)
	over, err := pgque.OverSQL(tx)
	ok(t, err)
	_, err = over.Send(ctx, "nowhere", pgque.Event{})
	var facts *pgque.Error
	var drivers *driverError
	if !errors.Is(err, pgque.ErrQueueNotFound) || !errors.As(err, &facts) || !errors.As(err, &drivers) {
		t.Fatalf("got %v", err)
	}
	equal(t, facts.SQLState, "PQ001")
	equal(t, facts.Message, "queue not found: nowhere")
	ok(t, tx.Rollback())
	_, err = over.Send(ctx, "nowhere", pgque.Event{})
	equal(t, errors.Is(err, pgque.ErrConnection) && errors.Is(err, sql.ErrTxDone), true)
	over, err = pgque.Over(querier(func() ([][]*string, error) { panic("on purpose") }))
	ok(t, err)
	_, err = over.Version(ctx)
	equal(t, errors.Is(err, pgque.ErrConnection) && strings.Contains(err.Error(), "panic: on purpose"), true)
	over, err = pgque.Over(querier(func() ([][]*string, error) { return [][]*string{{ptr("\xff")}}, nil }))
	ok(t, err)
	_, err = over.Version(ctx)
	equal(t, errors.Is(err, pgque.ErrConnection), true)
	_, err = pgque.Over(nil)
	equal(t, errors.Is(err, pgque.ErrInvalidInput), true)
}

// A client over the caller's connection gives it back when it is closed, and when it is forgotten; goroutines that
// share it wait for one another.
func TestOverLetsGo(t *testing.T) {
	var living, inside atomic.Int64
	made := func(use func(*pgque.Client)) {
		connection := &counted{func() ([][]*string, error) {
			equal(t, inside.Add(1), 1)
			runtime.Gosched()
			inside.Add(-1)
			return [][]*string{{ptr("0.1.0")}}, nil
		}}
		living.Add(1)
		runtime.SetFinalizer(connection, func(*counted) { living.Add(-1) })
		client, err := pgque.Over(connection)
		ok(t, err)
		use(client)
	}
	for i := 0; i < 50; i++ {
		made(func(client *pgque.Client) { ok(t, client.Close()) })
		made(func(client *pgque.Client) { _, _ = client.Version(ctx) })
	}
	made(func(client *pgque.Client) {
		var workers sync.WaitGroup
		for i := 0; i < 8; i++ {
			workers.Add(1)
			go func() {
				defer workers.Done()
				_, err := client.Version(ctx)
				ok(t, err)
			}()
		}
		workers.Wait()
	})
	eventually(t, "no connection is held", func() bool { runtime.GC(); return living.Load() == 0 })
}

type querier func() ([][]*string, error)

func (q querier) Query(context.Context, string, []*string) ([][]*string, error) { return q() }

type counted struct{ query querier }

func (c *counted) Query(context.Context, string, []*string) ([][]*string, error) { return c.query() }

// connector is a driver of database/sql on the library itself, so that these tests need no other.
type connector struct{}

func (c connector) Driver() driver.Driver { return nil }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	client, err := pgque.Connect(ctx, dsn)
	return &conn{client}, err
}

type conn struct{ client *pgque.Client }

func (c *conn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (c *conn) Close() error                        { return c.client.Close() }
func (c *conn) Begin() (driver.Tx, error)           { return tx{c.client}, c.client.Begin(ctx) }

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	params := make([]any, len(args))
	for i, arg := range args {
		params[i] = arg.Value
	}
	// In a goroutine: the library refuses a call from within a callback on the same thread.
	var result *pgque.Result
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = c.client.Execute(ctx, query, params...)
	}()
	<-done
	var facts *pgque.Error
	if errors.As(err, &facts) {
		return nil, &driverError{facts.SQLState, facts.Message}
	}
	return &rows{result: result}, err
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	_, err := c.QueryContext(ctx, query, args)
	return driver.ResultNoRows, err
}

// driverError is as those of pgx and lib/pq: a method for the state, fields for the rest.
type driverError struct{ state, Message string }

func (e *driverError) Error() string {
	return fmt.Sprintf("ERROR: %s (SQLSTATE %s)", e.Message, e.state)
}
func (e *driverError) SQLState() string { return e.state }

type tx struct{ client *pgque.Client }

func (t tx) Commit() error   { return t.client.Commit(ctx) }
func (t tx) Rollback() error { return t.client.Rollback(ctx) }

type rows struct {
	result *pgque.Result
	next   int
}

func (r *rows) Columns() []string { return r.result.Columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(into []driver.Value) error {
	if r.next == len(r.result.Rows) {
		return io.EOF
	}
	for i, value := range r.result.Rows[r.next] {
		into[i] = value
	}
	r.next++
	return nil
}
