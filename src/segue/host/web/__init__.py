"""The live page on sockets: who may see it, what it is told, and the commands that its buttons begin."""
