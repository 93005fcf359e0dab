"""A request resumed from its tape, cut off after any call, ends with the bytes of one that nobody interrupted."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline
from diffusers.callbacks import SDCFGCutoffCallback

from darkroom.core import Event
from darkroom.engine.engine import Engine
from darkroom.engine.revision import Revision
from darkroom.engine.tape import CALLBACK, STEP, Tape, whole
from tests.parity import company, plain
from tests.parity.families import FAMILIES, NIGHT, SKY, Family, Request, ask, picture, quiet
from tests.parity.tiny_inputs import drawn
from tests.parity.tiny_text import seeded

pytestmark = [pytest.mark.parity, pytest.mark.slow]
ODD = {"guess_mode", "skip_guidance_layers", "true_cfg_scale", "eta"}
COMPANY = 2  # requests that nobody resumes, among those that are resumed


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Its thread waits meanwhile, so that whoever listens misses nothing."""
    gate = threading.Event()
    engine._loop.ask(lambda: gate.wait(60) and None)
    try:
        yield
    finally:
        gate.set()


def recorded(engine: Engine, calls: Sequence[dict[str, Any]]) -> list[tuple[Tape, Any]]:
    """The tape of each call's last step, and its result."""
    latest: dict[int, Tape] = {}

    def taking(number: int, handle: Any) -> Any:
        def listen(event: Event) -> None:
            if event.type == "progress":
                latest[number] = handle.checkpoint()

        return listen

    with held(engine):
        handles = [engine.submit(**call) for call in calls]
        for number, handle in enumerate(handles):
            handle.listen(taking(number, handle))
    results = [handle.result(timeout=120) for handle in handles]
    return [(latest[number], result) for number, result in enumerate(results)]


def cut(tape: Tape) -> list[Tape]:
    """It, ended before the first call and after each: several a step where a step makes several."""
    calls = [place for place, entry in enumerate(tape.entries) if entry.role not in (STEP, CALLBACK)]
    ends = {len(whole(tape.entries[:end])) for end in (0, *(place + 1 for place in calls))}
    return [replace(tape, entries=tape.entries[:end]) for end in sorted(ends)]


def chosen(family: Family) -> list[Request]:
    """One of each pipeline and solver, and those that ask a denoiser more often or otherwise."""
    first = {request.pipe: request for request in reversed(family.requests)}.values()
    odd = [request for request in family.requests if ODD & request.call.keys()]
    return [request for request in family.requests if request in (*first, *odd)]


def bytes_of(result: Any) -> bytes:
    return plain.pixels(result).tobytes()


def call_of(family: Family, request: Request, output_type: str) -> dict[str, Any]:
    return {"model": request.pipe, "seed": request.seed, **plain.arguments(family, request, output_type)}


@pytest.mark.parametrize("name", list(FAMILIES))
def test_bytes_are_those_of_an_uninterrupted_run_wherever_it_was_cut_off(name: str) -> None:
    """In another engine, among each other and among strangers, through bytes."""
    hold_wherever_it_was_cut_off(FAMILIES[name])


def test_a_control_net_whose_residuals_two_calls_of_a_step_read_runs_again() -> None:
    """Flux with true guidance: cut off between the two, the first one's output is no use without the residuals."""
    more = {"control_image": picture(1), "true_cfg_scale": 4.0, "negative_prompt": "rain", "max_sequence_length": 32}
    asked = (ask("control", 47, NIGHT, 4, 3.0, **more), ask("control", 48, SKY, 3, 2.0, **more))
    hold_wherever_it_was_cut_off(Family("flux-control", flux_control, asked))


@cache
def flux_control() -> dict[str, Any]:
    def make() -> FluxControlNetModel:
        kept = {name: value for name, value in dict(parts["transformer"].config).items() if name in known}
        return FluxControlNetModel(**kept)

    parts, known = FAMILIES["flux"].pipes()["flow-euler"].components, signature(FluxControlNetModel).parameters
    net = seeded(74, make)
    drawn(net, [*net.controlnet_blocks, *net.controlnet_single_blocks, net.controlnet_x_embedder])
    own = {name: part for name, part in parts.items() if name not in ("image_encoder", "feature_extractor")}
    return quiet({"control": FluxControlNetPipeline(**own, controlnet=net)})


def hold_wherever_it_was_cut_off(family: Family) -> None:
    calls = [call_of(family, request, "latent") for request in chosen(family)]
    with company.open_engine(family, reproducible=True) as engine:
        whole_runs = recorded(engine, calls)
    tapes = [(each.to_bytes(), bytes_of(result)) for tape, result in whole_runs for each in cut(tape)]
    with company.open_engine(family) as engine:
        strangers = [engine.submit(**call, reproducible=True) for call in calls[:COMPANY]]
        resumed = [(engine.resume(Tape.from_bytes(data)), expected) for data, expected in tapes]
        wrong = [place for place, (handle, expected) in enumerate(resumed) if bytes_of(handle.result(120)) != expected]
        assert wrong == []
        assert [bytes_of(handle.result(120)) for handle in strangers] == [
            bytes_of(result) for _, result in whole_runs[:COMPANY]
        ]
        company.assert_conserved(engine.stats(), len(tapes) + len(strangers))
    assert len(tapes) > 3 * len(calls)


@pytest.mark.parametrize("name", ["sd-tasks", "ltx"])
def test_pictures_are_those_of_an_uninterrupted_run(name: str) -> None:
    family = FAMILIES[name]
    requests = [r for r in family.requests if r.pipe in ("control", "inpaint", "flow-euler")][:4]
    with company.open_engine(family, reproducible=True) as engine:
        runs = recorded(engine, [call_of(family, request, "np") for request in requests])
        for tape, result in runs:
            half = cut(tape)[len(cut(tape)) // 2]
            company.hold_bytes(family, "resumed", plain.pixels(engine.resume(half).result(60)), plain.pixels(result))


def test_control_nets_do_not_run_while_their_denoiser_is_on_tape() -> None:
    family = FAMILIES["sd-tasks"]
    request = next(r for r in family.requests if r.pipe == "controls")
    with company.open_engine(family, reproducible=True) as engine:
        ((tape, _),) = recorded(engine, [call_of(family, request, "latent")])
        before = {name: each["calls"] for name, each in engine.stats()["modules"].items()}
        engine.resume(tape).result(60)
        after = {name: each["calls"] for name, each in engine.stats()["modules"].items()}
    assert {name for name in after if after[name] != before[name]} == {"text_encoder"}


def test_what_is_not_reproducible_stays_within_the_bound() -> None:
    family = FAMILIES["sd2-v"]
    with company.open_engine(family) as engine:
        runs = recorded(engine, [call_of(family, request, "np") for request in family.requests])
    with company.open_engine(family) as engine:
        halves = {index: cut(tape)[len(cut(tape)) // 2] for index, (tape, _) in enumerate(runs)}
        handles = {index: engine.resume(Tape.from_bytes(tape.to_bytes())) for index, tape in halves.items()}
        images = {index: plain.pixels(handle.result(60)) for index, handle in handles.items()}
    company.hold_against_plain("sd2-v", images, "resumed")


@pytest.mark.parametrize("pipe", ["euler-ancestral", "dpm++2m-sde", "ddpm", "lcm"])
@pytest.mark.parametrize("given", [None, "generator"])
def test_random_numbers_go_on_where_they_were(pipe: str, given: str | None) -> None:
    """Without a seed and with the caller's own generator, by solvers that draw in every step."""
    family = FAMILIES["sd-solvers"]
    call = {**call_of(family, next(r for r in family.requests if r.pipe == pipe), "latent"), "seed": None}
    if given:
        call["generator"] = torch.Generator().manual_seed(5)
    with company.open_engine(family, reproducible=True) as engine:
        ((tape, result),) = recorded(engine, [call])
        handles = [engine.resume(Tape.from_bytes(each.to_bytes())) for each in cut(tape)]
        assert {bytes_of(handle.result(60)) for handle in handles} == {bytes_of(result)}


def test_what_a_callback_did_is_done_again_without_it() -> None:
    """Diffusers' own callback takes the guidance away in the middle of a run; a caller's own changes the latents."""
    family, seen = FAMILIES["sd-solvers"], list[int]()

    def halve(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        seen.append(step)
        if step == 1:
            tensors["latents"].mul_(0.5)
            return {}
        return {"latents": tensors["latents"] * 1.1} if step == 2 else tensors

    call = call_of(
        family, replace(family.requests[0], call={**family.requests[0].call, "num_inference_steps": 5}), "latent"
    )
    for own in (halve, SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=2)):
        with company.open_engine(family, reproducible=True) as engine:
            plainly = bytes_of(engine.submit(**call).result(60))
            ((tape, result),) = recorded(engine, [{**call, "callback_on_step_end": own}])
            assert bytes_of(result) != plainly
            for each in cut(tape):
                seen.clear()
                data = each.to_bytes(with_arguments=False)
                again = Tape.from_bytes(data, **each.asked.arguments)
                assert bytes_of(engine.resume(again).result(60)) == bytes_of(result)
                told = sum(entry.role == CALLBACK for entry in each.entries)
                assert seen == (list(range(told, 5)) if own is halve else [])


def test_a_model_that_was_saved_is_still_the_same(tmp_path: Path) -> None:
    pipe = FAMILIES["sd2-v"].pipes()["ddim"]
    pipe.text_encoder.config.architectures = None  # as it is made
    before = Revision(pipe).digest()
    pipe.save_pretrained(tmp_path)
    assert pipe.text_encoder.config.architectures == ["CLIPTextModel"]  # what saving adds
    assert Revision(pipe).digest() == before
    assert Revision(type(pipe).from_pretrained(tmp_path, safety_checker=None)).digest() == before


PROGRAM = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from darkroom.engine.tape import Tape
from tests.parity import company, plain
from tests.parity.families import FAMILIES
with company.open_engine(FAMILIES["sd2-v"]) as engine:
    for path in sys.argv[1:]:
        result = engine.resume(Tape.from_bytes(open(path, "rb").read())).result(120)
        print(hashlib.sha256(plain.pixels(result).tobytes()).hexdigest())
"""


def test_bytes_are_the_same_in_another_process(tmp_path: Path) -> None:
    family, paths, expected = FAMILIES["sd2-v"], list[str](), list[str]()
    with company.open_engine(family, reproducible=True) as engine:
        runs = recorded(engine, [call_of(family, request, "np") for request in family.requests[:3]])
    for number, (tape, result) in enumerate(runs):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(cut(tape)[1 + number].to_bytes())
        paths.append(str(path))
        expected.append(hashlib.sha256(bytes_of(result)).hexdigest())
    done = subprocess.run([sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected
