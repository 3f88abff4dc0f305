"""Checking passwords, for the examples that are about something else.

examples/quickstart.py and examples/users_in_database.py show a login in full.
"""

from __future__ import annotations

import asyncio
import secrets

from werkzeug.security import check_password_hash, generate_password_hash

PASSWORDS = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that no answer tells by its time which names exist.
NO_PASSWORD = generate_password_hash(secrets.token_hex())


async def check_password(name: str, password: str) -> bool:
    """Hash in a thread: that is slow on purpose, and other requests need not wait."""
    # JSON may hold half characters, which no hash takes. They do not print.
    if not password.isprintable():
        return False
    known = PASSWORDS.get(name, NO_PASSWORD)
    matches = await asyncio.to_thread(check_password_hash, known, password)
    return matches and name in PASSWORDS
