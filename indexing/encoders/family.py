"""An encoder family: what a module declares so that its encoders can be loaded by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .spec import ImageEncoder, Precision


class LoadEncoder(Protocol):
    """Loads one encoder of a family; `name` is the full name, `weights` the part of it after the colon."""

    def __call__(self, name: str, weights: str, *, device: str, precision: Precision) -> ImageEncoder:
        """Returns the encoder; see `load_encoder` for the arguments and errors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFamily:
    """Encoders that are loaded as `name` or `name:weights`.

    The module that declares a family must import without its packages, because the error message for an unknown name
    lists all families. Import them inside `load`, which runs after they were found to be installed.

    A family inside diantu is a module with a constant `FAMILY`, and one line in `encoders/__init__.py`. A family of
    another package is an entry point in the group `diantu.encoders`, whose name is the family's name and whose object
    is an `EncoderFamily`:

        [project.entry-points."diantu.encoders"]
        histogram = "my_package.histogram:FAMILY"

    Attributes:
        name: the part of an encoder's name before the colon.
        weights: what may follow the colon, for help texts; empty if nothing may.
        packages: modules that `load` imports.
        requirement: what `pip install` must be given to install them, for example `diantu[demo]`.
        load: loads one encoder.
    """

    name: str
    weights: str = ""
    packages: tuple[str, ...] = ()
    requirement: str
    load: LoadEncoder

    @property
    def usage(self) -> str:
        """How an encoder of this family is named: `hf:<a model repository …>`."""
        return f"{self.name}:<{self.weights}>" if self.weights else self.name

    def takes(self, colon: str, weights: str) -> bool:
        """Whether a name fits, of which `colon` and `weights` are the parts behind the family."""
        return bool(weights) if self.weights else not colon
