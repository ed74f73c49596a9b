package pgque

// #include <pgque.h>
import "C"

import (
	"encoding/json"
	"fmt"
	"time"
)

// Message is one event as a consumer receives it. A nil text is SQL NULL, which is not the empty text.
type Message struct {
	// MsgID is unique within the queue, and kept when the message is retried.
	MsgID int64
	// BatchID is the batch to acknowledge.
	BatchID int64
	Type    *string
	// Payload is the stored text, usually JSON.
	Payload *string
	// RetryCount is how often the message was retried; nil on first delivery.
	RetryCount *int
	// CreatedAt is when the producing transaction began.
	CreatedAt                      time.Time
	Extra1, Extra2, Extra3, Extra4 *string

	client *Client
}

// Client is that of the transaction which the message's handler is part of, for a consumer that is [Transactional]:
// what it does counts exactly if the message is done. Begin, Commit, Rollback and Close answer [ErrConflict], and every
// call [ErrClosed] once the handler has returned. Nil otherwise.
func (m *Message) Client() *Client { return m.client }

// Decode parses the payload as JSON into what v points to. NULL parses as JSON null.
func (m *Message) Decode(v any) error {
	text := "null"
	if m.Payload != nil {
		text = *m.Payload
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		failed := ours(ErrInvalidInput, "decode", fmt.Sprintf("payload of message %d: %v", m.MsgID, err))
		failed.cause = err
		return failed
	}
	return nil
}

// Text is the payload, empty for NULL.
func (m *Message) Text() string {
	if m.Payload == nil {
		return ""
	}
	return *m.Payload
}

func copiedMessage(message *C.pgque_message) Message {
	var f C.pgque_message_fields
	C.pgque_message_view(message, &f, C.sizeof_pgque_message_fields)
	m := Message{
		MsgID:     int64(f.msg_id),
		BatchID:   int64(f.batch_id),
		Type:      copied(f.event_type),
		Payload:   copied(f.payload),
		CreatedAt: time.UnixMicro(int64(f.created_at_us)).UTC(),
		Extra1:    copied(f.extra[0]),
		Extra2:    copied(f.extra[1]),
		Extra3:    copied(f.extra[2]),
		Extra4:    copied(f.extra[3]),
	}
	if f.has_retry_count {
		n := int(f.retry_count)
		m.RetryCount = &n
	}
	return m
}

// takenMessages copies the messages and frees those of C; nil for NULL, when there was an error.
func takenMessages(messages *C.pgque_messages) []Message {
	if messages == nil {
		return nil
	}
	defer C.pgque_messages_free(messages)
	found := make([]Message, int(C.pgque_messages_count(messages)))
	for i := range found {
		found[i] = copiedMessage(C.pgque_messages_get(messages, C.size_t(i)))
	}
	return found
}
