package main

import pgque "github.com/libpgque/libpgque/bindings-c/go"

func init() {
	for name, call := range adminCalls {
		calls[name] = call
	}
}

var adminCalls = map[string]func(*pgque.Client, request) (any, error){
	"ticker": func(c *pgque.Client, r request) (any, error) { return asTick(c.Ticker(background, r.text("queue"))) },
	"force_next_tick": func(c *pgque.Client, r request) (any, error) {
		return asTick(c.ForceNextTick(background, r.text("queue")))
	},
	"force_tick": func(c *pgque.Client, r request) (any, error) {
		return asTick(c.ForceTick(background, r.text("queue")))
	},
	"ticker_all":         func(c *pgque.Client, r request) (any, error) { return c.TickerAll(background) },
	"maint":              func(c *pgque.Client, r request) (any, error) { return c.Maint(background) },
	"maint_retry_events": func(c *pgque.Client, r request) (any, error) { return c.MaintRetryEvents(background) },
	"install":            func(c *pgque.Client, r request) (any, error) { return nil, c.Install(background) },
	"uninstall":          func(c *pgque.Client, r request) (any, error) { return nil, c.Uninstall(background) },
	"create_queue": func(c *pgque.Client, r request) (any, error) {
		return c.CreateQueue(background, r.text("queue"))
	},
	"drop_queue": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.Force
		if r.has("force") {
			options = append(options, pgque.Force(r["force"].(bool)))
		}
		return c.DropQueue(background, r.text("queue"), options...)
	},
	"set_queue_config": func(c *pgque.Client, r request) (any, error) {
		return c.SetQueueConfig(background, r.text("queue"), r.text("name"), r.maybeText("value"))
	},
	"status": func(c *pgque.Client, r request) (any, error) { return asTable(c.Status(background)) },
	"queue_info": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.QueueInfoOption
		if queue := r.maybeText("queue"); queue != nil {
			options = append(options, pgque.OfQueue(*queue))
		}
		return asTable(c.QueueInfo(background, options...))
	},
	"consumer_info": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.ConsumerInfoOption
		if queue := r.maybeText("queue"); queue != nil {
			options = append(options, pgque.OfQueue(*queue))
		}
		if consumer := r.maybeText("consumer"); consumer != nil {
			options = append(options, pgque.OfConsumer(*consumer))
		}
		return asTable(c.ConsumerInfo(background, options...))
	},
	"batch_info": func(c *pgque.Client, r request) (any, error) {
		return asTable(c.BatchInfo(background, r.id("batch_id")))
	},
	"dlq_inspect": func(c *pgque.Client, r request) (any, error) {
		return asTable(c.DlqInspect(background, r.text("queue"), count[pgque.Limit](r, "limit")...))
	},
	"dlq_replay": func(c *pgque.Client, r request) (any, error) {
		return asID(c.DlqReplay(background, r.id("dead_letter_id")))
	},
	"dlq_replay_all": func(c *pgque.Client, r request) (any, error) {
		done, err := c.DlqReplayAll(background, r.text("queue"))
		return map[string]any{
			"replayed": done.Replayed, "failed": done.Failed, "first_error": done.FirstError,
		}, err
	},
	"dlq_redeliver": func(c *pgque.Client, r request) (any, error) {
		return asID(c.DlqRedeliver(background, r.id("dead_letter_id")))
	},
	"dlq_redeliver_all": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.OfConsumer
		if consumer := r.maybeText("consumer"); consumer != nil {
			options = append(options, pgque.OfConsumer(*consumer))
		}
		return c.DlqRedeliverAll(background, r.text("queue"), options...)
	},
	"dlq_purge": func(c *pgque.Client, r request) (any, error) {
		var options []pgque.OlderThanOption
		if r.has("older_than") {
			options = append(options, pgque.OlderThan(r.interval("older_than")))
		}
		return c.DlqPurge(background, r.text("queue"), options...)
	},
}

func asTick(id *int64, err error) (any, error) { return maybeID(id), err }
