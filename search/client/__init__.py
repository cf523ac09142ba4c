"""A gallery that `diantu serve` serves somewhere: the same searches as those of `Gallery` (extra `client`)."""

from .client import Client

__all__ = ["Client"]
