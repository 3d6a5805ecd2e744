"""The app that the benchmark's logs are of: a Flask app with 73 rules over every built-in converter.

RULES is in an order in which the first rule whose pattern fits is also the one that Flask matches, so that
peers which take a list of patterns can be given it as it is.
"""

from __future__ import annotations

from flask import Flask

# rule, methods
RULES: tuple[tuple[str, str], ...] = (
    ("/", "GET"),
    ("/health", "GET"),
    ("/login", "GET POST"),
    ("/logout", "POST"),
    ("/about/", "GET"),
    ("/pricing", "GET"),
    ("/robots.txt", "GET"),
    ("/search", "GET"),
    ("/search/<string:term>", "GET"),
    ("/api/v1/status", "GET"),
    ("/api/v1/users", "GET POST"),
    ("/api/v1/users/me", "GET PATCH"),
    ("/api/v1/users/<int:user_id>", "GET PUT PATCH DELETE"),
    ("/api/v1/users/<int:user_id>/orders", "GET POST"),
    ("/api/v1/users/<int:user_id>/orders/<uuid:order_id>", "GET DELETE"),
    ("/api/v1/users/<int:user_id>/avatar", "GET PUT"),
    ("/api/v1/users/<int:user_id>/friends", "GET"),
    ("/api/v1/users/<int:user_id>/friends/<int:friend_id>", "PUT DELETE"),
    ("/api/v1/users/<int:user_id>/settings/<any(mail, privacy, theme):section>", "GET PUT"),
    ("/api/v1/orders", "GET POST"),
    ("/api/v1/orders/<uuid:order_id>", "GET PATCH"),
    ("/api/v1/orders/<uuid:order_id>/items", "GET POST"),
    ("/api/v1/orders/<uuid:order_id>/items/<int:item>", "GET DELETE"),
    ("/api/v1/orders/<uuid:order_id>/invoice.pdf", "GET"),
    ("/api/v1/orders/<uuid:order_id>/<any(cancel, refund, ship):action>", "POST"),
    ("/api/v1/products", "GET"),
    ("/api/v1/products/<int:product_id>", "GET"),
    ("/api/v1/products/<int:product_id>/reviews", "GET POST"),
    ("/api/v1/products/<int:product_id>/stock", "GET PUT"),
    ("/api/v1/products/<int:product_id>/price/<float:amount>", "PUT"),
    ("/api/v1/categories", "GET"),
    ("/api/v1/categories/<string:slug>", "GET"),
    ("/api/v1/categories/<string:slug>/products", "GET"),
    ("/api/v1/carts/<uuid:cart_id>", "GET"),
    ("/api/v1/carts/<uuid:cart_id>/items", "POST"),
    ("/api/v1/carts/<uuid:cart_id>/checkout", "POST"),
    ("/api/v1/coupons/<string:code>", "GET"),
    ("/api/v1/geo/<float:lat>/<float:lon>", "GET"),
    ("/api/v1/geo/near/<float:lat>/<float:lon>/<int:radius>", "GET"),
    ("/api/v1/files", "POST"),
    ("/api/v1/files/<path:name>", "GET PUT DELETE"),
    ("/api/v1/export/<any(csv, json, xml):kind>", "GET"),
    ("/api/v1/export/<any(csv, json, xml):kind>/<int:year>", "GET"),
    ("/api/v1/jobs", "GET POST"),
    ("/api/v1/jobs/<uuid:job_id>", "GET DELETE"),
    ("/api/v1/jobs/<uuid:job_id>/log", "GET"),
    ("/api/v1/metrics/<string:name>/<int:window>", "GET"),
    ("/api/v1/webhooks/<string:source>", "POST"),
    ("/api/v1/tokens", "POST"),
    ("/api/v1/tokens/<uuid:token_id>", "DELETE"),
    ("/api/v2/items/<int:item_id>", "GET PUT"),
    ("/api/v2/items/<int:item_id>/tags/<string:tag>", "PUT DELETE"),
    ("/api/v2/items/<int:item_id>/history", "GET"),
    ("/api/v2/search/<any(users, items, orders):kind>/<string:query>", "GET"),
    ("/api/v2/batch", "POST"),
    ("/blog/", "GET"),
    ("/blog/<int:year>/", "GET"),
    ("/blog/<int:year>/<int:month>/", "GET"),
    ("/blog/<int:year>/<int:month>/<string:slug>", "GET"),
    ("/blog/feed.xml", "GET"),
    ("/blog/tags/<string:tag>/", "GET"),
    ("/docs/", "GET"),
    ("/docs/<path:page>", "GET"),
    ("/shop/<string:category>/<string:product>", "GET"),
    ("/shop/<string:category>/", "GET"),
    ("/account/", "GET"),
    ("/account/profile", "GET POST"),
    ("/account/orders/<uuid:order_id>", "GET"),
    ("/account/invoices/<int:year>/<int:number>", "GET"),
    ("/admin/", "GET"),
    ("/admin/users/<int:user_id>/<any(ban, unban, reset):action>", "POST"),
    ("/admin/reports/<string:name>", "GET"),
    ("/assets/<path:name>", "GET"),
)


def view(**_values: object) -> str:
    """Answer with nothing: only the routing of this app is of interest."""
    return ""


def make_app() -> Flask:
    """Build the app; the endpoint of rule number 7 is `view7`."""
    app = Flask("bench", static_folder=None)
    for number, (rule, methods) in enumerate(RULES):
        app.add_url_rule(rule, f"view{number}", view, methods=methods.split())
    return app


app = make_app()
