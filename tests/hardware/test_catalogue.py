"""The catalogue of accelerators: exact names, dense figures, a source for each."""

import re
from importlib import resources

import pytest

from llm_jax.hardware import catalogue

ENTRIES = {entry.name: entry for entry in catalogue.accelerators()}

# What data sheets print "with sparsity", by format: twice the dense figure.
SPARSE = {
    "A10": {"bf16": 250, "int8": 500},
    "A10G": {"bf16": 140, "int8": 280},
    "L4": {"bf16": 242, "fp8": 485},
    "L40S": {"bf16": 733, "fp8": 1466},
    "RTX 3090": {"bf16": 142, "int8": 568},
    "RTX 4090": {"bf16": 330, "fp8": 661, "int8": 1321},
    "RTX 5090": {"bf16": 419, "fp8": 838, "int8": 1676},
    "A100 SXM 40GB": {"bf16": 624, "int8": 1248},
    "A100 PCIe 40GB": {"bf16": 624, "int8": 1248},
    "A100 SXM 80GB": {"bf16": 624, "int8": 1248},
    "A100 PCIe 80GB": {"bf16": 624, "int8": 1248},
    "H100 PCIe": {"bf16": 1513, "fp8": 3026},
    "H100 SXM": {"bf16": 1979, "fp8": 3958},
    "H100 NVL": {"bf16": 1671, "fp8": 3341},
    "H200": {"bf16": 1979, "fp8": 3958},
    "B200": {"bf16": 4500, "fp8": 9000},
    "MI300X": {"bf16": 2615, "fp8": 5230},
}


@pytest.mark.parametrize(
    ("kind", "name", "peak"),
    [
        ("Tesla T4", "T4", 65),
        ("NVIDIA A10", "A10", 125),
        ("NVIDIA A10G", "A10G", 70),
        ("NVIDIA L4", "L4", 121),
        ("NVIDIA L40S", "L40S", 362),
        ("NVIDIA GeForce RTX 3090", "RTX 3090", 71),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", 165),
        ("NVIDIA GeForce RTX 5090", "RTX 5090", 209),
        ("NVIDIA A100-SXM4-40GB", "A100 SXM 40GB", 312),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB", 312),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB", 312),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB", 312),
        ("NVIDIA H100 PCIe", "H100 PCIe", 756),
        ("NVIDIA H100 80GB HBM3", "H100 SXM", 989),
        ("NVIDIA H100 NVL", "H100 NVL", 835),
        ("NVIDIA H200", "H200", 989),
        ("NVIDIA B200", "B200", 2250),
        ("AMD Instinct MI300X", "MI300X", 1307),
        ("TPU v5 lite", "TPU v5e", 197),
        ("TPU v5", "TPU v5p", 459),
        ("TPU v6 lite", "TPU v6e", 918),
    ],
)
def test_exact_name_has_its_own_dense_peak(kind, name, peak):
    found = catalogue.find(kind)
    assert found is not None
    assert found.name == name
    assert found.training_peak is not None
    assert found.training_peak.value == peak


@pytest.mark.parametrize(
    "kind",
    [
        "cpu",
        "",
        "H100",
        "NVIDIA H100",
        "nvidia h200",
        "NVIDIA H200 NVL",
        "NVIDIA GH200 480GB",
        "NVIDIA L40",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3090 Ti",
        "TPU v5 lite pod",
    ],
)
def test_no_peak_is_guessed_from_a_part_of_a_name(kind):
    assert catalogue.find(kind) is None
    assert repr(kind) in catalogue.why_unknown(kind)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_every_figure_has_a_positive_value_a_source_and_a_date(entry):
    assert entry.kinds
    figures = [figure for name in catalogue.FIGURES if (figure := getattr(entry, name))]
    assert len(figures) >= 5
    for figure in figures:
        assert figure.value > 0
        assert re.search("not opened|not checked on a device", figure.source.title)  # change it with the source
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", figure.source.date)


@pytest.mark.parametrize("name", SPARSE)
def test_no_peak_is_the_sparse_figure_of_its_format(name):
    for form, sparse in SPARSE[name].items():
        figure = getattr(ENTRIES[name], form)
        assert figure is not None
        assert figure.value == pytest.approx(sparse / 2, rel=0.02)


def test_memory_reported_is_near_what_is_sold_and_never_another_size():
    for entry in ENTRIES.values():
        assert entry.reported_memory.value * 2**20 / 1e9 == pytest.approx(entry.memory.value, rel=0.09), entry.name


def test_one_name_in_two_entries_is_refused():
    text = resources.files("llm_jax.hardware").joinpath(catalogue.FILE_NAME).read_text()
    with pytest.raises(ValueError, match="'NVIDIA L4' is listed twice"):
        catalogue.parse(text.replace('["NVIDIA L40S"]', '["NVIDIA L4"]'))
    with pytest.raises(ValueError, match="T4: memory has the source 'hearsay'"):
        catalogue.parse(text.replace('memory = [16, "t4"]', 'memory = [16, "hearsay"]'))
    with pytest.raises(ValueError, match="T4: unknown figure 'bf61'"):
        catalogue.parse(text.replace('fp16 = [65, "t4"]', 'bf61 = [65, "t4"]'))
