"""Machine code on disk follows all sources that it was made of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from model.kernels import build

INNER = "from lattice.build import compiled\n\n@compiled(fused=False)\ndef inner(x):\n    return x + {}\n"
OUTER = """from lattice.build import compiled, f64
from lattice.inner import inner

@compiled(f64, f64, fused=False)
def outer(x):
    return 2 * inner(x)
"""
ASK = "from lattice.outer import outer; print(outer(3.0), sum(outer.stats.cache_hits.values()))"


def test_a_change_of_another_module_is_compiled_in(tmp_path: Path) -> None:
    package = tmp_path / "lattice"
    package.mkdir()
    shutil.copy(build.__file__, package / "build.py")
    (package / "__init__.py").touch()
    (package / "outer.py").write_text(OUTER)
    inner = package / "inner.py"

    def told() -> list[str]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    inner.write_text(INNER.format(1))
    assert told() == ["8.0", "0"]
    assert told() == ["8.0", "1"]
    times = inner.stat()
    inner.write_text(INNER.format(2))
    os.utime(inner, ns=(times.st_atime_ns, times.st_mtime_ns))  # as an installer may leave it
    assert told() == ["10.0", "0"]
