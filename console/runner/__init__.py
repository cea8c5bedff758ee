"""Which uploads this process carries out: claims, leases, requests, adoption, clean-up.

This room needs `records` for documents, `transfer` for sending and `stream` for being woken. People and other hosts
reach it through documents alone, and it acts on them only inside what `policy` allows. It draws nothing and never calls
the screen.
"""
