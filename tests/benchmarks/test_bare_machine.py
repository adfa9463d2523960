"""The benchmarks of training and decoding run on a machine that has JAX, Flax, optax and NumPy and nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys

class Absent:
    # What the four packages need for themselves they may have; what our files ask for is refused.
    def find_spec(self, name, path=None, target=None):
        importer = sys._getframe(1)
        while importer.f_code.co_filename.startswith("<frozen"):
            importer = importer.f_back
        file = importer.f_code.co_filename
        ours = file.startswith(sys.argv[1]) and "site-packages" not in file
        known = {"jax", "flax", "optax", "numpy", "llm_jax", "train", "serve", *sys.stdlib_module_names, *sys.argv[2:]}
        if ours and name.split(".")[0] not in known:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1] + "/benchmarks")
for name in sys.argv[2:]:
    __import__(name)
import llm_jax.shapes
assert llm_jax.shapes.Float[llm_jax.shapes.Array, "B T"] is not None
"""


def test_they_import_with_four_packages():
    modules = ["measuring", "apart", "step_sides", "train_step", "operations", "decode_sides", "decode"]
    command = [sys.executable, "-c", CHILD, str(ROOT), *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
