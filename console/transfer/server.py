"""What is known of the S3 server at the other end, learned while talking to it.

Owns which checksums requests carry. AWS is known to verify and return them. Of other servers nothing is known until
the first answer: until then MD5 is sent as well, and compared with the ETag; for a server that returns no checksum it
remains the only one. Shared by all threads; every change is one assignment, and late news do no harm: a refusal is
judged by what its request carried, not by what is known when it arrives.
"""

from __future__ import annotations

from typing import Final

from console.choices import ChecksumPolicy
from console.transfer.checksums import Algorithm

_REFUSALS: Final = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
"""How servers that do not know a header of a request say so."""


class ServerTraits:
    """The habits of one server."""

    def __init__(self, *, is_aws: bool, policy: ChecksumPolicy = "auto") -> None:
        self.algorithm: Final = _choose(policy, is_aws)
        self.returns_checksums: bool | None = True if is_aws else None
        """Whether answers carry the checksum that was sent; None while nobody knows."""
        if self.algorithm is Algorithm.MD5:
            self.returns_checksums = False
        self.takes_conditions = True
        """Whether `If-None-Match` may be sent at all; some servers refuse the header."""

    def algorithms(self) -> tuple[Algorithm, ...]:
        """What has to be computed of the next body, and goes with its request."""
        if self.returns_checksums:
            return (self.algorithm,)
        if self.returns_checksums is None:
            return (self.algorithm, Algorithm.MD5)
        return (Algorithm.MD5,)

    def learn(self, returns_checksums: bool) -> None:
        """An answer came to a request that carried a checksum."""
        if self.returns_checksums is None:
            self.returns_checksums = returns_checksums

    def learn_from_refusal(self, code: str, *, conditional: bool, had_checksums: bool) -> bool:
        """A request that carried these was refused with `code`. Whether the next one will be a simpler one, so that
        trying pays; it is so too where others under way at the same time were refused first."""
        if code not in _REFUSALS:
            return False
        if conditional and code == "NotImplemented":
            # S3's code for a header that it does not know. It says nothing of the checksums: should it have meant
            # those, the next request tells. (Backblaze refuses checksums as InvalidArgument, and takes conditions.)
            self.takes_conditions = False
            return True
        if not had_checksums or self.algorithm is Algorithm.MD5 or self.returns_checksums:
            return False
        self.returns_checksums = False
        return True


def _choose(policy: ChecksumPolicy, is_aws: bool) -> Algorithm:
    # Servers other than AWS know the four of 2022, of which the processor has an instruction for this one.
    wished = Algorithm[policy.upper()] if policy != "auto" else Algorithm.CRC64NVME if is_aws else Algorithm.CRC32C
    return wished if wished.is_available else Algorithm.CRC32
