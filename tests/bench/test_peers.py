"""Whether the peers do the same work."""

from collections.abc import Iterator
from typing import Any

from bench.peers.bodies import CaseAction
from case_orders.edge import contract


def bounds(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every bound that stands somewhere in a schema."""
    if isinstance(schema, list):
        for part in schema:
            yield from bounds(part)
    if isinstance(schema, dict):
        for name, rule in schema.items():
            if name in ("pattern", "maxLength", "maxItems", "minItems", "maximum", "maxProperties"):
                yield name, rule
            yield from bounds(rule)


def test_the_bodies_of_the_peers_have_the_bounds_of_the_contract_and_no_others() -> None:
    contracts = set(bounds(contract.resolved()["components"]["schemas"]["CaseAction"]))
    assert set(bounds(CaseAction.model_json_schema())) == contracts
