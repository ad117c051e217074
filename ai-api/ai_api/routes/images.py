"""GET /pictures/{name}: a picture again, for who sent it and for those who label."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Response

from ai_api.blobs import Blobs
from ai_api.errors import BlobsUnavailable, UnknownPicture
from ai_api.images import media_type

from .context import Ctx, Reading, documented, errors

routes = APIRouter(tags=["pictures"], dependencies=documented)

Name = Annotated[
    str, Path(pattern="^(sha256:)?[0-9a-f]{64}$", description="How it stands in a row: `sha256:` and its hash")
]
HEADERS = {
    "Cache-Control": "private, max-age=600",  # no longer: an erased picture is to vanish from browsers too
    "Vary": "Authorization, X-API-Key",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
FOUND: dict[int | str, dict[str, object]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


@routes.get("/pictures/{name}", response_class=Response, responses=FOUND | errors(404, 422))
async def get_picture(name: Name, ctx: Ctx, caller: Reading) -> Response:
    """A picture of a stored row, byte for byte as it was sent. Trainers see every one, others those they sent."""
    owner = None if caller.is_trainer else caller.user_id
    content, kind = await asyncio.to_thread(read, ctx.blobs, name.removeprefix("sha256:"), owner)
    return Response(content, media_type=kind, headers=HEADERS)


def read(blobs: Blobs, digest: str, owner: str | None) -> tuple[bytes, str]:
    """The bytes and their type; UnknownPicture when there are none, or not for `owner` (None: sees all)."""
    if owner is not None and not blobs.is_of(digest, owner):  # first: an answer must not take longer for others'
        raise UnknownPicture
    picture = blobs.get(digest)
    if picture is None:
        raise UnknownPicture
    try:
        content = picture.read()
    except BlobsUnavailable:
        if blobs.get(digest) is None:  # erased in this moment
            raise UnknownPicture from None
        raise
    return content, media_type(content)
