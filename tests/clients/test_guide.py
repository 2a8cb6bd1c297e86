"""The integration guide's JavaScript, run by the Node.js that is here."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.docs import pages

PROGRAM = """
import { readFileSync } from "node:fs";
import { hasCvSignature, isAuthentic } from "./guide.mjs";

const { secret, text, now, messages } = JSON.parse(readFileSync(0));
const judge = (headers) => [
  isAuthentic(secret, headers, Buffer.from(text), now), hasCvSignature(secret, headers, Buffer.from(text))];
console.log(JSON.stringify(messages.map(judge)));
"""


def judged(folder: Path, later: int, messages: list[dict[str, str]], more: str = "") -> list[list[bool]]:
    """For each message whether `isAuthentic` and `hasCvSignature` take it, so many seconds after it was sent."""
    secret, headers, text = pages.message_to_try()
    (block,) = pages.blocks(pages.read("docs/integration-guide.md"), "js")
    (folder / "guide.mjs").write_text(block)
    (folder / "judge.mjs").write_text(PROGRAM)
    now = int(headers["webhook-timestamp"]) + later
    given = json.dumps({"secret": secret, "text": text.decode() + more, "now": now, "messages": messages})
    done = subprocess.run(
        ["node", "judge.mjs"], cwd=folder, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    verdicts: list[list[bool]] = json.loads(done.stdout)
    return verdicts


def test_the_javascript_of_the_guide_takes_the_message_and_no_other(tmp_path: Path) -> None:
    _, headers, _ = pages.message_to_try()
    assert judged(tmp_path, 299, [headers]) == [[True, True]]
    assert judged(tmp_path, 301, [headers, {}]) == [[False, True], [False, False]]
    assert judged(tmp_path, 0, [headers], more=" ") == [[False, False]]


def test_headers_that_nobody_would_send_are_refused_and_end_no_process(tmp_path: Path) -> None:
    _, headers, _ = pages.message_to_try()
    odd: Any = ("v1," + 44 * "\xe9", 64 * "\xe9", 5000 * "9", "")
    changed = [(name, headers | {name: value}) for name in headers for value in odd]
    changed += [(name, {key: headers[key] for key in headers if key != name}) for name in headers]
    told = judged(tmp_path, 0, [message for _, message in changed])
    assert told == [[name == "x-cv-signature", name != "x-cv-signature"] for name, _ in changed]
