"""Send the same messages to a rosbridge server as JSON, from any machine, without ROS on it.

python3 rosbridge.py [ws://ROBOT:9090 [ws://127.0.0.1:8484/events]]

The robot runs `ros2 launch rosbridge_server rosbridge_websocket_launch.xml`, with hri_msgs installed. Needs the Python
package websockets. Tested against a stand-in of the server (tests/test_ros2.py): no ROS was at hand.
"""

import asyncio
import contextlib
import json
import sys
import time

import websockets
from events import DEFAULT, events
from mapping import Humans, acquired_ns


class Rosbridge:
    """Operations of the rosbridge protocol for events: each topic is advertised once."""

    def __init__(self, frame_id="camera"):
        self._humans = Humans(frame_id)
        self._advertised = set()

    def operations(self, event, now_ns):
        """The operations that publish one event; `now_ns`: the robot's clock, nanoseconds since 1970."""
        for topic, kind, fields in self._humans.messages(event, acquired_ns(event, now_ns)):
            if topic not in self._advertised:
                self._advertised.add(topic)
                yield {"op": "advertise", "topic": topic, "type": kind}
            yield {"op": "publish", "topic": topic, "msg": fields}


async def run(robot="ws://127.0.0.1:9090", address=DEFAULT):
    """Send events as they come; connects again where the robot is restarted."""
    while True:
        try:
            async with websockets.connect(robot) as line:
                print(f"sending to {robot}", flush=True)
                bridge = Rosbridge()
                async for event in events(address):
                    for operation in bridge.operations(event, time.time_ns()):
                        await line.send(json.dumps(operation))
        except (OSError, websockets.exceptions.WebSocketException) as error:
            print(f"no rosbridge at {robot}: {error}; trying again", flush=True)
        await asyncio.sleep(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(*sys.argv[1:]))
