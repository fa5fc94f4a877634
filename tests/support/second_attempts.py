"""A test on a real cluster that fails is run once more, and what it failed of is shown all the same.

Real processes on a machine that has other things to do can be late for a promise that holds. But what fails now and then
may also be a race of ours: so nothing that was repeated goes unseen, and a run that needed it often has failed.
"""

import pytest

__all__ = ["MOST", "pytest_sessionfinish", "pytest_terminal_summary"]

MOST = 2
"""So many tests of a run may need a second attempt."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    if len(_repeated(session.config)) > MOST and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    repeated = _repeated(terminalreporter.config)
    if not repeated:
        return
    terminalreporter.section("failed, and run once more")
    for report in repeated:
        terminalreporter.write_sep("_", report.nodeid)
        report.toterminal(terminalreporter._tw)
    if len(repeated) > MOST:
        terminalreporter.write_line(f"{len(repeated)} tests needed a second attempt, {MOST} may: the run has failed")


def _repeated(config: pytest.Config) -> list[pytest.TestReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: list[pytest.TestReport] = reporter.stats.get("rerun", []) if reporter is not None else []
    return found
