"""Errors of the broker and its clients. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class BrokerError(BimodalError):
    """Base of every error that this package raises on purpose."""


class EndpointError(BrokerError):
    """A socket can't be bound or connected: the address is invalid, in use, or belongs to another session."""


class MessageError(BrokerError):
    """Bytes that are no message of this protocol version."""


class VersionError(MessageError):
    """A message of another protocol version, `version`."""

    def __init__(self, version: int, ours: int) -> None:
        super().__init__(f"it speaks protocol version {version}, and this machine {ours}")
        self.version = version


class SlotError(BrokerError):
    """Shared memory can't be created, or a slot no longer holds what a job says it holds."""


class RingGoneError(SlotError):
    """The file of a ring was removed: no job in it can be read by anybody who has not mapped it before."""


class KeysError(BrokerError):
    """A CURVE key is missing, broken, or lies where others can read it."""


class ControlError(BrokerError):
    """A running system can't be asked or commanded, or refuses."""


class RefusedError(ControlError):
    """A running system understands a request and refuses it."""
