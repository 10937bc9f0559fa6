"""One processor instruction that numba does not offer: ask for memory before it is needed."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def prefetch(typing_context, array, index):
    """Begin to bring array[index] into the cache, without waiting for it; `array` is 1-D, `index` not negative."""

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]], wraparound=False)
        address, i32 = builder.bitcast(pointer, cgutils.voidptr_t), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [address.type, i32, i32, i32])
        instruction = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        to_read, keep, data = i32(0), i32(3), i32(1)
        builder.call(instruction, [address, to_read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
