"""Business logic: one module per tag of the contract, one function per operationId.

A handler gets what it names: a `session`, the `caller`, the `body`, and the contract's parameters in snake case,
all of them checked against the contract. It answers with `case_orders.envelope` or raises a refusal of
`case_orders.errors`. It knows nothing of HTTP, and what it writes commits as a whole when it returns.
"""
