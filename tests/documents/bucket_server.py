"""As much of the S3 protocol as a document store needs, over a dict."""

import hashlib
from typing import Any

from aiohttp import web

_LISTING = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>bucket</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)


class BucketServer:
    """Call `answer` as an aiohttp handler; `refuse_with` makes every answer that status."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuse_with: int | None = None

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if self.refuse_with:
            return web.Response(status=self.refuse_with)
        if request.method == "PUT":
            return await self._put(request)
        if "list-type" in request.query:
            return web.Response(text=_LISTING, content_type="application/xml")
        if request.path not in self.objects:
            return web.Response(status=404)
        return _part(self.objects[request.path], request.http_range)

    async def _put(self, request: web.BaseRequest) -> web.Response:
        if request.headers.get("If-None-Match") == "*" and request.path in self.objects:
            return web.Response(status=412)
        self.objects[request.path] = await request.read()
        return web.Response(headers=_headers(self.objects[request.path]))


def _part(data: bytes, wanted: slice) -> web.Response:
    """The whole of an object or, where a range was asked for, the beginning of it: RFC 9110 section 14.4."""
    if wanted.stop is None:
        return web.Response(body=data, headers=_headers(data))
    part = data[wanted]
    place = f"bytes {wanted.start}-{wanted.start + len(part) - 1}/{len(data)}"
    return web.Response(body=part, status=206, headers=_headers(data) | {"Content-Range": place})


def _headers(data: bytes) -> dict[str, Any]:
    return {
        "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
        "Last-Modified": "Mon, 15 Jan 2024 10:00:00 GMT",
    }
