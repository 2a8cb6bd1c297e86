"""Business logic: for each tag of the contract a module with a function for each operationId, and what they share.

A handler gets what it names: a `session`, the `caller`, the `body`, and the contract's parameters in snake case,
all of them checked against the contract. It answers with `case_orders.envelope` or raises a refusal of
`case_orders.errors`, and what it writes commits as a whole when it returns.
"""
