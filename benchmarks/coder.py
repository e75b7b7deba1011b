"""A codec as two programs, the way the published code calls BPG: one process a picture, files in and out.

`python coder.py encode NAME QUALITY IN.png OUT` and `python coder.py decode NAME IN OUT.png`.
"""

import sys

import numpy as np
from PIL import Image

from ra_core.codecs import load_codec


def main(task: str, name: str, *arguments: str) -> None:
    codec = load_codec(name)
    *quality, source, target = arguments
    if task == "encode":
        number = codec.qualities.checked(float(quality[0]))
        (file,) = codec.encode([np.asarray(Image.open(source))], number)
        with open(target, "wb") as output:
            output.write(file)
    else:
        with open(source, "rb") as file:
            (picture,) = codec.decode([file.read()])
        Image.fromarray(picture).save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
