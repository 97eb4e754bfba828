"""The page at `/`: a chat playground and a live panel, as static files (`static/`)."""
