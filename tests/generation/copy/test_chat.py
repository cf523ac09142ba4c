"""An endpoint: a real server on the loopback interface."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from diantu.datasets import InputError
from diantu.generation.copy.chat import AnswerError, Chat, ChatError
from diantu.generation.copy.copywriting import Copywriter, read_copy

KEY = "sk-very-secret"
ANSWER = {
    "keywords": [["iced coffee", 1], ["glass", 0.5]],
    "queries": [["a glass of iced coffee", 1.0]],
    "prompt": "A glass of iced coffee on a sunny table",
}


def completion(answer: Any) -> bytes:
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class Endpoint:
    """Answers the n-th question with the n-th of `replies` (status, headers, body); the last one is repeated."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, dict[str, str], bytes]] = [(200, {}, completion(ANSWER))]
        self.asked: list[dict[str, Any]] = []
        self.pause = 0.0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.asked.append({"path": self.path, "headers": dict(self.headers), "body": json.loads(body)})
                time.sleep(endpoint.pause)
                status, headers, reply = endpoint.replies[min(len(endpoint.asked), len(endpoint.replies)) - 1]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(reply)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply)

            def do_GET(self) -> None:
                endpoint.asked.append({"path": self.path, "headers": dict(self.headers), "body": None})
                self.send_error(404)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@contextmanager
def serving() -> Iterator[Endpoint]:
    found = Endpoint()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as found:
        yield found


@pytest.fixture
def chat(endpoint: Endpoint) -> Callable[..., Chat]:
    def make(**options: Any) -> Chat:
        return Chat(**{"url": endpoint.url, "model": "tiny", "key": KEY, "timeout": 5.0, "pause": 0.01} | options)

    return make


def test_a_question_and_its_answer(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    assert chat().ask("be brief", "一杯冰咖啡") == ANSWER
    (asked,) = endpoint.asked
    assert asked["path"] == "/v1/chat/completions"
    assert asked["headers"]["Authorization"] == f"Bearer {KEY}"
    assert asked["body"]["model"] == "tiny"
    assert [message["content"] for message in asked["body"]["messages"]] == ["be brief", "一杯冰咖啡"]
    chat(key="", url=endpoint.url + "/").ask("a", "b")
    assert endpoint.asked[1]["path"] == "/v1/chat/completions"
    assert "Authorization" not in endpoint.asked[1]["headers"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_errors_are_retried(endpoint: Endpoint, chat: Callable[..., Chat], status: int) -> None:
    endpoint.replies = [(status, {}, b"later"), (status, {}, b"later"), (200, {}, completion(ANSWER))]
    assert chat().ask("a", "b") == ANSWER
    assert len(endpoint.asked) == 3


def test_retries_are_limited_and_wait_longer_each_time(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    endpoint.replies = [(503, {}, b"")]
    started = time.monotonic()
    with pytest.raises(ChatError, match=r"http://127.0.0.1:\d+ did not answer in 4 tries: HTTP 503"):
        chat(tries=4, pause=0.05).ask("a", "b")
    assert len(endpoint.asked) == 4
    assert time.monotonic() - started >= 0.05 + 0.1 + 0.2


def test_the_server_may_set_the_waiting_time(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    endpoint.replies = [(429, {"Retry-After": "0.4"}, b""), (200, {}, completion(ANSWER))]
    started = time.monotonic()
    chat().ask("a", "b")
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("status", [400, 401, 404])
def test_permanent_errors_are_not_retried(endpoint: Endpoint, chat: Callable[..., Chat], status: int) -> None:
    endpoint.replies = [(status, {}, b"no")]
    with pytest.raises(ChatError, match=f"answered HTTP {status}"):
        chat().ask("a", "b")
    assert len(endpoint.asked) == 1


def test_a_slow_or_absent_server_is_an_error(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    endpoint.pause = 0.5
    with pytest.raises(ChatError, match=r"did not answer in 2 tries: .*timed out"):
        chat(timeout=0.1, tries=2).ask("a", "b")
    with pytest.raises(ChatError, match="did not answer in 2 tries"):
        chat(url="http://127.0.0.1:9/v1", tries=2).ask("a", "b")


def test_the_key_is_not_sent_to_the_target_of_a_redirection(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    """After a 302, urllib replaces a POST by a GET with the same headers."""
    with serving() as other:
        endpoint.replies = [(302, {"Location": f"{other.url}/stolen"}, b"")]
        with pytest.raises(ChatError, match="HTTP 302"):
            chat().ask("a", "b")
    assert other.asked == []


def test_the_key_is_never_shown(
    endpoint: Endpoint, chat: Callable[..., Chat], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.replies = [(503, {}, KEY.encode()), (200, {}, completion(ANSWER)), (401, {}, KEY.encode())]
    asking = chat(cache=tmp_path, tries=2)
    asking.ask("a", "b")
    with pytest.raises(ChatError) as error:
        asking.ask("a", "c")
    kept = "".join(path.name + path.read_text() for path in tmp_path.iterdir())
    assert KEY not in repr(asking) + str(error.value) + caplog.text + kept
    assert "HTTP 503; trying again" in caplog.text


def test_answers_are_cached(endpoint: Endpoint, chat: Callable[..., Chat], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    assert chat(cache=folder).ask("a", "b") == chat(cache=folder, key="another").ask("a", "b") == ANSWER
    assert len(endpoint.asked) == 1
    chat(cache=folder).ask("a", "c")
    chat(cache=folder, model="other").ask("a", "b")
    assert len(endpoint.asked) == 3
    for path in folder.iterdir():
        path.write_text("{damaged")
    assert chat(cache=folder).ask("a", "b") == ANSWER
    assert len(endpoint.asked) == 4
    assert not list(folder.glob("*.tmp"))


def test_failures_are_not_cached(endpoint: Endpoint, chat: Callable[..., Chat], tmp_path: Path) -> None:
    endpoint.replies = [(200, {}, completion("no JSON")), (200, {}, completion(ANSWER))]
    with pytest.raises(AnswerError):
        chat(cache=tmp_path).ask("a", "b")
    assert chat(cache=tmp_path).ask("a", "b") == ANSWER


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}',
        completion("Sure! Here it is"), completion("[1, 2]"), completion("[" * 100_000), b"\xff\xfe",
        b" " * (1 << 20) + completion(ANSWER),
    ],
    ids=range(11),
)  # fmt: skip
def test_an_answer_must_be_a_json_object(endpoint: Endpoint, chat: Callable[..., Chat], reply: bytes) -> None:
    endpoint.replies = [(200, {}, reply)]
    with pytest.raises(AnswerError):
        chat().ask("a", "b")


def test_json_in_a_code_block_is_an_answer(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    endpoint.replies = [(200, {}, completion(f"```json\n{json.dumps(ANSWER)}\n```"))]
    assert chat().ask("a", "b") == ANSWER


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"DIANTU_CHAT_URL": "http://a/v1", "DIANTU_CHAT_KEY": "k"}, ("http://a/v1", "k")),
        ({"OPENAI_BASE_URL": "http://b/v1", "OPENAI_API_KEY": "o"}, ("http://b/v1", "o")),
        (
            {"DIANTU_CHAT_URL": "http://a/v1", "OPENAI_BASE_URL": "http://b/v1", "OPENAI_API_KEY": "o"},
            ("http://a/v1", ""),
        ),
        ({"OPENAI_API_KEY": "o"}, None),
    ],
)
def test_the_endpoint_of_environment_variables(env: dict[str, str], expected: tuple[str, str] | None) -> None:
    """The key of OpenAI is sent only to the URL of the OpenAI variable."""
    found = Chat.from_environment(env={"DIANTU_CHAT_MODEL": "m", **env})
    assert (found and (found.url, found.key)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "file:///etc/passwd"}, "is not an http:// or https:// address"),
        ({"url": "ftp://host/v1"}, "is not an http:// or https:// address"),
        ({"url": "localhost:8000"}, "is not an http:// or https:// address"),
        ({"url": "http://user:secret@host/v1"}, "contains a password"),
        ({"model": ""}, "DIANTU_CHAT_MODEL"),
        ({"tries": 0}, "at least 1 try"),
    ],
)
def test_endpoints_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Chat(**{"url": "http://a/v1", "model": "m"} | options)
    assert "secret" not in str(error.value)


def test_the_endpoint_reads_copy(endpoint: Endpoint, chat: Callable[..., Chat]) -> None:
    brief = Copywriter(chat()).brief("Summer starts with iced coffee")
    assert brief.copy == "Summer starts with iced coffee"
    assert brief.keywords == (("iced coffee", 1.0), ("glass", 0.5))
    assert brief.query().parts()[0].label == "a glass of iced coffee"
    assert brief.prompt == ANSWER["prompt"]
    assert brief.source == "tiny"
    assert endpoint.asked[0]["body"]["messages"][1]["content"] == brief.copy


def test_if_the_endpoint_fails_copy_is_read_offline_with_one_warning(
    endpoint: Endpoint, chat: Callable[..., Chat], caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.replies = [(500, {}, b"")]
    writer = Copywriter(chat(tries=2))
    copies = ["A hammer that lasts a lifetime", "A cup of coffee", "The panda sleeps"]
    assert [writer.brief(copy) for copy in copies] == [read_copy(copy) for copy in copies]
    assert len(endpoint.asked) == 2  # the other pieces of copy did not wait for the endpoint
    assert [record.levelname for record in caplog.records if "offline" in record.message] == ["WARNING"]


@pytest.mark.parametrize(
    "change",
    [
        {"keywords": []}, {"keywords": [["a", 2]]}, {"keywords": [["a", True]]}, {"keywords": [["", 1]]},
        {"keywords": [["a", 1]] * 7}, {"keywords": "coffee"}, {"queries": [["a"]]}, {"queries": [["a" * 301, 1]]},
        {"queries": [["a", float("nan")]]}, {"queries": None}, {"prompt": ""}, {"prompt": 3}, {"prompt": "a" * 1501},
    ],
    ids=range(13),
)  # fmt: skip
def test_a_wrong_answer_affects_only_this_copy(
    endpoint: Endpoint, chat: Callable[..., Chat], caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    endpoint.replies = [(200, {}, completion(ANSWER | change)), (200, {}, completion(ANSWER))]
    writer = Copywriter(chat())
    assert writer.brief("A cup of coffee") == read_copy("A cup of coffee")
    assert writer.brief("A hammer").source == "tiny"
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
