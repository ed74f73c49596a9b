// The Go driver of the conformance suite: JSON lines in, library calls, JSON lines out. No assertions.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/lib/pq"
	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

var errUnknown = errors.New("the operation is not one of ours")

func main() {
	driver := newDriver()
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			// A handler that still sleeps must not keep the process.
			os.Exit(0)
		}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(driver.answer(line)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		out.Flush()
	}
}

func (d *driver) answer(line []byte) map[string]any {
	request := request{}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	err := decoder.Decode(&request)
	var result any
	if err == nil {
		result, err = d.call(request)
	}
	switch {
	case err == nil:
		return map[string]any{"id": request["id"], "ok": result}
	case err == errUnknown:
		return map[string]any{"id": request["id"], "unknown": true}
	}
	return map[string]any{"id": request["id"], "error": fault(err)}
}

// call makes an error of a panic: of a request that makes no sense, above all.
func (d *driver) call(r request) (result any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	operation, known := operations[r.text("op")]
	if !known {
		return nil, errUnknown
	}
	return operation(d, r)
}

func fault(err error) map[string]any {
	var ours *pgque.Error
	if errors.As(err, &ours) {
		return map[string]any{
			"kind":             ours.Kind,
			"number":           int(ours.Code),
			"op":               ours.Op,
			"message":          ours.Message,
			"sqlstate":         orNull(ours.SQLState),
			"detail":           orNull(ours.Detail),
			"hint":             orNull(ours.Hint),
			"retriable":        ours.Retriable,
			"uncertain":        ours.Uncertain,
			"configured_limit": ours.ConfiguredLimit,
		}
	}
	var callers *pq.Error
	if errors.As(err, &callers) {
		return map[string]any{
			"kind": "caller", "number": 0, "message": callers.Message, "sqlstate": callers.SQLState(),
		}
	}
	return map[string]any{"kind": "driver", "number": 0, "message": err.Error(), "sqlstate": nil}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
