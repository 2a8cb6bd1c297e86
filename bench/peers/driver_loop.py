"""The driver alone: places orders one after the other, without HTTP: `python -m bench.peers.driver_loop URL WORLD`.

For each line on stdin, a number of seconds, it works for so long and prints what it did as a line of JSON.
"""

import json
import secrets
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.peers.connections import Place, opener
from bench.peers.statements import placing
from case_orders.demo import example


def main(url: str, world: str) -> None:
    tenants, place = json.loads(Path(world).read_text()), opener(url)()
    for line in sys.stdin:
        print(json.dumps(_slice(place, tenants, float(line))), flush=True)  # noqa: T201


def _slice(place: Place, tenants: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    body, prefix, wrong = example.body().encode(), secrets.token_hex(6), 0
    times: list[float] = []
    begun = before = time.perf_counter()
    while before - begun < seconds:
        tenant = tenants[len(times) % len(tenants)]
        case = tenant["cases"][len(times) // len(tenants) % len(tenant["cases"])]
        wrong += place(placing(tenant["key"], case, body, f"{prefix}-{len(times)}")) is None
        times.append((now := time.perf_counter()) - before)
        before = now
    return {
        "answers": len(times),
        "seconds": before - begun,
        "wrong": wrong,
        "broken": 0,
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1e3,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
