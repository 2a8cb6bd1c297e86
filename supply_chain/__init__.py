"""What the product is made of and where it came from: pins, licences, known vulnerabilities, a bill of materials.

`python -m supply_chain` looks at all of it, on a developer's machine or in CI. Nothing here is shipped.
"""
