package pgque_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

type order struct {
	ID   int     `json:"id"`
	Note *string `json:"note,omitempty"`
}

// Every value that encoding/json writes arrives as the JSON that jsonb prints.
func TestPayloadsOfEveryKind(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	payloads := []any{
		nil, true, 42, "{\"json\":  \"text\"}", []byte(`[1]`), json.RawMessage(`"\ufffd"`), order{ID: 7}, &order{ID: 8},
		map[string]any{"n": huge}, json.Number("1e400"), "\"\uFFFD <&>\"", []string{"<&>", "\uFFFD"}, time.Unix(0, 0).UTC(),
	}
	wanted := []string{
		"null", "true", "42", `{"json": "text"}`, "[1]", "\"\uFFFD\"", `{"id": 7}`, `{"id": 8}`,
		`{"n": 123456789012345678901234567890}`, "1" + strings.Repeat("0", 400), "\"\uFFFD <&>\"",
		"[\"<&>\", \"\uFFFD\"]", `"1970-01-01T00:00:00Z"`,
	}
	for _, payload := range payloads {
		send(t, client, name, pgque.Event{Payload: payload})
	}
	_, err := client.SendBatch(ctx, name, "t", payloads)
	ok(t, err)
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail")
	ok(t, err)
	for i, message := range messages {
		equal(t, message.Text(), wanted[i%len(wanted)])
	}
	equal(t, len(messages), 2*len(wanted))
}

// What JSON cannot hold is refused before anything is sent, by the name of the argument.
func TestBadPayloadsAreRefused(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	for what, payload := range map[string]any{
		"NaN":                 math.NaN(),
		"a function":          func() {},
		"a channel":           make(chan int),
		"text":                "hello",
		"bad bytes":           "\"\xff\"",
		"bad bytes inside":    map[string]any{"a": []string{"\xff"}},
		"bad bytes in a name": map[string]any{"\xff": 1},
		"bad bytes in a note": order{Note: ptr("a\xffb")},
		"NUL":                 map[string]any{"a": "\x00"},
		"opaque bad bytes":    pgque.Text("\xff"),
	} {
		_, one := client.Send(ctx, name, pgque.Event{Payload: payload})
		_, many := client.SendBatch(ctx, name, "t", []any{payload})
		for _, err := range []error{one, many} {
			var facts *pgque.Error
			if !errors.Is(err, pgque.ErrInvalidInput) || !errors.As(err, &facts) || !strings.Contains(err.Error(), "payload") {
				t.Fatalf("%s: %v", what, err)
			}
			equal(t, facts.Op == "send" || facts.Op == "send_batch", true)
		}
	}
	_, err := client.SendBatch(ctx, name, "t", []any{pgque.Text("a"), 1})
	equal(t, errors.Is(err, pgque.ErrInvalidInput), true)
}

// SQL NULL is nil and not the empty text, in every field and both ways.
func TestNullAndEmptyAreToldApart(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	send(t, client, name, pgque.Event{Type: "t", Payload: pgque.NullText, Extra: [4]*string{nil, ptr(""), nil, ptr("x")}})
	send(t, client, name, pgque.Event{Type: "t", Payload: pgque.Text("")})
	_, err := client.SendBatch(ctx, name, "", []any{pgque.NullText, pgque.Text("")}, pgque.NullType(true))
	ok(t, err)
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail")
	ok(t, err)
	first := messages[0]
	equal(t, first.Payload == nil && first.Extra1 == nil && first.Extra3 == nil && first.RetryCount == nil, true)
	equal(t, *first.Extra2+*first.Extra4, "x")
	equal(t, *messages[1].Payload, "")
	equal(t, messages[2].Type == nil && messages[2].Payload == nil, true)
	equal(t, messages[3].Type == nil && *messages[3].Payload == "", true)
	equal(t, time.Since(first.CreatedAt) < time.Minute, true)
}

// Decode reads JSON into a value, NULL as null, and names the message where it cannot.
func TestDecode(t *testing.T) {
	message := pgque.Message{MsgID: 7, Payload: ptr(`{"id": 3}`)}
	var found order
	ok(t, message.Decode(&found))
	equal(t, found.ID, 3)
	pointer := &found
	ok(t, (&pgque.Message{}).Decode(&pointer))
	equal(t, pointer == nil, true)
	message.Payload = ptr("hello")
	err := message.Decode(&found)
	equal(t, errors.Is(err, pgque.ErrInvalidInput) && strings.Contains(err.Error(), "message 7"), true)
}

func ptr[T any](value T) *T { return &value }
