"""Bodies of the OpenAI routes, both ways. Requests and answers are msgspec structs; OpenAPI is made from them."""
