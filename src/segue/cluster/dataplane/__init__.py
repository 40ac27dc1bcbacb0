"""What a node's data plane should do, as values: Services and EndpointSlices in, a rule table and nftables text out.

It must never run anything: `host.network` applies what is planned here. It stands for kube-proxy in nftables mode.
"""
