package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

const meetingTimeout = 10 * time.Second

var errOnPurpose = errors.New("handler failed on purpose")

func (r *running) handler(behaviour string) pgque.Handler {
	meeting, meets := strings.CutPrefix(behaviour, "meet:")
	return func(ctx context.Context, m *pgque.Message) error {
		again := r.see(m)
		if meets {
			wanted, err := strconv.Atoi(meeting)
			if err != nil {
				return err
			}
			return r.meet(wanted)
		}
		switch behaviour {
		case "fail":
			return errOnPurpose
		case "fail_once":
			if !again {
				return errOnPurpose
			}
		case "retry":
			return pgque.Retry(0*time.Second, "later")
		case "dead":
			return pgque.Dead("beyond repair")
		case "hang":
			time.Sleep(60 * time.Second)
		case "slow":
			time.Sleep(3 * time.Second)
		case "nap":
			time.Sleep(50 * time.Millisecond)
		case "record":
			return record(ctx, m)
		case "record_fail":
			return errors.Join(record(ctx, m), errOnPurpose)
		case "commit":
			if err := m.Client().Commit(ctx); !errors.Is(err, pgque.ErrConflict) {
				return pgque.Dead("commit was not refused")
			}
		}
		return nil
	}
}

// meet waits until so many handlers are here at once.
func (r *running) meet(wanted int) error {
	r.mu.Lock()
	met := r.met
	if r.inside++; r.inside >= wanted {
		close(met)
		r.met = make(chan struct{})
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inside--
	}()
	select {
	case <-met:
		return nil
	case <-time.After(meetingTimeout):
		return errors.New("the other handlers did not come")
	}
}

// record writes the message's id within the consumer's transaction.
func record(ctx context.Context, m *pgque.Message) error {
	_, err := m.Client().Execute(ctx, "insert into conformance_effects (msg_id) values ($1)", m.MsgID)
	return err
}

func (r *running) batchHandler(behaviour string) pgque.BatchHandler {
	return func(_ context.Context, messages []*pgque.Message) ([]pgque.Verdict, error) {
		var even []*pgque.Message
		for i, m := range messages {
			r.see(m)
			if i%2 == 0 {
				even = append(even, m)
			}
		}
		switch behaviour {
		case "fail":
			return nil, errOnPurpose
		case "ack_even":
			return pgque.Acked(even...), nil
		}
		return pgque.Acked(messages...), nil
	}
}

func decide(decision string) func(int64, error) error {
	return func(int64, error) error {
		if decision == "dead" {
			return pgque.Dead("")
		}
		return pgque.Retry(0*time.Second, "")
	}
}

func (r *running) addHooks(consumer *pgque.Consumer) {
	note := func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hooks = append(r.hooks, line)
	}
	consumer.BeforeMessage(func(ctx context.Context, m *pgque.Message) context.Context {
		note(fmt.Sprintf("before %d", m.MsgID))
		return ctx
	})
	consumer.AfterMessage(func(_ context.Context, m *pgque.Message, outcome string, _ time.Duration) {
		note(fmt.Sprintf("after %d %s", m.MsgID, outcome))
	})
}

func (r *running) noted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.hooks...)
}
