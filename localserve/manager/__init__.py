"""Which models are loaded, within which memory, and who may use them.

Knows nothing of HTTP or of llama.cpp. Lives on the event loop.
"""

from localserve.manager.loading import Progress
from localserve.manager.manager import Lease, ModelManager
from localserve.manager.model import (
    Failed,
    Idle,
    Loaded,
    Loading,
    ModelReport,
    Ready,
    State,
)

__all__ = [
    "Failed",
    "Idle",
    "Lease",
    "Loaded",
    "Loading",
    "ModelManager",
    "ModelReport",
    "Progress",
    "Ready",
    "State",
]
