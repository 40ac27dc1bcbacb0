"""What holds for all tests: Hypothesis tells the same stories each time, so that a red run means a change.

`make test-full` sets SEGUE_STORIES=random and looks for new ones; what it finds becomes a pinned test.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("pinned", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile(os.environ.get("SEGUE_STORIES", "pinned"))
