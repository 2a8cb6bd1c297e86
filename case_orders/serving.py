"""The API as a process, with its children."""

import asyncio
from contextlib import AsyncExitStack

import structlog
import uvloop

from case_orders import audit, keyring, logs, migrations
from case_orders.app import create_app
from case_orders.db import Database
from case_orders.demo import example, rows
from case_orders.edge.server import free_port, listen, make_server
from case_orders.processes import child, environment, stop_requested
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret

log = structlog.get_logger("case_orders.serving")

LOOPBACK = ("127.0.0.0/8", "::1/128")


def serve(settings: Settings, *, demo: bool, workers: int) -> int:
    """Migrate the database, serve the API and keep `workers` workers beside it, until told to stop."""
    logs.configure(settings.log_level)
    return uvloop.run(_serve(settings, demo=demo, workers=workers))


async def _serve(settings: Settings, *, demo: bool, workers: int) -> int:
    stop = await stop_requested()
    with listen(settings.host, settings.port) as listener:
        settings = _at_port(settings, listener.getsockname()[1], demo=demo)
        _install_keys(settings)
        database = Database(settings.database_url, settings.write_queue)
        if demo:  # before anything is changed in it
            with database.snapshot() as session:
                rows.require_alone(session)
        migrations.upgrade(database.engine)
        with database.snapshot() as session:  # before anything is sealed
            audit.require_known_key(session)
        async with AsyncExitStack() as children:
            if demo:
                await _start_demo(children, settings, database)
            else:
                with database.transaction() as session:
                    rows.withdraw(session)
            for _ in range(workers):
                await children.enter_async_context(child(["worker"], environment(settings)))
            app = create_app(settings, database, stop)
            server = make_server(app, settings.head_seconds, settings.trusted_proxies)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            log.info("serving", url=settings.public_url)
            await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            # Balancers see by /readyz that this process leaves, and turn elsewhere before it refuses connections.
            await asyncio.wait([serving], timeout=settings.drain_seconds)
            server.should_exit = True
            await serving
        await database.close()
    return 0 if server.started else 1


def _install_keys(settings: Settings) -> None:
    made = keyring.install_for(settings)
    if made is not None:
        log.warning("encryption key made: back it up now", file=str(made))


def _at_port(settings: Settings, port: int, *, demo: bool) -> Settings:
    """The settings once the port is known; a demonstration keeps to itself and talks to itself over loopback."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set} | {"port": port}
    if demo:
        values |= {
            "data_dir": settings.data_dir / "demo",
            "outbound_allow": (*settings.outbound_allow, *LOOPBACK),
        }
    return Settings(**values)


async def _start_demo(children: AsyncExitStack, settings: Settings, database: Database) -> None:
    """A sandbox pharmacy as a child, and the rows of the demonstration with the way to it."""
    with database.transaction() as session:
        known = rows.connection(session)
        url = known.base_url if known else f"http://127.0.0.1:{free_port()}"
        request_secret = known.request_secret if known else new_secret()
        report_secret = known.report_secret if known else new_secret()
        rows.seed(session, pharmacy_url=url, request_secret=request_secret, report_secret=report_secret)
    folder = settings.data_dir / "sandbox-pharmacy"
    arguments = ["sandbox-pharmacy", "--port", url.rpartition(":")[2], "--data-dir", str(folder)]
    environ = {
        "CASE_ORDERS_SANDBOX_REQUEST_SECRET": request_secret,
        "CASE_ORDERS_SANDBOX_REPORT_SECRET": report_secret,
    }
    await children.enter_async_context(child(arguments, environ))
    print(_invitation(settings.public_url), flush=True)


def _invitation(url: str) -> str:
    return f"""
case-orders serves a demonstration at {url} (Swagger UI: {url}/docs)
Place the documented order:

{example.curl(url)}
"""
