"""The embedded cluster: store, API, controllers, node agent, data plane. Sans-IO; never knows who judges it."""
