"""`python -m case_orders` is `case-orders`; child processes are started this way."""

from case_orders.cli import main

main()
