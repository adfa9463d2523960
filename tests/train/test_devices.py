"""What a run knows of its devices: the peak that MFU is a part of."""

from types import SimpleNamespace

import pytest

from train.cluster import devices
from train.pretrain import estimate


@pytest.mark.parametrize(
    ("kind", "peak", "said"),
    [
        ("NVIDIA H100 PCIe", 756e12, "of 756 TFLOP/s a device, dense (NVIDIA's data sheet of the H100"),
        ("NVIDIA H100 80GB HBM3", 989e12, "of 989 TFLOP/s a device, dense (NVIDIA's data sheet of the H100"),
        ("NVIDIA A10", 125e12, "of 125 TFLOP/s a device, dense (NVIDIA's data sheet of the A10"),
        ("NVIDIA GH200 480GB", None, "not shown: no peak is known for 'NVIDIA GH200 480GB'"),
        ("cpu", None, "not shown: no peak is known for 'cpu'"),
    ],
)
def test_peak_is_that_of_the_exact_device_or_none_with_the_reason(kind, peak, said):
    assert devices.peak_flops([SimpleNamespace(device_kind=kind)] * 2) == (peak and 2 * peak)
    assert estimate.utilisation(kind).startswith(said)
