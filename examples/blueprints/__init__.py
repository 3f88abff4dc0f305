"""An application factory, and blueprints that are protected as a whole.

Run it with ``hypercorn "examples/blueprints:create_app()"``; the environment variable
JWT_SECRET_KEY holds a secret of 32 random bytes or more. The command ``quart --app
examples/blueprints jwt routes`` lists what is protected, and what is open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quart import Quart

from . import account, admin, auth
from .extensions import jwt


def create_app(config: Mapping[str, Any] | None = None) -> Quart:
    """A new app, configured by ``config`` as tests do, or by the environment."""
    app = Quart(__name__, static_folder=None)
    if config is None:
        config = {"JWT_SECRET_KEY": os.environ["JWT_SECRET_KEY"]}
    app.config.update(config)
    jwt.init_app(app)
    for part in (auth, account, admin):
        app.register_blueprint(part.blueprint)
    return app
