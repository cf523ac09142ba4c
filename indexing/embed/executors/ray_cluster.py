"""The loop in actors of a Ray cluster, whose nodes may join, leave and die while a job runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ....datasets import arguments
from ....datasets.errors import InputError, JobError
from ...encoders import Runtime
from ...encoders.packages import require_packages
from ...encoders.spec import EncoderSpec, Precision
from ...store.attempts import shown_to_others
from ...store.ledger import ShardJob
from ..events import Event
from ..loop import BATCH_SIZE, LoopSettings
from .messages import Failed, Look, Ready, Seen, Stop
from .ray_slots import DEVICES, Slot
from .rounds import Assignments
from .working import Work

if TYPE_CHECKING:
    from .ray_crew import End, Member

log = logging.getLogger(__name__)

_GOODBYE_SECONDS = 15.0  # for what is not needed any more to end in order
# A network file system may show a new file to other machines some seconds later.
_LOOK_SECONDS = 15.0
# A job waits so long for a node while there is none, because one that was lost is often replaced.
_PATIENCE_SECONDS = 600.0
_SAY_SECONDS = 30.0  # after which it says that it waits
_MOST_FALSE_STARTS = 20


class RayCluster:
    """Runs the loop in actors of Ray: one for each GPU or, where there is none, for each few CPU cores.

    Only jobs and events travel through Ray. All nodes must see the gallery and the shards under the same paths. What an
    actor had not finished when it died is tried again; see `Assignments`. Nodes that join get actors. At the end, those
    without work try the jobs of the others a second time, and the first complete attempt counts.

    Use it as a context manager: leaving it ends the actors, and Ray if it was started for this.
    """

    def __init__(
        self,
        encoders: Sequence[str],
        *,
        texts: bool = False,
        batch_size: int | None = None,
        num_workers: int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        runtime: Runtime = "auto",
        address: str | None = None,
        num_processes: int | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            encoders: names as in `load_encoder`, the main space's first.
            texts: embed captions as well.
            batch_size: see `LoopSettings`; None for the number in `BATCH_SIZE`.
            num_workers: see `LoopSettings`; None for 0 on a CPU and the CPU cores per GPU of its node on a GPU.
            device: `auto` (the GPUs of the cluster, or the CPUs if it has none), `cpu` or `cuda`.
            precision: as in `load_encoder`.
            runtime: as in `load_encoder`.
            address: `auto`, `host:port` or `ray://host:port` of a running cluster; None starts Ray on this machine.
            num_processes: actors at most; None for as many as the cluster has room for.

        Raises:
            InputError: if Ray is not installed, or the settings cannot be used.
        """
        require_packages("the executor ray", "diantu[ray]", "ray")
        if device not in DEVICES:
            raise InputError(
                f"device {device!r} cannot be used on Ray, which deals out the GPUs; give auto, cpu or cuda"
            )
        if num_processes is not None:
            arguments.whole_number("num_processes", num_processes)
            if num_processes < 1:
                raise InputError(f"num_processes is {num_processes}; give at least 1")
        LoopSettings(batch_size=1 if batch_size is None else batch_size, num_workers=num_workers or 0)  # checks them
        self._encoders = list(encoders)
        self._texts = texts
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._device = device
        self._precision: Precision = precision
        self._runtime: Runtime = runtime
        self._address = address
        self._num_processes = num_processes
        self._stack = ExitStack()

    def __enter__(self) -> RayCluster:
        from .ray_connection import connected  # imports ray
        from .ray_crew import Crew

        with ExitStack() as stack:
            stack.enter_context(connected(self._address))
            self._crew = Crew(self._work_in, self._device, self._num_processes)
            stack.callback(lambda: self._crew.dismiss(list(self._crew.members.values())))
            self._ready = self._first_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """See `Executor`."""
        return self._ready.specs

    @property
    def encodes_texts(self) -> bool:
        """See `Executor`."""
        return self._ready.encodes_texts

    @property
    def texts(self) -> bool:
        """See `Executor`."""
        return self._texts

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`.

        Raises:
            InputError: if a node does not see the gallery or the shards of this machine.
            JobError: if actors die one after another, or no node is left; the next run completes what was not finished.
        """
        if not jobs:
            return
        gallery = gallery.absolute()
        assignments = Assignments(jobs, second_attempts=True)
        for member in self._crew.members.values():
            member.has_looked = member.has_seen = False
        with shown_to_others(gallery) as marker, ExitStack() as stack:
            stack.callback(lambda: self._end_rounds(assignments))
            self._look = Look(paths=[str(marker), *_local_paths(jobs[0])], patience=_LOOK_SECONDS)
            waiting = _Waiting()
            while not assignments.have_ended:
                self._crew.look()
                waiting.check(any(member.ready for member in self._crew.members.values()))
                self._tell(assignments, gallery)
                for member, news in self._crew.news():
                    yield from self._hear(assignments, member, news)
        if assignments.num_tried_again:
            log.info("%d shards were tried again, because actors or nodes were lost", assignments.num_tried_again)

    def _work_in(self, slot: Slot) -> Work:
        device = "cuda" if slot.num_gpus else "cpu"
        num_workers = slot.num_cores if slot.num_gpus else 0
        settings = LoopSettings(
            batch_size=BATCH_SIZE[device] if self._batch_size is None else self._batch_size,
            num_workers=num_workers if self._num_workers is None else self._num_workers,
            texts=self._texts,
        )
        return Work(
            encoders=self._encoders,
            device=device,
            precision=self._precision,
            runtime=self._runtime,
            settings=settings,
        )

    def _first_ready(self) -> Ready:
        """Waits until one actor has loaded its encoders. There may be none for some time on a cluster that is busy."""
        num_lost = 0
        waiting = _Waiting(patience=float("inf"))
        while True:
            self._crew.look()
            for member, news in self._crew.news():
                if not isinstance(news, list):
                    if news.is_unusable:
                        raise InputError(_refusal(member, f"cannot embed ({news.how})"))
                    num_lost += 1
                    if not news.is_lost or num_lost > _MOST_FALSE_STARTS:
                        raise JobError(f"an embedding process died while it started ({news.how})")
                    continue
                for message in news:
                    if isinstance(message, Failed):
                        raise message.error
                    assert isinstance(message, Ready), f"expected an actor to be ready, got {message}"
                    member.ready = message
                    return message
            waiting.check(False)

    def _tell(self, assignments: Assignments, gallery: Path) -> None:
        for member in self._crew.members.values():
            if member.has_seen:
                member.tell(list(assignments.messages(member.number, gallery)))
            elif member.ready and not member.has_looked:
                member.has_looked = True
                member.tell([self._look])

    def _hear(self, assignments: Assignments, member: Member, news: list[object] | End) -> Iterator[Event]:
        if not isinstance(news, list):
            end = assignments.lost if news.is_lost else assignments.died
            yield from end(member.number, news.how)
            if news.is_unusable:
                yield from self._refuse(assignments, member, f"cannot embed ({news.how})")
            return
        for message in news:
            if isinstance(message, Failed) and member.ready and assignments.is_late(member.number):
                self._crew.dismiss([member])  # its folder was removed while it wrote
                yield from assignments.lost(member.number, str(message.error))
            elif isinstance(message, Ready):
                member.ready = message
                if _fingerprints(message) != _fingerprints(self._ready):
                    yield from self._refuse(assignments, member, "has other weights for the encoders")
            elif isinstance(message, Failed) and not member.ready:
                yield from self._refuse(assignments, member, f"cannot load the encoders ({message.error})")
            elif isinstance(message, Failed):
                raise message.error
            elif isinstance(message, Seen):
                if message.look != self._look:
                    continue  # of an earlier run, whose file is gone
                member.has_seen = message.missing is None
                if message.missing and not assignments.have_ended:
                    yield from self._refuse(assignments, member, f"does not see {message.missing} of this machine")
            else:
                yield from assignments.heard(member.number, message)

    def _refuse(self, assignments: Assignments, member: Member, why: str) -> Iterator[Event]:
        """Leaves out a node that has joined since the job began; one that was there from the start ends the job.

        Raises:
            InputError: in that case.
        """
        sentence = _refusal(member, why)
        if member.slot.node in self._crew.first_nodes:
            raise InputError(sentence)
        log.warning("%s, so it is not used", sentence)
        for other in self._crew.leave_out(member.slot.node):
            yield from assignments.lost(other.number, sentence)

    def _end_rounds(self, assignments: Assignments) -> None:
        """Ends what actors still do for a run: second attempts, or everything if the run was stopped."""
        members = [self._crew.members[number] for number in assignments.busy if number in self._crew.members]
        if not assignments.have_ended:
            self._crew.dismiss(members)
            return
        for member in members:
            member.tell([Stop()])
        deadline = time.monotonic() + _GOODBYE_SECONDS
        with suppress(JobError, InputError):  # of processes that die and nodes that are refused now
            while set(assignments.busy) & set(self._crew.members) and time.monotonic() < deadline:
                for member, news in self._crew.news():
                    if isinstance(news, list) and any(isinstance(message, Failed) for message in news):
                        self._crew.dismiss_and_wait([member])
                    else:
                        for _ in self._hear(assignments, member, news):
                            pass
        left = set(assignments.busy)
        self._crew.dismiss_and_wait([member for member in self._crew.members.values() if member.number in left])


class _Waiting:
    """How long a job has had no actor."""

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._has_said = False

    def check(self, has_actor: bool) -> None:
        """Says once that the job waits.

        Raises:
            JobError: if it has waited too long.
        """
        now = time.monotonic()
        if has_actor:
            self._since, self._has_said = now, False
        elif now - self._since > self._patience:
            raise JobError(f"the Ray cluster has had no node that embeds for {self._patience / 60:.0f} minutes")
        elif now - self._since > _SAY_SECONDS and not self._has_said:
            log.info("no actor of the Ray cluster is ready yet; waiting")
            self._has_said = True


def _refusal(member: Member, why: str) -> str:
    return f"node {member.slot.address} of the Ray cluster {why}; all nodes need the same folders and packages"


def _fingerprints(ready: Ready) -> list[str]:
    return [spec.fingerprint for spec in ready.specs]


def _local_paths(job: ShardJob) -> list[str]:
    """The path of a job's shard, if it is a file or folder that this machine has."""
    path = job.shard.uri
    return [path] if path.startswith("/") and Path(path).exists() else []
