"""Which uploads this process carries out."""
