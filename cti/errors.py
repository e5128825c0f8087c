"""Every error of ours, split by blame.

CallfloorError
├── SettingsError      the start-up file or environment is wrong; names the key
├── BadInput           what somebody typed, sent or uploaded; names the field
├── Refused            the request is well formed, but now is not the time or this is not the person
└── LinkError          the PBX link
    ├── LinkDown       not connected, or the link broke while an action was in flight
    ├── ActionTimeout  the PBX did not answer an action in time
    ├── ActionFailed   the PBX answered with an error
    ├── LoginRefused   wrong user or secret; reported once, not retried blindly
    ├── UntrustedPeer  the certificate shown is not one that we were told to trust
    └── ProtocolError  the peer does not speak AMI, or sent more than we are willing to hold
"""

from __future__ import annotations


class CallfloorError(Exception):
    """Root of all errors of ours."""


class SettingsError(CallfloorError):
    """The start-up file or an environment variable is wrong."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


class BadInput(CallfloorError):
    """What came from outside is wrong; ``field`` says where, ``problem`` is a stable code for translation."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class Refused(CallfloorError):
    """Understood, but not allowed now; ``why`` is a stable code for translation."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class LinkError(CallfloorError):
    """Something about the link to a PBX."""


class LinkDown(LinkError):
    """Not connected, or the link broke while an action was in flight."""


class ActionTimeout(LinkError):
    """The PBX did not answer an action in time. It may have been carried out all the same."""


class ActionFailed(LinkError):
    """The PBX answered with an error."""


class LoginRefused(LinkError):
    """The PBX refused user or secret."""


class UntrustedPeer(LinkError):
    """The other side showed a certificate that is not signed by whom we trust, or is not its own."""


class ProtocolError(LinkError):
    """The peer does not speak AMI, or sent more than we are willing to hold."""
