"""A ROS 2 node that publishes the faces and voices of a running bimodal as ROS4HRI does (REP-155).

python3 bridge.py --ros-args -p address:=ws://127.0.0.1:8484/events -p frame_id:=camera

Needs ROS 2 with hri_msgs, and the Python package websockets; not bimodal itself. Written for Humble and newer. It was
run with stand-ins of rclpy and of the messages only (tests/test_ros2.py): no ROS was at hand.
"""

import asyncio
import contextlib
import importlib

import rclpy
from events import DEFAULT, events
from mapping import Humans, acquired_ns
from rclpy.node import Node
from rosidl_runtime_py.set_message import set_message_fields

DEPTH = 10


class Bridge(Node):
    """Publishes each event; a face's topics go with it."""

    def __init__(self):
        super().__init__("bimodal_bridge")
        self.address = self.declare_parameter("address", DEFAULT).value
        self._humans = Humans(self.declare_parameter("frame_id", "camera").value)
        self._topics = {}
        self._of_stream = {}

    def publish(self, event):
        """Publish one event as messages."""
        stamp_ns = acquired_ns(event, self.get_clock().now().nanoseconds)
        found = self._humans.messages(event, stamp_ns)
        for topic, kind, fields in found:
            message = self._type(kind)()
            set_message_fields(message, fields)
            self._publisher(topic, kind).publish(message)
        self._forget(event["stream"], {topic for topic, _, _ in found})

    def _publisher(self, topic, kind):
        if topic not in self._topics:
            self._topics[topic] = self.create_publisher(self._type(kind), topic, DEPTH)
        return self._topics[topic]

    def _forget(self, stream, topics):
        """Take away the topics of faces that are gone from a stream."""
        gone = self._of_stream.get(stream, set()) - topics
        self._of_stream[stream] = topics
        for topic in gone:
            if topic.startswith("/humans/faces/"):
                self.destroy_publisher(self._topics.pop(topic))

    @staticmethod
    def _type(kind):
        package, _, name = kind.split("/")
        return getattr(importlib.import_module(f"{package}.msg"), name)


async def run(node):
    """Publish events until ROS is shut down."""
    async for event in events(node.address, node.get_logger().info):
        if not rclpy.ok():
            return
        node.publish(event)


def main():
    """Run the node."""
    rclpy.init()
    node = Bridge()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(run(node))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
