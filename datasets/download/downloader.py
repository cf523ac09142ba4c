"""What img2dataset's processes run: `python -m diantu.datasets.download.downloader` with img2dataset's own options.

It hides torch, which webdataset imports where it is installed, and of which img2dataset uses nothing: each process
would need twice the time to start, and 480 MB of memory instead of 110. The processes that img2dataset spawns import
this module before all others.
"""

from __future__ import annotations

import sys

sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  # an import of it fails, as if it were not installed

if __name__ == "__main__":
    from img2dataset import main

    main()
