"""Functions as machine code, and the types they are compiled for."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core.caching import FunctionCache

__all__ = ["Float32", "Float64", "Int32", "Int64", "compiled"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES: Final = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


def _array(dtype: Any, dimensions: int, *, readonly: bool = False) -> Any:
    """The type of a contiguous array; of one that is only read, writable ones are taken too."""
    return types.Array(dtype, dimensions, "C", readonly=readonly)


# float32, float64, int32 and int64 arrays of so many dimensions; r: only read
f32_1, f32_2, f32_3 = (_array(types.float32, dimensions) for dimensions in (1, 2, 3))
f64_1, f64_2 = _array(types.float64, 1), _array(types.float64, 2)
i64_1, i64_2 = _array(types.int64, 1), _array(types.int64, 2)
bool_1 = _array(types.boolean, 1)
u8_2r = _array(types.uint8, 2, readonly=True)
f32_1r, f32_2r = _array(types.float32, 1, readonly=True), _array(types.float32, 2, readonly=True)
i32_1r, i64_1r = _array(types.int32, 1, readonly=True), _array(types.int64, 1, readonly=True)
f32, f64, i64, boolean, void = types.float32, types.float64, types.int64, types.boolean, types.void


class SourcesCache(FunctionCache):
    """Keeps machine code until any module of the package changes.

    Numba's own looks at the time of the function's module, and not at what is compiled into it from others.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = SOURCES.hexdigest()


def compiled(*signature: Any, fused: bool, regrouped: bool = False) -> Callable[[Function], Function]:
    """Decorates a function to be machine code.

    The code is kept on disk where a folder can be written: beside the module, or in the user's cache.

    Args:
        signature: types of the result and of the arguments, the only ones that it takes and for which it is compiled at
            once; none for a function that others call, which is compiled into them.
        fused: whether a product and a sum may be rounded once; not where two functions have to agree to the last bit.
        regrouped: whether a sum is taken of many partial sums, as wide as the machine's registers: always the same on
            one machine, for the same number of terms.
    """
    liberties = {name for name, taken in (("contract", fused), ("reassoc", regrouped)) if taken}

    def decorate(function: Function) -> Function:
        kernel = numba.njit(nogil=True, error_model="numpy", fastmath=liberties or False)(function)
        if signature:
            with suppress(RuntimeError):  # there is no such folder
                kernel._cache = SourcesCache(function)  # type: ignore[attr-defined]
            result, *arguments = signature
            kernel.compile(result(*arguments))
            kernel.disable_compile()
        return cast(Function, kernel)

    return decorate
