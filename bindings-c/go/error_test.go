package pgque_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// The names of the kinds are those of the list that holds for every language, in its order.
func TestKindsAreThoseOfEveryLanguage(t *testing.T) {
	list, err := os.ReadFile("../../tests/conformance/api.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, errors, _ := strings.Cut(string(list), "[[error]]")
	names := regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(errors, -1)
	for i, name := range names {
		equal(t, pgque.Code(i+1).Error(), name[1])
	}
	equal(t, int(pgque.ErrInterrupted), len(names))
	equal(t, pgque.Code(99).Error(), "unknown")
}

// An error is told apart with errors.Is, and tells all it knows with errors.As.
func TestErrorsHaveKindAndFacts(t *testing.T) {
	client := connect(t)
	_, err := client.Send(ctx, "nowhere", pgque.Event{})
	if !errors.Is(err, pgque.ErrQueueNotFound) || errors.Is(err, pgque.ErrConsumerNotFound) {
		t.Fatalf("kind of %v", err)
	}
	var facts *pgque.Error
	if !errors.As(err, &facts) {
		t.Fatalf("type %T", err)
	}
	equal(t, facts.Kind, "queue_not_found")
	equal(t, facts.Op, "send")
	equal(t, facts.SQLState, "PQ001")
	equal(t, facts.Retriable, false)
	equal(t, facts.ConfiguredLimit == nil, true)
	equal(t, strings.HasPrefix(err.Error(), "send: "), true)
}

// An overflow tells the limit of the caller.
func TestOverflowTellsTheLimit(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	_, err := client.SendBatch(ctx, name, "t", []any{1, 2, 3})
	ok(t, err)
	tick(t, client, name)
	_, err = client.Receive(ctx, name, "mail", pgque.MaxMessages(2))
	var facts *pgque.Error
	if !errors.Is(err, pgque.ErrOverflow) || !errors.As(err, &facts) || facts.ConfiguredLimit == nil {
		t.Fatalf("got %v", err)
	}
	equal(t, *facts.ConfiguredLimit, 2)
}

// A name that holds NUL is refused by name and not cut, whatever the call.
func TestNulInANameIsRefused(t *testing.T) {
	client := connect(t)
	for argument, call := range map[string]func() error{
		"queue":    func() error { _, err := client.Send(ctx, "a\x00b", pgque.Event{}); return err },
		"type":     func() error { _, err := client.Send(ctx, "q", pgque.Event{Type: "a\x00b"}); return err },
		"consumer": func() error { _, err := client.Subscribe(ctx, "q", "a\xff\x00b"); return err },
		"channel":  func() error { return client.Listen(ctx, "a\x00b") },
		"reason":   func() error { return client.Nack(ctx, 1, 1, pgque.Reason("a\x00b")) },
	} {
		err := call()
		if !errors.Is(err, pgque.ErrInvalidInput) || !strings.Contains(err.Error(), argument) {
			t.Errorf("%s: %v", argument, err)
		}
	}
}

// A wrong option of a consumer or ticker is told when it is made.
func TestWrongOptionsAreRefused(t *testing.T) {
	_, err := pgque.NewConsumer("", "q", "c", pgque.NamedOption{Name: "pol_interval", Value: "1"})
	equal(t, errors.Is(err, pgque.ErrConfiguration), true)
	_, err = pgque.NewConsumer("", "q", "c", pgque.DeadInterval("5 minutes"))
	equal(t, errors.Is(err, pgque.ErrConfiguration), true)
	_, err = pgque.NewTicker("", pgque.TickInterval(-1))
	equal(t, errors.Is(err, pgque.ErrConfiguration), true)
}
