"""Principals: who is asking, as far as an `authenticate` hook or an API key tells."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hookline.errors import ConfigurationError

ADMIN = "admin"
"""The scope that sees and steers everybody's runs, sessions and deliveries."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and what they may do.

    With a `user_id`, runs are that user's, whatever the request says, and without the scope `admin` nothing of
    others is there. Without one it is an operator, or the application's own backend, which may act for anybody.

    Attributes:
        user_id: the user; None only together with the scope `admin`.
        scopes: words for what is allowed; hookline itself knows `admin`, the others are the application's.

    Raises:
        ConfigurationError: nobody without a right, a `user_id` that is blank or not printable, a scope that is no
            text.
    """

    user_id: str | None
    scopes: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        if isinstance(self.scopes, str) or not all(isinstance(scope, str) for scope in self.scopes):
            raise ConfigurationError(f"Principal: scopes={self.scopes!r} must be a collection of texts")
        object.__setattr__(self, "scopes", frozenset(self.scopes))
        if self.user_id is None and not self.is_admin:
            raise ConfigurationError("Principal: give it a user_id, or the scope 'admin'; return None for nobody")
        if self.user_id is not None and not _is_user_id(self.user_id):
            raise ConfigurationError(f"Principal: user_id={self.user_id!r} must be printable text and not blank")

    @property
    def is_admin(self) -> bool:
        """Whether it may see and steer what belongs to others."""
        return ADMIN in self.scopes

    def may_see(self, owner: str | None) -> bool:
        """Whether it may know of something that belongs to `owner`; None is nobody's, and only for admins."""
        return self.is_admin or (owner is not None and owner == self.user_id)


def _is_user_id(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())
