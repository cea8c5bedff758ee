"""The screen with three panes: file browser, uploads, event log, and the actions that its keys start."""
