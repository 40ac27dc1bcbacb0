"""The Gateway API in the embedded cluster: its objects, who attaches to whom, and what a proxy is told."""
