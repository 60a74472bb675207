"""Networks by name: what each can have, told without torch."""

import subprocess
import sys

import pytest

from mubench._util.errors import UserError
from mubench.task.architectures import allcnn_options, check, resnet18_width, vit_options


@pytest.mark.parametrize(
    ("name", "width", "options", "expected"),
    [
        ("resnet18", 9, {}, "odd width"),
        ("resnet81", 8, {}, "leave `width` out; did you mean 'resnet18'?"),
        ("allcnn", None, {"dropuot": True}, "takes dropout; dropuot: unknown; did you mean"),
        ("allcnn", None, {"dropout": 1}, "dropout: Input should be a valid boolean"),
        ("vit", None, {"depth": 0, "dropout": 1.0}, "depth: .*; dropout: "),
        ("vit", None, {"mlp_ratio": float("inf")}, "mlp_ratio: .*"),
        ("vit", None, {"heads": 12, "patch": 3}, "patches of 3 pixels; set .* to a divisor of 8"),
        ("vit", 20, {}, "set the option `heads` to a divisor of 20"),
    ],
)
def test_what_a_network_cannot_have_is_told(name, width, options, expected):
    with pytest.raises(UserError, match=expected) as caught:
        check(name, width, options, 8)
    assert "\n" not in str(caught.value)


def test_what_it_can_have_passes():
    check("vit", 24, {"heads": 4}, 8)
    check("resnet18", None, {"drop_rate": 0.1}, 8)  # options of timm's are timm's to tell
    check("resnet50", None, {}, 8)
    assert (resnet18_width(None), resnet18_width(8)) == (64, 8)
    assert allcnn_options({"dropout": True}).dropout
    assert vit_options({}).depth == 9


def test_it_needs_no_torch():
    code = "import sys, mubench.task.installed, mubench.task.protocol\n"
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
