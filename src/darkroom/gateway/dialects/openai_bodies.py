"""What clients of OpenAI's Images API send, as JSON or as a form, and the wish that it comes to.

theirs                                      ours
n                                           num_images_per_prompt
size "WxH"; "auto"                          width, height; the model's default, or the size of the picture given
quality low; high hd xhigh max              preset fast; quality, where the model has them
quality auto medium standard                the model's default preset
steps, cfg_scale, sampler and scheduler     num_inference_steps, guidance_scale, solver
adapters, lora                              adapters; in a form as JSON (openai_lora.py)
output_format, output_compression           output.format, output.quality (0 is taken as 1, the codecs' lowest)
user, safety_identifier                     metadata
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ...errors import BadInput
from ...model_settings import MAX_ADAPTERS
from ...models.offer import Offer
from ...models.request import MAX_GUIDANCE, MAX_PROMPT, MAX_SEED
from ..door import Wish
from ..refusals import error_of_validation
from . import openai_lora

SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
PRESETS = {"low": "fast", "high": "quality", "hd": "quality", "xhigh": "quality", "max": "quality"}
RENAMED = {"standard": "medium", "hd": "high"}  # qualities of models that OpenAI has retired
STREAMED = {"generations": "image_generation", "edits": "image_edit"}  # how a stream's messages begin
ALIASES = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale", "sampler": "scheduler", "lora": "adapters"}
SAME_NAMES = ("prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "seed", "strength", "adapters")
VARIATION = "variations"
# A variation has no prompt, and a model must be asked for something.
VARIED = {"prompt": "a picture", "strength": 0.5}
MAX_FILES, MAX_FIELDS, MAX_FIELD_BYTES = 32, 128, 1024 * 1024
MAX_WARNED = 32
EXAMPLE: dict[str, Any] = {"prompt": "A beautiful sunset over mountains", "size": "256x256", "quality": "low"}
FILE = {"type": "string", "format": "binary"}


class ImagesBody(BaseModel):
    """What all three calls have in common. Other fields are accepted and named in `warnings`."""

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra={"examples": [EXAMPLE]})

    prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    model: str | None = Field(default=None, max_length=200, description="the default model, unless said")
    n: int | None = Field(default=None, ge=1, le=10, description="1 unless said")
    size: str | None = Field(default=None, max_length=16, description='"auto", or one of the model\'s as "WxH"')
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    response_format: Literal["b64_json", "url"] | None = Field(default=None, description="b64_json unless said")
    output_format: Literal["png", "jpeg", "webp"] | None = Field(default=None, description="png unless said")
    output_compression: int | None = Field(default=None, ge=0, le=100, description="quality of jpeg and webp")
    stream: bool | None = None
    partial_images: int | None = Field(default=None, ge=0, le=3, description="with stream; 0 unless said")
    user: str | None = Field(default=None, max_length=512)
    safety_identifier: str | None = Field(default=None, max_length=512)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    num_inference_steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    scheduler: str | None = Field(default=None, max_length=64, description="a solver's name")
    strength: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    adapters: dict[str, float] | None = Field(
        default=None, max_length=MAX_ADAPTERS, description="LoRAs by name, each with its weight; in a form as JSON"
    )
    lora: Any = Field(
        default=None, description="the same as adapters; a name has weight 1", json_schema_extra=openai_lora.SCHEMA
    )
    steps: int | None = Field(default=None, ge=1, le=1000, description="the same as num_inference_steps")
    cfg_scale: float | None = Field(default=None, ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)
    sampler: str | None = Field(default=None, max_length=64, description="the same as scheduler")

    @property
    def encoding(self) -> str:
        """The format of the pictures."""
        return self.output_format or "png"

    @property
    def said_quality(self) -> str | None:
        """As an answer says it; None where the choice was left to us."""
        return None if self.quality in (None, "auto") else RENAMED.get(self.quality, self.quality)


class GenerationBody(ImagesBody):
    """A picture from words."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)


@dataclass(frozen=True)
class Form:
    """A multipart form: fields as text, files as bytes; `image[]` is `image`, `unused` are files of other names."""

    fields: Mapping[str, str]
    files: Mapping[str, list[bytes]]
    unused: tuple[str, ...] = ()

    def one(self, name: str) -> bytes | None:
        """The one file of that name, None where there is none; raises `BadInput` where there are several."""
        given = self.files.get(name, [])
        if len(given) > 1:
            raise BadInput(f"{name}: one picture can be taken, and {len(given)} were given", field=name)
        return given[0] if given else None


@dataclass(frozen=True)
class Ask:
    """A call as it was understood: its body, its pictures, and what of it was ignored."""

    kind: str
    body: ImagesBody
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to be a stream."""
        return bool(self.body.stream) and self.kind in STREAMED

    @property
    def wants_url(self) -> bool:
        """Whether pictures are answered as URLs."""
        return self.body.response_format == "url" and not self.is_streamed

    def wish(self, offer: Offer, idempotency_key: str | None) -> Wish:
        """The job that is meant; raises `BadInput` or `NotSupported` with the field."""
        body = self.body
        said = {"format": body.encoding, "quality": self._quality(), "keep_metadata": True}
        who = {"user": body.user, "safety_identifier": body.safety_identifier}
        return Wish(
            inputs={**self._inputs(), **_size(body.size, offer), "preset": self._preset(offer), **self.pictures},
            model=offer.model,
            output=said,
            metadata={name: value for name, value in who.items() if value},
            idempotency_key=idempotency_key,
            sent=self._sent() if idempotency_key else {},
        )

    def warnings(self, offer: Offer) -> list[str]:
        """What of the call has no effect."""
        body = self.body
        names = [name for name, value in (body.model_extra or {}).items() if value is not None]
        said = [f"{name[:64]} was ignored" for name in [*names, *self.ignored][:MAX_WARNED]]
        if body.encoding == "png" and body.output_compression is not None:
            said.append("output_compression was ignored: it is for jpeg and webp")
        if body.stream and not self.is_streamed:
            said.append(f"stream was ignored: {self.kind} are not streamed")
        if self.is_streamed and body.response_format == "url":
            said.append("response_format was ignored: a stream carries its pictures as b64_json")
        if body.quality in PRESETS and self._preset(offer) is None:
            said.append(f"quality was ignored: {offer.model} has no preset {PRESETS[body.quality]!r}")
        return said

    def _inputs(self) -> dict[str, Any]:
        known = {name: getattr(self.body, name) for name in (*SAME_NAMES, "scheduler")}
        for alias, name in ALIASES.items():
            value = self._said(alias)
            if value is not None and known[name] not in (None, value):
                raise BadInput(f"{alias} and {name} are the same: give one of them", field=alias)
            known[name] = value if value is not None else known[name]
        given = {name: value for name, value in known.items() if value is not None}
        solver = given.pop("scheduler", None)
        defaults = VARIED if self.kind == VARIATION else {}
        return {**defaults, **given, "solver": solver, "num_images_per_prompt": self.body.n}

    def _said(self, alias: str) -> Any:
        value = getattr(self.body, alias)
        return openai_lora.weights_of(value) if alias == "lora" else value

    def _preset(self, offer: Offer) -> str | None:
        preset = PRESETS.get(self.body.quality or "")
        return preset if preset in offer.presets else None

    def _quality(self) -> int | None:
        said = self.body.output_compression
        return None if said is None or self.body.encoding == "png" else max(1, said)

    def _sent(self) -> dict[str, Any]:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in self.pictures.items()}
        return {"kind": self.kind, **self.body.model_dump(mode="json", exclude_unset=True), "pictures": digests}


def body_of_form(fields: Mapping[str, str]) -> ImagesBody:
    """A form's fields, whose numbers are text; an empty one is as none. Raises `BadInput` with the field."""
    given: dict[str, Any] = {name: text for name, text in fields.items() if text != ""}
    if "adapters" in given:
        given["adapters"] = _json_of(given["adapters"], "adapters")
    if "lora" in given:
        given["lora"] = openai_lora.lora_of_form(given["lora"])
    try:
        return ImagesBody.model_validate(given, strict=False)
    except ValidationError as error:
        problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors()]
        raise error_of_validation(problems) from error


def _json_of(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f'{name} must be JSON in a form, such as {{"neon": 0.8}}', field=name) from error


async def read_form(request: Request) -> Form:
    """The form that a request carries; raises `BadInput` or `TooLarge`."""
    request = Request(request.scope, request.receive)  # of our own: what it has read goes with it
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise BadInput("send a form: multipart/form-data, with the picture as the file `image`", field="body")
    try:
        # Whole in memory first: the parser would take what lacks its end for all there is.
        if b"--%s--" % options.get(b"boundary", b"") not in await request.body():
            raise BadInput("the form ends before its end", field="body")
        limits = {"max_files": MAX_FILES, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
        async with request.form(**limits) as form:
            return await _form_of(form)
    except ClientDisconnect as error:
        raise BadInput("the body ended before its end", field="body") from error
    except HTTPException as error:
        raise BadInput(f"the form cannot be read: {error.detail}", field="body") from error


async def _form_of(form: FormData) -> Form:
    fields: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    unused: list[str] = []
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        if name not in ("image", "mask"):
            if isinstance(value, UploadFile):
                unused.append(name)
            elif fields.setdefault(name, value) != value:
                raise BadInput(f"{name[:64]} is given twice", field=name[:64])
        elif isinstance(value, UploadFile):
            files.setdefault(name, []).append(await value.read())
        elif value:
            raise BadInput(f"{name} must be a file, not text", field=name)
    return Form(fields, files, tuple(unused))


def _size(said: str | None, offer: Offer) -> dict[str, int]:
    if said in (None, "", "auto"):
        return {}
    found = SIZE.fullmatch(said or "")
    if found is None:
        raise BadInput(f'size must be "auto" or WIDTHxHEIGHT; {offer.model} offers {offer.said_sizes}', field="size")
    return {"width": int(found[1]), "height": int(found[2])}


def form_schema(*, has_mask: bool = False, needs_prompt: bool = False) -> dict[str, Any]:
    """The form as OpenAPI tells it."""
    schema = ImagesBody.model_json_schema()
    files = {"image": {**FILE, "description": "PNG, JPEG or WebP"}}
    if has_mask:
        files["mask"] = {**FILE, "description": "painted anew where it is wholly transparent"}
    fields = {name: _plain(said) for name, said in schema["properties"].items()}
    required = ["image", "prompt"] if needs_prompt else ["image"]
    whole = {"type": "object", "required": required, "properties": {**files, **fields}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": whole}}}}


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    """Without null, which a form cannot carry."""
    kinds = [each for each in said.get("anyOf", [said]) if each.get("type") != "null"]
    kind = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {**kind, **({"description": said["description"]} if "description" in said else {})}
