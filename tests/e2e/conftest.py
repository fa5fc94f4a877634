"""The place where pods run, and steps that need each other."""

import os
from collections.abc import Generator, Iterator

import pytest

from keywright_local import named_cluster
from tests.e2e.diagnosis import diagnose
from tests.e2e.places import IMAGES, Images, Place, named, own_node

# The first step that has failed in each story, by the story's name.
failed_steps: dict[str, str] = {}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A cluster with nodes; ``__main__`` prepares it."""
    cluster = named_cluster()
    images = Images.prepared()
    with own_node(images) if cluster is None else named(images, cluster, tmp_path_factory.mktemp("named")) as place:
        yield place


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A story that has gone wrong is not told any further."""
    report = yield
    if report.failed:
        failed_steps.setdefault(_story(item), item.name)
        place = getattr(item, "funcargs", {}).get("place")
        if call.when != "teardown" and isinstance(place, Place):
            report.sections.append(("cluster", diagnose(place)))
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    if step := failed_steps.get(_story(item)):
        pytest.skip(f"{step} has failed")


def pytest_collection(session: pytest.Session) -> None:
    if IMAGES not in os.environ:
        pytest.exit("the tests on real pods want what `make e2e` prepares: run that", returncode=2)


def _story(item: pytest.Item) -> str:
    """Steps are the tests of one module, told once for each way to install."""
    way = item.callspec.id if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    return f"{item.path}[{way}]"
