# Families: defaults for rows that have the same shape rule, and the helpers that formulas call.

family("UNARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("BINARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("TERNARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("COMPARE", rule="pointwise", promote="BOOL", flags="pointwise broadcasts")
family("VIEW", flags="view")
family("FACTORY", flags="factory")
family("REDUCE", rule="reduce")
family("RANDOM", flags="random")

# Sizes and dims.
helper("permutation_inverse(int[] dims) -> int[]")
