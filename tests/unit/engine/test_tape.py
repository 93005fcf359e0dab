"""What a tape holds, what it is refused for, and what a resumed request tells."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from PIL import Image

from darkroom import errors
from darkroom.core import Event
from darkroom.engine import tape as tapes
from darkroom.engine.digests import digest_of
from darkroom.engine.engine import Engine, Options
from darkroom.engine.tape import Asked, Entry, Identity, Tape
from tests.parity.families import quiet, sd_parts
from tests.parity.solvers import DIFFUSION
from tests.parity.tiny_modules import unet

HERE = Identity("1", "model", "solvers", "any company", "none")


def made(arguments: dict[str, Any], *entries: Entry) -> Tape:
    asked = Asked("default", arguments, 7, 11, 0)
    return Tape(HERE, asked, asked.digest, entries)


def taken(engine: Engine, call: dict[str, Any], step: int) -> tuple[Tape, Any]:
    """A request's tape after so many steps, and its result."""
    gate, found = threading.Event(), list[Tape]()
    engine._loop.ask(lambda: gate.wait(30) and None)
    handle = engine.submit(**call)

    def listen(event: Event) -> None:
        if event.type == "progress" and event.data["step"] == step:
            found.append(handle.checkpoint())

    handle.listen(listen)
    gate.set()
    result = handle.result(60)
    return found[0], result


def plain_of(value: Any) -> Any:
    """Comparable with ==."""
    if isinstance(value, torch.Tensor):
        return (value.device.type, value.dtype, value.stride(), value.tolist() if value.device.type != "meta" else None)
    if isinstance(value, dict):
        return (type(value), [(key, plain_of(each)) for key, each in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), [plain_of(each) for each in value])
    return value


# What it holds, in bytes.


def test_outputs_come_back_from_bytes_with_their_structure() -> None:
    strided = torch.arange(6.0).reshape(2, 3).t()
    outputs = [
        (torch.ones(2, 3),),
        UNet2DConditionOutput(sample=torch.ones(2).bfloat16()),
        [torch.tensor([True, False]), None, {"a": (strided, torch.empty(0))}],
        ([torch.empty(2, 3, device="meta")], torch.empty(4, device="meta", dtype=torch.float16)),
    ]
    tape = made({}, *[Entry("unet.forward", bytes([k]), output) for k, output in enumerate(outputs)])
    again = Tape.from_bytes(tape.to_bytes())
    assert [plain_of(entry.output) for entry in again.entries] == [plain_of(output) for output in outputs]
    assert replace(again, entries=()) == replace(tape, entries=())
    assert [entry.digest for entry in again.entries] == [b"\0", b"\1", b"\2", b"\3"]


def test_arguments_come_back_from_bytes() -> None:
    generator = torch.Generator().manual_seed(3)
    generator_state = generator.get_state()
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    arguments: dict[str, Any] = {
        "prompt": ["a", "ü\ud800"],
        "numbers": (1, 2.5, True, None, 2**70, {"x": [float("inf")]}),
        "image": picture,
        "mask": np.linspace(0, 1, 5),
        "latents": torch.ones(1, 2).half(),
        "generator": [generator],
    }
    again = Tape.from_bytes(made(arguments).to_bytes()).asked.arguments
    assert again["prompt"] == arguments["prompt"]
    assert again["numbers"] == arguments["numbers"]
    assert again["image"].tobytes() == picture.tobytes()
    assert np.array_equal(again["mask"], arguments["mask"])
    assert torch.equal(again["latents"], arguments["latents"])
    assert torch.equal(again["generator"][0].get_state(), generator_state)


def test_arguments_that_lie_oddly_in_memory_come_back_with_equal_digests() -> None:
    fixed = np.ones(3)
    fixed.flags.writeable = False
    palette = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    palette.putpalette([*range(48)])
    palette.info["transparency"] = 3
    arguments: dict[str, Any] = {
        "expanded": torch.arange(3.0)[:, None].expand(3, 4),
        "turned": torch.arange(6.0).reshape(2, 3).t().unsqueeze(1).expand(3, 5, 2),
        "overlapping": torch.arange(6.0).as_strided((3, 2), (1, 2)),
        "fixed": fixed,
        "lone": np.array(2.5),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "palette": palette,
    }
    tape = made(arguments)
    again = Tape.from_bytes(tape.to_bytes()).asked.arguments
    assert {name: digest_of(value) for name, value in again.items()} == {
        name: digest_of(value) for name, value in arguments.items()
    }
    assert [again[name].stride() for name in ("expanded", "turned")] == [(1, 0), (1, 0, 3)]


@pytest.mark.parametrize(
    "value",
    [lambda *_: {}, object(), {1: "a"}, Image.new("F", (2, 2)), np.array(["a"]), np.ones(1, ">f4"), [torch.float32]],
)
def test_an_argument_that_cannot_be_stored_is_named(value: Any) -> None:
    with pytest.raises(errors.BadInput, match="with_arguments=False") as raised:
        made({"prompt": "a", "given": value}).to_bytes()
    assert raised.value.field == "given"


def test_arguments_that_are_not_stored_must_be_given_again() -> None:
    def callback(*_: Any) -> dict[str, Any]:
        return {}

    call = {"prompt": "a", "callback_on_step_end": callback}
    data = made(call).to_bytes(with_arguments=False)
    assert Tape.from_bytes(data, **call).asked.arguments == call
    for other in ({}, {"prompt": "b", "callback_on_step_end": callback}, {**call, "eta": 0.5}):
        with pytest.raises(errors.TapeRefused, match="arguments"):
            Tape.from_bytes(data, **other)


def test_any_changed_or_missing_byte_is_noticed() -> None:
    data = made({"prompt": "a"}, Entry("unet.forward", b"x", (torch.ones(8),))).to_bytes()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 0x55
        with pytest.raises((errors.CorruptTape, errors.TapeRefused)):
            Tape.from_bytes(bytes(changed))
    for length in (0, 4, 9, len(data) // 2, len(data) - 1):
        with pytest.raises(errors.CorruptTape):
            Tape.from_bytes(data[:length])


def test_no_class_but_an_output_is_made_from_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from darkroom.engine import tape_file

    for named in ("builtins:dict", "os:system", "diffusers:DiffusionPipeline", "diffusers.utils.outputs:OrderedDict.x"):
        monkeypatch.setattr(tape_file, "_class_of", lambda _, named=named: named)
        data = made({}, Entry("unet.forward", b"", {"a": 1})).to_bytes()
        with pytest.raises(errors.CorruptTape):
            Tape.from_bytes(data)


def test_a_tape_of_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from darkroom.engine import tape_file

    monkeypatch.setattr(tape_file, "FORMAT", 0)
    data = made({}).to_bytes()
    monkeypatch.undo()
    with pytest.raises(errors.TapeRefused, match="format 0"):
        Tape.from_bytes(data)


def test_a_control_net_at_the_end_is_no_part_of_a_tape() -> None:
    """Its denoiser will run, and needs what it makes."""
    control = Entry("controlnet.forward", b"", (torch.empty(2, device="meta"),))
    denoised = Entry("unet.forward", b"", (torch.ones(2),))
    log = (control, denoised, Entry(tapes.STEP, b"", (1, 3)), control, control)
    assert tapes.whole(log) == log[:3]
    assert tapes.whole((control,)) == ()
    assert made({}, *log[:3]).steps == (1, 3)
    assert made({}, *log[:3]).held_bytes == 8


@pytest.mark.parametrize("part", ["engine", "model", "solvers", "rows", "adapters"])
def test_what_differs_is_said(part: str) -> None:
    with pytest.raises(errors.TapeRefused, match=tapes.WORDS[part]):
        HERE.check(replace(HERE, **{part: "other"}))


def test_digests_tell_values_apart_that_look_alike() -> None:
    values: list[Any] = [
        1,
        1.0,
        True,
        "1",
        None,
        [1],
        (1,),
        {"a": 1},
        {"a": 2},
        torch.ones(1),
        torch.ones(1, 1),
        torch.ones(1).double(),
        torch.zeros(1),
        np.ones(1),
        Image.new("L", (2, 2)),
        Image.new("L", (4, 1)),
        torch.Generator().manual_seed(1),
        torch.Generator().manual_seed(2),
        test_what_differs_is_said,
        made,
    ]
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    numbers = Image.fromarray(np.zeros((2, 2), np.uint8)).convert("P")
    pictures = [numbers.copy() for _ in range(4)]
    pictures[1].putpalette([9, 9, 9])
    pictures[2].putpalette([9, 9, 9, 128], "RGBA")
    pictures[3].info["transparency"] = 0
    assert len({digest_of(picture) for picture in pictures}) == len(pictures)
    spread = torch.ones(4, 4)[:, :1].expand(4, 3)
    assert digest_of(spread) == digest_of(torch.ones(4, 3))
    assert digest_of(torch.ones(1).expand(1)) == digest_of(torch.ones(1))


# What a handle gives out.


def test_a_request_that_has_not_begun_has_an_empty_tape(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        gate = threading.Event()
        engine._loop.ask(lambda: gate.wait(30) and None)
        handle = engine.submit(**call)
        tape = handle.checkpoint()
        gate.set()
        assert (tape.entries, tape.steps, tape.progress) == ((), (0, 0), 0.0)
        assert np.array_equal(engine.resume(tape).result(60).images, handle.result(60).images)


def test_a_request_that_has_ended_has_no_tape(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handle = engine.submit(**call)
        handle.result(60)
        with pytest.raises(errors.Conflict, match="has ended"):
            handle.checkpoint()


def test_without_tapes_nothing_is_kept(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, options=Options(tapes=False)) as engine:
        gate = threading.Event()
        engine._loop.ask(lambda: gate.wait(30) and None)
        handle = engine.submit(**call)
        with pytest.raises(errors.Conflict, match="tapes=False"):
            handle.checkpoint()
        gate.set()
        assert handle.result(60).images.shape[0] == 1


def test_a_resumed_request_goes_on_where_it_was_and_tells_no_step_twice(pipe: Any, call: dict[str, Any]) -> None:
    heard: list[int] = []

    def callback(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        heard.append(step)
        return {}

    with Engine(pipe, reproducible=True, preview_every=1) as engine:
        tape, result = taken(engine, {**call, "num_inference_steps": 5, "callback_on_step_end": callback}, 2)
        assert heard == [0, 1, 2, 3, 4]
        heard.clear()
        gate = threading.Event()
        engine._loop.ask(lambda: gate.wait(30) and None)
        before = engine.stats()["modules"]["unet"]["calls"]
        handle = engine.resume(tape)
        assert (tape.progress, handle.progress) == (0.4, 0.4)
        gate.set()
        assert np.array_equal(handle.result(60).images, result.images)
        assert engine.stats()["modules"]["unet"]["calls"] - before == 3
    assert [event.data["step"] for event in handle.events() if event.type == "progress"] == [3, 4, 5]
    assert [event.data["step"] for event in handle.events() if event.type == "preview"] == [5]  # the latest is kept
    assert heard == [2, 3, 4]


def test_a_resumed_request_records_on(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, result = taken(engine, call, 1)
        gate, found = threading.Event(), list[Tape]()
        engine._loop.ask(lambda: gate.wait(30) and None)
        again = engine.resume(tape)
        again.listen(lambda event: found.append(again.checkpoint()) if event.type == "progress" else None)
        gate.set()
        assert np.array_equal(again.result(60).images, result.images)
    assert (found[0].steps, len(found[0].entries)) == ((2, 3), 4)
    with Engine(pipe, reproducible=True) as engine:
        assert np.array_equal(engine.resume(found[0]).result(60).images, result.images)


def test_what_a_pipeline_writes_in_place_is_not_written_on_the_tape(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, _ = taken(engine, call, 1)
        kept = [entry.output[0].clone() for entry in tape.entries if entry.role == "unet.forward"]
        engine.resume(tape).result(60)
        assert all(
            torch.equal(entry.output[0], copy)
            for entry, copy in zip([e for e in tape.entries if e.role == "unet.forward"], kept, strict=True)
        )
        kept[0].add_(1)
        assert not torch.equal(kept[0], tape.entries[0].output[0])


def test_the_drawn_seed_of_a_request_without_one_is_on_the_tape(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, result = taken(engine, {**call, "seed": None}, 1)
        assert np.array_equal(engine.resume(tape).result(60).images, result.images)
        assert not np.array_equal(engine.submit(**{**call, "seed": None}).result(60).images, result.images)


# What it is refused for.


def refused(tape: Tape, why: str, engine: Engine, **more: Any) -> None:
    with pytest.raises(errors.TapeRefused, match=why):
        engine.resume(tape, **more)
    stats = engine.stats()
    assert (stats["waiting"], stats["running"]) == (0, 0)


@pytest.mark.parametrize("given", [None, b"bytes of one", {"asked": None}, Tape])
def test_what_is_no_tape_is_bad_input(pipe: Any, given: Any) -> None:
    with Engine(pipe) as engine:
        with pytest.raises(errors.BadInput, match=r"tape must be a Tape, not .*Tape\.from_bytes") as raised:
            engine.resume(given)
        assert raised.value.field == "tape"
        assert engine.stats()["waiting"] == 0


def test_a_tape_of_other_weights_is_refused(pipe: Any, call: dict[str, Any]) -> None:
    parts = sd_parts(unet=unet(4, 5), scheduler=DIFFUSION["ddim"]())
    other = quiet({"ddim": StableDiffusionPipeline(**parts)})["ddim"]
    with Engine(pipe, reproducible=True) as engine:
        tape, _ = taken(engine, call, 1)
        engine.add(other, "other")
        refused(tape, "model revision", engine, model="other")
        with torch.no_grad():
            weight = next(other.unet.parameters())
            weight.copy_(next(pipe.unet.parameters()))
        refused(tape, "model revision", engine, model="other")


def test_a_tape_of_another_solver_row_regime_or_version_is_refused(
    pipes: dict[str, Any], pipe: Any, call: dict[str, Any]
) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, _ = taken(engine, call, 1)
        engine.add(pipes["euler"], "euler")
        refused(tape, "solver", engine, model="euler")
        old = replace(tape, identity=replace(tape.identity, engine="0.0.0"))
        refused(old, "engine version", engine)
        other = replace(tape.asked, arguments={**tape.asked.arguments, "guidance_scale": 4.5})
        refused(replace(tape, asked=other), "arguments", engine)
        with pytest.raises(errors.UnknownModel):
            engine.resume(tape, model="nobody")
    with Engine(pipe, reproducible=True, fixed_rows=2) as engine:
        refused(tape, "row regime", engine)


def test_inputs_that_are_not_those_of_the_tape_end_the_request_alone(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, result = taken(engine, call, 2)
        first, *rest = tape.entries
        for wrong in (replace(first, digest=b"other"), replace(first, role="controlnet.forward")):
            handle = engine.resume(replace(tape, entries=(wrong, *rest)))
            with pytest.raises(errors.TapeRefused, match="place 0"):
                handle.result(60)
        assert np.array_equal(engine.resume(tape).result(60).images, result.images)


def test_requests_that_are_not_reproducible_are_believed_by_their_shapes(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        tape, result = taken(engine, call, 2)
        assert np.abs(engine.resume(tape).result(60).images - result.images).max() < 5e-6
        other = {**tape.asked.arguments, "num_inference_steps": 4}
        asked = replace(tape.asked, arguments=other)
        handle = engine.resume(replace(tape, asked=asked, digest=asked.digest))
        with pytest.raises(errors.TapeRefused, match="other inputs"):
            handle.result(60)
