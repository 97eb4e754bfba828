#!/usr/bin/env bash
# The HTTP API by hand: SGL_JAX_BASE_URL=http://127.0.0.1:30000 bash examples/curl.sh
set -euo pipefail
url=${SGL_JAX_BASE_URL:-http://127.0.0.1:30000}

post() {
    curl --silent --show-error --fail-with-body --no-buffer "$url$1" --header 'Content-Type: application/json' --data "$2"
    echo
}

curl --silent --show-error --fail-with-body "$url/readyz" && echo

post /v1/chat/completions '{
    "messages": [{"role": "user", "content": "What is gravity?"}],
    "max_tokens": 24, "temperature": 0
}'

# piece by piece, and the token counts at the end
post /v1/chat/completions '{
    "messages": [{"role": "user", "content": "Count to five."}],
    "max_tokens": 12, "stream": true, "stream_options": {"include_usage": true}
}'

post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 12, "seed": 7, "stop": ["\n"]}'

# the native route: token ids and log-probabilities
post /generate '{
    "text": "The sky is", "sampling_params": {"max_new_tokens": 6, "temperature": 0}, "return_logprob": true
}'
