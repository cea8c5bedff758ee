"""Local files as a person sees them: walking, listing, patterns, content types, refusals.

This room reaches a file below a folder without following links, and says why a path cannot be uploaded. It needs
`settings` alone, and knows neither S3 nor MongoDB.
"""
