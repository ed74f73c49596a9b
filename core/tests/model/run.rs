//! Playing the steps of one case on a queue of its own.

use postgres::Row;

use crate::sessions::{Answer, Session};
use crate::steps::{CONSUMERS, NORMAL, PRODUCERS, Step, Who};
use crate::support::Database;
use crate::truth::{Delivery, Effect, Outcome, Truth};

/// The sessions, which outlive a case.
pub struct Stage<'a> {
    database: &'a Database,
    producers: Vec<Session>,
    consumers: Vec<Session>,
    ticker: Session,
    rotator: Session,
    scheduler: Session,
    cases: u32,
}

impl<'a> Stage<'a> {
    pub fn new(database: &'a Database) -> Stage<'a> {
        let some = |count| (0..count).map(|_| Session::new(database)).collect();
        let one = || Session::new(database);
        Stage {
            database,
            producers: some(PRODUCERS),
            consumers: some(CONSUMERS),
            ticker: one(),
            rotator: one(),
            scheduler: one(),
            cases: 0,
        }
    }

    pub fn play(&mut self, steps: &[Step]) -> Outcome {
        self.cases += 1;
        let queue = format!("q{}", self.cases);
        let mut case = Case { queue, truth: Truth::new(NORMAL + 1), stage: self };
        case.set_up()?;
        let outcome = steps.iter().try_for_each(|step| case.step(*step)).and_then(|()| case.come_to_rest());
        // Also after a failure: the next attempt, with fewer steps, begins on a clean stage.
        case.sessions().for_each(Session::abort);
        for consumer in &mut case.stage.consumers {
            consumer.batch = None;
        }
        case.insist(&format!("select pgque.drop_queue('{}', true)", case.queue))?;
        outcome
    }
}

struct Case<'a, 'b> {
    queue: String,
    truth: Truth,
    stage: &'a mut Stage<'b>,
}

/// All workers share one.
fn subscription(consumer: usize) -> usize {
    consumer.min(NORMAL)
}

impl Case<'_, '_> {
    fn set_up(&mut self) -> Outcome {
        let q = self.queue.clone();
        self.insist(&format!("select pgque.create_queue('{q}')"))?;
        self.insist(&format!(
            "update pgque.queue set queue_rotation_period = '1 microsecond', queue_max_retries = 1000
              where queue_name = '{q}'"
        ))?;
        for consumer in 0..NORMAL {
            self.insist(&format!("select pgque.subscribe('{q}', 'c{consumer}')"))?;
        }
        self.insist(&format!("select pgque.subscribe_subconsumer('{q}', 'g', 'w{NORMAL}')"))
    }

    fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        let Stage { producers, consumers, ticker, rotator, scheduler, .. } = &mut *self.stage;
        producers.iter_mut().chain(consumers).chain([ticker, rotator, scheduler])
    }

    fn session(&mut self, who: Who) -> &mut Session {
        match who {
            Who::Producer(n) => &mut self.stage.producers[n],
            Who::Consumer(n) => &mut self.stage.consumers[n],
            Who::Ticker => &mut self.stage.ticker,
        }
    }

    fn schedule(&mut self, sql: &str) -> Outcome {
        self.stage.scheduler.ask(sql).map(drop)
    }

    /// What has to be done before or after the steps: only the server's own vacuum can be in the way of it.
    fn insist(&mut self, sql: &str) -> Outcome {
        for _ in 0..1000 {
            if let Answer::Rows(_) = self.stage.scheduler.ask(sql)? {
                return Ok(());
            }
        }
        Err(format!("{sql}: gave up a thousand times"))
    }

    fn step(&mut self, step: Step) -> Outcome {
        let q = self.queue.clone();
        match step {
            Step::Begin(who, old) => {
                let session = self.session(who);
                if !session.open {
                    session.begin(old);
                }
                Ok(())
            }
            Step::Commit(who) => self.commit(who),
            Step::Abort(who) => {
                self.session(who).abort();
                Ok(())
            }
            Step::Crash(who) => {
                let database = self.stage.database;
                self.session(who).crash(database);
                Ok(())
            }
            Step::Send(producer, count, batch) => self.send(producer, count, batch),
            Step::SendInVain(producer) => {
                let event = self.truth.next_event();
                let session = &mut self.stage.producers[producer];
                if session.open {
                    session.ask("savepoint vain")?;
                    if matches!(session.ask(&format!("select pgque.send('{q}', '{event}')"))?, Answer::Rows(_)) {
                        session.ask("rollback to vain")?;
                    }
                }
                Ok(())
            }
            Step::Tick(force) => {
                // The second ticker has its turn when it has a transaction open.
                let open = self.stage.ticker.open;
                let session = if open { &mut self.stage.ticker } else { &mut self.stage.scheduler };
                if force {
                    session.ask(&format!("select pgque.force_next_tick('{q}')"))?;
                    session.ask(&format!("select pgque.ticker('{q}')")).map(drop)
                } else {
                    session.ask("select pgque.ticker_pending()").map(drop)
                }
            }
            Step::Maintain => {
                self.schedule("select pgque.maint()")?;
                self.move_retries().map(drop)
            }
            Step::RotateOne => self.schedule(&format!("select pgque.maint_rotate_tables_step1('{q}')")),
            Step::RotateTwo => self.schedule("select pgque.maint_rotate_tables_step2()"),
            Step::RotateSlowly => {
                let rotator = &mut self.stage.rotator;
                if !rotator.open {
                    rotator.begin(false);
                }
                rotator.ask(&format!("select pgque.maint_rotate_tables_step1('{q}')")).map(drop)
            }
            Step::FinishRotation(good) => {
                let rotator = &mut self.stage.rotator;
                match rotator.open {
                    true if good => drop(rotator.commit()),
                    _ => rotator.abort(),
                }
                Ok(())
            }
            Step::RotateInVain => {
                let rotator = &mut self.stage.rotator;
                if !rotator.open {
                    rotator.begin(false);
                    rotator.ask(&format!("select pgque.maint_rotate_tables_step1('{q}')"))?;
                    rotator.abort();
                }
                Ok(())
            }
            Step::MoveRetries => self.move_retries().map(drop),
            Step::Receive(consumer, takeover) => self.receive(consumer, takeover).map(drop),
            Step::Nack(consumer, index) => self.nack(consumer, index),
            Step::Ack(consumer) => self.ack(consumer, 0),
            Step::Finish(consumer, every) => self.ack(consumer, every),
        }
    }

    fn send(&mut self, producer: usize, count: usize, batch: bool) -> Outcome {
        let events: Vec<u64> = (0..count).map(|_| self.truth.next_event()).collect();
        let session = &mut self.stage.producers[producer];
        let list = |f: &dyn Fn(&u64) -> String| events.iter().map(f).collect::<Vec<_>>().join(", ");
        let q = &self.queue;
        let sql = match batch {
            true => format!("select pgque.send_batch('{q}', array[{}])", list(&|e| format!("'{e}'"))),
            false => format!("select {}", list(&|e| format!("pgque.send('{q}', '{e}')"))),
        };
        if let Answer::Rows(_) = session.ask(&sql)? {
            session.sent.extend(events);
            if !session.open {
                let sent = std::mem::take(&mut session.sent);
                self.truth.commit(sent);
            }
        }
        Ok(())
    }

    fn commit(&mut self, who: Who) -> Outcome {
        let session = self.session(who);
        if !session.open {
            return Ok(());
        }
        let (sent, effects) = session.commit();
        self.truth.commit(sent);
        match who {
            Who::Consumer(n) => effects.into_iter().try_for_each(|effect| self.truth.apply(subscription(n), effect)),
            _ => Ok(()),
        }
    }

    /// How many there were; the model must agree, unless the mover gave up.
    fn move_retries(&mut self) -> Outcome<u64> {
        let Answer::Rows(rows) = self.stage.scheduler.ask("select pgque.maint_retry_events()")? else { return Ok(0) };
        let moved = rows[0].get::<_, i32>(0) as u64;
        let expected = self.truth.retries_moved();
        match moved == expected {
            true => Ok(moved),
            false => Err(format!("{moved} retries were moved, {expected} were due")),
        }
    }

    /// The number of messages; none too when the call gave up.
    fn receive(&mut self, consumer: usize, takeover: bool) -> Outcome<usize> {
        let q = &self.queue;
        let call = match consumer < NORMAL {
            true => format!("receive('{q}', 'c{consumer}', 100000)"),
            false => {
                let dead = if takeover { "interval '0'" } else { "null" };
                format!("receive_coop('{q}', 'g', 'w{consumer}', 100000, {dead})")
            }
        };
        let session = &mut self.stage.consumers[consumer];
        let Answer::Rows(rows) = session.ask(&format!("select * from pgque.{call}"))? else { return Ok(0) };
        let batch: Vec<Delivery> = rows.iter().map(delivery).collect();
        let id = rows.first().map(|row| row.get::<_, i64>(1));
        self.truth.check(subscription(consumer), &batch).map_err(|e| format!("{call}: {e}"))?;
        // A worker's batch may have been taken over; a normal consumer's stays until it is acked.
        if consumer < NORMAL
            && let Some((known, messages)) = &session.batch
            && (Some(*known), messages) != (id, &batch)
        {
            return Err(format!("{call}: batch {known} was open, and then {id:?}: {messages:?}, {batch:?}"));
        }
        let count = batch.len();
        session.batch = id.map(|id| (id, batch));
        Ok(count)
    }

    fn nack(&mut self, consumer: usize, index: usize) -> Outcome {
        let session = &mut self.stage.consumers[consumer];
        let Some((id, batch)) = session.batch.clone() else { return Ok(()) };
        let Delivery { id: message, event, .. } = batch[index % batch.len()];
        let sql = format!(
            "select pgque.nack({id}, row({message}, null, null, null, null, null, null, null, null, null)::pgque.message,
                               interval '0') where exists (select from pgque.subscription where sub_batch = {id})"
        );
        if let Answer::Rows(rows) = session.ask(&sql)? {
            match rows.is_empty() {
                true => session.batch = None,
                false if self.truth.is_waiting(subscription(consumer), event) => {}
                false => session.effects.push(Effect::Nacked(event)),
            }
        }
        self.settle(consumer)
    }

    /// Acks, or finishes with every n-th message to be retried.
    fn ack(&mut self, consumer: usize, every: usize) -> Outcome {
        let session = &mut self.stage.consumers[consumer];
        let Some((id, batch)) = session.batch.clone() else { return Ok(()) };
        let retried: Vec<&Delivery> = batch.iter().filter(|d| every > 0 && d.id % every as i64 == 0).collect();
        let sql = match every {
            0 => format!("select pgque.ack({id})"),
            _ => format!(
                "select pgque.finish({id}, '{{{}}}', array_fill(interval '0', array[{}]))",
                retried.iter().map(|d| d.id.to_string()).collect::<Vec<_>>().join(","),
                retried.len()
            ),
        };
        if let Answer::Rows(rows) = session.ask(&sql)? {
            session.batch = None;
            match rows[0].get::<_, i32>(0) {
                1 => {
                    let new = retried.iter().filter(|d| !self.truth.is_waiting(subscription(consumer), d.event));
                    session.effects.extend(new.map(|d| Effect::Nacked(d.event)));
                    session.effects.push(Effect::Acked(batch));
                }
                _ if consumer < NORMAL => return Err(format!("ack of the open batch {id} answered 0")),
                _ => {}
            }
        }
        self.settle(consumer)
    }

    /// Outside a transaction, what was done holds at once.
    fn settle(&mut self, consumer: usize) -> Outcome {
        let session = &mut self.stage.consumers[consumer];
        if session.open {
            return Ok(());
        }
        let effects = std::mem::take(&mut session.effects);
        effects.into_iter().try_for_each(|effect| self.truth.apply(subscription(consumer), effect))
    }

    /// Everyone ends what is open and works until nothing is left; then the model and the engine must agree, and
    /// nothing may keep the queue from rotating.
    fn come_to_rest(&mut self) -> Outcome {
        for n in 0..PRODUCERS {
            self.commit(Who::Producer(n))?;
        }
        for n in 0..CONSUMERS {
            self.commit(Who::Consumer(n))?;
        }
        self.commit(Who::Ticker)?;
        self.step(Step::FinishRotation(true))?;
        let mut quiet = 0;
        for _ in 0..100 {
            self.step(Step::Tick(true))?;
            let mut work = self.move_retries()?;
            for consumer in 0..CONSUMERS {
                while self.receive(consumer, true)? > 0 {
                    work += 1;
                    self.ack(consumer, 0)?;
                }
            }
            self.schedule("select pgque.maint()")?;
            quiet = if work == 0 { quiet + 1 } else { 0 };
            if quiet == 3 {
                self.truth.complete()?;
                return self.rotates();
            }
        }
        Err("it does not come to rest".to_owned())
    }

    fn rotates(&mut self) -> Outcome {
        let current = format!("select queue_cur_table from pgque.queue where queue_name = '{}'", self.queue);
        let mut look = || match self.stage.scheduler.ask(&current)? {
            Answer::Rows(rows) => Ok(rows[0].get::<_, i32>(0)),
            Answer::GaveUp => Err("waited to look at the queue".to_owned()),
        };
        let before = look()?;
        self.schedule("select pgque.maint_rotate_tables_step2()")?;
        self.schedule("select pgque.maint()")?;
        let mut look = || match self.stage.scheduler.ask(&current)? {
            Answer::Rows(rows) => Ok::<_, String>(rows[0].get::<_, i32>(0)),
            Answer::GaveUp => Err("waited to look at the queue".to_owned()),
        };
        match look()? == before {
            true => Err("everything is delivered, and the queue does not rotate".to_owned()),
            false => Ok(()),
        }
    }
}

fn delivery(row: &Row) -> Delivery {
    Delivery { id: row.get(0), event: row.get::<_, String>(3).parse().unwrap(), retry: row.get(4) }
}
