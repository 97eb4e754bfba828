"""`/v1/responses`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Generation, Job
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.responses.answer import Writer, unanswered
from sgl_jax.server.openai.responses.conversation import Conversation
from sgl_jax.server.openai.responses.items import DeletedResponse, ResponseObject
from sgl_jax.server.openai.responses.schema import ResponsesRequest
from sgl_jax.server.openai.responses.store import ResponseStore, unknown_response
from sgl_jax.server.openai.responses.to_chat import RESPONSES, to_chat
from sgl_jax.server.openai.schema.chat import ChatMessage
from sgl_jax.server.openai.to_engine import chat_job
from sgl_jax.server.openapi import describe
from sgl_jax.server.sse import EventStream, named_event
from sgl_jax.server.transcript import transcribe

EXAMPLE: dict[str, Any] = {
    "model": "default",
    "instructions": "Be brief.",
    "input": "What is the capital of France?",
    "max_output_tokens": 64,
}
_PATH = "/v1/responses/{response_id}"
_ID = {"response_id": "The `id` of a stored answer."}


def responses_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["OpenAI"])
    reader = BodyReader(ResponsesRequest)
    limits = context.limits
    store = ResponseStore(
        max_count=limits.stored_responses,
        max_bytes=limits.stored_response_bytes,
        seconds=limits.stored_response_seconds,
    )

    def keep(response: ResponseObject, asked: Sequence[ChatMessage]) -> None:
        if response.store:
            conversation = Conversation(asked, store.find_item)
            conversation.add_output(response.output)
            store.put(response, conversation.messages)

    async def events(writer: Writer, job: Job, asked: Sequence[ChatMessage]) -> AsyncGenerator[bytes]:
        async with Generation(context, job) as pieces:
            async for piece in pieces:
                if said := writer.follow(writer.transcript.add(piece)):
                    yield b"".join(map(named_event, said))
        response = writer.response()
        keep(response, asked)
        yield named_event(writer.end(response))

    @router.post(
        "/v1/responses",
        operation_id="create_response",
        summary="Answer a conversation of items",
        **describe(body=ResponsesRequest, example=EXAMPLE, answer=ResponseObject, streams=True),
    )
    async def create_response(request: Request) -> Response:
        info = context.generating_info()
        body = await reader.read(request, context)
        conversation = Conversation(store.before(body.previous_response_id), store.find_item)
        conversation.add(body.input)
        with RESPONSES.spoken():
            job = await chat_job(to_chat(body, conversation.messages), context, info, RESPONSES)
        writer = Writer(unanswered(body, context, job), context, job)
        if body.stream:
            said = events(writer, job, conversation.messages)
            return EventStream(said, keep_alive=limits.keep_alive_seconds, failure=writer.failed)
        await unless_disconnected(request.receive, transcribe(context, job, writer.transcript))
        response = writer.response()
        keep(response, conversation.messages)
        return json_response(response)

    @router.get(
        _PATH,
        operation_id="get_response",
        summary="A stored answer",
        **describe(answer=ResponseObject, path_params=_ID),
    )
    async def get_response(request: Request) -> Response:
        if request.query_params.get("stream", "false").lower() in ("1", "true"):
            raise bad_request("stream is not supported here: a stored answer comes whole.", "stream", "not_supported")
        return json_response(store.found(request.path_params["response_id"]).response)

    @router.delete(
        _PATH,
        operation_id="delete_response",
        summary="Forget a stored answer",
        **describe(answer=DeletedResponse, path_params=_ID),
    )
    async def delete_response(request: Request) -> Response:
        response_id: str = request.path_params["response_id"]
        if not store.delete(response_id):
            raise unknown_response(response_id)
        return json_response(DeletedResponse(id=response_id))

    @router.post(
        f"{_PATH}/cancel",
        operation_id="cancel_response",
        summary="Refused: answers do not run in the background",
        **describe(answer=ResponseObject, path_params=_ID),
    )
    async def cancel_response(request: Request) -> Response:
        store.found(request.path_params["response_id"])
        message = (
            "This answer has come to its end, and there are none in the background. To end one that runs, close its "
            "connection, or send its id to /abort_request."
        )
        raise bad_request(message, "response_id", "not_supported")

    return router
