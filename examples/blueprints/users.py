"""The users. A real service stores them in a database."""

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
# Checked for unknown names, so that response times do not reveal which names exist.
NOBODY = User("", generate_password_hash(secrets.token_hex()))


async def check_password(name: str, password: str) -> bool:
    # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
    if not password.isprintable():
        return False
    user = USERS.get(name, NOBODY)
    # The hash is slow on purpose. In a thread, it does not block other requests.
    matches = await asyncio.to_thread(check_password_hash, user.password_hash, password)
    return matches and user is not NOBODY
