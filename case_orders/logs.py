"""Logs: one JSON object a line on stderr. Nothing that came with a request is ever in one, beside its id."""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from case_orders.errors import describe, where


def configure(level: str) -> None:
    """Set up logging for this process; libraries' own records take the same form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _name_logger,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_text_of_exceptions,
    ]
    as_json = structlog.processors.JSONRenderer(serializer=_json)
    # Our own lines are written without the standard library, whose records take longer to make than to write.
    structlog.configure(
        processors=[*shared, as_json],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_first_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_json],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Connexion logs what it refuses, values and all; aiohttp and uvicorn log the client's words in their warnings;
    # Alembic tells of every look at the schema.
    for name in ("connexion", "aiohttp", "uvicorn", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _Lines(structlog.WriteLogger):
    """Writes the lines of the logger that is called `name`."""

    def __init__(self, name: str = "case_orders") -> None:
        super().__init__(sys.stderr)
        self.name = name


def _json(event: EventDict, **_options: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _name_logger(logger: logging.Logger | _Lines, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record is not None else logger.name
    return event


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
