"""The body that does IO: API process, namespaces, nftables, processes, the Kubernetes client, load firing."""
