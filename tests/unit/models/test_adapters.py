"""Adapters at the door: which there are, what their files must be, and which of them a request means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom import errors
from darkroom.config import Settings, load
from darkroom.models.adapters import check_lora, looks_like_safetensors, refuse_pickle
from darkroom.models.catalogue import BUNDLED_FOLDER, Entry, catalogue, narrow
from darkroom.models.layout import read_layout
from darkroom.models.offer import Offer, offer_of
from darkroom.models.registered import Registered, fetch
from darkroom.models.request import ImageRequest, validate
from darkroom.storage.objects import Storage, key_for_about, key_for_adapter, open_storage
from tests.lora_files import PICKLED, lora, put, weights

LANDSCAPES = BUNDLED_FOLDER / "landscapes"
PLAIN = "[models.mine.presets.quality]\nnum_inference_steps = 9\n"
TURBO = PLAIN + "[models.mine.presets.turbo]\nnum_inference_steps = 4\nadapters = { ink = 1.0 }\n"


def settings_saying(folder: Path, said: str) -> Settings:
    head = f'home = "home"\ndefault_model = "mine"\n[models.mine]\npath = "{LANDSCAPES}"\n'
    (folder / "darkroom.toml").write_text(head + said)
    return load(folder / "darkroom.toml")


def entry_saying(folder: Path, said: str) -> Entry:
    return catalogue(settings_saying(folder, said)).find("mine")


def offer_saying(folder: Path, said: str) -> Offer:
    return offer_of(entry_saying(folder, said), read_layout(LANDSCAPES))


def asked(offer: Offer, **inputs: Any) -> ImageRequest:
    return validate({"prompt": "a red barn", "seed": 7, **inputs}, offer)


@pytest.fixture
def offer(tmp_path: Path) -> Offer:
    """Of a model with two adapters; `turbo` is a preset with one of them."""
    put(tmp_path / "ink.safetensors", lora(1))
    put(tmp_path / "folder" / "any.safetensors", lora(2))
    return offer_saying(
        tmp_path, '[adapters.ink]\npath = "ink.safetensors"\n[adapters.chalk]\npath = "folder"\n' + TURBO
    )


def test_adapters_of_the_file_are_the_default_models(offer: Offer) -> None:
    request = asked(offer, adapters={"ink": 1, "chalk": -0.5})
    assert request.adapters == {"ink": 1.0, "chalk": -0.5}
    assert {name: len(digest) for name, digest in request.adapter_digests.items()} == {"ink": 64, "chalk": 64}
    assert request.settings()["adapters"] == {"ink": 1.0, "chalk": -0.5}
    assert "adapters" not in asked(offer).settings()


def test_a_preset_brings_its_adapters_and_what_is_said_stands_above_them(offer: Offer) -> None:
    assert asked(offer, preset="turbo").adapters == {"ink": 1.0}
    both = asked(offer, preset="turbo", adapters={"ink": 0, "chalk": 1}).adapters
    assert both == {"ink": 0.0, "chalk": 1.0}


def test_the_name_that_was_meant_is_said(offer: Offer) -> None:
    with pytest.raises(errors.UnknownAdapter, match=r"did you mean chalk\?\); allowed: chalk, ink") as caught:
        asked(offer, adapters={"chalks": 1})
    assert caught.value.field == "adapters"


@pytest.mark.parametrize("weight", ["1", None, True, [1], float("nan"), float("inf"), 101, -101])
def test_a_weight_is_a_finite_number_within_bounds(offer: Offer, weight: object) -> None:
    with pytest.raises(errors.BadInput, match="from -100 to 100") as caught:
        asked(offer, adapters={"ink": weight})
    assert caught.value.field == "adapters"


def test_a_weight_that_no_text_can_hold_is_refused(offer: Offer) -> None:
    with pytest.raises(errors.BadInput, match="not int"):
        asked(offer, adapters={"ink": 10**5000})


def test_there_is_a_most_of_adapters(offer: Offer) -> None:
    with pytest.raises(errors.BadInput, match="at most 8 adapters may be given, not 9"):
        asked(offer, adapters={f"a{number}": 1 for number in range(9)})


def test_the_file_that_was_meant_must_be_the_file(offer: Offer, tmp_path: Path) -> None:
    before = asked(offer, adapters={"ink": 1}).adapter_digests
    assert asked(offer, adapters={"ink": 1}, adapter_digests=before).adapter_digests == before
    (tmp_path / "ink.safetensors").write_bytes(lora(3))
    after = asked(offer, adapters={"ink": 1}).adapter_digests
    assert after != before
    with pytest.raises(errors.UnknownAdapter, match="is another file by now") as caught:
        asked(offer, adapters={"ink": 1}, adapter_digests=before)
    assert caught.value.field == "adapter_digests"


def test_a_file_that_is_gone_is_named(offer: Offer, tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").unlink()
    with pytest.raises(errors.MissingWeights, match="adapter 'ink' cannot be used: there is no adapter at"):
        asked(offer, adapters={"ink": 1})
    assert offer.adapters["ink"].problem is not None
    assert offer.adapters["chalk"].problem is None


def test_the_model_that_ships_has_its_adapters_also_where_it_alone_is_served(tmp_path: Path) -> None:
    settings = settings_saying(tmp_path, "")
    shipped = catalogue(settings).find("landscapes").adapters
    assert {adapter.source for adapter in shipped.values()} == {"bundled"}
    assert catalogue(narrow(settings, "landscapes")).find("landscapes") == catalogue(settings).find("landscapes")
    put_in_its_place = f'[models.landscapes]\npath = "{tmp_path}"\n'
    assert catalogue(settings_saying(tmp_path, put_in_its_place)).find("landscapes").adapters == {}


@pytest.mark.parametrize(
    ("said", "place"),
    [
        (
            '[adapters.ink]\npath = "x"\nmodel = "min"\n',
            r"adapters.ink.model: there is no model 'min' \(did you mean mine",
        ),
        ('[adapters.ink]\npaht = "x"\n', "adapters.ink"),
        ('[adapters.ink]\npath = "x"\nscale = 1\n', r"adapters.ink.scale: there is no such key; allowed: path, model"),
        ('[adapters.Ink]\npath = "x"\n', "adapter name 'Ink'"),
        ('[models.far]\nremote = "http://far"\n[adapters.ink]\npath = "x"\nmodel = "far"\n', "register it there"),
        (TURBO, r"models.mine.presets.turbo.adapters: there is no 'ink'"),
        (TURBO.replace("1.0", "200"), "less than or equal to 100"),
    ],
)
def test_a_wrong_entry_stops_the_start_and_says_where(tmp_path: Path, said: str, place: str) -> None:
    with pytest.raises(errors.InvalidConfig, match=place):
        offer_saying(tmp_path, said)


def test_a_makers_preset_is_not_offered_without_its_adapters(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in LANDSCAPES.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "presets.json").unlink()
    inked = {"num_inference_steps": 4, "adapters": {"ink": 1}}
    said = {"presets": {"plain": {"num_inference_steps": 9}, "inked": inked}}
    (folder / "presets.json").write_text(json.dumps(said))
    own = f'[models.own]\npath = "{folder}"\n'
    without = catalogue(settings_saying(tmp_path, own)).find("own")
    assert list(offer_of(without, read_layout(folder)).presets) == ["plain"]
    put(tmp_path / "ink.safetensors", lora(1))
    named = own + '[adapters.ink]\npath = "ink.safetensors"\nmodel = "own"\n'
    entry = catalogue(settings_saying(tmp_path, named)).find("own")
    assert list(offer_of(entry, read_layout(folder)).presets) == ["plain", "inked"]


WRONG: list[tuple[bytes, type[errors.BadInput], str]] = [
    (PICKLED, errors.UnsafeWeights, "is a pickle"),
    (b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", errors.UnsafeWeights, "is a pickle"),
    (lora(1)[:-1], errors.BadInput, "no whole safetensors file"),
    (lora(1) + b"\0", errors.BadInput, "no whole safetensors file"),
    (b"\x02" + b"\0" * 7 + b"{}", errors.BadInput, "holds no LoRA"),
    (b"\x01" + b"\0" * 7 + b"{", errors.BadInput, "no whole safetensors file"),
    (b"\xff" * 8 + b"{", errors.BadInput, "no whole safetensors file"),
    ((200_000).to_bytes(8, "little") + b'{"a":' * 40_000, errors.BadInput, "no whole safetensors file"),
    (weights(conv=(2, 2)), errors.BadInput, "holds no LoRA"),
    (weights(**{"a.lora_A.weight": (2,), "a.dora_scale": (2,)}), errors.NotSupported, "is a DoRA adapter"),
    (weights(**{"a.hada_w1_a": (2,)}), errors.NotSupported, "is a LoHa adapter"),
]


@pytest.mark.parametrize(("data", "kind", "said"), WRONG)
def test_what_is_no_lora_is_refused_by_its_header_alone(data: bytes, kind: type[errors.BadInput], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        check_lora(data)
    assert type(caught.value) is kind
    assert caught.value.field == "body"


def test_a_lora_passes() -> None:
    assert looks_like_safetensors(lora(1))
    check_lora(lora(1))
    refuse_pickle(lora(1))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


def test_what_is_registered_is_known_to_all_who_share_the_storage(storage: Storage, tmp_path: Path) -> None:
    made, other = Registered(storage), Registered(storage)
    adapter = made.add("ink", "mine", lora(1))
    assert made.add("ink", "mine", lora(1)) == adapter
    assert other.for_model("mine") == {"ink": adapter}
    assert other.for_model("another") == {}
    digest = adapter.facts().digest
    path = fetch(storage, "ink", digest, tmp_path / "kept")
    assert path.read_bytes() == lora(1)
    storage.delete([key_for_adapter("ink", digest)])
    assert fetch(storage, "ink", digest, tmp_path / "kept") == path  # it is here already


@pytest.mark.parametrize(("model", "seed"), [("mine", 2), ("another", 1)])
def test_a_name_is_given_once(storage: Storage, model: str, seed: int) -> None:
    Registered(storage).add("ink", "mine", lora(1))
    with pytest.raises(errors.Conflict, match="registered already"):
        Registered(storage).add("ink", model, lora(seed))
    [kept] = Registered(storage).all().values()
    assert kept.model == "mine"


def test_a_name_that_is_free_again_can_be_another_file(storage: Storage, tmp_path: Path) -> None:
    registered = Registered(storage)
    first = registered.add("ink", "mine", lora(1))
    registered.remove("ink")
    assert registered.all() == {}
    assert [*storage.list("adapters")] == []
    with pytest.raises(errors.NotFound):
        registered.remove("ink")
    with pytest.raises(errors.UnknownAdapter, match="adapter 'ink' is no longer registered"):
        fetch(storage, "ink", first.facts().digest, tmp_path / "kept")
    assert registered.add("ink", "mine", lora(2)) != first


def test_others_are_heard_of_within_seconds_and_not_asked_for_at_each_request(storage: Storage) -> None:
    now = 100.0
    mine, other = Registered(storage, lambda: now), Registered(storage)
    assert mine.all() == {}
    other.add("ink", "mine", lora(1))
    assert mine.all() == {}
    now += 2.0
    assert list(mine.all()) == ["ink"]


def test_damaged_bytes_are_not_used(storage: Storage, tmp_path: Path) -> None:
    digest = Registered(storage).add("ink", "mine", lora(1)).facts().digest
    storage.put(key_for_adapter("ink", digest), lora(2), "application/octet-stream")
    with pytest.raises(errors.CorruptWeights, match="damaged"):
        fetch(storage, "ink", digest, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_what_cannot_be_read_as_an_adapter_is_passed_over(storage: Storage) -> None:
    registered = Registered(storage)
    registered.add("ink", "mine", lora(1))
    storage.put(key_for_about("bad"), b"{}", "application/json")
    assert list(Registered(storage).all()) == ["ink"]
    registered.remove("bad")
    assert [key for key in storage.list("adapters") if "bad" in key] == []
