"""A peer that the bench must refuse: it stores nothing, and every other answer is not even a success."""

import sys

import uvicorn

from bench.peers.raw_asgi import Receive, Send, live, read_body, respond


class App:
    told = 0

    async def __call__(self, scope: dict[str, str], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        await read_body(receive)
        self.told += 1
        return await respond(send, 200, b'{"success":true}' if self.told % 2 else b'{"success":false}')


if __name__ == "__main__":
    uvicorn.run(App(), port=int(sys.argv[2]), access_log=False, log_level="warning")
