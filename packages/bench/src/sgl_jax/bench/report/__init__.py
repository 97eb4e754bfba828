"""What a reader gets: the same content as text, Markdown, HTML, CSV and pictures."""
