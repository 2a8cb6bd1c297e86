"""The pharmacy protocol, both sides: what the service calls, what a pharmacy calls, and a sandbox pharmacy.

docs/pharmacy-protocol.md describes the protocol to whoever connects a real pharmacy.
"""
