"""What the image runs: gunicorn with the configuration and the application of this folder."""

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
sys.path.insert(0, HERE)

if __name__ == "__main__":
    from gunicorn.app.wsgiapp import run

    sys.argv[1:] = ["--config", f"{HERE}/gunicorn.conf.py", "--chdir", HERE, "app:application", *sys.argv[1:]]
    run()
