""" "Facts that rules stand on and no test of both clusters shows: of clouds, other versions, drawn from others."""

FACTS = {
    "A2": "An apply that carries replicas overwrites what an autoscaler has set; taken out of a client-side applied "
    "manifest, the field goes back to its default of 1 once.",
    "G2": "The AWS load balancer controller adds its readiness gate in namespaces with its label, for targets by pod "
    "address only; it closes the gap when pods start, and does nothing when they end.",
    "G4": "A backend's share is its weight by the sum of the rule's weights; a backend that cannot serve answers its "
    "share with 500 or 503.",
    "G5": "Weights of routes count requests; replicas behind one Service count connections, in steps of one pod.",
    "K10": "healthCheckNodePort answers 200 only where a ready pod stands on the node; one that is ending does not "
    "count, "
    "so that load balancers leave.",
    "K11": "With traffic policy Local the last pod of a node must serve for as long as the load balancer needs to "
    "notice, and must stay ready meanwhile.",
    "M2": "Probes with failureThreshold 1 and a timeout of 1 s fail under load: measured, a rollout of 10 pods was not "
    "complete after 100 s and lost 55 requests.",
    "N11": "An idle timeout in the application that is shorter than the one in front loses requests at any time, not "
    "only at releases. Defaults: AWS ALB 60 s, Node.js 5 s, gunicorn 2 s, nginx 75 s.",
    "P11": "In Kubernetes 1.35 and 1.36 exec readiness probes stop when a pod's termination begins.",
    "X1": "The kubelet hears of a deletion in milliseconds; proxies hear of it by way of EndpointSlices, load "
    "balancers "
    "by way of their cloud. Nothing makes the one wait for the others.",
    "X2": "preStop must be at least the time until the last new connection after a deletion; the grace period that, "
    "the "
    "longest request and 2 s. Usual: 5 s in the cluster, 15 to 40 s behind load balancers with pod addresses as "
    "targets.",
    "X7": "A preStop hook that begins the shutdown closes the listener before any proxy has reacted.",
    "X8": "A pod that is ready before it can serve, or before the load balancer knows it, loses what it is sent.",
    "X9": "A proxy in containers ends in parallel with the application, a native sidecar after it.",
    "X10": "Pods that are ending still hold their place on the node, so those that come first may find none.",
}
