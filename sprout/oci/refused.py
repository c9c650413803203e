"""What is refused because it may be somebody's attack: told apart from what merely failed."""

from __future__ import annotations

from enum import StrEnum

from sprout.base.errors import SproutError


class Why(StrEnum):
    """The reason for a refusal, in the words that a script can rely on."""

    MALFORMED = "malformed"
    ALTERED = "altered"
    UNSIGNED = "unsigned"
    STRANGER = "signed by a stranger"
    OTHER_DIGEST = "signature of another digest"
    OTHER_PREDICATE = "signature with another predicate"
    NOT_ATTESTED = "not attested"
    AGAINST_POLICY = "against the policy"
    TOO_OLD = "older than the signed minimum"


_HINTS = {
    Why.MALFORMED: "Nothing of it was used; tell whoever runs the registry.",
    Why.ALTERED: "Nothing of it was kept; fetch it again, or from where it was signed.",
    Why.UNSIGNED: "Sign it: sprout push NAME REFERENCE --key KEY.",
    Why.STRANGER: "If its signer is to be trusted, name that key with --key too.",
    Why.OTHER_DIGEST: "Somebody moved a signature; use the digest that was signed.",
    Why.OTHER_PREDICATE: "It vouches for something else; sign the artifact itself.",
    Why.NOT_ATTESTED: "Pack and sign it with Sprout, or ask less in the policy.",
    Why.AGAINST_POLICY: "Take one that was built as the policy wants, or change the policy.",
    Why.TOO_OLD: "Take a newer one; this version is not to be installed any more.",
}


class RefusedError(SproutError):
    """Bytes from outside that are not to be used; `why` says for what kind of reason."""

    def __init__(self, why: Why, where: str, problem: str) -> None:
        super().__init__(f"{where}: refused: {problem}", _HINTS[why])
        self.why = why

    @classmethod
    def again(cls, error: RefusedError) -> RefusedError:
        """Give the same refusal without the frames and the causes that it carries."""
        found = cls.__new__(cls)
        SproutError.__init__(found, error.message, error.hint)
        found.why = error.why
        return found


def malformed(where: str, problem: str) -> RefusedError:
    """Give the refusal of something that is not as its format wants it."""
    return RefusedError(Why.MALFORMED, where, problem)


def altered(where: str, problem: str) -> RefusedError:
    """Give the refusal of bytes that are not those that were named."""
    return RefusedError(Why.ALTERED, where, problem)
