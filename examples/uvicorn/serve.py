"""What the image runs: uvicorn with the application of this folder, one process per container."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    import uvicorn

    # Requests that never end would hold its shutdown for ever. Lifespan stays on: probes are answered from then on
    uvicorn.run("app:app", host=os.environ.get("POD_IP") or "0.0.0.0", port=8080, timeout_graceful_shutdown=5)
