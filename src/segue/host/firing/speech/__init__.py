"""What is spoken on a kept connection: bytes in, answers out. No module here touches a socket or a clock.

They lie here and not in `load` because they stand on libraries (h2, websockets) that the pure rooms do not know.
"""
