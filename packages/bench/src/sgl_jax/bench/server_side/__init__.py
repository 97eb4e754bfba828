"""What the server says of itself while it is measured: at `/get_server_info` and `/metrics`, where it has them."""
