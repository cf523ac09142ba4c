"""A client for any OpenAI-compatible `/chat/completions`: one question, one JSON object as the answer, cached."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...datasets import DiantuError, InputError
from ...datasets.files import write_json

log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20  # of a response
_MAX_WAIT = 60.0  # seconds between two tries, even if the server asks for more
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})  # statuses after which a retry may succeed


class ChatError(DiantuError, RuntimeError):
    """The endpoint gave no usable answer; the message says why."""


class AnswerError(ChatError):
    """The endpoint answered, but not in the form that was asked for. It may answer the next question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """An endpoint, its model, and how often to try.

    Attributes:
        url: the root of the API, such as `https://api.openai.com/v1`.
        model: its name at the endpoint.
        key: sent as a bearer token and never shown; empty for none.
        timeout: seconds for each try.
        tries: the number of tries for a question.
        pause: seconds before the second try. Each further try waits twice as long, or as long as the server says.
        cache: a folder for answers, so that the same question is asked only once; None to ask each time.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 30.0
    tries: int = 3
    pause: float = 1.0
    cache: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                "the URL of the chat endpoint is not an http:// or https:// address; give the root of its API"
            )
        if parts.username or parts.password:
            raise InputError(
                "the URL of the chat endpoint contains a password, which logs would show; set DIANTU_CHAT_KEY instead"
            )
        if not self.model:
            raise InputError("the chat endpoint has no model name; set DIANTU_CHAT_MODEL")
        if self.timeout <= 0 or self.tries < 1 or self.pause < 0:
            raise InputError(
                "the chat settings are out of range; give a timeout above 0, at least 1 try, and a pause of at least 0"
            )

    @classmethod
    def from_environment(cls, *, cache: Path | None = None, env: Mapping[str, str] = os.environ) -> Chat | None:
        """Returns the endpoint of `DIANTU_CHAT_URL`, `DIANTU_CHAT_KEY` and `DIANTU_CHAT_MODEL`; None if no URL is set.

        `OPENAI_BASE_URL` and `OPENAI_API_KEY` are used if the variables of diantu are not set. A key is sent only to
        the URL that is set together with it.

        Raises:
            InputError: if a value cannot be used.
        """
        url, key = env.get("DIANTU_CHAT_URL"), env.get("DIANTU_CHAT_KEY", "")
        if not url:
            url, key = env.get("OPENAI_BASE_URL"), key or env.get("OPENAI_API_KEY", "")
        if not url:
            return None
        return cls(url=url.strip(), key=key.strip(), model=env.get("DIANTU_CHAT_MODEL", "").strip(), cache=cache)

    def ask(self, instruction: str, question: str) -> dict[str, Any]:
        """Asks a question and returns the JSON object of the answer.

        Raises:
            AnswerError: if the answer is something else.
            ChatError: if there is no answer.
        """
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": question}]
        body = {"model": self.model, "messages": messages, "temperature": 0}
        kept = self._kept(body)
        if kept and (answer := _read(kept)) is not None:
            return answer
        answer = _object(self._post(json.dumps(body).encode()))
        if kept:
            write_json(kept, answer)
        return answer

    def _kept(self, body: Mapping[str, Any]) -> Path | None:
        """Returns the cache file of a question. The key is not part of the question."""
        if self.cache is None:
            return None
        asked = json.dumps([self.url, body], sort_keys=True, ensure_ascii=False)
        return self.cache / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "diantu"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body, headers)
        problem = ""
        for number in range(1, self.tries + 1):
            wait = self.pause * 2 ** (number - 1)
            try:
                with _OPENER.open(request, timeout=self.timeout) as response:
                    return response.read(_MAX_BYTES + 1)
            except urllib.error.HTTPError as error:
                with error:
                    problem = f"HTTP {error.code}"
                    if error.code not in _TRANSIENT:
                        raise ChatError(f"{self._place} answered {problem}") from error
                    wait = _asked_wait(error, wait)
            except (OSError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", "") or error) or type(error).__name__
            if number < self.tries:
                log.info("%s: %s; trying again in %.1f s", self._place, problem, wait)
                time.sleep(wait)
        raise ChatError(f"{self._place} did not answer in {self.tries} tries: {problem}")

    @property
    def _place(self) -> str:
        parts = urlsplit(self.url)
        return f"the chat endpoint {parts.scheme}://{parts.netloc}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Does not follow redirections, because urllib would send the key to the new address."""

    def redirect_request(self, *_args: Any, **_options: Any) -> None:
        """Returns None, so that a redirection is an error like other statuses."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _asked_wait(error: urllib.error.HTTPError, wait: float) -> float:
    """Returns the seconds to wait: what the server asks for, if that is a number, but at most `_MAX_WAIT`."""
    try:
        asked = float(error.headers.get("Retry-After", ""))
    except ValueError:
        return min(wait, _MAX_WAIT)
    return min(max(asked, wait), _MAX_WAIT)


def _object(response: bytes) -> dict[str, Any]:
    """Returns the JSON object in the first choice of a completion."""
    if len(response) > _MAX_BYTES:
        raise AnswerError(f"the answer of the chat endpoint is longer than {_MAX_BYTES} bytes")
    try:
        text = json.loads(response)["choices"][0]["message"]["content"].strip()
        if text.startswith("```") and text.endswith(
            "```"
        ):  # many models wrap JSON in a code block, whatever the prompt says
            text = text.strip("`").removeprefix("json")
        answer = json.loads(text)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise AnswerError("the answer of the chat endpoint is not a completion with one JSON object") from error
    if not isinstance(answer, dict):
        raise AnswerError("the answer of the chat endpoint is JSON, but not an object")
    return answer


def _read(path: Path) -> dict[str, Any] | None:
    """Returns a cached answer; None if there is none, or the file is damaged."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
