"""What the Common Runtime's threads are to Python, and what is asked on threads that nobody may keep waiting."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from console.embedded.services import EmbeddedServices
from console.s3.client import ClientOptions
from console.s3.engines import crt_engine
from console.s3.engines.crt_engine import CrtEngine
from console.s3.engines.engine import ObjectSettings, PutRequest, StoredBody
from console.transfer.transport import open_transport

REQUESTS = 40


def test_a_thread_that_calls_back_is_known_from_then_on(services: EmbeddedServices, bucket: str) -> None:
    """Data of a thread is dropped with what Python knows of it."""
    known = threading.local()
    calls: Counter[int] = Counter()
    forgotten: list[int] = []
    answers: list[StoredBody | BaseException] = []
    all_done = threading.Event()

    def done(answer: StoredBody | BaseException) -> None:
        thread = threading.get_ident()
        calls[thread] += 1
        if calls[thread] > 1 and not hasattr(known, "of_before"):
            forgotten.append(thread)
        known.of_before = True
        answers.append(answer)
        if len(answers) == REQUESTS:
            all_done.set()

    transport = open_transport(ClientOptions(endpoint_url=services.s3_endpoint))
    try:
        assert isinstance(transport.engine, CrtEngine)
        for number in range(REQUESTS):
            request = PutRequest(bucket, f"known-{number}", "text/plain", ObjectSettings())
            transport.engine.begin_put(request, b"x", {}, done)
        assert all_done.wait(30)
    finally:
        transport.close()
    assert [answer for answer in answers if not isinstance(answer, StoredBody)] == []
    assert forgotten == []
    assert max(calls.values()) > 1


def test_whether_small_files_are_taken_is_known_without_asking_anybody(
    services: EmbeddedServices, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the bucket's address may fetch credentials, or shake hands over TLS."""
    looks: list[str] = []
    address_of = crt_engine.address_of
    monkeypatch.setattr(crt_engine, "address_of", lambda s3, name: looks.append(name) or address_of(s3, name))
    transport = open_transport(ClientOptions(endpoint_url=services.s3_endpoint))
    try:
        assert isinstance(transport.engine, CrtEngine)
        assert not transport.engine.takes_at_once(bucket)
        assert looks == []
        done = threading.Event()
        request = PutRequest(bucket, "known", "text/plain", ObjectSettings())
        transport.engine.begin_put(request, b"x", {}, lambda _: done.set())
        assert looks == [bucket]
        assert transport.engine.takes_at_once(bucket)
        assert looks == [bucket]
        assert done.wait(30)
    finally:
        transport.close()
