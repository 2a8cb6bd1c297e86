"""Why a document could not be stored or read."""


class DocumentExists(Exception):
    """Another document is stored under this key; it stays as it is."""


class DocumentMissing(Exception):
    """No document is stored under this key."""


class StoreUnavailable(Exception):
    """The store cannot be used now; `reason` is short English without a path, an address or a name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
