"""Who may log in. A real service keeps them in a database."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from werkzeug.security import check_password_hash, generate_password_hash


@dataclass
class User:
    name: str
    password_hash: str
    is_admin: bool = False


USERS = {
    "alice": User("alice", generate_password_hash("wonderland"), is_admin=True),
    "bob": User("bob", generate_password_hash("the-builder")),
    "carol": User("carol", generate_password_hash("christmas")),
}
# Checked for unknown names, so that no answer tells by its time which names exist.
NOBODY = User("", generate_password_hash(secrets.token_hex()))


async def check_password(name: str, password: str) -> bool:
    """In a thread: the hash is slow on purpose, and other requests need not wait."""
    user = USERS.get(name, NOBODY)
    matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
    return matches and user is not NOBODY
