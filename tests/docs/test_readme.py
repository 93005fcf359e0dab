"""The README's Python example runs as it is written, from the checkout."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

CHECKOUT = Path(__file__).parents[2]


def test_the_python_example_makes_its_pictures(tmp_path: Path) -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import Engine" in block]
    (tmp_path / "src").symlink_to(CHECKOUT / "src")
    ran = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for name in re.findall(r'save\("(.*?)"\)', example):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (256, 256)
