"""What the decoder makes of a folder of odd image files: which are decoded, refused, or crash it, at what cost.

    python -m diantu.scripts.bench_decode FOLDER [FOLDER …]

Every file is decoded in a process of its own, as the test sets of Pillow, libtiff and libheif need it. Printed are the
counts by reason, the crashes, the highest memory of a process, the slowest files, and the files that differ from what
Pillow alone gives (turned by EXIF, on white, as RGB): refused here and not there, other sizes, other pixels.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..datasets.decoding import decode_with_notes
from ..datasets.errors import SampleError

_SECONDS = 120.0
_SHOWN = 8
_DIFFERENCE = 2.0  # of 255, on average; conversions differ by less


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened to one file: `decoded`, a reason, `crashed` or `too slow`; memory in MB."""

    path: Path
    result: str
    seconds: float = 0.0
    memory: float = 0.0
    note: str = ""


def run(folders: list[str]) -> int:
    """Decodes every file below some folders and prints what came of it; 1 if one crashed or was too slow."""
    paths = sorted(path for folder in folders for path in Path(folder).rglob("*") if path.is_file())
    outcomes = list(_outcomes(paths))
    counts = Counter(outcome.result for outcome in outcomes)
    print(f"{len(outcomes)} files: " + ", ".join(f"{number} {result}" for result, number in counts.most_common()))
    for title, key, unit in (("memory", lambda it: it.memory, "MB"), ("time", lambda it: it.seconds, "s")):
        print(f"most {title}:")
        for outcome in sorted(outcomes, key=key, reverse=True)[:_SHOWN]:
            print(f"  {key(outcome):8.1f} {unit}  {outcome.path.name}")
    for outcome in outcomes:
        if outcome.note:
            print(f"  {outcome.path.name}: {outcome.result}: {outcome.note}")
    return int(any(outcome.result in ("crashed", "too slow") for outcome in outcomes))


def _outcomes(paths: list[Path]) -> Iterator[Outcome]:
    context = multiprocessing.get_context("fork")  # nothing runs in this process that a fork could break
    for path in paths:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_decode, args=(path, theirs))
        process.start()
        theirs.close()
        started = time.perf_counter()
        try:
            yield ours.recv() if ours.poll(_SECONDS) else Outcome(path=path, result="too slow", seconds=_SECONDS)
        except EOFError:
            process.join()
            yield Outcome(
                path=path,
                result="crashed",
                seconds=time.perf_counter() - started,
                note=f"exit status {process.exitcode}",
            )
        finally:
            process.kill()
            process.join()


def _decode(path: Path, answer: Connection) -> None:
    sys.stderr = open("/dev/null", "w")  # noqa: SIM115 - the process ends soon
    data, note, rgb_HWC = path.read_bytes(), "", None
    started = time.perf_counter()
    try:
        decoded = decode_with_notes(data)
        result, rgb_HWC, note = "decoded", decoded.rgb_HWC, "; ".join(decoded.notes)
    except SampleError as error:
        result, note = error.reason.value, error.detail
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = " | ".join(filter(None, (note, _compared(path, rgb_HWC))))
    answer.send(Outcome(path=path, result=result, seconds=seconds, memory=memory, note=note))


def _compared(path: Path, rgb_HWC: np.ndarray | None) -> str:
    """How Pillow's own pixels differ; empty if they do not, or if neither can decode the file."""
    try:
        with Image.open(path) as image:
            image_format = image.format
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I") or upright.mode == "F":
                return ""  # Pillow clips them at 255
            reference = np.asarray(_flattened(upright))
    except Exception as error:  # Pillow raises almost anything
        return "" if rgb_HWC is None else f"Pillow refuses it: {type(error).__name__}"
    if rgb_HWC is None:
        return f"Pillow decodes it as {image_format}, {reference.shape}"
    if reference.shape != rgb_HWC.shape:
        return f"Pillow gives {reference.shape}, not {rgb_HWC.shape}"
    difference = float(np.abs(reference.astype(np.float32) - rgb_HWC).mean())
    return f"differs from Pillow by {difference:.1f} ({image_format}, {image.mode})" if difference > _DIFFERENCE else ""


def _flattened(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
