"""No thread changes what belongs to the whole process: only the start of a process may."""

import ast
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from tests.kit.processes.support import PROJECT
from workers.documents.logo import clean_logo

CHANGING: Final = {
    *(
        "os.putenv",
        "os.unsetenv",
        "os.chdir",
        "os.fchdir",
        "os.chroot",
        "os.umask",
        "os.nice",
        "os.setpgid",
        "os.setsid",
    ),
    *("os.setuid", "os.setgid", "os.seteuid", "os.setegid"),
    *("os.environ.update", "os.environ.pop", "os.environ.setdefault", "os.environ.clear", "os.environ.popitem"),
    *("warnings.catch_warnings", "warnings.simplefilter", "warnings.filterwarnings", "warnings.resetwarnings"),
    *("locale.setlocale", "socket.setdefaulttimeout", "csv.field_size_limit", "csv.register_dialect"),
    *("csv.unregister_dialect", "decimal.setcontext", "random.seed", "time.tzset", "resource.setrlimit"),
    *("signal.signal", "signal.alarm", "signal.setitimer", "signal.set_wakeup_fd", "signal.siginterrupt"),
    *("sys.setrecursionlimit", "sys.setswitchinterval", "sys.settrace", "sys.setprofile", "sys.setdlopenflags"),
    *("sys.set_int_max_str_digits", "sys.path.append", "sys.path.insert", "sys.path.extend", "sys.modules.pop"),
    *("gettext.install", "gettext.textdomain", "gettext.bindtextdomain", "mimetypes.add_type", "mimetypes.init"),
    *("logging.basicConfig", "logging.disable", "logging.captureWarnings", "logging.setLoggerClass"),
    *("logging.config.dictConfig", "logging.config.fileConfig", "logging.setLogRecordFactory", "structlog.configure"),
    *("gc.disable", "gc.enable", "gc.freeze", "gc.set_threshold", "gc.set_debug", "faulthandler.enable"),
    *("contextlib.redirect_stdout", "contextlib.redirect_stderr", "contextlib.chdir", "threading.stack_size"),
    *("multiprocessing.set_start_method", "asyncio.set_event_loop_policy", "codecs.register", "atexit.register"),
    *("codecs.register_error", "PIL.Image.register_open", "PIL.Image.register_extension", "copyreg.pickle"),
}
"""Functions that change the state of a whole process."""

STARTING: Final = {
    "workers/logs.py": "configure_logs",
    "workers/clock.py": "run",
    "workers/engine/processes.py": "stop_once",
    "workers/rosters/apart.py": "limit_this_process",
}
"""The functions that run when a process starts, by file."""

ALSO_STARTING: Final = {
    ("workers/engine/processes.py", "after_worker_boot"),
    ("workers/webhooks/sender.py", "run"),
    ("workers/bounces/reader.py", "run"),
    ("workers/engine/processes.py", "stop_and_ignore_more"),  # in the main thread, at the process's end
    ("workers/cli/edge.py", "tidy_end"),  # a command has one thread, and puts back what it found
    ("workers/cli/edge.py", "end"),
}

AT_IMPORT: Final = {("workers/rosters/text.py", "csv.field_size_limit")}
"""Changes that a module makes when it is first imported, always to the same value."""


def imported(tree: ast.Module) -> dict[str, str]:
    """Returns the full name of each name that a module imports."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({(one.asname or one.name).split(".")[0]: one.name if one.asname else one.name.split(".")[0]
                          for one in node.names})  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({one.asname or one.name: f"{node.module}.{one.name}" for one in node.names})
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str | None:
    """Returns the dotted name of an expression that begins with something imported; else None."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and (base := full_name(node.value, names)):
        return f"{base}.{node.attr}"
    return None


def targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign() | ast.Delete():
            return list(node.targets)
        case ast.AugAssign() | ast.AnnAssign():
            return [node.target]
    return []


def changes(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    """Yields what this node itself changes of the process: by a call, or by an assignment inside a module."""
    if isinstance(node, ast.Call) and (name := full_name(node.func, names)) in CHANGING:
        yield str(name)
    for target in targets(node):
        place = target.value if isinstance(target, ast.Subscript) else target
        if isinstance(place, ast.Attribute) and (name := full_name(place, names)) and not name.startswith("workers."):
            yield name


def found_in(node: ast.AST, names: dict[str, str], function: str = "") -> Iterator[tuple[str, str]]:
    """Yields each change with the function it stands in, empty for the module itself."""
    for child in ast.iter_child_nodes(node):
        yield from ((function, change) for change in changes(child, names))
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from found_in(child, names, inner)


def forbidden(path: str, source: str) -> list[str]:
    tree = ast.parse(source)
    return [
        f"{path}: {function or 'the module'} changes {change}"
        for function, change in found_in(tree, imported(tree))
        if function != STARTING.get(path, "-")
        and (path, function) not in ALSO_STARTING
        and not (not function and (path, change) in AT_IMPORT)
    ]


def test_only_the_start_of_a_process_changes_the_process() -> None:
    files = sorted(Path(PROJECT).glob("workers/**/*.py")) + sorted(Path(PROJECT).glob("models/*.py"))
    assert len(files) > 150
    found = [one for file in files for one in forbidden(str(file.relative_to(PROJECT)), file.read_text("utf-8"))]
    assert found == [], "a thread does this while others work: find a way that changes nothing outside"


@pytest.mark.parametrize(
    "source",
    [
        "import warnings\ndef f():\n with warnings.catch_warnings(): pass",
        "from warnings import simplefilter as s\ndef f():\n s('error')",
        "import os\ndef f():\n os.environ['TZ'] = 'UTC'",
        "from os import environ\ndef f():\n environ.update(A='b')",
        "import os\ndef f():\n del os.environ['A']",
        "from PIL import Image\ndef f():\n Image.MAX_IMAGE_PIXELS = None",
        "from PIL import ImageFile as I\nclass A:\n def f(self):\n  I.LOAD_TRUNCATED_IMAGES = True",
        "import logging.config\ndef f():\n logging.config.dictConfig({})",
        "import sys\ndef f():\n sys.stdout = None",
        "import tempfile\nasync def f():\n tempfile.tempdir = '/x'",
        "import socket\nsocket.setdefaulttimeout(3)",
    ],
)
def test_such_a_change_is_found_however_it_is_written(source: str) -> None:
    assert len(forbidden("workers/x.py", source)) == 1


def test_pictures_in_many_threads_leave_warnings_as_they_are() -> None:
    made, gate = io.BytesIO(), threading.Barrier(8)
    Image.effect_noise((300, 300), 50).save(made, "PNG")

    def clean() -> None:
        gate.wait()
        for _ in range(10):
            clean_logo(made.getvalue())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        threads = [threading.Thread(target=clean) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(warnings.filters) == before
