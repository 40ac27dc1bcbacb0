"""Where packets go: netlink, namespaces, nftables, conntrack, the relay, and loopback mode's proxy.

It must never decide which endpoint serves a Service: `cluster.dataplane` does, and this package makes it so.
"""
