"""The package as it is installed: where it comes from, what it needs, what importing it costs."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import pydoc
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgque


def test_the_installed_package_is_what_is_tested():
    """`scripts/test python` says so; a development build is imported from the source tree."""
    if "PGQUE_TEST_INSTALLED" not in os.environ:
        pytest.skip("a development build")
    assert Path(pgque.__file__).is_relative_to(sys.prefix)


def test_it_needs_no_other_package():
    requires = importlib.metadata.requires("libpgque") or []
    assert [line for line in requires if "extra ==" not in line] == []


def test_it_is_typed_and_licensed():
    assert Path(pgque.__file__).with_name("py.typed").exists()
    assert Path(pgque.__file__).with_name("_pgque.pyi").exists()
    assert importlib.metadata.metadata("libpgque")["License-Expression"] == "Apache-2.0"


#: What is slow to import and not needed by a program that does not use it itself.
HEAVY = [
    "asyncio",
    "psycopg",
    "ssl",
    "socket",
    "subprocess",
    "argparse",
    "pytest",
    "urllib.request",
    "zoneinfo",
]


def test_importing_is_quick():
    """50 ms are promised; the bound leaves room for a machine that does much else."""
    program = f"""
import sys, time
before = set(sys.modules)
began = time.perf_counter()
import pgque
seconds = time.perf_counter() - began
print(seconds, *(set({HEAVY}) & (set(sys.modules) - before)))
"""
    best = float("inf")
    for _ in range(5):
        out = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        seconds, *heavy = out.split()
        assert heavy == []
        best = min(best, float(seconds))
    assert best < 0.25


def public_objects() -> Iterator[tuple[str, object]]:
    """What `pgque` offers, and the members of its classes, wherever in this package they stand."""
    for name in pgque.__all__:
        value = getattr(pgque, name)
        if not callable(value):
            continue
        yield name, value
        for owner in inspect.getmro(value) if isinstance(value, type) else ():
            if owner.__module__.partition(".")[0] == "pgque":
                for member, found in vars(owner).items():
                    if not member.startswith("_") and isinstance(found, DESCRIPTORS):
                        yield f"{name}.{member}", found


DESCRIPTORS = (types.FunctionType, types.MethodDescriptorType, property, types.GetSetDescriptorType)
#: The fields of these are told by their class.
PLAIN = (pgque.Message, pgque.Notification, pgque.Capabilities, pgque.Replayed)


def test_everything_public_says_what_it_is_for():
    fields = {f"{kind.__name__}.{name}" for kind in PLAIN for name in vars(kind)}
    objects = [(name, value) for name, value in public_objects() if name not in fields]
    assert len(objects) > 200
    assert [name for name, value in objects if not inspect.getdoc(value)] == []


def test_every_signature_can_be_read():
    """Each argument has its name, and none is private, but what pgque-py has as well."""
    for name, value in public_objects():
        if isinstance(value, property | types.GetSetDescriptorType):
            continue
        if isinstance(value, type) and issubclass(value, dict | pgque.PgqueError | pgque.Verdict):
            continue
        said = str(inspect.signature(value))
        assert "*args" not in said and "..." not in said, (name, said)
        assert not re.search(r"[(, \[\*]_(?!ignored|owns_conn)\w", said), (name, said)


def test_help_shows_how_to_begin():
    said = pydoc.plain(pydoc.render_doc(pgque))
    for word in ("pgque.connect(", "pgque.Consumer(", ".on(", "PgqueError"):
        assert word in said.partition("PACKAGE CONTENTS")[0]
