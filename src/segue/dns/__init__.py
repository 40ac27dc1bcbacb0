"""What one lookup of a name costs: which queries a C library sends, in which order, and what each is answered.

Values in, values out. `resolver` is a pod's resolv.conf and hosts file, `world` says what servers would answer,
`lookup` walks as glibc or musl do, `explaining` walks again with other settings. `zone` is what a cluster's names are,
`wire` how they travel, `responder` what a server answers.

Rule: nothing is asked here. The walks are rules read off the two libraries and held against the real ones by
tests/live/test_lookup_capture.py.
"""
