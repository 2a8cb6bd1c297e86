"""Which licences are taken, and that the ones in use are."""

import pytest

from supply_chain import licences
from supply_chain.__main__ import NODE
from supply_chain.licences import Licence


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 AND MIT", "GPL-3.0-only OR MIT", "MPL-2.0 AND (Apache-2.0 OR MIT)", "(MIT OR CC0-1.0)"],
)
def test_a_licence_that_we_allow_is_allowed(expression: str) -> None:
    assert Licence("a", "1", expression).is_allowed


@pytest.mark.parametrize(
    "expression",
    [
        "AGPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "GPL-3.0-only OR AGPL-3.0-only",
        "SSPL-1.0",
        "LicenseRef-Proprietary",
        "do what you like",
        "MIT License",
        "unknown",
        "",
    ],
)
def test_any_other_and_an_unknown_one_is_not(expression: str) -> None:
    assert not Licence("a", "1", expression).is_allowed


def test_everything_that_is_installed_and_locked_is_allowed() -> None:
    found = licences.installed() + [one for folder in NODE for one in licences.of_node(folder)]
    assert [one for one in found if not one.is_allowed] == []
    assert {"connexion", "jinja2", "npm:reserved"} <= {one.package for one in found}
