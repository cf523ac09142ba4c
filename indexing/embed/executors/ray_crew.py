"""The actors of a job on a Ray cluster: where they are, what they say, and how they end."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .messages import Ready
from .ray_actor import Actor, Home
from .ray_slots import Slot, Slots
from .working import Work

log = logging.getLogger(__name__)

# How often the nodes are looked at: one that has joined gets actors, and an actor that has died a successor.
_LOOK_SECONDS = 1.0
_NEWS_SECONDS = 0.5
_DETAIL = re.compile(r"Worker exit detail: ([^.\n]+)")
_EXIT_SECONDS = 2.0  # for a process to be gone after Ray was told to kill it


@dataclass(slots=True)
class Member:
    """An actor. It can be given work when it is `ready` and has `seen` the driver's files."""

    number: int
    slot: Slot
    handle: Any
    listening: Any = None
    num_told: int = 0
    ready: Ready | None = None
    has_looked: bool = False
    has_seen: bool = False

    def tell(self, messages: Sequence[object]) -> None:
        """Sends messages, unless the actor has died, which is noticed when it is listened to."""
        if messages:
            self.handle.tell.remote(self.num_told, messages)
            self.num_told += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of an actor.

    It `is_lost` if its work is not to blame: its node has gone, for example. No actor can run on a node that
    `is_unusable`.
    """

    how: str
    is_lost: bool
    is_unusable: bool = False


class Crew:
    """One actor in every slot of the cluster. Nodes may join and leave at any time."""

    def __init__(self, work_in: Callable[[Slot], Work], device: str, most: int | None) -> None:
        """Starts the first actors.

        Args:
            work_in: what an actor in a slot loads.
            device: see `Slots.of`.
            most: actors at most; None for as many as there are slots.

        Raises:
            InputError: if there is no slot.
        """
        self._slots = Slots.of(ray.nodes(), device, most)
        self._work_in = work_in
        self._most = most
        self._home = Home.here()
        self._actor: Any = ray.remote(Actor)
        self._num_started = 0
        self._left_out: set[str] = set()
        self._looked_at = 0.0
        self._nodes: set[str] = set()
        self.members: dict[int, Member] = {}
        self.look()
        self.first_nodes = frozenset(self._nodes)

    def look(self) -> None:
        """Starts actors in slots that have none, from time to time."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        slots = [slot for slot in self._slots.on(ray.nodes()) if slot.node not in self._left_out]
        self._report({slot.node: slot.address for slot in slots})
        taken = {(member.slot.node, member.slot.index) for member in self.members.values()}
        for slot in slots:
            if self._most is not None and len(self.members) >= self._most:
                return
            if (slot.node, slot.index) not in taken:
                self._start(slot)

    def news(self) -> Iterator[tuple[Member, list[object] | End]]:
        """Waits for a moment until actors have said something or have died, and yields that."""
        listening = {member.listening: member for member in self.members.values()}
        if not listening:
            time.sleep(_NEWS_SECONDS)
            return
        ready, _ = ray.wait(list(listening), num_returns=1, timeout=_NEWS_SECONDS)
        if ready:
            ready, _ = ray.wait(list(listening), num_returns=len(listening), timeout=0)
        for member in [listening[ref] for ref in ready]:
            if member.number not in self.members:
                continue  # it was dismissed because of what another one has said
            try:
                messages = ray.get(member.listening)
            except RayError as error:
                self.dismiss([member])
                yield member, _end(error, member.slot)
            else:
                member.listening = member.handle.listen.remote()
                yield member, messages

    def dismiss(self, members: Sequence[Member]) -> None:
        """Ends actors now."""
        for member in members:
            self.members.pop(member.number, None)
            ray.kill(member.handle)

    def dismiss_and_wait(self, members: Sequence[Member]) -> None:
        """The same; returns when they cannot write any more, as far as their nodes can be reached."""
        self.dismiss(members)
        for member in members:
            try:
                ray.get(member.listening, timeout=_EXIT_SECONDS)
            except (RayError, GetTimeoutError):
                continue
        if members:
            time.sleep(_EXIT_SECONDS)  # Ray says that an actor has died a moment before its process ends

    def leave_out(self, node: str) -> list[Member]:
        """Ends the actors of a node and starts none there; returns those."""
        self._left_out.add(node)
        members = [member for member in self.members.values() if member.slot.node == node]
        self.dismiss(members)
        return members

    def _start(self, slot: Slot) -> None:
        handle = self._actor.options(
            num_gpus=slot.num_gpus,
            num_cpus=0 if slot.num_gpus else slot.num_cores,
            max_concurrency=2,  # one call that listens, one that tells
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(slot.node, soft=False),
        ).remote(self._work_in(slot), self._home)
        member = Member(number=self._num_started, slot=slot, handle=handle)
        member.listening = handle.listen.remote()
        self.members[member.number] = member
        self._num_started += 1

    def _report(self, found: dict[str, str]) -> None:
        """Says which nodes have joined and left since the last look."""
        if self._nodes and self._nodes != set(found):
            joined, left = len(set(found) - self._nodes), len(self._nodes - set(found))
            log.info("%d nodes of the Ray cluster have joined, %d have left; %d embed", joined, left, len(found))
        self._nodes = set(found)


def _end(error: RayError, slot: Slot) -> End:
    """What an error says about the end of an actor.

    Ray tells at once that a process has died, and of a node that it was shut down. A node that was cut off or killed
    counts as alive for some more seconds; its actors are only "unavailable" then.
    """
    if isinstance(error, RayTaskError) or (isinstance(error, ActorDiedError) and error.actor_init_failed):
        return End(how=str(error).strip().splitlines()[-1], is_lost=True, is_unusable=True)
    is_there = any(node["NodeID"] == slot.node and node["Alive"] for node in ray.nodes())
    if isinstance(error, ActorDiedError) and is_there and not error.preempted:
        detail = _DETAIL.search(str(error))
        return End(how=f"on {slot.address}: {detail[1] if detail else 'Ray does not say why'}", is_lost=False)
    return End(how=f"{slot.address} has gone", is_lost=True)
