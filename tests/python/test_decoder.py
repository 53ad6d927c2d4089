"""The decoder of examples/decoder: its cache is state, so a wrong, stale or copied byte of it shows in some of 200 tokens."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch

import tenure

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "decoder"))
from decoder import Decoder, Size, decode

SIZE = Size(vocabulary=128, context=256, width=32, heads=2, layers=2)
PROMPTS = ([1, 2, 3, 4], [100, 7, 80])
COUNT = 200


def written_after(step, prompt) -> tuple[list[int], torch.Tensor]:
    logits = []
    with torch.no_grad():
        tokens = decode(step, prompt, COUNT, lambda each: logits.append(each.clone()))
    return tokens, torch.stack(logits)


def cache_of(model: Decoder) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.named_buffers() if name.endswith(("keys", "values"))}


@pytest.fixture(scope="module")
def model() -> Decoder:
    return Decoder(SIZE, seed=4).eval()


@pytest.fixture(scope="module")
def eager(model) -> list[tuple[list[int], torch.Tensor, dict[str, torch.Tensor]]]:
    """For each prompt the tokens, their logits, and the cache after the last."""
    answers = []
    for prompt in PROMPTS:
        fresh = copy.deepcopy(model)
        answers.append((*written_after(fresh, prompt), cache_of(fresh)))
    return answers


@pytest.fixture(scope="module", params=["a plain file", "no engines", "openvino"])
def compiled(request, model, tmp_path_factory) -> tenure.Program:
    example = (torch.tensor([1]), torch.tensor([0]))
    if request.param == "a plain file":
        path = tmp_path_factory.mktemp("decoder") / "plain.pt2"
        torch.export.save(torch.export.export(model, example), path)
        return tenure.load(path)
    program = tenure.compile(model, example, backend=[] if request.param == "no engines" else "openvino")
    assert bool(program.engines) == (request.param == "openvino")
    return program


@pytest.fixture
def program(compiled) -> tenure.Program:
    compiled.reset_state()
    return compiled


def assert_eagers(program, got: torch.Tensor, want: torch.Tensor) -> None:
    """Bit for bit where no engine computes."""
    torch.testing.assert_close(got, want, **({"rtol": 1e-3, "atol": 1e-4} if program.engines else {"rtol": 0, "atol": 0}))


def test_eager_writes_what_it_read_into_what_it_writes(model, eager):
    """Else equal tokens would prove nothing of the cache."""
    (first, _, _), (second, _, _) = eager
    assert min(len(set(first)), len(set(second))) > 40
    assert sum(a == b for a, b in zip(first, second, strict=True)) < COUNT / 4
    forgetful = copy.deepcopy(model)

    def step(token, position):
        forgetful.clear()
        return forgetful(token, position)

    assert sum(a == b for a, b in zip(first, written_after(step, PROMPTS[0])[0], strict=True)) < COUNT / 2


def test_200_tokens_after_each_of_two_prompts_are_eagers_token_for_token(program, eager):
    for prompt, (tokens, logits, cache) in zip(PROMPTS, eager, strict=True):
        program.reset_state()
        got, got_logits = written_after(program, prompt)
        assert got == tokens
        assert_eagers(program, got_logits, logits)
        state = program.state_dict()
        assert state.keys() == cache.keys()
        for name, tensor in cache.items():
            assert_eagers(program, state[name], tensor)


def test_no_token_allocates_anything_once_a_few_were_written(program, monkeypatch):
    monkeypatch.setenv("KINETO_LOG_LEVEL", "5")
    positions = torch.arange(COUNT).split(1)
    token = torch.tensor([1])
    for position in positions[:4]:
        token, logits = program(token, position)
    before = program.stats()
    for position in positions[4 : COUNT // 2]:
        token, logits = program(token, position)
        assert (program.stats().last_run_allocations, program.stats().fresh_bytes) == (0, 0)
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        for position in positions[COUNT // 2 :]:
            token, logits = program(token, position)
    events = profile.kineto_results.events()
    assert [event.nbytes() for event in events if event.name() == "[memory]" and event.nbytes() > 0] == []
    assert sum(event.name() == "aten::clone" for event in events) == 0
    assert logits.shape == (SIZE.vocabulary,)
    after = program.stats()
    assert (after.standing_bytes, after.leased_bytes, after.slots) == (before.standing_bytes, before.leased_bytes, before.slots)
    assert after.observing_runs == before.observing_runs


def test_the_cache_is_written_where_it_lies(program):
    decode(program, PROMPTS[0], 8)
    cached = [value for value in program.explain().values if "index_copy" in value.target]
    assert len(cached) == 2 * SIZE.layers
    assert all("attention" in value.where for value in cached), "each is a view of its buffer, not a copy to be written back"


def test_reset_state_empties_the_cache_and_a_state_dict_is_a_copy(program):
    written_after(program, PROMPTS[0])
    full = program.state_dict()
    assert all(tensor[:, :, : len(PROMPTS[0]) + COUNT - 1].abs().sum(-1).min() > 0 for tensor in full.values())
    kept = {name: tensor.clone() for name, tensor in full.items()}
    program.reset_state()
    assert all(tensor.count_nonzero() == 0 for tensor in program.state_dict().values())
    decode(program, PROMPTS[1], 8)
    assert all(torch.equal(full[name], tensor) for name, tensor in kept.items())


def test_a_text_goes_on_from_a_cache_that_was_kept(program, eager):
    """state_dict after half of the tokens, another text in between, load_state_dict, and the other half."""
    tokens, half = eager[0][0], COUNT // 2
    assert decode(program, PROMPTS[0], half) == tokens[:half]
    kept = program.state_dict()
    program.reset_state()
    decode(program, PROMPTS[1], COUNT)
    program.load_state_dict(kept)
    token, start = torch.tensor([tokens[half - 1]]), len(PROMPTS[0]) + half - 1
    for index in range(half, COUNT):
        token, _ = program(token, torch.tensor([start + index - half]))
        assert int(token) == tokens[index]
