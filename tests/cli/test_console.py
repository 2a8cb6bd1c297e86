"""What commands print cannot steer the terminal, and says the same."""

from typing import Any

import orjson
import pytest

from case_orders.cli import console

# A colour, a title, a line that is erased, C1's CSI, DEL, a turned direction, a separator of lines, a tag of 17 bits.
STEERING = "\x1b[31m \x1b]0;t\x07 a\rb \x9b2J \x7f \u202eevil\u2066 \u2028 \U000e0041"
PRINTABLE = 'Zoë "Ann" \\ 李 🙂'
VALUES = [
    STEERING,
    [STEERING, PRINTABLE],
    {"note": STEERING, STEERING: [PRINTABLE]},
    [{"note": {"deep": STEERING}}],
]


@pytest.mark.parametrize("value", VALUES, ids=["text", "list", "object", "rows"])
def test_a_text_from_outside_does_not_steer_the_terminal(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        console.show({"name": PRINTABLE, "value": value}, as_json=as_json)
        console.show_rows([{"name": PRINTABLE, "value": value}], as_json=as_json)
    printed = capsys.readouterr().out
    assert [character for character in printed if not character.isprintable() and character != "\n"] == []
    assert "evil" in printed
    assert "Zoë" in printed


@pytest.mark.parametrize("value", VALUES, ids=["text", "list", "object", "rows"])
def test_json_says_what_it_would_say_unescaped(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    console.show({"name": PRINTABLE, "value": value}, as_json=True)
    printed = capsys.readouterr().out
    assert orjson.loads(printed) == {"name": PRINTABLE, "value": value}
    assert "李 🙂" in printed
