"""The sides as they lie on Lambda's disk: ours as we package it, the naive one as the CDK's archive leaves it."""

from __future__ import annotations

import compileall
import importlib.metadata
import os
import shutil
from pathlib import Path

from infra.packaging import function_folder, host_target, package_layer, vendor_layer

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"

# What `pip install aws-lambda-powertools[tracer,parser] boto3` brings.
NAIVE = (
    "annotated-types", "aws-lambda-powertools", "aws-xray-sdk", "boto3", "botocore", "jmespath", "pydantic",
    "pydantic-core", "python-dateutil", "s3transfer", "six", "typing-extensions", "typing-inspection", "urllib3",
    "wrapt",
)
# Where boto3 lies when a function takes it from the runtime instead.
OF_THE_RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
# ZIP knows no earlier date; archives for Lambda are given it so that equal contents are equal files.
YEAR_1980 = 315_532_800


def ours(name: str, *vendor: str) -> list[Path]:
    """The folders that hold one of our functions, built for this machine exactly as for Lambda.

    Shapes: `vendor` names the layers it has beside that of capture.
    """
    target = host_target()
    return [
        function_folder(name, BUILD),
        package_layer(BUILD, target) / "python",
        *(vendor_layer(layer, BUILD, target) / "python" for layer in ("capture", *vendor)),
    ]


def naive(into: Path, *, stale: bool, runtime_is_valid: bool = False) -> list[Path]:
    """The naive handler with its packages.

    Shapes: `stale` gives every source the date of an archive, after pip compiled it, as bundling does;
    `runtime_is_valid` leaves boto3 and what it needs out of that, as if the runtime's own copy had valid byte code.
    """
    code, packages, runtime = into / "code", into / "packages", into / "runtime"
    shutil.copytree(ROOT / "bench" / "naive", code, ignore=shutil.ignore_patterns("__pycache__", "__init__.py"))
    for name in NAIVE:
        _copy(name, runtime if name in OF_THE_RUNTIME else packages)
    folders = [code, packages, runtime]
    for folder in folders:
        compileall.compile_dir(str(folder), quiet=2, workers=1)
        if stale and not (folder is runtime and runtime_is_valid):
            for path in folder.rglob("*.py"):
                os.utime(path, (YEAR_1980, YEAR_1980))
    return folders


def _copy(name: str, into: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if file.parts[0] == ".." or "__pycache__" in file.parts or not source.exists():
            continue
        target = into / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
