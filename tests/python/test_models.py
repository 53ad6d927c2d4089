"""Models that people serve: each compiles, saves, loads, matches eager, and allocates nothing in a steady run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn
from torch.export import Dim

import tenure

TOLERANCE = 1e-3  # of eager's largest value


def saved_and_loaded(path, *args, **options) -> tenure.Program:
    tenure.compile(*args, **options).save(path)
    return tenure.load(path)


def assert_close(result: torch.Tensor, expected: torch.Tensor) -> None:
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert (result - expected).abs().max() <= TOLERANCE * expected.abs().max()


def assert_steady(program: tenure.Program, call: Callable[[], object]) -> None:
    call()  # this signature may be new
    replays = program.stats().replays
    call()
    assert program.stats().replays == replays + 1
    assert program.stats().last_run_allocations == 0


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vit_b_16"])
def test_a_torchvision_model_is_one_engine_and_matches_eager_for_every_batch(tmp_path, name):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval()
    shapes = {"x": {0: Dim("batch", min=1, max=8)}}
    program = saved_and_loaded(tmp_path / "m.pt2", model, (torch.randn(2, 3, 224, 224),), dynamic_shapes=shapes)
    assert len(program.engines) == 1
    for batch in (2, 1, 3, 2):
        images = torch.randn(batch, 3, 224, 224)
        with torch.no_grad():
            assert_close(program(images), model(images))
    assert_steady(program, lambda: program(images))


def test_a_bert_with_dynamic_batch_and_length_matches_eager(tmp_path):
    from transformers import BertConfig, BertModel

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            config = BertConfig(num_hidden_layers=2, hidden_size=128, num_attention_heads=4, intermediate_size=256, vocab_size=1000)
            self.bert = BertModel(config)

        def forward(self, input_ids, attention_mask):
            answer = self.bert(input_ids=input_ids, attention_mask=attention_mask)
            return {"tokens": answer.last_hidden_state, "pooled": answer.pooler_output}

    def example(batch: int, length: int) -> dict[str, torch.Tensor]:
        mask = torch.ones(batch, length, dtype=torch.int64)
        mask[0, length // 2 :] = 0
        return {"input_ids": torch.randint(0, 1000, (batch, length)), "attention_mask": mask}

    model = Encoder().eval()
    shape = {0: Dim("batch", min=1, max=64), 1: Dim("length", min=2, max=512)}
    shapes = {"input_ids": shape, "attention_mask": shape}
    program = saved_and_loaded(tmp_path / "m.pt2", model, (), example(2, 7), dynamic_shapes=shapes)
    for batch, length in ((2, 7), (1, 16), (5, 3), (2, 7)):
        inputs = example(batch, length)
        with torch.no_grad():
            expected = model(**inputs)
        result = program(**inputs)
        assert_close(result["tokens"], expected["tokens"])
        assert_close(result["pooled"], expected["pooled"])
    assert_steady(program, lambda: program(**inputs))
