package pgque_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

// away is where nobody listens.
const away = "host=127.0.0.1 port=1 dbname=postgres user=nobody"

func newProducer(t *testing.T, dsn string, options ...pgque.ProducerOption) *pgque.Producer {
	t.Helper()
	producer, err := pgque.NewProducer(dsn, options...)
	ok(t, err)
	return producer
}

// Each of many goroutines gets the id of its own event, in fewer transactions than events.
func TestGoroutinesShareAProducer(t *testing.T) {
	const senders, each = 64, 50
	client := connect(t)
	name := queue(t, client)
	producer := newProducer(t, dsn)
	ids := make([][each]int64, senders)
	var group sync.WaitGroup
	for sender := range ids {
		group.Add(1)
		go func(sender int) {
			defer group.Done()
			for i := range ids[sender] {
				id, err := producer.Send(ctx, name, pgque.Event{Payload: [2]int{sender, i}})
				if err != nil {
					t.Error(err)
				}
				ids[sender][i] = id
			}
		}(sender)
	}
	group.Wait()
	ok(t, producer.Flush(ctx))
	stats := producer.Stats()
	ok(t, producer.Close(ctx))
	tick(t, client, name)
	messages, err := client.Receive(ctx, name, "mail", pgque.MaxMessages(senders*each))
	ok(t, err)
	payloads := map[int64]string{}
	for _, message := range messages {
		payloads[message.MsgID] = *message.Payload
	}
	for sender := range ids {
		for i, id := range ids[sender] {
			equal(t, payloads[id], fmt.Sprintf("[%d, %d]", sender, i))
		}
	}
	equal(t, stats.Sent, senders*each)
	equal(t, stats.Failed+stats.Uncertain+stats.QueueLength+stats.Reconnects, 0)
	equal(t, stats.Batches > 0 && stats.Batches < stats.Sent && stats.BatchSize > 0, true)
	equal(t, stats.LastError, "")
}

// Senders that wait keep neither threads, of which a process has few, nor anything once they are answered.
func TestSendersAreNoThreads(t *testing.T) {
	const senders, each = 2000, 10
	name := queue(t, connect(t))
	producer := newProducer(t, dsn)
	var group sync.WaitGroup
	sendAll := func() {
		for sender := 0; sender < senders; sender++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := 0; i < each; i++ {
					if _, err := producer.Send(ctx, name, pgque.Event{}); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		group.Wait()
	}
	sendAll()
	heap := liveHeap()
	sendAll()
	equal(t, producer.Stats().Sent, 2*senders*each)
	if threads := pprof.Lookup("threadcreate").Count(); threads > 500 {
		t.Errorf("%d threads", threads)
	}
	// 20,000 answers that were kept would be 5 MB.
	if growth := int64(liveHeap()) - int64(heap); growth > 2<<20 {
		t.Errorf("%d bytes are kept", growth)
	}
	ok(t, producer.Close(ctx))
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A send that waits for a server ends with its context; its event has not been stored and may still be.
func TestSendEndsWithItsContext(t *testing.T) {
	producer := newProducer(t, away, pgque.SendTimeout(10*time.Minute))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var err error
	quickly(t, 10*time.Second, "Send", func() { _, err = producer.Send(short, "q", pgque.Event{}) })
	equal(t, errors.Is(err, context.DeadlineExceeded), true)
	equal(t, errors.Is(producer.Flush(short), context.DeadlineExceeded), true)
	eventually(t, "the reason is told", func() bool { return producer.Stats().LastError != "" })
	equal(t, producer.Stats().QueueLength, 1)
}

// When the context of Close is over, whoever still waits is turned away.
func TestCloseTurnsSendersAway(t *testing.T) {
	producer := newProducer(t, away, pgque.SendTimeout(10*time.Minute))
	sent := make(chan error, 1)
	go func() {
		_, err := producer.Send(ctx, "q", pgque.Event{})
		sent <- err
	}()
	eventually(t, "the event waits", func() bool { return producer.Stats().QueueLength == 1 })
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	quickly(t, 10*time.Second, "Close", func() {
		err := producer.Close(short)
		equal(t, errors.Is(err, pgque.ErrTimeout), true)
		equal(t, errors.Is(err, context.DeadlineExceeded), true)
		equal(t, errors.Is(<-sent, pgque.ErrClosed), true)
	})
	ok(t, producer.Close(ctx))
	_, err := producer.Send(ctx, "q", pgque.Event{})
	equal(t, errors.Is(err, pgque.ErrClosed), true)
	equal(t, errors.Is(producer.Flush(ctx), pgque.ErrClosed), true)
}

// Who gives up on an event that the server has, and has not answered, is told that nobody knows what became of it.
func TestAnUnansweredEventIsUncertain(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	producer := newProducer(t, dsn)
	ok(t, client.Begin(ctx))
	table, err := client.Execute(ctx,
		"select queue_data_pfx || '_' || queue_cur_table as name from pgque.queue where queue_name = $1", name)
	ok(t, err)
	_, err = client.Execute(ctx, "lock table "+table.Get(0, "name").(string)+" in access exclusive mode")
	ok(t, err)
	sent := make(chan error, 1)
	go func() {
		_, err := producer.Send(ctx, name, pgque.Event{})
		sent <- err
	}()
	waiting := "select count(*) from pg_locks where not granted and database = (select oid from pg_database " +
		"where datname = current_database())"
	eventually(t, "the server has the event", func() bool {
		count, err := client.Execute(ctx, waiting)
		ok(t, err)
		return count.Rows[0][0].(int64) > 0
	})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	quickly(t, 10*time.Second, "Close", func() { equal(t, errors.Is(producer.Close(short), pgque.ErrTimeout), true) })
	var facts *pgque.Error
	equal(t, errors.As(<-sent, &facts) && facts.Uncertain && !facts.Retriable, true)
	equal(t, producer.Stats().Uncertain, 1)
	ok(t, client.Rollback(ctx))
}

// A wrong option, payload or queue is the error of who gave it.
func TestProducersRefuse(t *testing.T) {
	for _, option := range []pgque.ProducerOption{
		pgque.Linger(-1), pgque.BatchSizeMax(0), pgque.BatchBytesMax(0), pgque.QueueSizeMax(0), pgque.QueueBytesMax(0),
		pgque.SendTimeout(0), pgque.NamedOption{Name: "lingr", Value: "1"},
	} {
		_, err := pgque.NewProducer(away, option)
		equal(t, errors.Is(err, pgque.ErrConfiguration), true)
	}
	name := queue(t, connect(t))
	producer := newProducer(t, dsn, pgque.Linger(time.Millisecond))
	for queue, event := range map[string]pgque.Event{name: {Payload: func() {}}, "a\x00b": {}} {
		_, err := producer.Send(ctx, queue, event)
		equal(t, errors.Is(err, pgque.ErrInvalidInput), true)
	}
	_, err := producer.Send(ctx, "nowhere", pgque.Event{})
	var facts *pgque.Error
	equal(t, errors.Is(err, pgque.ErrQueueNotFound) && errors.As(err, &facts) && !facts.Uncertain, true)
	_, err = producer.Send(ctx, name, pgque.Event{Type: "t", Payload: pgque.Text("opaque")})
	ok(t, err)
	ok(t, producer.Close(ctx))
}

// A ticker tells what it does while it runs.
func TestTickerStats(t *testing.T) {
	client := connect(t)
	name := queue(t, client)
	ticker, err := pgque.NewTicker(dsn)
	ok(t, err)
	equal(t, ticker.Stats().State, "stopped")
	ended := make(chan error, 1)
	go func() { ended <- ticker.Run(ctx) }()
	send(t, client, name, pgque.Event{})
	eventually(t, "a tick is counted", func() bool { return ticker.Stats().Ticks > 0 })
	stats := ticker.Stats()
	equal(t, stats.State, "leading")
	equal(t, time.Since(stats.Since) < time.Hour, true)
	equal(t, stats.LastError, "")
	ticker.Stop()
	ok(t, <-ended)
	equal(t, ticker.Stats().State, "stopped")
}
