package main

import (
	"context"
	"database/sql"
	"sort"
	"strconv"
	"strings"

	pgque "github.com/libpgque/libpgque/bindings-c/go"
)

var background = context.Background()

// driver holds what requests speak of.
type driver struct {
	clients   map[string]*pgque.Client
	callers   map[string]*sql.Conn
	running   map[string]*running
	producers map[string]*pgque.Producer
}

func newDriver() *driver {
	return &driver{
		map[string]*pgque.Client{}, map[string]*sql.Conn{}, map[string]*running{}, map[string]*pgque.Producer{},
	}
}

type operation func(*driver, request) (any, error)

var operations map[string]operation

func init() {
	operations = map[string]operation{
		"hello": func(*driver, request) (any, error) {
			var names []string
			for name := range operations {
				names = append(names, name)
			}
			sort.Strings(names)
			return map[string]any{"language": "go", "version": pgque.LibraryVersion(), "operations": names}, nil
		},
		"connect":        (*driver).connect,
		"connect_caller": (*driver).connectCaller,
		"caller_execute": func(d *driver, r request) (any, error) {
			_, err := d.callers[r.text("client")].ExecContext(background, r.text("sql"))
			return nil, err
		},
		"consumer_start": (*driver).startConsumer,
		"consumer_seen": func(d *driver, r request) (any, error) {
			return d.running[r.text("consumer")].wait(int(r.number("count")), r.seconds("timeout")), nil
		},
		"consumer_ask_stop": func(d *driver, r request) (any, error) {
			d.running[r.text("consumer")].consumer.Stop()
			return nil, nil
		},
		"consumer_stats": func(d *driver, r request) (any, error) {
			return stats(d.running[r.text("consumer")].consumer.Stats()), nil
		},
		"consumer_health": func(d *driver, r request) (any, error) {
			return health(d.running[r.text("consumer")].consumer.Health()), nil
		},
		"consumer_hooks": func(d *driver, r request) (any, error) { return d.running[r.text("consumer")].noted(), nil },
		"consumer_stop":  func(d *driver, r request) (any, error) { return d.stop(r.text("consumer")) },
		"ticker_start":   (*driver).startTicker,
		"ticker_stop":    func(d *driver, r request) (any, error) { return d.stop(r.text("ticker")) },
		"ticker_stats": func(d *driver, r request) (any, error) {
			return tickerStats(d.running[r.text("ticker")].runner.(*pgque.Ticker).Stats()), nil
		},
		"producer_start": (*driver).startProducer,
	}
	for name, call := range producerCalls {
		operations[name] = func(call func(*pgque.Producer, request) (any, error)) operation {
			return func(d *driver, r request) (any, error) { return call(d.producers[r.text("producer")], r) }
		}(call)
	}
	for name, call := range calls {
		operations[name] = func(call func(*pgque.Client, request) (any, error)) operation {
			return func(d *driver, r request) (any, error) { return call(d.clients[r.text("client")], r) }
		}(call)
	}
}

func (d *driver) connect(r request) (any, error) {
	var options []pgque.ConnectOption
	if r.has("autocommit") {
		options = append(options, pgque.Autocommit(r["autocommit"].(bool)))
	}
	client, err := pgque.Connect(background, r.text("dsn"), options...)
	d.clients[r.text("client")] = client
	return nil, err
}

func (d *driver) connectCaller(r request) (any, error) {
	dsn := r.text("dsn")
	// Unlike libpq, lib/pq insists on TLS unless told otherwise.
	if !strings.Contains(dsn, "sslmode") && !strings.Contains(dsn, "://") {
		dsn += " sslmode=disable"
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, err
	}
	connection, err := db.Conn(background)
	if err != nil {
		return nil, err
	}
	d.callers[r.text("client")] = connection
	d.clients[r.text("client")], err = pgque.OverSQL(connection)
	return nil, err
}

// calls are the operations of a client.
var calls = map[string]func(*pgque.Client, request) (any, error){
	"close":    func(c *pgque.Client, r request) (any, error) { return nil, c.Close() },
	"begin":    func(c *pgque.Client, r request) (any, error) { return nil, c.Begin(background) },
	"commit":   func(c *pgque.Client, r request) (any, error) { return nil, c.Commit(background) },
	"rollback": func(c *pgque.Client, r request) (any, error) { return nil, c.Rollback(background) },
	"execute": func(c *pgque.Client, r request) (any, error) {
		params, _ := r["params"].([]any)
		return asTable(c.Execute(background, r.text("sql"), params...))
	},
	"listen":   func(c *pgque.Client, r request) (any, error) { return nil, c.Listen(background, r.text("channel")) },
	"unlisten": func(c *pgque.Client, r request) (any, error) { return nil, c.Unlisten(background, r.text("channel")) },
	"notification": func(c *pgque.Client, r request) (any, error) {
		found, err := c.Notification(background, r.seconds("timeout"))
		if found == nil {
			return nil, err
		}
		return map[string]any{"channel": found.Channel, "payload": found.Payload}, nil
	},
	"capabilities": func(c *pgque.Client, r request) (any, error) {
		found, err := c.Capabilities(background)
		return map[string]any{
			"server_version": found.ServerVersion, "finish": found.Finish, "ticker_pending": found.TickerPending,
			"pages": found.Pages,
		}, err
	},
	"version": func(c *pgque.Client, r request) (any, error) { return c.Version(background) },
	"send": func(c *pgque.Client, r request) (any, error) {
		return asID(c.Send(background, r.text("queue"), r.event()))
	},
	"pipelined": pipelined,
	"send_batch": func(c *pgque.Client, r request) (any, error) {
		eventType := r.maybeText("type")
		var options []pgque.NullType
		if eventType == nil {
			eventType, options = new(string), append(options, true)
		}
		sent, err := c.SendBatch(background, r.text("queue"), *eventType, r.payloads(), options...)
		ids := make([]string, len(sent))
		for i, id := range sent {
			ids[i] = strconv.FormatInt(id, 10)
		}
		return ids, err
	},
	"subscribe": func(c *pgque.Client, r request) (any, error) {
		return c.Subscribe(background, r.text("queue"), r.text("consumer"))
	},
	"unsubscribe": func(c *pgque.Client, r request) (any, error) {
		return c.Unsubscribe(background, r.text("queue"), r.text("consumer"))
	},
	"subscribe_subconsumer": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.ConvertNormal
		if r.has("convert_normal") {
			options = append(options, pgque.ConvertNormal(r["convert_normal"].(bool)))
		}
		return c.SubscribeSubconsumer(background, r.text("queue"), r.text("consumer"), r.text("subconsumer"), options...)
	},
	"unsubscribe_subconsumer": func(c *pgque.Client, r request) (any, error) {
		options := count[pgque.BatchHandling](r, "batch_handling")
		return c.UnsubscribeSubconsumer(background, r.text("queue"), r.text("consumer"), r.text("subconsumer"), options...)
	},
	"touch_subconsumer": func(c *pgque.Client, r request) (any, error) {
		return c.TouchSubconsumer(background, r.text("queue"), r.text("consumer"), r.text("subconsumer"))
	},
	"receive": func(c *pgque.Client, r request) (any, error) {
		options := count[pgque.MaxMessages](r, "max_messages")
		found, err := c.Receive(background, r.text("queue"), r.text("consumer"), options...)
		return messages(found), err
	},
	"receive_coop": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.ReceiveCoopOption
		for _, n := range count[pgque.MaxMessages](r, "max_messages") {
			options = append(options, n)
		}
		if r.has("dead_interval") {
			options = append(options, pgque.DeadInterval(r.interval("dead_interval")))
		}
		found, err := c.ReceiveCoop(background, r.text("queue"), r.text("consumer"), r.text("subconsumer"), options...)
		return messages(found), err
	},
	"ack": func(c *pgque.Client, r request) (any, error) { return c.Ack(background, r.id("batch_id")) },
	"nack": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.NackOption
		if r.has("retry_after") {
			options = append(options, pgque.RetryAfter(r.interval("retry_after")))
		}
		if reason := r.maybeText("reason"); reason != nil {
			options = append(options, pgque.Reason(*reason))
		}
		return nil, c.Nack(background, r.id("batch_id"), r.id("msg_id"), options...)
	},
	"finish": func(c *pgque.Client, r request) (any, error) {
		return c.Finish(background, r.id("batch_id"), r.verdicts()...)
	},
}

// count is an option that is a number, if the request names it.
func count[T ~int64](r request, name string) []T {
	if !r.has(name) {
		return nil
	}
	return []T{T(r.number(name))}
}

func asID(id int64, err error) (any, error) { return strconv.FormatInt(id, 10), err }

func asTable(result *pgque.Result, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return table(result), nil
}
