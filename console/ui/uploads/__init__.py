"""The uploads table and one upload in detail."""
