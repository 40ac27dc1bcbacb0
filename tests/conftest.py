"""What holds for all tests: Hypothesis tells the same stories each time, so that a red run means a change.

`make test-full` sets SEGUE_STORIES=random and looks for new ones; what it finds becomes a pinned test.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("pinned", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile(os.environ.get("SEGUE_STORIES", "pinned"))

# Whoever starts the tests in the background may have Ctrl-C ignored, and children inherit that: the tests that press it
# would press it in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
