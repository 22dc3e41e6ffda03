"""What Lambda receives: built twice alike, compiled for its runtime, within its budget, and enough to run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import packaging
from infra.packaging import ROOT, NotPackaged, Platform, Target, function_folder, package_layer, vendor_layer

MIB = 1024 * 1024
LAYERS = ("capture", "form", "project", "email", "report")
FUNCTIONS = {
    **dict.fromkeys(("capture_beacon", "capture_deal", "follow_link"), ("capture",)),
    "capture_form": ("capture", "form"),
    "capture_email": ("capture", "email"),
    "serve_tracker": ("capture",),
    **dict.fromkeys(("project_profiles", "archive_events"), ("capture", "project")),
    **dict.fromkeys(("select_people", "decide_stages", "perform_actions", "close_run"), ("capture", "project")),
    "import_list": ("capture", "project", "form"),
    **dict.fromkeys(("compact_lake", "report_loop"), ("capture", "project", "report")),
}


def files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files(folder)}


def alone(folders: list[Path], program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees the standard library and these folders, and nothing that is installed here."""
    start = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]!r}\n"
    environment = {"AWS_DEFAULT_REGION": "ap-northeast-1", "PATH": os.defpath, "POWERTOOLS_SERVICE_NAME": "test"}
    command = [sys.executable, "-I", "-S", "-B", "-c", start + program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def host() -> dict[str, Path]:
    """The layers of this machine, from the build folder that local runs use too."""
    target = packaging.host_target()
    build = ROOT / "build"
    return {
        "closedloop": package_layer(build, target),
        **{name: vendor_layer(name, build, target) for name in LAYERS},
    }


@pytest.fixture(scope="session")
def arm() -> dict[str, Path]:
    """The layers that a deployment takes to AWS."""
    declared = json.loads((ROOT / "cdk.json").read_text())["context"]
    target = Target(declared["python"], Platform(declared["platform"]))
    return {name: vendor_layer(name, ROOT / "build", target) for name in LAYERS}


@pytest.mark.parametrize("name", ["closedloop", "capture", "project"])
def test_byte_code_is_valid_whatever_date_an_archive_gives_to_files(host: dict[str, Path], name: str) -> None:
    compiled = [path for path in files(host[name]) if path.suffix == ".pyc"]
    assert compiled
    for path in compiled:
        magic, flags = path.read_bytes()[:4], path.read_bytes()[4:8]
        assert magic == importlib.util.MAGIC_NUMBER
        assert struct.unpack("<I", flags) == (1,), "hash-based and unchecked"


@pytest.mark.parametrize("name", ["closedloop", "capture", "project"])
def test_every_module_has_its_byte_code(host: dict[str, Path], name: str) -> None:
    for path in files(host[name]):
        if path.suffix == ".py" and path.stem.isidentifier():
            assert Path(importlib.util.cache_from_source(path)).exists(), path


def test_byte_code_says_where_the_module_will_lie_and_not_where_it_was_built(host: dict[str, Path]) -> None:
    compiled = next(path for path in files(host["closedloop"]) if path.match("store/__pycache__/schema.*"))
    assert b"/opt/python/closedloop/store/schema.py" in compiled.read_bytes()
    assert str(ROOT).encode() not in compiled.read_bytes()


@pytest.mark.parametrize("name", ["capture", "project"])
def test_a_layer_built_twice_is_the_same_byte_for_byte(tmp_path: Path, host: dict[str, Path], name: str) -> None:
    again = vendor_layer(name, tmp_path, packaging.host_target())
    assert contents(again) == contents(host[name])
    assert again.name == host[name].name


def test_our_package_built_twice_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    first, second = (package_layer(tmp_path / one, packaging.host_target()) for one in ("first", "second"))
    assert contents(first) == contents(second)


def test_our_package_goes_without_the_command_line_and_the_invented_world(host: dict[str, Path]) -> None:
    parts = {path.name for path in (host["closedloop"] / "python" / "closedloop").iterdir()}
    assert {"store", "runtime", "capture"} <= parts
    assert not parts & {"cli", "world"}


@pytest.mark.parametrize("which", ["host", "arm"])
def test_a_door_carries_less_than_thirty_megabytes_beside_the_sdk(which: str, request: pytest.FixtureRequest) -> None:
    capture = request.getfixturevalue(which)["capture"]
    assert size(capture) - size(capture / "python" / "botocore") < 30 * MIB


@pytest.mark.parametrize("which", ["host", "arm"])
def test_every_function_fits_with_its_layers_and_the_report_leaves_room(
    which: str, request: pytest.FixtureRequest
) -> None:
    layers = request.getfixturevalue(which)
    ours = size(request.getfixturevalue("host")["closedloop"])
    for function, names in FUNCTIONS.items():
        total = ours + sum(size(layers[name]) for name in names)
        assert total < 240 * MIB, function


def test_a_layer_repeats_nothing_that_a_layer_below_it_holds(arm: dict[str, Path]) -> None:
    held = {name: {path.name for path in (folder / "python").iterdir()} for name, folder in arm.items()}
    assert not held["capture"] & (held["form"] | held["project"] | held["email"] | held["report"])
    assert not held["project"] & held["report"]


def test_compiled_wheels_are_for_the_processor_of_the_deployment(arm: dict[str, Path]) -> None:
    shared = [path for name in LAYERS for path in files(arm[name]) if ".so" in path.suffixes]
    assert len(shared) > 10
    for path in shared:
        (machine,) = struct.unpack("<H", path.read_bytes()[18:20])
        assert machine == 183, f"{path.name} is not for aarch64"


def test_the_sdk_knows_the_services_we_call_and_no_other(host: dict[str, Path]) -> None:
    data = host["capture"] / "python" / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == set(packaging.BOTOCORE_SERVICES)
    assert not list(data.rglob("*.gz"))


def test_the_trimmed_sdk_makes_every_client_that_a_function_asks_for(host: dict[str, Path]) -> None:
    ours = (ROOT / "layers" / "closedloop" / "python" / "closedloop").rglob("*.py")
    asked = {name for path in ours for name in re.findall(r'\bboto\("(\w+)"', path.read_text())}
    # Only commands ask for these, with the operator's own boto3.
    asked -= {"cloudformation", "lambda", "ssm"}
    assert {"s3", "sns", "stepfunctions"} < asked
    program = f"""
import boto3
for service in {sorted(asked)}:
    boto3.client(service, aws_access_key_id="x", aws_secret_access_key="x")
print("made")
"""
    done = alone([host["project"] / "python", host["capture"] / "python"], program)
    assert done.stdout == "made\n", done.stderr


def test_the_projector_finds_what_it_imports_only_when_a_company_is_named(host: dict[str, Path]) -> None:
    folders = [host["closedloop"] / "python", host["capture"] / "python", host["project"] / "python"]
    done = alone(folders, """
from closedloop.identity.accounts import corporate_number
from closedloop.identity.domains import company_domain
from closedloop.identity.roles import role_of
from closedloop.sites.definition import Site
site = Site(site="a", title="A", write_key="pk_12345678", origins=["https://a.example"])
print(company_domain("x@mail.acme.co.jp"), company_domain("x@docomo.ne.jp"), corporate_number("7000012050002"),
      role_of({"job_title": "部長"}, site).role)
""")
    assert (done.stdout, done.stderr) == ("acme.co.jp  7000012050002 decision_maker\n", "")


def test_the_form_door_finds_what_it_imports_only_when_a_form_needs_it(host: dict[str, Path]) -> None:
    program = """
from closedloop.capture.form_body import read
from closedloop.capture.form_fields import filled_in
from closedloop.capture.form_spam import giveaway
from closedloop.capture.request import Request
from closedloop.sites.definition import Form
fields = [{"name": "mail", "kind": "email"}, {"name": "tel", "kind": "phone"}]
form = Form.model_validate({"thanks": "/", "fields": fields})
sent = [("mail", "jane@mailinator.com"), ("tel", "03-1234-5678")]
parts = "".join(f'--x\\r\\ncontent-disposition: form-data; name="{n}"\\r\\n\\r\\n{v}\\r\\n' for n, v in sent)
headers = {"content-type": "multipart/form-data; boundary=x"}
said = read(Request("POST", "/", headers, body=f"{parts}--x--\\r\\n".encode()))
filled = filled_in(form, said.fields, "JP")
print(filled.contact["phone"], giveaway(said.fields, filled.email))
"""
    done = alone([host[name] / "python" for name in ("closedloop", "capture", "form")], program)
    assert done.stdout == "+81312345678 its address is of a domain for throwing away\n", done.stderr


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_finds_all_it_imports_in_its_own_layers(
    tmp_path: Path, host: dict[str, Path], function: str
) -> None:
    code = function_folder(function, tmp_path)
    folders = [code, host["closedloop"] / "python", *(host[name] / "python" for name in FUNCTIONS[function])]
    done = alone(folders, "import handler; print(callable(handler.handle))")
    assert done.stdout == "True\n", done.stderr


def test_the_layers_named_here_are_the_ones_that_are_deployed(stateless: object) -> None:
    deployed = stateless.functions()  # type: ignore[attr-defined]
    for function, names in FUNCTIONS.items():
        titles = [layer["Ref"].split("Layer")[0].lower() for layer in deployed[function]["Layers"]]
        assert titles == ["closedloop", *names], function


def test_a_function_takes_along_neither_its_page_nor_what_python_left(tmp_path: Path) -> None:
    source = tmp_path / "functions" / "capture_form"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "handler.cpython-314.pyc").write_bytes(b"old")
    (source / "README.md").write_text("# capture_form\n")
    (source / "__init__.py").write_text("")
    (source / "handler.py").write_text("def handle(event, context): ...\n")
    assert set(contents(function_folder("capture_form", tmp_path / "build", tmp_path))) == {"handler.py"}


def test_a_changed_handler_is_another_asset_and_an_unchanged_one_the_same(tmp_path: Path) -> None:
    handler = tmp_path / "functions" / "capture_form" / "handler.py"
    handler.parent.mkdir(parents=True)
    handler.write_text("def handle(event, context): ...\n")
    first = function_folder("capture_form", tmp_path / "build", tmp_path)
    handler.touch()
    assert function_folder("capture_form", tmp_path / "build", tmp_path) == first
    handler.write_text("def handle(event, context): return 1\n")
    assert function_folder("capture_form", tmp_path / "build", tmp_path) != first


def test_a_folder_without_a_handler_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotPackaged, match=r"functions/capture_form/handler\.py is missing"):
        function_folder("capture_form", tmp_path / "build", tmp_path)


def test_a_tracker_that_was_not_built_stops_a_deployment_and_names_the_command(tmp_path: Path) -> None:
    handler = tmp_path / "functions" / "serve_tracker" / "handler.py"
    handler.parent.mkdir(parents=True)
    handler.write_text("def handle(event, context): ...\n")
    with pytest.raises(NotPackaged, match=r"python -m web\.build"):
        function_folder("serve_tracker", tmp_path / "build", tmp_path, whole=True)


def test_locks_that_disagree_are_refused_before_anything_is_installed(tmp_path: Path) -> None:
    locks = tmp_path / "requirements"
    locks.mkdir()
    (locks / "capture.txt").write_text("six==1.17.0 \\\n    --hash=sha256:00\n    # via botocore\n")
    (locks / "project.txt").write_text("six==1.16.0 \\\n    --hash=sha256:11\n")
    with pytest.raises(NotPackaged, match=r"project\.txt pins six to 1\.16\.0, a layer below to 1\.17\.0"):
        vendor_layer("project", tmp_path / "build", packaging.host_target(), tmp_path)


def test_a_runtime_that_this_machine_lacks_costs_byte_code_and_says_so() -> None:
    assert packaging.missing_byte_code(packaging.host_target()) is None
    said = packaging.missing_byte_code(Target("3.99", Platform.ARM64))
    assert said is not None
    assert "uv python install 3.99" in said
