"""The embedded cluster's DNS: a server process (`server`) and the cluster's side of it (`keeper`).

It must never decide what a name means: `segue.dns` does, and this package carries it.
"""
