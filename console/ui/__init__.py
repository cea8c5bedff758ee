"""The Textual screens: views of records.

`widgets` knows no upload and no event; `uploads`, `events` and `main` are the panes. What the screens need of the rest
of the program is one port, `backend`: they know no S3, no runner and no watch.
"""
