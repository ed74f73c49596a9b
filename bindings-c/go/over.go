package pgque

// #include "callbacks.h"
import "C"

import (
	"context"
	"fmt"
	"reflect"
	"runtime/cgo"
	"unsafe"
)

// Querier is a connection of the caller's. Query runs a statement in whatever transaction is open there: it holds
// $1, $2 and so on, for which there are texts, nil for SQL NULL; every column of every row comes back as text. An
// error with a method SQLState() string, as those of pgx and lib/pq have, is one that the server reported; any other
// means that the connection is lost, closed or unusable. Query must not call the client.
type Querier interface {
	Query(ctx context.Context, sql string, params []*string) ([][]*string, error)
}

// Over makes a client on the caller's connection, so that every call is part of the caller's own transaction. Begin,
// Commit, Rollback, Execute, Listen and Install answer [ErrConflict]: use the connection itself. Calls from several
// goroutines wait for one another.
func Over(connection Querier) (*Client, error) {
	if connection == nil {
		return nil, ours(ErrInvalidInput, "connect", "connection must not be nil")
	}
	over := &caller{connection: connection, turn: make(chan struct{}, 1)}
	handle := cgo.NewHandle(over) // until C calls pgqueGoRelease
	var made *C.pgque_client
	if err := failure(C.pgque_go_over(C.uintptr_t(handle), &made)); err != nil {
		return nil, err
	}
	c := newClient(made)
	c.over = over
	return c, nil
}

// caller is the other side of such a client. It must not know the client, which would then never be forgotten.
type caller struct {
	connection Querier

	turn chan struct{} // full during a call, to which the rest belongs
	ctx  context.Context
	err  error
}

// during makes a call whose statements run with ctx, and adds the connection's own error to what it returns.
func (o *caller) during(ctx context.Context, op string, call func() error) error {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return interrupted(op, ctx.Err())
	}
	o.ctx, o.err = ctx, nil
	err := call()
	if e, ok := err.(*Error); ok && o.err != nil {
		e.cause = o.err
	}
	o.ctx = nil
	return err
}

func (o *caller) query(sql string, params []*string) (rows [][]*string, err error) {
	defer func() {
		// A panic must not run through the frames of C.
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
		o.err = err
	}()
	return o.connection.Query(o.ctx, sql, params)
}

//export pgqueGoQuery
func pgqueGoQuery(
	sql *C.char, params **C.char, count C.size_t, answer *C.pgque_answer, handle C.uintptr_t,
) C.bool {
	over := cgo.Handle(handle).Value().(*caller)
	texts := make([]*string, int(count))
	for i, param := range unsafe.Slice(params, len(texts)) {
		if param != nil {
			text := C.GoString(param)
			texts[i] = &text
		}
	}
	rows, err := over.query(C.GoString(sql), texts)
	a := newArguments("query")
	defer a.free()
	for _, row := range rows {
		cells, count := a.bodies(row)
		a.take(C.pgque_answer_add_row(answer, cells, count))
		a.free()
		a.copies = nil
	}
	if err == nil {
		err = a.err
	}
	if err != nil {
		a.tell(answer, err)
	}
	return err == nil
}

//export pgqueGoRelease
func pgqueGoRelease(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

// tell hands on an error of the caller's connection, with what its driver knows of it.
func (a *arguments) tell(answer *C.pgque_answer, err error) {
	said := find[interface{ SQLState() string }](err)
	if said == nil || (*said).SQLState() == "" {
		C.pgque_error_free(C.pgque_answer_connection_error(answer, a.text("message", *storable(err.Error()))))
		return
	}
	message := field(*said, "Message")
	if message == nil {
		message = storable(err.Error())
	}
	C.pgque_error_free(C.pgque_answer_server_error(answer,
		a.text("sqlstate", (*said).SQLState()),
		a.text("message", *message),
		a.maybeText("detail", field(*said, "Detail")),
		a.maybeText("hint", field(*said, "Hint")),
		a.maybeText("constraint", field(*said, "Constraint", "ConstraintName"))))
}

// field is a text of a driver's error, by the name that it has there: drivers share no interface for it.
func field(err any, names ...string) *string {
	value := reflect.Indirect(reflect.ValueOf(err))
	if value.Kind() != reflect.Struct {
		return nil
	}
	for _, name := range names {
		if text := value.FieldByName(name); text.Kind() == reflect.String && text.Len() > 0 {
			return storable(text.String())
		}
	}
	return nil
}
