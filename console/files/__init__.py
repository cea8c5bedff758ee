"""Local files as a person sees them.

Owns reaching a file below a folder without following links. Knows neither S3 nor MongoDB.
"""
