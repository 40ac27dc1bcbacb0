"""The node agent's body: processes in namespaces, probes on sockets, logs in files. It decides nothing."""
