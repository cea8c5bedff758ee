"""The records of uploads in MongoDB, and the collections beside them.

This room has the connection, the set-up of the collections, and every read and write of them: uploads, what people
request of them, runners, watches, and what watched folders sent. It needs `settings`, and values of `files` and
`events`; it knows neither S3 nor the screen. It does not read change streams (`stream` does) and decides nothing about
an upload: which transition may follow which state is in `transitions`, and the server enforces it by conditional
updates.
"""
