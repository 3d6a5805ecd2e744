"""What Flask itself makes of a request: the referee of the router's tests."""

from __future__ import annotations

import traceback
import warnings
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import random_maps
from random_maps import Boom, DeniedMethod
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BuildError, RequestRedirect
from werkzeug.test import EnvironBuilder

from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import MapAdapter, Rule

    from logstatsd.routing.router import Router


def adapter_for(app: Flask, host: str) -> MapAdapter | None:
    """The map, bound as Flask binds it for a request with this Host; None where it answers 400."""
    environ = EnvironBuilder().get_environ()
    environ["HTTP_HOST"] = host
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return app.create_url_adapter(app.request_class(environ))
    except HTTPException:
        return None


def label(app: Flask, router: Router, rule: Rule) -> Route:
    text = rule.rule
    if app.url_map.host_matching:
        text = (rule.host or "") + text
    elif router.uses_host and rule.subdomain:
        text = f"{rule.subdomain}.{app.config['SERVER_NAME']}{text}"
    return Route(text, str(rule.endpoint), "matched")


def what_flask_matched(
    app: Flask, router: Router, adapter: MapAdapter | None, method: str, target: bytes, websocket: bool
) -> Route | None:
    """The label by Werkzeug itself; None where a converter broke."""
    if adapter is None:
        return UNMATCHED
    raw = target.partition(b"?")[0].partition(b"#")[0]
    path = unquote_to_bytes(raw).decode("utf-8", "replace")
    try:
        rule, _ = adapter.match(path, method, return_rule=True, websocket=websocket)
    except RequestRedirect:
        return REDIRECT
    except MethodNotAllowed as error:
        return UNMATCHED if isinstance(error, DeniedMethod) else METHOD_NOT_ALLOWED
    except HTTPException:
        return UNMATCHED
    except Boom:
        return None
    except BuildError:
        return REDIRECT  # of which the app cannot make the URL, so that it answers 500
    except (ValueError, TypeError) as error:  # 500, and before Werkzeug 3.1.7 from its own converters too
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        return None if raised_in == random_maps.__file__ else UNMATCHED
    return label(app, router, rule)
