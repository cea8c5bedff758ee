"""Widgets that know no upload and no event: lists, panes, dialogs, keys, text."""
