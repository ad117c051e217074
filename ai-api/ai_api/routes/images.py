"""GET /pictures/{name}: a stored image, for the person who sent it and for trainers."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Response

from ai_api.errors import BlobsUnavailable, UnknownPicture
from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import Ctx, Reading, documented, errors
from ai_api.images.blobs import Blobs
from ai_api.images.reference import media_type

router = APIRouter(route_class=GuardedRoute, tags=["pictures"], dependencies=documented)

Name = Annotated[
    str, Path(pattern="^(sha256:)?[0-9a-f]{64}$", description="As it stands in a row: `sha256:` and its hash")
]
HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox"}
IMAGE_RESPONSE: dict[int | str, dict[str, object]] = {
    200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/pictures/{name}", response_class=Response, responses=IMAGE_RESPONSE | errors(404, 422))
async def get_picture(name: Name, ctx: Ctx, caller: Reading) -> Response:
    """An image of a stored row, byte for byte as it was sent. Trainers see every image, others those that they sent."""
    owner = None if caller.is_trainer else caller.user_id
    content, kind = await asyncio.to_thread(read_image, ctx.blobs, name.removeprefix("sha256:"), owner)
    return Response(content, media_type=kind, headers=HEADERS)


def read_image(blobs: Blobs, digest: str, owner: str | None) -> tuple[bytes, str]:
    """The bytes and their media type; UnknownPicture when `owner` did not send it (None: may see every image).

    The owner is checked before the image is looked up, so that a 404 takes the same time for another person's image.
    """
    if owner is not None and not blobs.is_owned_by(digest, owner):
        raise UnknownPicture
    image = blobs.get(digest)
    if image is None:
        raise UnknownPicture
    try:
        content = image.read()
    except BlobsUnavailable:
        if blobs.get(digest) is None:  # it was erased in the meantime
            raise UnknownPicture from None
        raise
    return content, media_type(content)
