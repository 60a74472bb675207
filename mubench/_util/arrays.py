"""Types of numpy arrays by element.

The types do not state shapes. The suffix of a variable's name does: `logits_NK` has shape (N, K).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Logits = npt.NDArray[np.floating[Any]]
