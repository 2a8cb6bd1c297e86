"""What happens after an order is accepted: submit it, follow it, cancel it, fetch its documents.

One module for each; each holds the functions that jobs run. They call the pharmacy outside any transaction and
record what it said in the transaction that ends the job.
"""
