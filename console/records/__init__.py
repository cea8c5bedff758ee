"""MongoDB: connection, collection set-up, upload store, progress writer, change feed, runners."""
