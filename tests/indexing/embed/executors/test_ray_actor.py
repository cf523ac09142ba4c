"""What runs on a node of a Ray cluster, here without Ray: messages in, messages out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from histogram import Histogram

from diantu.datasets import InputError, find_shards
from diantu.indexing.embed import Broken, LoopSettings, ShardJob, Written
from diantu.indexing.embed.executors.messages import Job, Look, NoMore, Ready, RoundOver, Seen, Stop, Taken
from diantu.indexing.embed.executors.ray_actor import Actor, Home
from diantu.indexing.embed.executors.working import Work
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.manifest import open_or_create

WORK = Work(encoders=["histogram"], device="cpu", precision="auto", runtime="auto", settings=LoopSettings(batch_size=4))


@pytest.fixture
def actor() -> Actor:
    return Actor(WORK, Home.here())


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    open_or_create(tmp_path / "g", [Histogram().spec], texts=False)
    return tmp_path / "g"


@pytest.fixture
def tasks(gallery: Path, source: Path) -> list[ShardJob]:
    return Ledger(gallery).assign(find_shards(str(source)))


def heard_until(actor: Actor, is_last: Callable[[object], bool]) -> list[object]:
    messages: list[object] = []
    while not any(map(is_last, messages)):
        messages += actor.listen()
    return messages


def is_over(message: object) -> bool:
    return isinstance(message, RoundOver)


def test_messages_are_taken_in_their_order(actor: Actor, gallery: Path, tasks: list[ShardJob]) -> None:
    for number, messages in ((2, [NoMore()]), (1, [Job(tasks[4])]), (0, [gallery, Job(tasks[0])])):
        actor.tell(number, messages)
    messages = heard_until(actor, is_over)
    assert isinstance(messages[0], Ready)
    ends = [(type(message), message.job.part) for message in messages if isinstance(message, Written | Broken)]
    assert ends == [(Written, 0), (Broken, 4)]


def test_a_round_that_is_stopped_ends_without_its_jobs(actor: Actor, gallery: Path, tasks: list[ShardJob]) -> None:
    actor.tell(0, [gallery, Job(tasks[0])])
    heard_until(actor, lambda message: isinstance(message, Taken))
    actor.tell(1, [Job(tasks[1]), Job(tasks[2]), Stop()])
    stopped = heard_until(actor, is_over)
    assert not any(isinstance(message, Written) and message.job.part == 2 for message in stopped)
    actor.tell(2, [gallery, Job(tasks[3]), NoMore()])
    (written,) = (message for message in heard_until(actor, is_over) if isinstance(message, Written))
    assert written.job.part == 3


def test_it_looks_for_files_of_the_job(actor: Actor, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    there, missing = str(tmp_path / "here"), str(tmp_path / "missing")
    actor.tell(0, [Look(paths=[there], patience=0), Look(paths=[there, missing], patience=0)])
    seen = heard_until(actor, lambda message: isinstance(message, Seen) and message.missing is not None)
    assert [message.missing for message in seen if isinstance(message, Seen)] == [None, missing]


def test_another_version_is_refused() -> None:
    with pytest.raises(InputError, match=r"it has diantu \S+, the job has 9\.9"):
        Actor(WORK, replace(Home.here(), version="9.9"))


def test_the_folder_of_the_job_is_entered_and_no_module_is_imported_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])  # as Ray does it
    home = replace(Home.here(), folder=str(tmp_path))
    replace(home, is_on_path=True).enter()
    assert Path.cwd() == tmp_path
    assert str(tmp_path) in sys.path
    replace(home, is_on_path=False).enter()
    assert str(tmp_path) not in sys.path
