"""How many events one core takes in a second when all is warm: our handler, and the collector as a web service."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from bench import packages, protocol, traffic
from bench.cold_start import PYTHON, SCRIPT
from bench.endpoint import Endpoint
from bench.packages import ROOT
from bench.protocol import Row

# Requests a sample by events a request: about a third of a second of the slower side.
REQUESTS = {1: 300, 10: 120, 25: 60}
# The more events a request brings, the more of the time is ours and not the web server's.
WANTED = {1: 2.0, 10: 2.5, 25: 3.0}
FASTAPI, POWERTOOLS = "FastAPI, uvicorn, boto3", "Powertools, boto3 resource"
Requests = list[tuple[str, str, list[traffic.Json], str]]


class _Handler:
    """A warm environment with our function."""

    def __init__(self, endpoint: Endpoint, folders: list[Path], work: Path) -> None:
        self._file = work / "warm.ndjson"
        self._process = subprocess.Popen(
            [*PYTHON, str(SCRIPT), "warm", *map(str, folders)], env=endpoint.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def __enter__(self) -> _Handler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def spend(self, requests: Requests, content_type: str) -> float:
        """The CPU seconds that these requests take."""
        assert self._process.stdin and self._process.stdout
        events = (traffic.gateway_event(body, visitor, content_type, agent) for visitor, body, _, agent in requests)
        self._file.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        self._process.stdin.write(f"{self._file}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


class _Service:
    """uvicorn with the FastAPI application, one worker, and a client that keeps its connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        command = [
            sys.executable, "-m", "uvicorn", "bench.fastapi_app:app", "--host", "127.0.0.1", "--port", str(self._port),
            "--no-access-log", "--log-level", "warning", "--http", "httptools", "--loop", "asyncio",
            "--timeout-keep-alive", "600",
        ]
        self._process = subprocess.Popen(command, cwd=ROOT, env=endpoint.environment())
        self._client = http.client.HTTPConnection("127.0.0.1", self._port)

    def __enter__(self) -> _Service:
        for _ in range(200):
            try:
                self._client.connect()
            except ConnectionRefusedError:
                time.sleep(0.1)
            else:
                return self
        raise RuntimeError("uvicorn did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def spend(self, requests: Requests) -> float:
        """The CPU seconds that these requests take in all threads of the service."""
        begin = protocol.cpu_s(self._process.pid)
        for visitor, body, _, agent in requests:
            headers = {
                "content-type": "application/json", "origin": traffic.ORIGIN, "user-agent": agent,
                "cookie": f"_cl_vid={visitor}",
            }
            self._client.request("POST", "/v1/batch", body.encode(), headers)
            response = self._client.getresponse()
            if response.read() != b'{"success":true}' or response.status != 200:
                raise RuntimeError(f"the web service answered {response.status}")
        return protocol.cpu_s(self._process.pid) - begin


def _rate(spend: Callable[[Requests], float], requests: Requests, endpoint: Endpoint) -> Callable[[], float]:
    """Events per core-second of one side, provided that it stored the very events that were sent."""
    events = [event for _, _, sent, _ in requests for event in sent]
    facts = traffic.sent_facts(events)

    def take() -> float:
        spent = spend(requests)
        if endpoint.taken()["facts"] != facts:
            raise AssertionError("other events were stored than were sent")
        return len(events) / spent

    return take


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    naive_folders = packages.naive(work / "warm", stale=False)
    found = []
    with (
        _Handler(endpoint, packages.ours("capture_beacon"), work) as ours,
        _Handler(endpoint, naive_folders, work) as naive,
        _Service(endpoint) as service,
    ):
        sides: dict[str, Callable[[Requests], float]] = {
            "ours": lambda requests: ours.spend(requests, "text/plain;charset=UTF-8"),
            FASTAPI: service.spend,
            POWERTOOLS: lambda requests: naive.spend(requests, "application/json"),
        }
        for size, count in REQUESTS.items():
            requests = list(traffic.requests(count, size, seed=size))
            taken = protocol.in_turn({name: _rate(spend, requests, endpoint) for name, spend in sides.items()}, samples)
            for name in (FASTAPI, POWERTOOLS):
                case = f"{size} event{'s' * (size > 1)} a request, against {name}"
                wanted = ("ratio", ">=", WANTED[size] if name == FASTAPI else WANTED[1])
                found.append(Row("warm", case, "events/core-s", taken["ours"], taken[name], wanted))
    return found
