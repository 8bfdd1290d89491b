# ruff: noqa: F821
# A small table with one row of each kind, for tests/tools/test_opgen.py.

family("BINARY", rule="pointwise", promote="SAME", flags="broadcasts")
family("UNARY", rule="pointwise", promote="SAME", flags="broadcasts")
operators({"a * b": "mul(a, b)", "a == b": "eq(a, b)", "-a": "mul(a, -1)"})
scalar_results(real="fx_abs", bool="fx_isnan")
helper("pool_backward(Tensor grad, Tensor input, Tensor? weight) -> (Tensor, Tensor)")
helper("count(int[] sizes, int[]? dim) -> int")
