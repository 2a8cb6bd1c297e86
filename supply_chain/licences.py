"""Under which licences the packages come that the product is built from, tested with and shipped with."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from license_expression import AND, OR, ExpressionError, LicenseExpression, get_spdx_licensing

# Of these the source stays ours to license, and a copy may be passed on with their texts. LGPL: only as a library of
# its own that whoever has a copy may replace, as a Python package is.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BlueOak-1.0.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "LGPL-3.0-only",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
    }
)

# What says nothing that a program can read; somebody read the text that comes with it.
READ_BY_HAND = {
    "grimp": "BSD-2-Clause",
    "import-linter": "BSD-2-Clause",
    "jinja2": "BSD-3-Clause",
    "kubernetes-validate": "Apache-2.0",
    "npm:reserved": "MIT",
}

_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
_SPDX = get_spdx_licensing()


@dataclass(frozen=True, slots=True)
class Licence:
    """A package, its version, and its SPDX licence expression; an empty one where none is known."""

    package: str
    version: str
    expression: str

    @property
    def is_allowed(self) -> bool:
        expression = _parsed(self.expression)
        return expression is not None and _is_allowed(expression)


def installed() -> list[Licence]:
    """The packages of this environment, by name."""
    found = (Licence(package.name.lower(), package.version, _expression(package)) for package in distributions())
    return sorted(found, key=lambda licence: licence.package)


def of_node(folder: Path) -> list[Licence]:
    """The packages of a `package-lock.json`, in its order."""
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    named = {f"npm:{path.rpartition('node_modules/')[2]}": package for path, package in packages.items() if path}
    return [
        Licence(name, package["version"], READ_BY_HAND.get(name) or package.get("license", ""))
        for name, package in named.items()
    ]


def table(found: Iterable[Licence]) -> str:
    """Markdown for people."""
    rows = (f"| {one.package} | {one.version} | {one.expression or 'unknown'} |" for one in found)
    return "\n".join(["| Package | Version | Licence |", "|---|---|---|", *rows, ""])


def _expression(package: Distribution) -> str:
    """What the package's metadata says. Several classifiers may be a choice or not: all of them must be allowed."""
    told = package.metadata
    for said in (READ_BY_HAND.get(package.name.lower()), told["License-Expression"], told["License"]):
        if said and _parsed(said) is not None:
            return said
    classifiers = [line for line in told.get_all("Classifier", ()) if line.startswith("License ::")]
    return " AND ".join(_CLASSIFIERS.get(line, "unknown") for line in classifiers)


def _parsed(expression: str) -> LicenseExpression | None:
    try:
        parsed: LicenseExpression | None = _SPDX.parse(expression, validate=True)
    except ExpressionError:
        return None
    return parsed


def _is_allowed(expression: LicenseExpression) -> bool:
    match expression:
        case AND():
            return all(map(_is_allowed, expression.args))
        case OR():
            return any(map(_is_allowed, expression.args))
    return str(expression) in ALLOWED
