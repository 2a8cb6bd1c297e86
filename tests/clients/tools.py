"""The generators of clients, how each is run, and how its client is checked."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

Command = tuple[str, ...]

TSC: Command = ("tsc", "--strict", "--noEmit")
TSX: Command = ("tsx", "client.ts")
PYTHON: Command = ("python", "client.py")
# The generated code gets what it can bear; the code that uses it is checked strictly in any case.
MYPY_CLIENT: Command = ("mypy", "--follow-imports=silent", "client.py", "scenario.py")


@dataclass(frozen=True)
class Tool:
    """A generator. Its commands run in a folder with openapi.yaml, the scenario and `tests/clients/<name>/`."""

    name: str
    language: str
    generate: Command
    generated: str
    type_checks: tuple[Command, ...]
    run: Command


TOOLS = [
    Tool(
        name="openapi_generator",
        language="python",
        generate=("openapi-generator-cli", "generate", "-i", "openapi.yaml", "-g", "python", "-o", "."),
        generated="openapi_client",
        # openapi-generator ships the mypy settings that its code passes; it does not pass --strict.
        type_checks=(MYPY_CLIENT, ("mypy", "--config-file=pyproject.toml", "-p", "openapi_client")),
        run=PYTHON,
    ),
    Tool(
        name="openapi_python_client",
        language="python",
        generate=(
            *("openapi-python-client", "generate", "--path", "openapi.yaml", "--config", "config.yaml"),
            *("--output-path", ".", "--overwrite", "--fail-on-warning"),
        ),
        generated="orders_api_client",
        type_checks=(("mypy", "client.py", "scenario.py", "orders_api_client"),),
        run=PYTHON,
    ),
    Tool(
        name="typescript_fetch",
        language="typescript",
        generate=(
            *("openapi-generator-cli", "generate", "-i", "openapi.yaml", "-g", "typescript-fetch"),
            *("-o", "generated"),
        ),
        generated="generated",
        type_checks=(TSC,),
        run=TSX,
    ),
    Tool(
        name="openapi_fetch",
        language="typescript",
        generate=("openapi-typescript", "openapi.yaml", "-o", "generated/orders-api.d.ts"),
        generated="generated",
        type_checks=(TSC,),
        run=TSX,
    ),
    Tool(
        name="hey_api",
        language="typescript",
        generate=("openapi-ts",),
        generated="generated",
        type_checks=(TSC,),
        run=TSX,
    ),
    Tool(
        name="orval",
        language="typescript",
        generate=("orval",),
        generated="generated",
        type_checks=(TSC,),
        run=TSX,
    ),
]


@dataclass(frozen=True)
class Workshop:
    """A folder in which the generators are installed."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which their commands are found before those of anybody else."""
        places = (self.folder / "venv/bin", self.folder / "node_modules/.bin", os.environ["PATH"])
        return os.environ | {"PATH": os.pathsep.join(map(str, places))}

    def run(self, command: Command, folder: Path, **environ: str) -> str:
        """What the command prints; it fails the test, and shows that, when it does not exit with 0."""
        done = subprocess.run(
            command, cwd=folder, env=self.environ | environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"
        return done.stdout


@dataclass(frozen=True)
class Client:
    """A generated client in the folder of its scenario."""

    tool: Tool
    folder: Path
    workshop: Workshop

    def run(self, command: Command, **environ: str) -> str:
        return self.workshop.run(command, self.folder, **environ)

    def names(self) -> set[str]:
        """Every word of the generated code, and the names of its modules."""
        files = list((self.folder / self.tool.generated).rglob("*.py" if self.tool.language == "python" else "*.ts"))
        return {file.stem for file in files}.union(*(re.findall(r"[A-Za-z_]\w*", file.read_text()) for file in files))
