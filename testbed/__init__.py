"""A real single-node Kubernetes beside the embedded one: built from upstream's own modules, gone without a trace.

It is for tests and benchmarks only. segue itself must never import it, and must never need it.

    versions   which upstream versions          layout    where files lie, who has which address
    toolchain  Go, and Debian's packages        building  programs from Go modules, cached
    pki        certificates, kubeconfigs        configs   what each program is told (pure text)
    oci        image archives                   image_recipes  what is in which image
    cgroups    a control group of its own       node      PID 1 inside: starts, restarts, relays
    starting   up                               ending    down          status   what runs
"""
