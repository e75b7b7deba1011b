"""BPG with stand-in programs: small scripts on a PATH of their own, well-behaved and hostile ones."""

import contextlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzz_codec import picture
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from ra_core.codecs import bpg, load_codec
from ra_core.codecs.base import MAX_PIXELS
from ra_core.codecs.bpg import BpgCodec, bpg_size
from ra_core.errors import CodecError, ParameterError

REAL = all(shutil.which(program) for program in bpg.PROGRAMS)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="stand-ins are scripts with a first line for Unix")

COMMON = """
import json, os, sys, time
with open({record!r}, "a") as record:
    record.write(json.dumps([sys.argv[1:], os.getcwd(), sorted(os.listdir())]) + "\\n")
"""


def number(value: int) -> bytes:
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127 | 128)
    return bytes(digits[::-1])


def whole(width: int, height: int, data: bytes = b"data") -> bytes:
    return b"BPG\xfb\x20\x00" + number(width) + number(height) + number(len(data)) + data


# The stand-ins' format: a true BPG header, then the pixels as they are, the first one giving way to the QP.
ENCODER = f"""
from PIL import Image
{inspect.getsource(number)}
{inspect.getsource(whole)}
arguments = dict(zip(sys.argv[1:-1:2], sys.argv[2:-1:2]))
image = Image.open(sys.argv[-1])
data = bytes([int(arguments["-q"])]) + image.tobytes()[1:]
open(arguments["-o"], "wb").write(whole(*image.size, data))
"""
DECODER = """
from PIL import Image
file = open(sys.argv[-1], "rb").read()
values, position = [0], 6
while len(values) < 4:
    values[-1] = values[-1] << 7 | file[position] & 127
    if file[position] < 128:
        values.append(0)
    position += 1
Image.frombytes("RGB", tuple(values[:2]), file[position:]).save(sys.argv[2])
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Return a function that writes the stand-ins; both become the only programs on PATH."""
    folder = tmp_path / "programs; exit 1 #"
    folder.mkdir()
    temporary = tmp_path / "a b; touch $(hacked) `x`"
    temporary.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def write(bpgenc: str | None = ENCODER, bpgdec: str | None = DECODER) -> BpgCodec:
        for name, body in (("bpgenc", bpgenc), ("bpgdec", bpgdec)):
            if body is not None:
                text = f"#!{sys.executable}\n" + COMMON.format(record=str(tmp_path / "calls")) + body
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
        return BpgCodec()

    yield write
    assert list(temporary.iterdir()) == [], "something was left in the temporary folder"


def calls(tmp_path: Path) -> list:
    record = tmp_path / "calls"
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def test_pictures_come_back_in_order_from_programs_in_folders_of_their_own(programs, tmp_path):
    programs()
    codec, pictures = load_codec("bpg"), [picture(*sides) for sides in ((1, 1), (5, 300), (64, 48))]
    files = codec.encode(pictures, 34, threads=3)
    assert [bpg_size(file) for file in files] == [(1, 1), (300, 5), (48, 64)]
    for decoded, array in zip(codec.decode(files), pictures, strict=True):
        assert decoded.flat[0] == 34  # the stand-in keeps the QP there
        assert np.array_equal(decoded.flat[1:], array.flat[1:])
    given = [["-q", "34", "-o", "out.bpg", "in.png"], ["in.png"]], [["-o", "out.png", "in.bpg"], ["in.bpg"]]
    assert [[arguments, files] for arguments, _, files in calls(tmp_path)] == [given[0]] * 3 + [given[1]] * 3
    folders = {folder for _, folder, _ in calls(tmp_path)}
    assert len(folders) == 6 and not any(Path(folder).exists() for folder in folders)


def test_a_description_names_the_programs_versions(programs):
    codec = programs("print('BPG Image Encoder version 0.9.8'); sys.exit(1)", "sys.exit(1)")
    assert codec.describe()["versions"] == {"bpgenc": "BPG Image Encoder version 0.9.8", "bpgdec": "unknown"}


def test_a_missing_program_is_named(programs):
    for present in ((None, None), (ENCODER, None)):
        programs(*present)
        assert "bpgenc and bpgdec" in refusal(ParameterError, load_codec, "bpg")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.stderr.write('no memory. None\\nat all\\n'); sys.exit(3)", "status 3, saying 'no memory"),
        ("os.kill(os.getpid(), 9)", "status -9"),
        ("print('y' * 10**7)", "no file"),
        ("open('out.bpg', 'w'); open('out.png', 'w')", "no file"),
        ("os.mkdir('out.bpg'); os.mkfifo('out.png')", "no file"),
        ("[os.truncate(os.open(f, os.O_CREAT | os.O_RDWR), 2**33) for f in ('out.bpg', 'out.png')]", "bytes"),
        ("[open(f, 'wb').write(os.urandom(999)) for f in ('out.bpg', 'out.png')]", ""),
        ("time.sleep(600)", "timed out"),
    ],
)
def test_a_program_that_fails_or_hangs_is_one_error(programs, body, said):
    programs(body, body)
    codec = BpgCodec(seconds=0.5 if "sleep" in body else 60)
    message = refusal(CodecError, codec.encode, [picture(8, 8)], 30)
    assert said in message and "picture 0" in message
    message = refusal(CodecError, codec.decode, [whole(8, 8)])
    assert said in message and "file 0" in message


@pytest.mark.parametrize(
    "old, new", [("number(width)", "number(width + 1)"), ("BPG", "BPF"), ("number(len(data))", "number(10**6)")]
)
def test_a_file_of_another_kind_or_size_is_no_result(programs, old, new):
    refusal(CodecError, programs(ENCODER.replace(old, new)).encode, [picture(8, 9)], 30)


@pytest.mark.parametrize(
    "made", ["new('L', (8, 8)).save(o)", "new('RGB', (9, 8)).save(o)", "new('RGB', (8, 8)).save(o, 'BMP')",
             "new('RGB', (8, 8)).save(o); os.truncate(o, 45)"],
)  # fmt: skip
def test_what_the_decoder_leaves_is_not_trusted(programs, made):
    body = f"from PIL import Image\no = 'out.png'\nImage.{made}"
    refusal(CodecError, programs(bpgdec=body).decode, [whole(8, 8)])


def test_hostile_bytes_do_not_reach_the_program(programs, tmp_path):
    codec, good = programs(), whole(40, 30)
    hostile = [b"", b"BPG\xfb", good[:8], good[:-1], b"GIF" + good[3:], whole(0, 5), whole(2**13 + 1, 2**13)]
    hostile += [b"BPG\xfb\x20\x00" + b"\xff" * 50, b"BPG\xfb\x20\x00" + b"\x80" * 10**6]
    for file in hostile:
        refusal(CodecError, codec.decode, [file])
    assert calls(tmp_path) == []


@given(st.integers(1, 2**31), st.integers(1, 2**31), st.binary(max_size=300))
def test_a_declared_size_is_read(width, height, data):
    file = whole(width, height, data)
    if width * height > MAX_PIXELS:
        with pytest.raises(ValueError, match="pixels"):
            bpg_size(file)
    else:
        assert bpg_size(file) == bpg_size(file + b"more") == (width, height)


@pytest.mark.skipif(not REAL, reason="bpgenc and bpgdec are not here")
def test_the_real_programs():
    codec, array = load_codec("bpg"), picture(67, 90)
    files = [codec.encode([array], qp)[0] for qp in (10, 30, 45)]
    errors = [np.square(d.astype(float) - array).mean() for d in codec.decode(files)]
    assert len(files[0]) > len(files[1]) > len(files[2]) and errors[0] < errors[1] < errors[2]
    for file in (files[0][:50], files[1][:-5], files[2][:20] + bytes(2000)):
        with contextlib.suppress(CodecError):
            assert codec.decode([file])[0].shape == array.shape
