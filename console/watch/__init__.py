"""Watched folders: rules, files at rest, what was already sent."""
