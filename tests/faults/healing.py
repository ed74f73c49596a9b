"""Faults of the server and the network, in every state of a consumer: it goes on by itself, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from case import Case
from workers import Failure, Worker, check, eventually

STATES = ("idle", "receiving", "handling", "finishing", "standby")
GOES_ON = 5.0
NOTICES = 15.0
HANDLING_MS = 1500


@dataclass
class Stage:
    """A case with a fault to come."""

    case: Case
    worker: Worker
    proxy: Any
    wire: Any
    pause: float
    # Called as soon as the fault is over, so that the lock of the test does not hold up the worker.
    release: Callable[[], None] = lambda: None

    def ended(self, label: str) -> None:
        for row in self.case.sessions(label):
            self.case.query("select pg_terminate_backend(%s)", row[0])


def terminate(stage: Stage) -> float:
    stage.ended(stage.worker.label)
    return time.time()


def restart_fast(stage: Stage) -> float:
    return stage.case.server.restart("fast")


def restart_immediate(stage: Stage) -> float:
    return stage.case.server.restart("immediate")


def kill(stage: Stage) -> float:
    stage.case.server.kill()
    return stage.case.server.start()


def outage(stage: Stage) -> float:
    """Long enough for the pauses between attempts to grow."""
    stage.case.server.stop("fast")
    time.sleep(3 * stage.pause)
    return stage.case.server.start()


def pause(stage: Stage) -> float:
    stage.case.server.pause()
    time.sleep(stage.pause)
    return stage.case.server.resume()


def reset(stage: Stage) -> float:
    stage.proxy.refusing = True
    stage.proxy.reset()
    time.sleep(1)
    stage.proxy.refusing = False
    return time.time()


def silence(stage: Stage) -> float:
    stage.proxy.fall_silent()
    time.sleep(stage.pause)
    return stage.proxy.speak()


def dropping(direction: str) -> Callable[[Stage], float]:
    """The wire stays cut until the worker has noticed, for it is to notice by itself."""

    def drop(stage: Stage) -> float:
        begin = time.time()
        stage.wire.drop(direction)
        stage.release()
        try:
            noticed(stage.worker, begin, NOTICES + 15)
            time.sleep(stage.case.random.uniform(0, 2 * stage.pause))
        finally:
            back = stage.wire.restore()
        return back

    return drop


FAULTS: dict[str, Callable[[Stage], float]] = {
    "terminate": terminate,
    "restart fast": restart_fast,
    "restart immediate": restart_immediate,
    "kill -9": kill,
    "outage": outage,
    "pause": pause,
    "reset": reset,
    "silent proxy": silence,
    "dropped both ways": dropping("both"),
    "dropped to server": dropping("to_server"),
    "dropped to client": dropping("to_client"),
}


def noticed(worker: Worker, since: float, limit: float) -> float:
    """When the worker first said that its connection is lost."""
    return eventually(
        lambda: worker.logged("trying again in", since), f"{worker.label} notices the loss", limit
    )


@dataclass
class Result:
    noticed: float | None
    goes_on: float
    duplicates: int


def heal(case: Case, fault: str, state: str, pause_seconds: float) -> Result:
    """One fault in one state."""
    case.subscribe("mail")
    stage, others = set_up(case, fault, state, pause_seconds)
    begin_state = {
        "idle": lambda: stage.release,
        "standby": lambda: stage.release,
        "receiving": lambda: receiving(case, stage.worker),
        "handling": lambda: handling(case, stage.worker),
        "finishing": lambda: finishing(case, stage.worker),
    }
    stage.release = begin_state[state]()
    begin = at = time.time()
    if state == "handling" and fault.startswith("dropped"):
        # Lost connections are noticed at the finish, which begins when the handler ends.
        begin += HANDLING_MS / 1000
    back = FAULTS[fault](stage)
    stage.release()
    case.fault(at, back, f"{fault} {state}")
    goes_on = check_goes_on(case, stage.worker, others, back)
    lost = stage.worker.logged("trying again in", begin - HANDLING_MS / 1000)
    case.stop_workers()
    duplicates = case.audit({"mail": case.workers})
    took = None if lost is None else max(0.0, lost - begin)
    if fault.startswith("dropped"):
        check(
            took is not None and took <= NOTICES, f"noticed after {took} s, allowed are {NOTICES} s"
        )
    check(goes_on <= GOES_ON, f"went on {goes_on:.1f} s after the return, allowed are {GOES_ON} s")
    return Result(took, goes_on, duplicates)


def set_up(case: Case, fault: str, state: str, pause_seconds: float) -> tuple[Stage, list[Worker]]:
    proxy = case.proxy() if fault in ("reset", "silent proxy") else None
    wire = case.wire() if fault.startswith("dropped") else None
    others = []
    if state == "standby":
        # The one at work is out of the fault's reach, but for the server's own.
        at_work = case.worker("at_work", "mail")
        case.await_idle(at_work)
        case.send_now("warm")
        case.await_handled("warm", [at_work], 10)
        others.append(at_work)
    dsn, prefix = case.server.dsn(), None
    if proxy is not None:
        dsn = case.server.dsn(port=proxy.port)
    if wire is not None:
        dsn, prefix = case.server.dsn(wire.server_host), wire.prefix
    worker = case.worker("tested", "mail", dsn, prefix=prefix)
    if state == "standby":
        eventually(lambda: worker.logged("standing by"), "the second one stands by")
    else:
        case.await_idle(worker)
        case.send_now("warm")
        case.await_handled("warm", [worker], 10)
        case.await_idle(worker)
    return Stage(case, worker, proxy, wire, pause_seconds), others


def receiving(case: Case, worker: Worker) -> Callable[[], None]:
    blocker = case.block()
    case.query("select pg_notify('pgque_orders', '')")
    case.await_blocked(worker)
    return blocker.release


def handling(case: Case, worker: Worker) -> Callable[[], None]:
    case.send_now("during", HANDLING_MS)
    case.await_handled("during", [worker], 10)
    return lambda: None


def finishing(case: Case, worker: Worker) -> Callable[[], None]:
    case.send_now("during", 500)
    case.await_handled("during", [worker], 10)
    blocker = case.block()
    case.await_blocked(worker)
    return blocker.release


def check_goes_on(case: Case, worker: Worker, others: list[Worker], back: float) -> float:
    """How long after the server's return, and the end of the handler, the next message was handled."""
    case.send_now("after")
    if not others:
        case.await_handled("after", [worker], 60)
        received = next(note.at for note in worker.notes("batch") if note.at > back)
        left = [note.at for note in worker.notes("leave") if note.at < received]
        return received - max([back, *left])
    first = case.await_handled("after", [worker, *others], 60) - back
    # The standby is there, too: it works once the other is gone.
    standby = [w for w in (worker, *others) if not w.entered("after")]
    case.fault(time.time(), time.time() + 1, "kill -9 of the one at work")
    for at_work in {worker, *others} - set(standby):
        gone = at_work.kill()
    case.send_now("last")
    try:
        second = case.await_handled("last", standby, 60) - gone
    except Failure as failure:
        raise Failure(f"the standby did not take over: {failure}") from None
    return max(first, second)
