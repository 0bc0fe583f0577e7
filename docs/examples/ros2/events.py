"""Events of a running bimodal, over the WebSocket of its live page (docs/events.md). Needs the package websockets."""

import asyncio
import json
import os

import websockets

DEFAULT = "ws://127.0.0.1:8484/events"


async def events(address=DEFAULT, say=print):
    """Yield events as dicts, for ever; connects again where the system is restarted. A token: BIMODAL_TOKEN."""
    token = os.environ.get("BIMODAL_TOKEN")
    subprotocols = ["bimodal", token] if token else None
    while True:
        try:
            async with websockets.connect(address, subprotocols=subprotocols) as line:
                say(f"listening to {address}")
                async for text in line:
                    yield json.loads(text)
        except (OSError, websockets.exceptions.WebSocketException) as error:
            say(f"no events from {address}: {error}; trying again")
        await asyncio.sleep(1)
