"""Routes of sequence models: embeddings, label scores and reranking."""
