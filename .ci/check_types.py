"""Checks the README's Python examples with pyright in strict mode, against the wheel as users install it.

The editable install does not serve here: pyright does not follow its import hook, and it would not show a missing
`py.typed`. So the wheel is unpacked into a small environment that shares all other packages with this one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def main() -> int:
    """Returns pyright's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        python = _environment(root)
        examples = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text("utf-8"), re.DOTALL)
        for number, example in enumerate(examples):
            (root / f"readme_{number}.py").write_text(example, encoding="utf-8")
        settings = {"include": ["readme_*.py"], "typeCheckingMode": "strict"}
        (root / "pyrightconfig.json").write_text(json.dumps(settings))
        return subprocess.run(["pyright", "--pythonpath", str(python)], cwd=root, check=False).returncode


def _environment(root: Path) -> Path:
    """An environment with the wheel; gives its interpreter."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(root), str(REPOSITORY)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    venv.create(root / "venv", with_pip=False)
    (packages,) = (root / "venv" / "lib").glob("python*/site-packages")
    (wheel,) = root.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root / "venv" / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
