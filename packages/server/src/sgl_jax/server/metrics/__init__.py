"""What `GET /metrics` says: counted while serving, put together only when somebody asks."""
