"""Runtimes for the image side of the encoders that are torch models: ONNX Runtime, OpenVINO, TensorRT.

A runtime replaces one function, from normalised pixels to features. The model is exported once (`exporting`) and
compared with torch on photographs before it is used on a machine (`agreement`). Everything else, such as normalisation
and the text side, stays with torch, so the vectors belong to the same space and the fingerprint is the same.
"""

from __future__ import annotations

from .kinds import Runtime, as_runtime, check_runtime

__all__ = ["Runtime", "as_runtime", "check_runtime"]
