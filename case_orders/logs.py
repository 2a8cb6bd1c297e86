"""Logs: one JSON object a line on stderr. Nothing that came with a request is ever in one, beside its id."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from case_orders.errors import describe, where


def configure(level: str) -> None:
    """Set up logging for this process; libraries' own records take the same form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_text_of_exceptions,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_first_line, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Connexion logs what it refuses, values and all; aiohttp and uvicorn log the client's words in their warnings;
    # Alembic tells of every look at the schema.
    for name in ("connexion", "aiohttp", "uvicorn", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _first_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Below its first line asyncio puts tasks and callbacks, with the exceptions and values that they hold."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _without_text_of_exceptions(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Of an exception only its type and place: its text, and those of its causes, may hold values."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given if isinstance(given, BaseException) else None
    if given and error is None:
        error = sys.exception()
    if error is not None:
        event.update(error=describe(error), where=where(error))
    return event
