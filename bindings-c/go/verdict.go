package pgque

// #include <pgque.h>
import "C"

import (
	"errors"
	"strings"
)

// Verdict says what becomes of one message when its batch is finished.
type Verdict struct {
	MsgID int64
	// Outcome is what a handler would return: nil when the message is done, [Retry], [Dead], or any other error,
	// which is a retry with the usual delay and the error's text as the reason.
	Outcome error
}

// outcome is what a handler made of a message that is not simply done; an error only so that a handler can return it.
type outcome struct {
	dead   bool
	after  Interval
	reason *string
	// The error with which the handler failed; nil for a verdict.
	failed error
}

func (o *outcome) Error() string {
	if o.reason == nil {
		return "no reason"
	}
	return *o.reason
}

// Retry has the message delivered again after a delay; Interval{} is the usual one. Past the queue's max_retries the
// message is dead-lettered. An empty reason is none.
func Retry[L Length](after L, reason string) error {
	return &outcome{after: IntervalOf(after), reason: given(reason)}
}

// Dead has the message dead-lettered now. An empty reason is none.
func Dead(reason string) error {
	return &outcome{dead: true, reason: given(reason)}
}

// Acked are the verdicts that messages are done, for a [BatchHandler].
func Acked(messages ...*Message) []Verdict {
	verdicts := make([]Verdict, len(messages))
	for i, message := range messages {
		verdicts[i].MsgID = message.MsgID
	}
	return verdicts
}

func given(reason string) *string {
	if reason == "" {
		return nil
	}
	return &reason
}

// judged finds the verdict in what a handler returned, which is not nil.
func judged(err error) *outcome {
	var verdict *outcome
	if errors.As(err, &verdict) {
		return verdict
	}
	return &outcome{reason: storable(err.Error()), failed: err}
}

// storable is any text as PostgreSQL can store it: the message must be settled whatever its error says.
func storable(text string) *string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	return &text
}

func (v Verdict) native(a *arguments, verdicts *C.pgque_verdicts) *C.pgque_error {
	if v.Outcome == nil {
		return C.pgque_verdicts_ack(verdicts, C.int64_t(v.MsgID))
	}
	o := judged(v.Outcome)
	reason := a.maybeText("reason", o.reason)
	if o.dead {
		return C.pgque_verdicts_dead(verdicts, C.int64_t(v.MsgID), reason)
	}
	return C.pgque_verdicts_retry(verdicts, C.int64_t(v.MsgID), o.after.native(a, "after"), reason)
}
