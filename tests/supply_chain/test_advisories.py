"""That silence of a database is not taken for a clean bill. The auditor of these tests is a program of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supply_chain import advisories
from supply_chain.__main__ import ROOT

KNOWN = [{"name": "urllib3", "version": "1.26.0", "vulns": [{"id": "PYSEC-2021-108", "fix_versions": ["1.26.5"]}]}]
Answers = Callable[..., None]


@pytest.fixture
def auditor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Has `pip-audit` say the one thing of what is known to be vulnerable, and the other of anything else."""

    def answer(of_vulnerable: list[Any] | None, of_others: list[Any]) -> None:
        for name, dependencies in (("vulnerable", of_vulnerable), ("others", of_others)):
            text = "no route to host" if dependencies is None else json.dumps({"dependencies": dependencies})
            (tmp_path / name).write_text(text)
        program = tmp_path / "pip-audit"
        program.write_text(
            f"#!/bin/sh\ngrep -q '^urllib3==1.26.0' \"$2\" && exec cat {tmp_path}/vulnerable; cat {tmp_path}/others\n"
        )
        program.chmod(0o700)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    (tmp_path / "uv").write_text("#!/bin/sh\necho sound==1.0\n")
    (tmp_path / "uv").chmod(0o700)
    return answer


def test_a_database_that_knows_the_vulnerable_one_and_nothing_of_ours_is_believed(auditor: Answers) -> None:
    auditor(KNOWN, [{"name": "sound", "version": "1.0", "vulns": []}])
    outcome = advisories.of_python(ROOT)
    assert (list(outcome.findings), outcome.not_checked) == ([], None)


@pytest.mark.parametrize(
    "silence",
    [None, [], [{"name": "urllib3", "skip_reason": "not found"}], [{"name": "urllib3", "version": "1", "vulns": []}]],
)
def test_one_that_does_not_know_the_vulnerable_one_is_out_of_reach(auditor: Answers, silence: list[Any] | None) -> None:
    auditor(silence, [{"name": "sound", "version": "1.0", "vulns": []}])
    outcome = advisories.of_python(ROOT)
    assert outcome.not_checked == "none of the databases is within reach (osv, pypi)"
    assert str(outcome).startswith("NOT CHECKED")


def test_a_vulnerability_is_named_with_the_version_that_mends_it(auditor: Answers) -> None:
    auditor(KNOWN, KNOWN)
    assert list(advisories.of_python(ROOT).findings) == ["urllib3 1.26.0: PYSEC-2021-108, mended in 1.26.5"]


def test_a_package_that_the_database_passes_over_is_a_finding(auditor: Answers) -> None:
    auditor(KNOWN, [{"name": "sound", "skip_reason": "not found"}])
    assert list(advisories.of_python(ROOT).findings) == ["sound: unknown"]
