"""What the Common Runtime's threads are to Python."""

from __future__ import annotations

import threading
from collections import Counter

from console.embedded.services import EmbeddedServices
from console.transfer.client import ClientOptions
from console.transfer.crt_engine import CrtEngine
from console.transfer.engine import Answer, ObjectSettings, PutRequest
from console.transfer.transport import open_transport

REQUESTS = 40


def test_a_thread_that_calls_back_is_known_from_then_on(services: EmbeddedServices, bucket: str) -> None:
    """Data of a thread is dropped with what Python knows of it."""
    known = threading.local()
    calls: Counter[int] = Counter()
    forgotten: list[int] = []
    answers: list[Answer | BaseException] = []
    all_done = threading.Event()

    def done(answer: Answer | BaseException) -> None:
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
    assert [answer for answer in answers if not isinstance(answer, Answer)] == []
    assert forgotten == []
    assert max(calls.values()) > 1
