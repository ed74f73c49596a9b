package main

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// request is one line. Its readers panic where a value is not of the kind that the protocol says.
type request map[string]any

func (r request) has(name string) bool {
	_, given := r[name]
	return given
}

func (r request) text(name string) string { return r[name].(string) }

// maybeText is nil for null, and for what is not named.
func (r request) maybeText(name string) *string {
	text, ok := r[name].(string)
	if !ok {
		return nil
	}
	return &text
}

func (r request) number(name string) int64 {
	n, err := r[name].(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

func (r request) id(name string) int64 {
	n, err := strconv.ParseInt(r.text(name), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (r request) seconds(name string) time.Duration {
	n, err := r[name].(json.Number).Float64()
	if err != nil {
		panic(err)
	}
	return time.Duration(n * float64(time.Second))
}

// interval is a number of seconds, a text, or a special float; the usual one if it is not named.
func (r request) interval(name string) pgque.Interval {
	switch value := r[name].(type) {
	case json.Number:
		n, err := value.Float64()
		if err != nil {
			panic(err)
		}
		return pgque.IntervalOf(n)
	case string:
		return pgque.IntervalOf(value)
	case map[string]any:
		special := map[string]float64{"nan": math.NaN(), "infinity": math.Inf(1)}
		return pgque.IntervalOf(special[value["special"].(string)])
	}
	return pgque.Interval{}
}

func (r request) event() pgque.Event {
	event := pgque.Event{Payload: r.payload()}
	if eventType := r.maybeText("type"); eventType != nil {
		event.Type = *eventType
	}
	for i := range event.Extra {
		event.Extra[i] = r.maybeText("extra" + strconv.Itoa(i+1))
	}
	return event
}

func (r request) payload() any {
	switch {
	case r.has("special"):
		return special(r.text("special"))
	case r.has("text"):
		return (*pgque.Text)(r.maybeText("text"))
	}
	return r["payload"]
}

func special(name string) any {
	big30, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	var deep any = []any{}
	for i := 1; i < 200; i++ {
		deep = []any{deep}
	}
	return map[string]any{
		"nan":            map[string]any{"n": math.NaN()},
		"lone_surrogate": map[string]any{"text": "\xed\xa0\x80"},
		"nul":            map[string]any{"text": "a\x00b"},
		"unserialisable": func() {},
		"big_integer":    map[string]any{"n": big30},
		"deep":           deep,
	}[name]
}

func (r request) payloads() []any {
	if !r.has("texts") {
		return r["payloads"].([]any)
	}
	var payloads []any
	for _, item := range r["texts"].([]any) {
		if text, ok := item.(string); ok {
			payloads = append(payloads, pgque.Text(text))
		} else {
			payloads = append(payloads, pgque.NullText)
		}
	}
	return payloads
}

func (r request) verdicts() []pgque.Verdict {
	var verdicts []pgque.Verdict
	for _, item := range r["verdicts"].([]any) {
		given := request(item.(map[string]any))
		reason := ""
		if text := given.maybeText("reason"); text != nil {
			reason = *text
		}
		verdict := pgque.Verdict{MsgID: given.id("msg_id")}
		switch given.text("verdict") {
		case "retry":
			verdict.Outcome = pgque.Retry(given.interval("after"), reason)
		case "dead":
			verdict.Outcome = pgque.Dead(reason)
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts
}

func message(m *pgque.Message) any {
	return map[string]any{
		"msg_id":      strconv.FormatInt(m.MsgID, 10),
		"batch_id":    strconv.FormatInt(m.BatchID, 10),
		"type":        m.Type,
		"payload":     m.Payload,
		"retry_count": m.RetryCount,
		"created_at":  micros(m.CreatedAt),
		"extra1":      m.Extra1,
		"extra2":      m.Extra2,
		"extra3":      m.Extra3,
		"extra4":      m.Extra4,
	}
}

func messages(found []pgque.Message) any {
	list := make([]any, len(found))
	for i := range found {
		list[i] = message(&found[i])
	}
	return list
}

func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func table(result *pgque.Result) any {
	rows := make([]any, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = cell(row)
	}
	var affected any
	if result.RowsAffected >= 0 {
		affected = result.RowsAffected
	}
	return map[string]any{"columns": result.Columns, "rows": rows, "rows_affected": affected}
}

func cell(value any) any {
	switch value := value.(type) {
	case nil, string:
		return value
	case bool:
		return strconv.FormatBool(value)
	case int64:
		return strconv.FormatInt(value, 10)
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case time.Time:
		return micros(value)
	case json.RawMessage:
		return string(value)
	case json.Number:
		return string(value)
	case []byte:
		return hex.EncodeToString(value)
	}
	items := []any{}
	for _, item := range value.([]any) {
		items = append(items, cell(item))
	}
	return items
}

func maybeID(id *int64) any {
	if id == nil {
		return nil
	}
	return strconv.FormatInt(*id, 10)
}
