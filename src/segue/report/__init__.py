"""Values to draw: SVG, HTML and terminal pictures. Pure."""
