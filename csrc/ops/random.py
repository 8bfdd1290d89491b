# Random numbers. Every row takes a Generator, or draws from the default one of its device; the same
# seed gives the peer's numbers on the CPU.

op("rand(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="random_new", kernel="rand", grad=None,
   doc="Numbers uniform in [0, 1).")
op("randn(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="random_new", kernel="randn", grad=None,
   doc="Numbers from the standard normal distribution.")
op("randint(int high, int[] size, *, Generator? generator=None, ScalarType? dtype=int64, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="randint_high", kernel="randint_high", grad=None,
   doc="Integers uniform in [0, high).")
op("randint.low(int low, int high, int[] size, *, Generator? generator=None, ScalarType? dtype=int64, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="randint", kernel="randint", grad=None,
   doc="Integers uniform in [low, high).")
op("randperm(int n, *, Generator? generator=None, ScalarType? dtype=int64, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="randperm", kernel="randperm", grad=None,
   doc="The integers 0 to n - 1 in random order.")
op("rand_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, flags="factory random", rule="rand_like", kernel="rand", grad=None,
   doc="Uniform numbers in the shape of another tensor.")
op("randn_like(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, flags="factory random", rule="rand_like", kernel="randn", grad=None,
   doc="Normal numbers in the shape of another tensor.")
op("randint_like(Tensor self, int high, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, flags="factory random", rule="randint_like_high", kernel="randint_like_high", grad=None,
   doc="Integers in the shape of another tensor.")
op("randint_like.low(Tensor self, int low, int high, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, MemoryFormat? memory_format=None) -> Tensor",
   variants="function", family=FACTORY, flags="factory random", rule="randint_like", kernel="randint_like", grad=None,
   doc="Integers in the shape of another tensor.")

op("uniform_(Tensor(a!) self, float from=0, float to=1, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="uniform", kernel="uniform",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with numbers uniform in [from, to).")
op("normal_(Tensor(a!) self, float mean=0, float std=1, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="normal_fill", kernel="normal_fill",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with normal numbers.")
op("exponential_(Tensor(a!) self, float lambd=1, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="exponential", kernel="exponential",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with exponentially distributed numbers.")
op("cauchy_(Tensor(a!) self, float median=0, float sigma=1, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="cauchy", kernel="cauchy",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with numbers from the Cauchy distribution.")
op("log_normal_(Tensor(a!) self, float mean=1, float std=2, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="log_normal", kernel="log_normal",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with numbers whose logarithm is normal.")
op("geometric_(Tensor(a!) self, float p, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="geometric", kernel="geometric",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with the number of trials up to the first success.")
op("random_(Tensor(a!) self, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="inplace", kernel="random_full",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with integers over the whole range of its dtype.")
op("random_.to(Tensor(a!) self, int to, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="random_to", kernel="random_to",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with integers in [0, to).")
op("random_.from(Tensor(a!) self, int from, int? to, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="random_from", kernel="random_from",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with integers in [from, to).")
op("bernoulli_(Tensor(a!) self, Operand p=0.5, *, Generator? generator=None) -> Tensor(a!)",
   variants="method", flags="random", rule="bernoulli_into", kernel="bernoulli_into",
   grad={"self": "zeros_like(grad)"}, doc="Fills self with 1 with probability p, else 0.")
op("bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
   variants="function method out", flags="random", rule="bernoulli", kernel="bernoulli",
   grad={"self": "zeros_like(grad)"}, doc="1 with the probability that self gives, else 0.")
op("bernoulli.p(Tensor self, float p, *, Generator? generator=None) -> Tensor",
   variants="function method", flags="random", composite="c:bernoulli_p", batch="draw", grad=None,
   doc="1 with probability p, else 0, in the shape of self.")
op("normal(Operand mean, Operand std=1, *, Generator? generator=None) -> Tensor",
   variants="function out", flags="random broadcasts", composite="c:normal", batch="random",
   grad={"mean": "zeros_like(grad)", "std": "zeros_like(grad)"},
   doc="Normal numbers with means and deviations of their own.")
op("normal.size(float mean, float std, int[] size, *, Generator? generator=None, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function out", family=FACTORY, flags="factory random", rule="normal_size", kernel="normal_size", grad=None,
   doc="Normal numbers of one mean and deviation.")
op("multinomial(Tensor self, int num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor",
   variants="function method out", flags="random", rule="multinomial", kernel="multinomial", grad=None,
   doc="Indices drawn with the probabilities in each row.")
