"""How one pod lives and dies, without a pod: probes, shutdown timetable, restart back-off. Pure."""
