"""An application factory with protected blueprints.

Run it with ``hypercorn "examples/blueprints:create_app()"``. The environment variable
``JWT_SECRET_KEY`` must contain a secret of at least 32 random bytes. The command
``quart --app examples/blueprints jwt routes`` lists which routes are protected or open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quart import Quart

from . import account, admin, auth
from .extensions import jwt


def create_app(config: Mapping[str, Any] | None = None) -> Quart:
    """Create an app from a configuration, as in tests, or from the environment."""
    app = Quart(__name__, static_folder=None)
    app.config["JWT_IDENTITY_CLAIM"] = "sub"
    if config is None:
        config = {"JWT_SECRET_KEY": os.environ["JWT_SECRET_KEY"]}
    app.config.update(config)
    jwt.init_app(app)
    for module in (auth, account, admin):
        app.register_blueprint(module.blueprint)
    return app
