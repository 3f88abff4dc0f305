"""Password check for the examples that are not about login.

examples/quickstart.py and examples/users_in_database.py show a complete login.
"""

from __future__ import annotations

import asyncio
import secrets

from werkzeug.security import check_password_hash, generate_password_hash

PASSWORD_HASHES = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that response times do not reveal which names exist.
DUMMY_HASH = generate_password_hash(secrets.token_hex())


async def check_password(name: str, password: str) -> bool:
    # JSON may contain lone surrogates, which cannot be hashed. They are not printable.
    if not password.isprintable():
        return False
    password_hash = PASSWORD_HASHES.get(name, DUMMY_HASH)
    # The hash is slow on purpose. In a thread, it does not block other requests.
    matches = await asyncio.to_thread(check_password_hash, password_hash, password)
    return matches and name in PASSWORD_HASHES
