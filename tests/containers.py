"""Runs the steps of a Dockerfile without a container engine: in folders made by debootstrap, with chroot.

It understands what our Dockerfile uses; another instruction or option is an error. `FROM python:…` becomes Debian with
its own Python. A container has files, processes and a network of its own, as with an engine, but no limits.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

_PACKAGES = "python3,python3-venv,ca-certificates,iproute2"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEAL = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ip link set lo up'
_MOUNTS = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmpfs "$0/tmp"'


class Step(NamedTuple):
    """One instruction."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The arguments: of the JSON form, or separated by spaces."""
        return json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)


@dataclass
class Image:
    """What a stage makes: its files, and what its containers start with."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "root"
    workdir: str = "/"
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)

    def command(self, *command: str, mounts: Sequence[str] = (), sealed: bool = True) -> list[str]:
        """The command line that runs a command in a container, which ends with it.

        Args:
            command: the command.
            mounts: what it sees of this machine, each as `PATH:PLACE`, or `PATH:PLACE:ro` to read only.
            sealed: whether its own files are read only, and its network has no other machine in it.
        """
        prepare = [_SEAL] if sealed else []
        prepare += [_MOUNTS, *map(self._mount, mounts)]
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if sealed else [])]
        return [*spaces, "sh", "-c", " && ".join([*prepare, 'exec "$@"']), str(self.root), *self._inside(command)]

    def entered(self, pid: int, *command: str) -> list[str]:
        """The command line that runs a command in the container whose first process is given."""
        return ["nsenter", f"--target={pid}", "--mount", "--pid", "--net", *self._inside(command)]

    def _inside(self, command: Sequence[str]) -> list[str]:
        variables = [f"{name}={value}" for name, value in self.env.items()]
        start = ["sh", "-c", 'cd "$0" && exec "$@"', self.workdir, *command]
        return ["chroot", f"--userspec={self.user}", str(self.root), "env", "-i", *variables, *start]

    def _mount(self, mount: str) -> str:
        path, place, *read_only = mount.split(":")
        target = self.root / place.lstrip("/")
        if not target.exists():  # as an engine does
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir() if os.path.isdir(path) else target.touch()
        made = f"mount --bind {shlex.quote(path)} {shlex.quote(str(target))}"
        return f"{made} && mount -o remount,bind,ro {shlex.quote(str(target))}" if read_only else made


def read_stages(dockerfile: Path) -> dict[str, list[Step]]:
    """The steps of each stage by its name; the first step is its FROM."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    stages: dict[str, list[Step]] = {}
    name = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            rest, name = rest.split(" AS ")
            stages[name] = []
        stages[name].append(Step(word, rest))
    return stages


def context_names(ignore: Path) -> list[str]:
    """The names that a file of ignored paths lets through; its first rule leaves out everything."""
    rules = [line for line in ignore.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    return [rule[1:] for rule in rules if rule.startswith("!")]


class Builder:
    """Builds stages of a Dockerfile.

    Args:
        folder: where the stages' files come to lie.
        dockerfile: the file, with its file of ignored paths beside it.
        context: the folder that COPY takes from.
        arguments: values for its ARG.
    """

    def __init__(self, folder: Path, dockerfile: Path, context: Path, arguments: dict[str, str]) -> None:
        self._folder, self._context, self._arguments = folder, context, arguments
        self._stages = read_stages(dockerfile)
        self._names = context_names(dockerfile.with_name(f"{dockerfile.name}.dockerignore"))
        self._images: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """The image of a stage, after those that it needs."""
        if name not in self._images:
            (_, base), *steps = self._stages[name]
            below = self.build(base) if base in self._stages else self._system(base)
            image = replace(below, root=self._folder / name, env=dict(below.env))
            subprocess.run(["cp", "-a", "--reflink=auto", below.root, image.root], check=True)
            for step in steps:
                self._run(image, step)
            self._images[name] = image
        return self._images[name]

    def _system(self, base: str) -> Image:
        assert base.startswith("python:"), base
        root = self._folder / "system"
        if not root.exists():
            release = subprocess.check_output(
                ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"], text=True
            ).strip()
            options = ["--variant=minbase", f"--include={_PACKAGES}"]
            subprocess.run(["debootstrap", *options, release, root], check=True, stdout=subprocess.DEVNULL)
            _share_registry(root)
        return Image(root)

    def _run(self, image: Image, step: Step) -> None:
        match step.word:
            case "RUN":
                command = image.command("sh", "-c", step.rest, mounts=_registry(), sealed=False)
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            case "COPY":
                self._copy(image, step.words)
            case "ENV":
                for setting in step.words:
                    name, value = setting.split("=", 1)
                    image.env[name] = value.replace("$PATH", image.env["PATH"])
            case "ARG":
                name, _, default = step.rest.partition("=")
                image.env[name] = self._arguments.get(name, default)
            case "USER":
                image.user = step.rest
            case "WORKDIR":
                image.workdir = step.rest
            case "VOLUME":
                image.volumes = step.words
            case "EXPOSE":
                image.ports = step.words
            case "ENTRYPOINT":
                image.entrypoint = step.words
            case "CMD":
                image.cmd = step.words
            case "HEALTHCHECK":
                image.healthcheck = json.loads(step.rest[step.rest.index("CMD") + 3 :])
            case _:
                raise ValueError(f"the instruction {step.word} is not known here")

    def _copy(self, image: Image, words: list[str]) -> None:
        """From the context, or with hard links from another stage, which nothing changes any more."""
        *sources, target = words
        place = image.root / target.lstrip("/")
        if sources[0].startswith("--from="):
            (stage, source) = (sources[0].removeprefix("--from="), sources[1])
            subprocess.run(["cp", "-al", self.build(stage).root / source.lstrip("/"), place], check=True)
            return
        assert sources == ["."], sources
        place.mkdir(parents=True)
        for name in self._names:
            source = self._context / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, place / name)


def _pip_settings() -> dict[str, str]:
    """What pip is told on this machine, by name: from its files and from the environment."""
    printed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    settings: dict[str, str] = {}
    for line in printed.splitlines():  # the later of two is the one that counts
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value[1:-1].replace("\\n", " ").strip()
    return settings


def _registry() -> list[str]:
    """What pip's settings name of this machine, as mounts."""
    told = " ".join(_pip_settings().values()).split()
    paths = {word.removeprefix("file://") for word in told if word.startswith(("/", "file://"))}
    return [f"{path}:{path}:ro" for path in sorted(paths) if os.path.exists(path)]


def index_arguments() -> dict[str, str]:
    """The Dockerfile's argument for the index of packages that pip is told to use on this machine, if it is."""
    settings = _pip_settings()
    return {"TORCH_INDEX": settings["index-url"]} if "index-url" in settings else {}


def _share_registry(root: Path) -> None:
    """Gives a new system the name servers, certificates and pip's settings of this machine."""
    for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(path):
            shutil.copy(path, root / path.lstrip("/"))
    settings = configparser.RawConfigParser()
    settings["global"] = _pip_settings()
    with (root / "etc/pip.conf").open("w") as file:
        settings.write(file)
