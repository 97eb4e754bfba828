"""Tool call formats, a file each."""
