"""Ways to decide which version a request reaches, one module each: `shares` says what all of them offer."""
