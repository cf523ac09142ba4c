"""Prints the batch script of `diantu embed --executor slurm`: `python -m diantu.scripts.slurm_template > slurm.sh`."""

from __future__ import annotations

from pathlib import Path

from .. import indexing


def main() -> None:
    """Prints the template. It is read as a file, because importing its package would import torch."""
    folder = Path(indexing.__file__).parent / "embed" / "executors" / "slurm"
    print((folder / "template.sh").read_text("utf-8"), end="")


if __name__ == "__main__":
    main()
