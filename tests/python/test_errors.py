"""Bad input gives tenure.Error with what, where and what to do, and leaves everything usable."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import tenure

GOOD = torch.arange(16, dtype=torch.float32).reshape(2, 8)


def refused(call) -> tenure.Error:
    with pytest.raises(tenure.Error) as caught:
        call()
    assert caught.value.message
    assert str(caught.value).endswith(caught.value.message)
    return caught.value


BAD_ARGUMENTS = {
    "no argument": ((), "expected"),
    "one too many": ((GOOD, GOOD), "expected"),
    "another dtype": ((GOOD.double(),), "f32.*f64"),
    "an integer dtype": ((GOOD.int(),), "f32.*i32"),
    "rank 1": ((GOOD[0],), "rank|dimension"),
    "rank 3": ((GOOD[None],), "rank|dimension"),
    "a wrong fixed size": ((GOOD[:, :7],), "7"),
    "a size above the exported range": ((torch.zeros(65, 8),), "65"),
    "a size below the exported range": ((torch.zeros(0, 8),), "0"),
    "another device": ((GOOD.to("meta"),), "meta"),
    "a list": (([1.0, 2.0],), "list"),
    "a NumPy array": ((GOOD.numpy(),), "from_numpy"),
    "None": ((None,), "None"),
    "a number": ((3,), "(?i)int|number"),
    "a string": (("x",), "(?i)str"),
    "a huge number": ((1 << 70,), "64 bits"),
    "a dictionary": (({"x": GOOD},), "dict"),
    "a sparse tensor": ((GOOD.to_sparse(),), "sparse|layout|strided"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_a_bad_argument_is_named_and_the_program_still_runs(case, hybrid):
    args, pattern = BAD_ARGUMENTS[case]
    expected = {name: tensor.clone() for name, tensor in hybrid(GOOD).items()}
    error = refused(lambda: hybrid(*args))
    assert error.code == "invalid argument"
    assert pytest.RaisesExc(tenure.Error, match=pattern).matches(error), str(error)
    for _ in range(2):
        result = hybrid(GOOD)
        assert all(torch.equal(result[name], expected[name]) for name in expected)


def test_a_bad_input_is_named_by_index_and_name(hybrid):
    error = refused(lambda: hybrid.run([{"a": 1}]))
    assert "input 0 (x) is a dict" in error.message
    error = refused(lambda: hybrid.run([GOOD.double()]))
    assert "x" in str(error)
    assert "0" in str(error)


@pytest.mark.parametrize("inputs", [GOOD, None, 3, "x", {"x": GOOD}])
def test_run_refuses_what_is_not_a_list_or_tuple(inputs, hybrid):
    assert refused(lambda: hybrid.run(inputs)).code == "invalid argument"


@pytest.mark.parametrize("inputs", [[], [GOOD, GOOD]])
def test_run_refuses_a_wrong_number_of_inputs(inputs, hybrid):
    error = refused(lambda: hybrid.run(inputs))
    assert error.code == "invalid argument"
    assert str(len(inputs)) in error.message
    assert "1" in error.message


def test_sizes_that_must_be_equal_are_checked(load_plain):
    class Model(nn.Module):
        def forward(self, x, y):
            return x + y

    rows = torch.export.Dim("rows")
    program = load_plain(Model(), (torch.ones(3), torch.ones(3)), dynamic_shapes={"x": {0: rows}, "y": {0: rows}})
    assert refused(lambda: program(torch.ones(3), torch.ones(4))).code == "invalid argument"
    assert torch.equal(program(torch.ones(5), torch.ones(5)), torch.full((5,), 2.0))


def test_a_failing_operator_is_named_and_the_program_still_runs(load_plain):
    class Model(nn.Module):
        def forward(self, table, index):
            return table.index_select(0, index) * 2

    program = load_plain(Model(), (torch.arange(4.0), torch.tensor([0, 1])))
    for _ in range(2):
        error = refused(lambda: program(torch.arange(4.0), torch.tensor([0, 9])))
        assert error.code == "operator"
        assert any("index_select" in where for where in error.context)
        assert torch.equal(program(torch.arange(4.0), torch.tensor([3, 1])), torch.tensor([6.0, 2.0]))


def test_a_failed_runtime_assertion_says_so(load_plain):
    class Model(nn.Module):
        def forward(self, x, count):
            n = count.item()
            torch._check(n >= 2)
            torch._check(n <= 5)
            return x.new_ones(n)

    program = load_plain(Model(), (torch.zeros(1), torch.tensor(3)))
    assert program(torch.zeros(1), torch.tensor(4)).shape == (4,)
    assert refused(lambda: program(torch.zeros(1), torch.tensor(9))).code == "runtime assertion"
    assert program(torch.zeros(1), torch.tensor(5)).shape == (5,)


def test_an_error_is_a_runtime_error_with_code_message_and_context(tmp_path):
    error = refused(lambda: tenure.load(tmp_path / "none.pt2"))
    assert isinstance(error, RuntimeError)
    assert error.code == "not found"
    assert error.context == [f"file {tmp_path / 'none.pt2'}"]
    assert str(error) == f"{error.context[0]}: {error.message}"


def assert_refused_file(path, code, pattern, intact):
    """The file is refused with its name, and a good program loads and runs right after."""
    error = refused(lambda: tenure.load(path))
    assert error.code == code, str(error)
    assert str(path) in error.context[0]
    assert pytest.RaisesExc(tenure.Error, match=pattern).matches(error), str(error)
    tenure.load(intact)(GOOD)


@pytest.mark.parametrize("content", [b"", b"P", b"not a zip at all" * 100, b"PK\x03\x04" + bytes(200), b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_archive_is_refused(content, tmp_path, hybrid_file):
    path = tmp_path / "bad.pt2"
    path.write_bytes(content)
    assert_refused_file(path, "bad file", "archive|zip|record", hybrid_file)


@pytest.mark.parametrize("percent", [1, 25, 50, 75, 90, 99, 99.9])
def test_a_truncated_archive_is_refused(percent, tmp_path, hybrid_file):
    path = tmp_path / "short.pt2"
    whole = hybrid_file.read_bytes()
    path.write_bytes(whole[: int(len(whole) * percent / 100)])
    assert_refused_file(path, "bad file", "archive|zip|truncated", hybrid_file)


def data_positions(path):
    """A position in the middle of the content of each record that is not empty."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            if info.file_size:
                yield info.filename, info.header_offset + 30 + name + extra + info.file_size // 2


def test_a_flipped_bit_in_any_record_that_is_read_is_refused(tmp_path, hybrid_file):
    whole = hybrid_file.read_bytes()
    read = 0
    for record, position in data_positions(hybrid_file):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path = tmp_path / "flipped.pt2"
        path.write_bytes(damaged)
        if any(part in record for part in ("models/", "data/weights/", "data/constants/", "data/tenure/")):
            read += 1
            assert refused(lambda path=path: tenure.load(path)).code in ("bad file", "unsupported"), record
    assert read >= 4


def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path, hybrid_file):
    whole = hybrid_file.read_bytes()
    expected = {name: tensor.clone() for name, tensor in tenure.load(hybrid_file)(GOOD).items()}
    path = tmp_path / "flipped.pt2"
    for position in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            program = tenure.load(path)
        except tenure.Error:
            continue
        result = program(GOOD)
        assert all(torch.equal(result[name], expected[name]) for name in expected), f"byte {position}"


def test_a_newer_format_version_is_refused(edit_manifest, hybrid_file):
    path = edit_manifest(hybrid_file, lambda manifest: manifest.update(format_version=99))
    assert_refused_file(path, "unsupported", "99", hybrid_file)


def test_a_missing_engine_blob_is_refused(rewritten, hybrid_file):
    path = rewritten(hybrid_file, {"data/tenure/engines/engine_0.blob": None})
    assert_refused_file(path, "bad file", r"engine_0", hybrid_file)


def test_an_engine_blob_of_other_content_is_refused(rewritten, hybrid_file):
    path = rewritten(hybrid_file, {"data/tenure/engines/engine_0.blob": lambda data: b"\0" * len(data)})
    error = refused(lambda: tenure.load(path))
    assert error.code in ("bad file", "engine")
    assert "engine_0" in str(error)


def test_an_unknown_backend_is_refused_and_the_known_ones_are_listed(edit_manifest, hybrid_file):
    path = edit_manifest(hybrid_file, lambda manifest: manifest["engines"][0].update(backend="imaginary"))
    assert_refused_file(path, "unsupported", "imaginary.*openvino", hybrid_file)


def test_an_engine_that_the_manifest_lacks_is_refused(edit_manifest, hybrid_file):
    path = edit_manifest(hybrid_file, lambda manifest: manifest["engines"].pop())
    assert_refused_file(path, "bad file", "engine_1", hybrid_file)


def test_an_unknown_operator_is_refused(rewritten, hybrid_file):
    path = rewritten(
        hybrid_file, {"models/model.json": lambda data: data.replace(b"ops.aten.sin.default", b"ops.nowhere.sin.default")}
    )
    assert_refused_file(path, "not found", "nowhere::sin", hybrid_file)


def test_a_missing_custom_operator_package_is_named(edit_manifest, hybrid_file):
    path = edit_manifest(hybrid_file, lambda manifest: manifest.update(custom_op_libraries=["no_such_package"]))
    assert_refused_file(path, "not found", "no_such_package.*install", hybrid_file)


def test_a_missing_custom_operator_library_is_named(tmp_path, hybrid_file):
    error = refused(lambda: tenure.load(hybrid_file, custom_op_libraries=[tmp_path / "libnone.so"]))
    assert error.code == "not found"
    assert "libnone.so" in str(error)


def test_an_operator_whose_library_is_not_loaded_is_named_and_the_named_package_is_imported(tmp_path, edit_manifest):
    torchvision = pytest.importorskip("torchvision")

    class Model(nn.Module):
        def forward(self, boxes, scores):
            return boxes[torchvision.ops.nms(boxes, scores, 0.5)]

    boxes, scores = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6]]), torch.tensor([0.9, 0.8, 0.7])
    whole, unnamed = tmp_path / "whole.pt2", tmp_path / "unnamed.pt2"
    tenure.compile(Model(), (boxes, scores), backend=[]).save(whole)
    edit_manifest(whole, lambda manifest: manifest.update(custom_op_libraries=[])).rename(unnamed)
    script = f"""
import sys, torch, tenure
try:
    tenure.load({str(unnamed)!r})
except tenure.Error as error:
    assert error.code == "not found" and "torchvision::nms" in str(error), error
else:
    raise SystemExit("loaded without its operator library")
assert "torchvision" not in sys.modules
program = tenure.load({str(whole)!r})
boxes, scores = torch.tensor({boxes.tolist()}), torch.tensor({scores.tolist()})
assert program(boxes, scores).shape == (2, 4)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_file_cannot_make_the_loader_run_a_module_that_nobody_imported(hybrid_file, edit_manifest, tmp_path, monkeypatch):
    (tmp_path / "tenure_evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    file = edit_manifest(hybrid_file, lambda manifest: manifest.update(custom_op_libraries=["tenure_evil"]))
    error = refused(lambda: tenure.load(file))
    assert error.code == "unsupported"
    assert "tenure_evil" in str(error)
    assert not (tmp_path / "ran").exists()
    tenure.load(file, trust_native_code=True)
    assert (tmp_path / "ran").exists()


def test_nothing_pickled_is_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    path = tmp_path / "pickled.pt2"
    torch.save({"model": Bomb()}, path)
    assert refused(lambda: tenure.load(path)).code in ("bad file", "unsupported")
    assert not (tmp_path / "exploded").exists()


def test_engines_cannot_be_moved_to_another_device(hybrid_file):
    error = refused(lambda: tenure.load(hybrid_file, device="cuda"))
    assert error.code == "unsupported"
    assert "compiled for cpu" in str(error)


def test_a_device_that_is_none_or_not_supported_is_refused(hybrid_file):
    assert refused(lambda: tenure.load(hybrid_file, device="gpu7")).code == "invalid argument"
    assert "xpu" in str(refused(lambda: tenure.load(hybrid_file, device="xpu")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_cuda_device_a_program_that_wants_one_says_so(tmp_path):
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(3, 4), (torch.randn(2, 3),)), path)
    error = refused(lambda: tenure.load(path, device="cuda"))
    assert error.code == "unsupported"
    assert "CUDA" in str(error)
    assert 'device="cpu"' in str(error)


def test_what_was_exported_on_the_cpu_loads_there_by_name_too(hybrid_file):
    assert tenure.load(hybrid_file, device="cpu")(GOOD)["sums"].device.type == "cpu"


def test_a_folder_is_not_a_program(tmp_path):
    assert str(tmp_path) in str(refused(lambda: tenure.load(tmp_path)))


def test_saving_where_nothing_can_be_written_is_refused(hybrid, tmp_path):
    assert refused(lambda: hybrid.save(tmp_path / "none" / "model.pt2")).code == "not found"
    assert refused(lambda: hybrid.save(tmp_path)).code == "invalid argument"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(function, hybrid, tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        error = refused(lambda: hybrid.save(path))
    assert "No space left" in str(error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    hybrid.save(path)
    tenure.load(path)(GOOD)


def test_a_file_that_changed_in_place_is_not_saved(hybrid_file, tmp_path):
    path, copy = tmp_path / "model.pt2", tmp_path / "copy.pt2"
    path.write_bytes(hybrid_file.read_bytes())
    program = tenure.load(path)
    with open(path, "r+b") as file:
        file.write(b"????")
    os.utime(path, ns=(0, 0))
    assert "changed" in refused(lambda: program.save(copy)).message
    assert not copy.exists()
    program(GOOD)


def test_a_size_that_is_no_multiple_of_what_was_exported_is_refused_each_time_and_a_right_one_runs(tmp_path):
    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(6)))

        def forward(self, x):
            return self.layers(x)

    n = torch.export.Dim("n", min=1, max=4)
    model = Halves().eval()
    program = tenure.compile(model, (torch.randn(4, 4),), dynamic_shapes={"x": {0: 2 * n}})
    assert len(program.engines) == 1
    for rows, what in ((7, "2"), (100, "4"), (100, "4")):
        with pytest.raises(tenure.Error, match=rf"dimension 0.*{what}"):
            program(torch.randn(rows, 4))
    for rows in (6, 4, 8):
        x = torch.randn(rows, 4)
        torch.testing.assert_close(program(x), model(x).detach())


SMALL = torch.nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"session_options": {"max_plan_bytes": 2**70}}, "max_plan_bytes is 1180591620717411303424; it is an int from 1 to"),
        ({"session_options": {"max_frames": True}}, "max_frames is True"),
        ({"session_options": {"max_frames": "4"}}, "max_frames is '4'"),
        ({"session_options": "x"}, "session_options is a str; it is a dict with max_frames"),
        ({"backend": None}, "backend is None; it is a name"),
        ({"backend": [3]}, r"backend is \[3\]; it is a name"),
        ({"min_block_size": "a"}, "min_block_size is 'a'"),
        ({"backend": "null", "options": "a"}, "options is 'a'; it is a dict"),
    ],
)
def test_an_option_of_a_wrong_kind_is_an_error_that_shows_it(options, words):
    with pytest.raises(tenure.Error, match=words) as caught:
        tenure.compile(SMALL, (torch.zeros(1, 4),), **{"backend": ()} | options)
    assert caught.value.code == "invalid argument"


def test_what_a_program_is_asked_in_a_wrong_way_is_an_error_that_shows_it():
    program = tenure.compile(SMALL, (torch.zeros(1, 4),), backend=())
    for ask, words in (
        (lambda: program.explain(3), "sizes is a int"),
        (lambda: program.explain({"s": "3"}), "the size s is '3'"),
        (lambda: program.load_state_dict(None), "state is a NoneType"),
        (lambda: program.load_state_dict({"n": 3}), "state n is a int"),
        (lambda: setattr(program, "pre_allocated_outputs", "no"), "pre_allocated_outputs is 'no'"),
    ):
        with pytest.raises(tenure.Error, match=words):
            ask()
