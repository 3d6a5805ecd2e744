"""ENCODERS: the forms in which the durations of Batches can be sent, one module each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logstatsd.delivery.encoders.encoder import Encoder, Encoding
    from logstatsd.delivery.naming import Naming
    from logstatsd.delivery.sink import Sink


class EncoderEntry(NamedTuple):
    """One form: `module` has `make(naming, sink, encoding)`, imported at need.

    `bucket_s` is how finely it needs time to be kept, in seconds; 0 for not at all. `resumes` is whether a
    later run may go on where one stopped.
    """

    about: str
    module: str
    bucket_s: int = 0
    resumes: bool = True


ENCODERS: dict[str, EncoderEntry] = {
    "timings": EncoderEntry("one value a request, which counts when it arrives", f"{__name__}.timings"),
    "points": EncoderEntry(
        "ten-second points with the log's own times", f"{__name__}.points", 10, resumes=False
    ),
}


def make_encoder(name: str, naming: Naming, sink: Sink, encoding: Encoding) -> Encoder:
    """Make one of ENCODERS. Raises OptionError for what does not go together."""
    encoder: Encoder = import_module(ENCODERS[name].module).make(naming, sink, encoding)
    return encoder
