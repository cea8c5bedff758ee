"""What `upload` does besides recording files and carrying them out: a dry run and the like, one module each.

Needs what `commands` needs; `commands/upload.py` calls it, and it calls nothing back.
"""
