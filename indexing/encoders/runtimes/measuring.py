"""Measures how fast the runtimes of this machine encode the images of an encoder, in turn, so that all see one load."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping

import torch

from ....datasets.errors import InputError
from ..spec import ImageEncoder, Precision
from ..torch_encoder import TorchImageEncoder
from . import compiled
from .agreement import photographs, vectors, worst_cosine
from .images import RuntimeImages, torch_images
from .kinds import OTHERS, Computed, kind_of
from .table import Row, Table, conditions

_FEWEST, _MOST = 3, 50  # batches of each way

Way = tuple[str, Computed]  # runtime and precision


def measure(
    load: Callable[[str, Precision], ImageEncoder], *, device: torch.device, batch_size: int, seconds: float
) -> Table:
    """Measures all runtimes that can be used here: in fp32, and in the precision that `auto` takes.

    Args:
        load: loads the encoder in torch, on a device and in a precision.
        device: where it runs.
        batch_size: images per batch.
        seconds: how long to measure, after everything is loaded.

    Raises:
        InputError: if the encoder is no model of torch, or the batch size is not positive.
    """
    if batch_size < 1:
        raise InputError(f"the batch size is {batch_size}; give at least 1")
    in_fp32, by_auto = (torch_images(load(str(device), precision)) for precision in ("fp32", "auto"))
    ways: dict[Way, TorchImageEncoder] = {("torch", "fp32"): in_fp32}
    if by_auto.dtype is torch.bfloat16:
        ways["torch", "bf16"] = by_auto
    reference = in_fp32 if device.type == "cpu" else torch_images(load("cpu", "fp32"))
    left_out = _add_others(ways, reference, device)
    pixels_BCHW = photographs(reference, batch_size)
    started = {}
    try:
        started = _add_compiled(ways, by_auto, pixels_BCHW, lambda: reference)
    except InputError as error:
        left_out.append(str(error))
    expected_ND = vectors(reference)
    cosines = {way: worst_cosine(vectors(encoder), expected_ND) for way, encoder in ways.items()}
    times = _seconds_per_batch(ways, pixels_BCHW, seconds)
    return Table(
        encoder=reference.spec.name,
        fingerprint=reference.spec.fingerprint,
        batch_size=batch_size,
        conditions=conditions(device),
        rows=tuple(
            Row(
                runtime=runtime,
                precision=precision,
                images_per_s=round(batch_size / times[runtime, precision], 2),
                ms_per_batch=round(times[runtime, precision] * 1000, 2),
                cosine=round(cosines[runtime, precision], 6),
                start_seconds=started.get((runtime, precision)),
            )
            for runtime, precision in ways
        ),
        left_out=tuple(left_out),
    )


def _add_others(ways: dict[Way, TorchImageEncoder], reference: TorchImageEncoder, device: torch.device) -> list[str]:
    """Adds the other runtimes in the precisions of torch, and returns why some cannot be used."""
    left_out = []
    precisions: list[Computed] = [precision for _, precision in ways]
    for runtime in OTHERS:
        if runtime == "tensorrt" and device.type != "cuda":
            continue  # nobody expects it there
        try:
            for precision in precisions:
                if precision in kind_of(runtime).precisions:
                    images = RuntimeImages(reference.spec, runtime, device, precision, lambda: reference)
                    images.prepare()
                    ways[runtime, precision] = TorchImageEncoder(
                        reference.spec, images, device=device, dtype=torch.float32
                    )
        except InputError as error:
            left_out.append(str(error))
    return left_out


def _add_compiled(
    ways: dict[Way, TorchImageEncoder],
    encoder: TorchImageEncoder,
    pixels_BCHW: torch.Tensor,
    load_fp32: Callable[[], TorchImageEncoder],
) -> dict[Way, float]:
    """Adds the model compiled by torch, and returns the seconds that it took to compile it for such a batch."""
    images = compiled.compiled(encoder, load_fp32)
    other = copy.copy(encoder)
    other.encode_images_by(images, encoder.dtype)
    before = images.seconds
    other.encode_images(pixels_BCHW)
    way: Way = compiled.NAME, "bf16" if encoder.dtype is torch.bfloat16 else "fp32"
    ways[way] = other
    return {way: round(images.seconds - before or before, 1)}


def _seconds_per_batch(
    ways: Mapping[Way, TorchImageEncoder], pixels_BCHW: torch.Tensor, seconds: float
) -> dict[Way, float]:
    """The median time of a batch, while as many are computed beside each other as in a job."""
    for encoder in ways.values():
        encoder.encode_images(pixels_BCHW)  # the first batch of a size takes longer
    times: dict[Way, list[float]] = {way: [] for way in ways}
    end = time.perf_counter() + seconds
    for count in range(_MOST):
        if count >= _FEWEST and time.perf_counter() > end:
            break
        for way, encoder in ways.items():
            start = time.perf_counter()
            waiting = [encoder.start_images(pixels_BCHW) for _ in range(encoder.num_at_once)]
            for vectors_of in waiting:
                vectors_of()
            times[way].append((time.perf_counter() - start) / encoder.num_at_once)
    return {way: statistics.median(found) for way, found in times.items()}
