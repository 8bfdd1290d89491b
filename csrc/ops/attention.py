# Scaled dot product attention. `_flash_attention` and its gradient never hold the matrix of scores;
# masks that need gradients, and gradients of the gradient, go by formulas that do.

op("scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, "
   "float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
   variants="function", module="nn.functional", composite="c:attention",
   doc="softmax(query @ key^T * scale + mask) @ value.")

op("_flash_attention(Tensor query, Tensor key, Tensor value, Tensor? mask, Tensor? keep, "
   "float dropout_p, bool is_causal, float scale) -> (Tensor result, Tensor lse)",
   variants="function", module="_C", rule="flash_attention", kernel="flash_attention", batch="attention", dtypes="float",
   nondiff="lse",
   grad={"query, key, value": "_flash_attention_backward(grad, query, key, value, result, lse, mask, "
                              "keep, dropout_p, is_causal, scale)"},
   doc="Attention, and the logarithms of the sums of exp(score). Heads of keys may serve several heads "
       "of queries; keep holds a bit a weight.")
op("_flash_attention_backward(Tensor grad_output, Tensor query, Tensor key, Tensor value, "
   "Tensor output, Tensor lse, Tensor? mask, Tensor? keep, float dropout_p, bool is_causal, "
   "float scale) -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)",
   variants="function", module="_C", rule="flash_attention_backward",
   kernel="flash_attention_backward", batch="attention", dtypes="float",
   composite="(narrowed((d := _attention_backward(widened(grad_output), widened(query), "
             "_heads_repeated(widened(key), query), _heads_repeated(widened(value), query), mask, keep, "
             "dropout_p, is_causal, scale))[0], query.dtype), narrowed(_heads_summed(d[1], key), "
             "key.dtype), narrowed(_heads_summed(d[2], value), value.dtype))",
   doc="The gradient of _flash_attention.")
op("_attention_keep(Tensor query, Tensor key, float p, *, Generator? generator=None) -> Tensor",
   variants="function", module="_C", flags="random", rule="attention_keep", kernel="attention_keep",
   batch="draw",
   grad=None, doc="Which weights dropout keeps: bits, each 0 with probability p.")

# --- with the matrix of scores

op("_float_mask(Tensor mask, Tensor query) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(zeros_like(mask, dtype=query.dtype), logical_not(mask), -inf) "
             "if mask.dtype.is_integral else mask",
   doc="A mask to add: -inf where a bool mask says no.")
op("_causal_mask(Tensor query, Tensor key) -> Tensor",
   variants="function", module="_C",
   composite="triu(full([query.shape[query.ndim - 2], key.shape[key.ndim - 2]], -inf, "
             "dtype=query.dtype, device=query.device), 1)",
   doc="A mask to add: -inf where a key comes after the query.")
op("_masked_softmax(Tensor self, Tensor? mask, bool is_causal) -> Tensor",
   variants="function", module="_C",
   composite="softmax(self, -1) if mask is None else (softmax(self + mask, -1) if is_causal else "
             "masked_fill(softmax(masked_fill((x := self + mask), (hidden := all(x == -inf, -1, True)), "
             "0), -1), hidden, 0))",
   doc="softmax over the last dim; 0 where all is masked, which a causal mask does not do.")
op("_attention_weights(Tensor query, Tensor key, Tensor? mask, bool is_causal, float scale) -> Tensor",
   variants="function", module="_C",
   composite="_masked_softmax(matmul(query * scale, transpose(key, -2, -1)), "
             "(_causal_mask(query, key) if is_causal else None) if mask is None else "
             "(_float_mask(mask, query) + _causal_mask(query, key) if is_causal else "
             "_float_mask(mask, query)), is_causal and mask is None)",
   doc="softmax(query @ key^T * scale + mask).")
op("_attention(Tensor query, Tensor key, Tensor value, Tensor? mask, float dropout_p, "
   "bool is_causal, float scale) -> Tensor",
   variants="function", module="_C",
   composite="narrowed(matmul(dropout(_attention_weights(widened(query), widened(key), mask, "
             "is_causal, scale), dropout_p, True), widened(value)), query.dtype)",
   doc="softmax(query @ key^T * scale + mask) @ value.")
op("_heads_repeated(Tensor self, Tensor query) -> Tensor",
   variants="function", module="_C",
   composite="self if self.ndim < 3 or self.shape[self.ndim - 3] == query.shape[query.ndim - 3] else "
             "repeat_interleave(self, query.shape[query.ndim - 3] // self.shape[self.ndim - 3], -3)",
   doc="Keys or values, repeated for the heads of queries that share them.")
op("_heads_summed(Tensor self, Tensor like) -> Tensor",
   variants="function", module="_C",
   composite="self if self.ndim < 3 or self.shape[self.ndim - 3] == like.shape[like.ndim - 3] else "
             "sum(unflatten(self, -3, [like.shape[like.ndim - 3], -1]), [-3])",
   doc="The sum over the heads that share keys or values.")
op("_dropped(Tensor self, Tensor? keep, float p) -> Tensor",
   variants="function", module="_C",
   composite="self if keep is None else self * (1 / (1 - p)) * narrow(flatten(bitwise_and("
             "bitwise_right_shift(unsqueeze(keep, -1), arange(8, device=keep.device)), 1), -2), -1, 0, "
             "self.shape[self.ndim - 1])",
   doc="dropout by the bits of _attention_keep.")
op("_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? mask, "
   "Tensor? keep, float dropout_p, bool is_causal, float scale)"
   " -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)",
   variants="function", module="_C",
   composite="(matmul((ds := softmax_backward(_dropped(matmul(grad, transpose(value, -2, -1)), keep, "
             "dropout_p), (w := _attention_weights(query, key, mask, is_causal, scale)), -1)), key) "
             "* scale, matmul(transpose(ds, -2, -1), query) * scale, "
             "matmul(transpose(_dropped(w, keep, dropout_p), -2, -1), grad))",
   doc="The gradients of query, key and value, differentiable to any order.")
