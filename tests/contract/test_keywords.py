"""Every keyword of every request schema refuses what it should, by name, and takes what sits on its edge."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from case_orders.edge import contract
from case_orders.edge.schema import _CODES, Schema, pointer
from tests.contract.keywords import Place, Rule, broken, edges, is_rule, roots, rules, sample
from tests.contract.spec import request_schemas
from tests.support.contract_client import ContractClient

ROOTS = roots()
SCHEMAS = {root: Schema(schema) for root, schema in ROOTS.items()}
WITH_BODY = [operation.id for operation in contract.operations().values() if "requestBody" in operation.spec]
WITH_QUERY = {
    f"{operation.id} {parameter['name']}": (operation, parameter["name"])
    for operation in contract.operations().values()
    for parameter in operation.parameters
    if parameter["in"] == "query"
}


def every_rule() -> Iterator[tuple[str, Rule]]:
    return ((root, rule) for root, schema in ROOTS.items() for rule in rules(schema))


def put(root: str, place: Place, value: Any) -> Any:
    """A request that obeys, but for what stands at one place."""
    if not place:
        return value
    whole = copy.deepcopy(sample(ROOTS[root]))
    node = whole
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    return whole


def broken_at(root: str, value: Any) -> dict[str, set[str]]:
    """The keywords that a request breaks, by place, as the validator finds them."""
    found: dict[str, set[str]] = {}
    for error in SCHEMAS[root].validator.iter_errors(value):
        found.setdefault(pointer(list(error.absolute_path)), set()).add(str(error.validator))
    return found


@pytest.mark.parametrize("root", ROOTS)
def test_a_request_made_from_its_schema_is_taken(root: str) -> None:
    assert SCHEMAS[root].problems(sample(ROOTS[root])) == []


@pytest.mark.parametrize("root", ROOTS)
def test_a_request_that_breaks_a_rule_is_refused_with_the_place_and_the_code_of_that_rule(root: str) -> None:
    """One that breaks two rules at once, because one implies the other, is refused with the code of one of the two."""
    for rule in rules(ROOTS[root]):
        request = put(root, rule.place, broken(rule))
        keywords = broken_at(root, request)
        assert set(keywords) == {pointer(rule.place)}, f"{rule}: {keywords}"
        assert rule.keyword in keywords[pointer(rule.place)], f"{rule}: {keywords}"
        problems = [(problem.path, problem.code) for problem in SCHEMAS[root].problems(request)]
        codes = {_CODES[keyword] for keyword in keywords[pointer(rule.place)]}
        assert len(problems) == 1, f"{rule}: {problems}"
        assert problems[0][0] == pointer(rule.blamed), f"{rule}: {problems}"
        assert problems[0][1] in codes, f"{rule}: {problems}"


@pytest.mark.parametrize("root", ROOTS)
def test_a_request_on_the_edge_of_a_rule_is_taken(root: str) -> None:
    for rule in rules(ROOTS[root]):
        for value in edges(rule):
            problems = SCHEMAS[root].problems(put(root, rule.place, value))
            assert problems == [], f"{rule}: {problems}"


def test_a_length_on_the_edge_is_that_length() -> None:
    for root, rule in every_rule():
        if rule.keyword in ("minLength", "maxLength"):
            assert {len(value) for value in edges(rule)} == {rule.value}, f"{root} {rule}"


def test_rules_are_broken_one_at_a_time_except_where_one_implies_another() -> None:
    together = {
        (rule.keyword, *sorted(keywords - {rule.keyword}))
        for root, rule in every_rule()
        if len(keywords := broken_at(root, put(root, rule.place, broken(rule)))[pointer(rule.place)]) > 1
    }
    # A UUID of 37 characters, a blank line of none, a word that is a number.
    assert together == {("maxLength", "format"), ("minLength", "pattern"), ("type", "enum")}


def test_no_rule_of_the_contract_is_left_out() -> None:
    """Counted in the document as it is written, apart from how the rules above were found."""
    written = sum(
        len(value) if keyword == "required" else 1
        for _, schema in request_schemas(contract.document())
        for keyword, value in schema.items()
        if is_rule(keyword, value)
    )
    tried = [(root, str(rule)) for root, rule in every_rule()]
    assert len(set(tried)) == len(tried) == written
    assert {rule.keyword for _, rule in every_rule()} == set(_CODES)


# ---- a sample of them as requests ---------------------------------------------------------------------------------


def one_of_each_keyword(root: str) -> list[Rule]:
    return list({rule.keyword: rule for rule in rules(ROOTS[root])}.values())


def needed(operation: contract.Operation, where: str) -> dict[str, Any]:
    """The examples of the parameters that a request cannot do without."""
    return {p["name"]: p["example"] for p in operation.parameters if p["in"] == where and p.get("required")}


def code_of(root: str, request: Any) -> str:
    return SCHEMAS[root].problems(request)[0].code


async def refusal(api: ContractClient, operation: contract.Operation, **sent: Any) -> list[tuple[str, str]]:
    """The place and the code of each problem in the answer to a request that is good but for what is `sent`."""
    path, headers, query = (needed(operation, where) for where in ("path", "header", "query"))
    good = {"params": query} | ({"json": sample(ROOTS[operation.id])} if operation.id in ROOTS else {})
    sent["params"] = query | sent.get("params", {})
    answer = await api.request(operation.method.upper(), operation.path.format(**path), headers=headers, **good | sent)
    assert answer.status_code == 400, answer.text
    return [(detail["path"], detail["code"]) for detail in answer.json()["details"]]


@pytest.mark.parametrize("operation_id", WITH_BODY)
async def test_a_body_that_breaks_a_rule_answers_400(api: ContractClient, operation_id: str) -> None:
    for rule in one_of_each_keyword(operation_id):
        body = put(operation_id, rule.place, broken(rule))
        problems = await refusal(api, contract.operations()[operation_id], json=body)
        assert problems == [(pointer(rule.blamed), code_of(operation_id, body))], str(rule)


@pytest.mark.parametrize("root", WITH_QUERY)
async def test_a_query_parameter_that_breaks_a_rule_answers_400(api: ContractClient, root: str) -> None:
    operation, name = WITH_QUERY[root]
    for rule in rules(ROOTS[root]):
        if rule.keyword != "type" or rule.value != "string":  # any text is a string
            value = "x" if rule.keyword == "type" else broken(rule)
            assert await refusal(api, operation, params={name: value}) == [(name, code_of(root, value))], str(rule)
