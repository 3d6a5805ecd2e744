"""A small Flask shop API: the app whose access logs are kept beside it.

Try it: `flask --app sample_logs/shop.py run`, or `gunicorn --chdir sample_logs shop:app`.

It has one of everything that a router meets in the wild: blueprints, nested and with prefixes, every built-in
converter and three of its own, several methods on one rule, static files, redirects, streams and errors. The
views make their answers up and sleep for about as long as a real one would work.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from typing import NoReturn
from uuid import UUID

from flask import Blueprint, Flask, Response, abort, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Gone, HTTPException
from werkzeug.routing import BaseConverter, ValidationError

COUPONS = {"WELCOME": 5, "SUMMER24": 10, "STAFF": 30}
CLOSED_MARKETS = {"su", "yu"}
LAST_PRODUCT = 500

_dice = random.Random(2024)


def work(typical_ms: float) -> None:
    """Take about as long as a database would: most calls near the typical time, a few much longer."""
    time.sleep(_dice.lognormvariate(math.log(typical_ms), 0.5) / 1000)


# --- converters -----------------------------------------------------------------------------------------


class SkuConverter(BaseConverter):
    """A stock keeping unit such as `AB-1234-0`; its last digit is the digit sum of the middle, modulo 10.

    A wrong check digit is a ValidationError: Werkzeug answers 404 and tries no other rule.
    """

    regex = r"[A-Z]{2}-\d{4}-\d"

    def to_python(self, value: str) -> str:
        _, digits, check = value.split("-")
        if sum(map(int, digits)) % 10 != int(check):
            raise ValidationError
        return value


class CouponConverter(BaseConverter):
    """A coupon that is looked up in the app's database, so it needs an app context."""

    def to_python(self, value: str) -> int:
        coupons: dict[str, int] = current_app.config["COUPONS"]
        if value not in coupons:
            raise ValidationError
        return coupons[value]


class MarketConverter(BaseConverter):
    """A two-letter market; one that has closed answers 410 Gone before any view is chosen."""

    regex = "[a-z]{2}"

    def to_python(self, value: str) -> str:
        if value in CLOSED_MARKETS:
            raise Gone(f"The market {value!r} has closed.")
        return value


# --- pages ----------------------------------------------------------------------------------------------

pages = Blueprint("pages", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    work(2)
    return "<!doctype html><title>Shop</title><link rel=stylesheet href=/static/shop.css><h1>Shop</h1>"


@pages.get("/about/")
def about() -> ResponseReturnValue:
    return "<!doctype html><title>About us</title>"


@pages.get("/search")
def search() -> ResponseReturnValue:
    work(12)
    return {"query": request.args.get("q", ""), "hits": []}


@pages.get("/news/", defaults={"page": 1})
@pages.get("/news/page/<int:page>")
def news(page: int) -> ResponseReturnValue:
    """`/news/page/1` is redirected to `/news/`, as Flask does for a rule with defaults."""
    return {"page": page}


@pages.get("/docs/<path:page>")
def docs(page: str) -> ResponseReturnValue:
    work(1)
    return {"page": page}


@pages.get("/health")
def health() -> ResponseReturnValue:
    return {"status": "ok"}


# --- catalog --------------------------------------------------------------------------------------------

catalog = Blueprint("catalog", __name__, url_prefix="/products")


@catalog.route("/", methods=["GET", "POST"])
def products() -> ResponseReturnValue:
    work(6)
    if request.method == "POST":
        return {"id": LAST_PRODUCT + 1}, 201
    return {"products": list(range(1, 21)), "page": request.args.get("page", 1, type=int)}


@catalog.route("/<int:product_id>", methods=["GET", "PUT", "PATCH", "DELETE"])
def product(product_id: int) -> ResponseReturnValue:
    work(3)
    if product_id > LAST_PRODUCT:
        abort(404, f"There is no product {product_id}.")
    if request.method == "DELETE":
        return "", 204
    return {"id": product_id, "price": 4.95}


@catalog.get("/sku/<sku:sku>")
def by_sku(sku: str) -> ResponseReturnValue:
    work(3)
    return {"sku": sku}


@catalog.get("/<any(books, games, music):category>/")
def category(category: str) -> ResponseReturnValue:
    work(8)
    return {"category": category, "products": []}


@catalog.get("/under/<float:price>")
def under(price: float) -> ResponseReturnValue:
    work(5)
    return {"under": price, "products": []}


@catalog.route("/<int:product_id>/reviews", methods=["GET", "POST"])
@catalog.get("/<int:product_id>/reviews/<int(min=1):number>")
def reviews(product_id: int, number: int = 0) -> ResponseReturnValue:
    work(4)
    return {"product": product_id, "review": number}


# --- orders ---------------------------------------------------------------------------------------------

orders = Blueprint("orders", __name__, url_prefix="/orders")


@orders.post("/")
def place_order() -> ResponseReturnValue:
    work(25)
    return {"status": "placed"}, 201


@orders.route("/<uuid:order_id>", methods=["GET", "DELETE"])
def order(order_id: UUID) -> ResponseReturnValue:
    work(5)
    return {"id": str(order_id), "total": 29.70}


@orders.get("/<uuid:order_id>/items/<int:line>")
def order_line(order_id: UUID, line: int) -> ResponseReturnValue:
    work(2)
    return {"order": str(order_id), "line": line}


@orders.post("/<uuid:order_id>/refund")
def refund(order_id: UUID) -> NoReturn:
    """The bug of this shop: it answers 500, always."""
    work(15)
    raise RuntimeError(f"payment provider refused to refund {order_id}")


@orders.get("/export.csv")
def export() -> ResponseReturnValue:
    """Stream rows while they are being made."""

    def rows() -> Iterator[str]:
        yield "order,total\n"
        for number in range(20):
            work(1)
            yield f"{number},29.70\n"

    return Response(rows(), mimetype="text/csv")


# --- customers ------------------------------------------------------------------------------------------

customers = Blueprint("customers", __name__)


@customers.get("/users/<username>")
def user(username: str) -> ResponseReturnValue:
    work(3)
    return {"name": username}


@customers.route("/users/<username>/cart/<int:product_id>", methods=["PUT", "DELETE"])
def cart(username: str, product_id: int) -> ResponseReturnValue:
    work(4)
    return {"user": username, "product": product_id}


@customers.get("/coupons/<coupon:percent>")
def coupon(percent: int) -> ResponseReturnValue:
    return {"percent": percent}


@customers.get("/markets/<market:market>/offers")
def offers(market: str) -> ResponseReturnValue:
    work(7)
    return {"market": market, "offers": []}


# --- staff only -----------------------------------------------------------------------------------------

admin = Blueprint("admin", __name__, url_prefix="/admin")


@admin.before_request
def require_staff() -> None:
    """Stop everyone who does not say the magic word; the rule has matched all the same."""
    if request.headers.get("Authorization") != "Bearer staff":
        abort(401)


@admin.get("/")
def dashboard() -> ResponseReturnValue:
    work(30)
    return {"orders_today": 42}


@admin.get("/reports/<string(length=7):month>")
def monthly(month: str) -> ResponseReturnValue:
    work(60)
    return {"month": month}


# --- the app --------------------------------------------------------------------------------------------


def as_json(error: HTTPException) -> ResponseReturnValue:
    """Answer every error in the API's own language."""
    return {"error": error.name, "detail": error.description}, error.code or 500


def create_app() -> Flask:
    """Build the shop; `app` below is one that is ready made."""
    shop = Flask(__name__)
    shop.config["COUPONS"] = COUPONS
    shop.url_map.converters.update(sku=SkuConverter, coupon=CouponConverter, market=MarketConverter)
    shop.register_error_handler(HTTPException, as_json)

    api = Blueprint("api", __name__, url_prefix="/api")
    for part in (catalog, orders, customers):
        api.register_blueprint(part)
    for blueprint in (pages, api, admin):
        shop.register_blueprint(blueprint)

    shop.add_url_rule("/shop/<int:product_id>", "old_product", redirect_to="/api/products/<product_id>")
    return shop


app = create_app()
