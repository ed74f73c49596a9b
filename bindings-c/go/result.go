package pgque

// #include <pgque.h>
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unsafe"
)

// Result is columns and rows. A value is nil for SQL NULL, else bool, int64, float64, string, []byte, time.Time,
// json.RawMessage (json and jsonb), json.Number (numeric) or []any (arrays).
type Result struct {
	Columns []string
	Rows    [][]any
	// RowsAffected is how many rows were returned or changed; -1 where the statement counts none.
	RowsAffected int64
}

// Get is the value of a named column; nil if there is no such row or column.
func (r *Result) Get(row int, column string) any {
	for i, name := range r.Columns {
		if name == column && row >= 0 && row < len(r.Rows) {
			return r.Rows[row][i]
		}
	}
	return nil
}

// Execute runs any one statement but BEGIN, COMMIT and ROLLBACK. Parameters $1, $2 and so on are nil, string, *string,
// bool, integers, floats, json.Number or time.Time.
func (c *Client) Execute(ctx context.Context, sql string, params ...any) (*Result, error) {
	a := newArguments("execute")
	statement := a.text("sql", sql)
	texts := make([]*string, len(params))
	for i, param := range params {
		text, ok := parameter(param)
		if !ok {
			a.fail(ours(ErrInvalidInput, a.op, fmt.Sprintf("params[%d] has the type %T, which is no parameter", i, param)))
		}
		texts[i] = text
	}
	values, count := a.bodies(texts)
	return c.table(ctx, a, func(p *C.pgque_client, r **C.pgque_result) *C.pgque_error {
		return C.pgque_client_execute(p, statement, values, count, r)
	})
}

// parameter is the text by which PostgreSQL reads a value; false if there is none.
func parameter(value any) (*string, bool) {
	var text string
	switch value := value.(type) {
	case nil:
		return nil, true
	case *string:
		return value, true
	case string:
		text = value
	case time.Time:
		text = value.Format(time.RFC3339Nano)
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, json.Number:
		text = fmt.Sprint(value)
	default:
		return nil, false
	}
	return &text, true
}

// table makes a call that answers columns and rows.
func (c *Client) table(
	ctx context.Context, a *arguments, call func(*C.pgque_client, **C.pgque_result) *C.pgque_error,
) (*Result, error) {
	var result *C.pgque_result
	err := c.call(ctx, a, func(p *C.pgque_client) *C.pgque_error { return call(p, &result) })
	if err != nil {
		return nil, err
	}
	defer C.pgque_result_free(result)
	return copiedResult(result), nil
}

func copiedResult(result *C.pgque_result) *Result {
	r := &Result{
		Columns:      make([]string, int(C.pgque_result_column_count(result))),
		Rows:         make([][]any, int(C.pgque_result_row_count(result))),
		RowsAffected: -1,
	}
	for i := range r.Columns {
		r.Columns[i] = copiedText(C.pgque_result_column_name(result, C.size_t(i)))
	}
	for row := range r.Rows {
		cells := make([]any, len(r.Columns))
		for i := range cells {
			cells[i] = copiedValue(C.pgque_result_value(result, C.size_t(row), C.size_t(i)))
		}
		r.Rows[row] = cells
	}
	var affected C.uint64_t
	if C.pgque_result_rows_affected(result, &affected) {
		r.RowsAffected = int64(affected)
	}
	return r
}

func copiedValue(value *C.pgque_value) any {
	switch C.pgque_value_kind(value) {
	case C.PGQUE_VALUE_NULL:
		return nil
	case C.PGQUE_VALUE_BOOL:
		var b C.bool
		C.pgque_value_bool(value, &b)
		return bool(b)
	case C.PGQUE_VALUE_INT:
		return integer(value)
	case C.PGQUE_VALUE_TIMESTAMP:
		return time.UnixMicro(integer(value)).UTC()
	case C.PGQUE_VALUE_FLOAT:
		var f C.double
		C.pgque_value_double(value, &f)
		return float64(f)
	case C.PGQUE_VALUE_JSON:
		return json.RawMessage(copiedText(C.pgque_value_bytes(value)))
	case C.PGQUE_VALUE_NUMERIC:
		return json.Number(copiedText(C.pgque_value_bytes(value)))
	case C.PGQUE_VALUE_BYTES:
		view := C.pgque_value_bytes(value)
		return C.GoBytes(unsafe.Pointer(view.data), C.int(view.len))
	case C.PGQUE_VALUE_ARRAY:
		items := make([]any, int(C.pgque_value_item_count(value)))
		for i := range items {
			items[i] = copiedValue(C.pgque_value_item(value, C.size_t(i)))
		}
		return items
	}
	// Text, and kinds that are newer than this package, as far as they have one.
	return copiedText(C.pgque_value_bytes(value))
}

func integer(value *C.pgque_value) int64 {
	var n C.int64_t
	C.pgque_value_int64(value, &n)
	return int64(n)
}
