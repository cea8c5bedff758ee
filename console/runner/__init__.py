"""Which uploads this process carries out: claims, leases, requests, clean-up."""
