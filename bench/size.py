"""What a function weighs unpacked with its layers, in MiB; `tests/infra/test_packaging.py` holds the limits."""

from __future__ import annotations

from pathlib import Path

from bench.endpoint import Endpoint
from bench.packages import BUILD
from bench.protocol import Figure, Row
from infra.packaging import function_folder, host_target, package_layer, vendor_layer

MB = 1024 * 1024


def _mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MB


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    target = host_target()
    package = _mb(package_layer(BUILD, target))
    layers = {name: vendor_layer(name, BUILD, target) for name in ("capture", "project", "report")}
    capture = _mb(layers["capture"])
    botocore = _mb(layers["capture"] / "python" / "botocore")
    beacon = package + capture + _mb(function_folder("capture_beacon", BUILD))
    report = package + sum(map(_mb, layers.values())) + _mb(function_folder("report_loop", BUILD))

    def row(case: str, value: float, limit: float | None) -> Row:
        return Row("size", case, "MiB", Figure("ours", (value,)), None, ("value", "<=", limit) if limit else None)

    return [
        row("capture_beacon with layers, botocore aside", beacon - botocore, 30),
        row("capture_beacon with layers", beacon, None),
        row("report_loop with layers", report, 240),
    ]
