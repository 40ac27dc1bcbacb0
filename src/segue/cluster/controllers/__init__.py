"""The cluster's controllers: each looks at the state and returns what it wants written. They do not know each other."""
