/* test_autograd.c - dispatch and layers: calls by name, in-place and out= forms, gradients.
 *
 * Rows are called as a C program calls them, by name. Gradients are compared with numbers worked
 * out by hand; what is delicate (views changed in place, double backward, long chains, threads,
 * failing allocations) has a test of its own.
 */
#include "check.h"

#include "layers/engine.h"
#include "layers/record.h"

#include "custom_op.c"

#include <math.h>
#include <pthread.h>
#include <sched.h>

/* --- helpers ---------------------------------------------------------------------------------- */

static FacTensor *
vector(int n, const float *data)
{
    FacTensor *t = NULL;
    OK(fac_tensor_from_data(data, FAC_DT_F32, 1, (FacDim[]){n}, &t));
    return t;
}

static FacTensor *
leaf(int n, const float *data)
{
    FacTensor *t = vector(n, data);
    OK(fac_requires_grad(t, true));
    return t;
}

static float
at(const FacTensor *t, int64_t i)
{
    return ((const float *)fac_data(t))[i * (t->ndim ? t->strides[0] : 0)];
}

static bool
holds(const FacTensor *t, int n, const float *data)
{
    if (!t || t->numel != n) return false;
    for (int i = 0; i < n; i++)
        if (fabsf(at(t, i) - data[i]) > 1e-5f) return false;
    return true;
}
#define HOLDS(t, ...)                                                                              \
    CHECK(holds(t, sizeof((float[]){__VA_ARGS__}) / sizeof(float), (float[]){__VA_ARGS__}))

/* Numbers and tensors as arguments. */
#define T(t) fac_v_tensor(t)
#define F(f) fac_v_float(f)
#define ARGS(...)                                                                                  \
    (int)(sizeof((FacValue[]){__VA_ARGS__}) / sizeof(FacValue)), (FacValue[])                      \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static FacStatus
try_call(const char *name, int n, const FacValue *args, FacTensor **out)
{
    FacValue result = {0};
    FacStatus st = fac_call_name(name, n, args, 1, &result);
    *out = st == FAC_OK ? result.v.t : NULL;
    return st;
}

static FacTensor *
call(const char *name, int n, const FacValue *args)
{
    FacTensor *out;
    OK(try_call(name, n, args, &out));
    return out;
}

/* Calls and releases the first argument: for chains. */
static FacTensor *
then(FacTensor *t, const char *name)
{
    FacTensor *out = call(name, ARGS(T(t)));
    fac_release(t);
    return out;
}

static FacStatus
grad_of(FacTensor *root, FacTensor *input, bool create_graph, FacTensor **out)
{
    const FacBackward what = {.nroots = 1,
                              .roots = &root,
                              .ninputs = 1,
                              .inputs = &input,
                              .create_graph = create_graph,
                              .retain_graph = create_graph,
                              .grads = out};
    *out = NULL;
    return fac_backward_run(&what);
}

#define RELEASE(...)                                                                               \
    for (FacTensor * list_[] = {__VA_ARGS__}, **t_ = list_;                                        \
         t_ < list_ + sizeof list_ / sizeof *list_; t_++)                                          \
    fac_release(*t_)

/* --- calls ------------------------------------------------------------------------------------ */

TEST(calls)
{
    FacTensor *a = vector(3, (float[]){1, 2, 3}), *b = vector(3, (float[]){10, 20, 30});
    FacTensor *sum = call("add", ARGS(T(a), T(b))), *twice = call("mul", ARGS(T(a), F(2)));
    HOLDS(sum, 11, 22, 33);
    HOLDS(twice, 2, 4, 6);
    CHECK(!fac_needs_grad(sum));
    FacTensor *same = call("add_", ARGS(T(a), T(b)));
    CHECK(same == a && fac_tensor_version(a) == 1);
    HOLDS(a, 11, 22, 33);
    RELEASE(a, b, sum, twice, same);
}

TEST(out_form)
{
    FacTensor *a = vector(2, (float[]){1, 2}), *out = vector(0, NULL);
    const FacOp *add = fac_op_find("add");
    OK(fac_call_out(add, ARGS(T(a), T(a)), &out));
    HOLDS(out, 2, 4);
    FacTensor *ints;
    OK(fac_tensor_from_data(NULL, FAC_DT_I64, 1, (FacDim[]){2}, &ints));
    FAILS(FAC_RUNTIME_ERROR, "result type Float can't be cast to the desired output type Long",
          fac_call_out(add, ARGS(T(a), T(a)), &ints));
    OK(fac_requires_grad(a, true));
    FAILS(FAC_RUNTIME_ERROR,
          "add(): functions with out=", fac_call_out(add, ARGS(T(a), T(a)), &out));
    RELEASE(a, out, ints);
}

TEST(call_errors)
{
    FacTensor *a = vector(2, NULL), *b = vector(3, NULL), *one = vector(1, NULL), *out;
    FAILS(FAC_NOT_IMPLEMENTED, "no_such", try_call("no_such", ARGS(T(a)), &out));
    FAILS(FAC_TYPE_ERROR, "'other'", try_call("add", ARGS(T(a)), &out));
    FAILS(FAC_TYPE_ERROR, "argument 'self'", try_call("exp", ARGS(F(1)), &out));
    FAILS(FAC_RUNTIME_ERROR, "add(): ", try_call("add", ARGS(T(a), T(b)), &out));
    FAILS(FAC_RUNTIME_ERROR, "doesn't match the broadcast shape",
          try_call("add_", ARGS(T(one), T(b)), &out));
    FacTensor *row = call("expand", ARGS(T(a), fac_v_ints((int64_t[]){3, 2}, 2)));
    FAILS(FAC_RUNTIME_ERROR, "more than one element", try_call("add_", ARGS(T(row), F(1)), &out));
    RELEASE(a, b, one, row);
}

TEST(partial_overlap)
{
    FacTensor *x = vector(4, (float[]){1, 2, 3, 4}), *out;
    FacTensor *head = call("slice", ARGS(T(x), fac_v_int(0), fac_v_int(0), fac_v_int(3)));
    FacTensor *tail = call("slice", ARGS(T(x), fac_v_int(0), fac_v_int(1), fac_v_int(4)));
    FAILS(FAC_RUNTIME_ERROR, "single memory location",
          try_call("add_", ARGS(T(head), T(tail)), &out));
    RELEASE(x, head, tail);
}

TEST(meta)
{
    FacTensor *a, *x = vector(3, NULL), *out;
    OK(fac_tensor_new(FAC_DT_F32, fac_device(FAC_DEV_META, -1), 1, (FacDim[]){3}, &a));
    FacTensor *sum = call("add", ARGS(T(a), F(1)));
    CHECK(fac_is_meta(sum) && sum->numel == 3);
    FAILS(FAC_RUNTIME_ERROR, "devices, meta and cpu", try_call("add", ARGS(T(a), T(x)), &out));
    RELEASE(a, x, sum);
}

/* --- gradients -------------------------------------------------------------------------------- */

TEST(products)
{
    FacTensor *a = leaf(3, (float[]){1, 2, 3}), *b = leaf(3, (float[]){4, 5, 6});
    FacTensor *loss = then(call("mul", ARGS(T(a), T(b))), "sum");
    CHECK(fac_needs_grad(loss) && !fac_is_leaf(loss));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(a), 4, 5, 6);
    HOLDS(fac_grad_of(b), 1, 2, 3);
    FAILS(FAC_RUNTIME_ERROR, "Trying to backward through the graph a second time",
          fac_backward(loss, NULL));
    FacTensor *again = then(call("mul", ARGS(T(a), T(a))), "sum");
    OK(fac_backward(again, NULL));
    HOLDS(fac_grad_of(a), 6, 9, 12); /* accumulated */
    RELEASE(a, b, loss, again);
}

TEST(broadcast)
{
    FacTensor *a = leaf(3, (float[]){1, 2, 3}), *b = leaf(1, (float[]){5});
    FacTensor *loss = then(call("mul", ARGS(T(a), T(b))), "sum");
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(b), 6);
    CHECK(fac_grad_of(b)->ndim == 1);
    RELEASE(a, b, loss);
}

TEST(roots)
{
    FacTensor *a = leaf(2, (float[]){1, 2}), *x = vector(2, NULL),
              *seed = vector(2, (float[]){3, 4});
    FacTensor *y = call("mul", ARGS(T(a), T(a)));
    FAILS(FAC_RUNTIME_ERROR, "only for scalar outputs", fac_backward(y, NULL));
    FAILS(FAC_RUNTIME_ERROR, "does not require grad", fac_backward(x, NULL));
    OK(fac_backward(y, seed));
    HOLDS(fac_grad_of(a), 6, 16);
    FacTensor *short_seed = vector(1, NULL);
    FAILS(FAC_RUNTIME_ERROR, "Mismatch in shape", fac_backward(y, short_seed));
    RELEASE(a, x, seed, y, short_seed);
}

TEST(inputs)
{
    FacTensor *a = leaf(1, (float[]){3}), *b = leaf(1, (float[]){4}), *other = leaf(1, NULL), *g;
    FacTensor *y = call("mul", ARGS(T(a), T(b))), *z = call("mul", ARGS(T(y), T(y)));
    OK(grad_of(z, y, true, &g));
    HOLDS(g, 24);
    fac_release(g);
    CHECK(!fac_grad_of(a));
    FAILS(FAC_RUNTIME_ERROR, "not have been used", grad_of(z, other, true, &g));
    FacBackward into = {.nroots = 1, .roots = &z, .ninputs = 1, .inputs = &a, .accumulate = true};
    OK(fac_backward_run(&into));
    HOLDS(fac_grad_of(a), 96);
    CHECK(!fac_grad_of(b));
    RELEASE(a, b, other, y, z);
}

/* y = x^3: 3 x^2, 6 x, 6. */
TEST(higher_orders)
{
    FacTensor *x = leaf(1, (float[]){2}), *first, *second, *third;
    FacTensor *square = call("mul", ARGS(T(x), T(x))), *y = call("mul", ARGS(T(square), T(x)));
    OK(grad_of(y, x, true, &first));
    HOLDS(first, 12);
    OK(grad_of(first, x, true, &second));
    HOLDS(second, 12);
    OK(grad_of(second, x, false, &third));
    HOLDS(third, 6);
    RELEASE(x, square, y, first, second, third);
}

/* exp saves its result; the second derivative goes through the restored history of it. */
TEST(saved_results)
{
    FacTensor *x = leaf(1, (float[]){1}), *first, *second;
    FacTensor *y = call("exp", ARGS(T(x)));
    OK(grad_of(y, x, true, &first));
    OK(grad_of(first, x, false, &second));
    CHECK(fabsf(at(second, 0) - expf(1)) < 1e-5f);
    RELEASE(x, y, first, second);
}

TEST(grad_mode)
{
    FacTensor *x = leaf(1, (float[]){1});
    bool was = fac_set_grad_enabled(false);
    FacTensor *y = call("mul", ARGS(T(x), T(x)));
    fac_set_grad_enabled(was);
    CHECK(was && !fac_needs_grad(y));
    RELEASE(x, y);
}

/* --- in place --------------------------------------------------------------------------------- */

TEST(inplace)
{
    FacTensor *x = leaf(2, (float[]){2, 3}), *out;
    FAILS(FAC_RUNTIME_ERROR, "a leaf Variable that requires grad",
          try_call("add_", ARGS(T(x), F(1)), &out));
    FacTensor *y = call("mul", ARGS(T(x), F(1))), *z = call("mul_", ARGS(T(y), T(x)));
    CHECK(z == y);
    FacTensor *loss = call("sum", ARGS(T(y)));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(x), 4, 6);
    RELEASE(x, y, z, loss);
}

TEST(modified_after_saving)
{
    FacTensor *x = leaf(1, (float[]){1}), *y = call("exp", ARGS(T(x))),
              *z = call("add_", ARGS(T(y), F(1)));
    FAILS(FAC_RUNTIME_ERROR,
          "modified by an inplace operation: float32[1], which ExpBackward0 saved",
          fac_backward(y, NULL));
    RELEASE(x, y, z);
}

static FacTensor *
select_first(FacTensor *t)
{
    return call("select", ARGS(T(t), fac_v_int(0), fac_v_int(0)));
}

TEST(inplace_through_a_view)
{
    FacTensor *x = leaf(2, (float[]){2, 3}), *y = call("mul", ARGS(T(x), F(1)));
    FacTensor *view = select_first(y), *same = call("mul_", ARGS(T(view), F(10)));
    CHECK(fac_needs_grad(view) && view->base == y);
    FacTensor *loss = call("sum", ARGS(T(y)));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(x), 10, 1);
    FacNode *fn;
    char name[128];
    OK(fac_grad_fn(view, &fn));
    CHECK(fn && strcmp(fac_node_name(fn, name), "AsStridedBackward0") == 0);
    RELEASE(x, y, view, same, loss);
}

/* The base gets its history after the view was taken; the view follows. */
TEST(view_follows_its_base)
{
    FacTensor *w = leaf(2, (float[]){5, 7}), *base = vector(2, (float[]){1, 1});
    FacTensor *view = select_first(base), *same = call("mul_", ARGS(T(base), T(w)));
    CHECK(fac_needs_grad(view) && !fac_is_leaf(view));
    FacTensor *loss = call("mul", ARGS(T(view), T(view)));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(w), 10, 0);
    RELEASE(w, base, view, same, loss);
}

/* Parts of a buffer filled one by one: the usual loop over time steps. */
TEST(buffer_filled_in_parts)
{
    FacTensor *w = leaf(1, (float[]){3}), *buffer = vector(2, NULL);
    for (int i = 0; i < 2; i++) {
        FacTensor *value = call("mul", ARGS(T(w), F(i + 1)));
        FacTensor *slot =
            call("slice", ARGS(T(buffer), fac_v_int(0), fac_v_int(i), fac_v_int(i + 1)));
        FacTensor *same = call("copy_", ARGS(T(slot), T(value)));
        RELEASE(value, slot, same);
    }
    HOLDS(buffer, 3, 6);
    FacTensor *loss = call("sum", ARGS(T(buffer)));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(w), 3);
    RELEASE(w, buffer, loss);
}

TEST(views_that_refuse)
{
    FacTensor *x = leaf(2, (float[]){1, 2}), *w = leaf(1, (float[]){1}), *out;
    FacTensor *view = select_first(x);
    FAILS(FAC_RUNTIME_ERROR, "a view of a leaf Variable",
          try_call("mul_", ARGS(T(view), F(2)), &out));
    bool was = fac_set_grad_enabled(false);
    FacTensor *blind = call("view", ARGS(T(x), fac_v_ints((int64_t[]){2}, 1)));
    fac_set_grad_enabled(was);
    FAILS(FAC_RUNTIME_ERROR, "created in no_grad mode",
          try_call("mul_", ARGS(T(blind), T(w)), &out));
    FacTensor *y = call("mul", ARGS(T(x), F(1)));
    FacValue parts = {0};
    OK(fac_call_name("unbind", ARGS(T(y)), 1, &parts));
    FAILS(FAC_RUNTIME_ERROR, "returns multiple views",
          try_call("mul_", ARGS(T(parts.v.tensors[0]), F(2)), &out));
    fac_value_release(&parts);
    RELEASE(x, w, view, blind, y);
}

/* --- leaves, hooks ---------------------------------------------------------------------------- */

TEST(leaves)
{
    FacTensor *ints, *x = leaf(1, (float[]){1}), *y = call("mul", ARGS(T(x), F(2)));
    OK(fac_tensor_from_data(NULL, FAC_DT_I64, 0, NULL, &ints));
    FAILS(FAC_RUNTIME_ERROR, "floating point", fac_requires_grad(ints, true));
    FAILS(FAC_RUNTIME_ERROR, "leaf variables", fac_requires_grad(y, false));
    FacTensor *two = vector(2, NULL);
    FAILS(FAC_RUNTIME_ERROR, "of size '[2]'", fac_set_grad(x, two));
    OK(fac_retain_grad(y));
    FacTensor *loss = call("mul", ARGS(T(y), T(y)));
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(y), 4);
    HOLDS(fac_grad_of(x), 8);
    OK(fac_detach_(y));
    CHECK(!fac_needs_grad(y));
    RELEASE(ints, two, x, y, loss);
}

static FacStatus
double_it(FacForeign *hook, FacNode *node, int n, FacTensor **grads)
{
    FacValue result;
    (void)node;
    CHECK(n == 1);
    ++*(int *)hook->object;
    FAC_RETURN_IF_ERROR(fac_call_name("mul", ARGS(T(grads[0]), F(2)), 1, &result));
    grads[0] = result.v.t;
    return FAC_OK;
}

static void
nothing(FacForeign *self)
{
    (void)self;
}

TEST(hooks)
{
    int calls = 0;
    FacHook *hook, *hook_leaf;
    FacForeign foreign = {.refs = 1, .destroy = nothing, .object = &calls};
    FacTensor *x = leaf(1, (float[]){1}), *y = call("mul", ARGS(T(x), F(3)));
    FacTensor *loss = call("mul", ARGS(T(y), F(1)));
    OK(fac_hook_tensor(y, &foreign, double_it, &hook));
    OK(fac_hook_tensor(x, &foreign, double_it, &hook_leaf));
    FacBackward what = {.nroots = 1, .roots = &loss, .retain_graph = true};
    OK(fac_backward_run(&what));
    HOLDS(fac_grad_of(x), 12);
    CHECK(calls == 2);
    fac_hook_remove(hook);
    fac_hook_release(hook);
    fac_hook_remove(hook_leaf);
    fac_hook_release(hook_leaf);
    OK(fac_backward_run(&what));
    HOLDS(fac_grad_of(x), 15);
    RELEASE(x, y, loss);
}

/* What a packer keeps: the tensor itself, and how often it was asked for it. */
typedef struct Packed {
    FacForeign foreign;
    FacTensor *tensor;
} Packed;
static int unpacked;

static void
drop_packed(FacForeign *f)
{
    fac_release(((Packed *)f)->tensor);
    fac_mem_free(f);
}

static FacStatus
pack(FacForeign *packer, FacTensor *t, FacForeign **out)
{
    Packed *p = fac_mem_zalloc(sizeof *p);
    (void)packer;
    if (!p) return fac_mem_error(sizeof *p);
    atomic_init(&p->foreign.refs, 1);
    p->foreign.destroy = drop_packed;
    p->tensor = fac_tensor_retain(t);
    *out = &p->foreign;
    return FAC_OK;
}

static FacStatus
unpack(FacForeign *packed, FacTensor **out)
{
    unpacked++;
    *out = fac_tensor_retain(((Packed *)packed)->tensor);
    return FAC_OK;
}

static FacStatus
packing(void *context)
{
    static const float data[] = {3};
    const FacPacker packer = {NULL, pack, unpack};
    FacStatus st = FAC_OK;
    FacTensor *x = NULL, *y = NULL, *first = NULL;
    (void)context;
    fac_packer = &packer;
    FAC_TRY(fac_tensor_from_data(data, FAC_DT_F32, 1, (FacDim[]){1}, &x));
    FAC_TRY(fac_requires_grad(x, true));
    FAC_TRY(try_call("mul", ARGS(T(x), T(x)), &y));
    FAC_TRY(grad_of(y, x, true, &first));
    FAC_TRY(fac_backward(first, NULL));
    HOLDS(fac_grad_of(x), 2);
done:
    fac_packer = NULL;
    RELEASE(x, y, first);
    return st;
}

TEST(packed_tensors)
{
    OK(packing(NULL));
    CHECK(unpacked > 0);
    EACH_ALLOCATION(packing, NULL);
}

TEST(overwritten_by)
{
    FacTensor *x = leaf(1, (float[]){1}), *y = call("exp", ARGS(T(x)));
    FacTensor *same = call("add_", ARGS(T(y), F(1)));
    FAILS(FAC_RUNTIME_ERROR, "add_() overwrote it: use add()", fac_backward(y, NULL));
    RELEASE(x, y, same);
}

/* --- operators registered at run time --------------------------------------------------------- */

TEST(custom_operators)
{
    OK(register_operators());
    FAILS(FAC_VALUE_ERROR, "exists already", register_operators());
    FacTensor *x = leaf(2, (float[]){1, -3}), *y = leaf(2, (float[]){2, 2}), *meta;
    FacTensor *loss = then(call("mylib::smooth_step", ARGS(T(x))), "sum");
    OK(fac_backward(loss, NULL));
    HOLDS(fac_grad_of(x), 0.25f, 0.0625f);
    OK(fac_set_grad(x, NULL));
    FacTensor *far = call("mylib::squared_distance", ARGS(T(x), T(y)));
    HOLDS(far, 26);
    OK(fac_backward(far, NULL));
    HOLDS(fac_grad_of(x), -2, -10);
    OK(fac_tensor_new(FAC_DT_F32, fac_device(FAC_DEV_META, -1), 1, (FacDim[]){2}, &meta));
    FacTensor *shape = call("mylib::smooth_step", ARGS(T(meta)));
    CHECK(fac_is_meta(shape) && shape->numel == 2);
    RELEASE(x, y, loss, far, meta, shape);
}

TEST(schemas)
{
    FacOp op = {0};
    const char *text =
        "ns::f.two(Tensor(a!) self, int[2] size=1, *, float? eps=None, str how=\"mean\", "
        "ScalarType t=float32, Tensor?[] rest=[]) -> (Tensor(a!) out, Tensor[] more)";
    OK(fac_schema_parse(text, &op));
    CHECK(op.nparams == 6 && op.npositional == 2 && op.nresults == 2);
    CHECK(strcmp(op.ns, "ns") == 0 && strcmp(op.name, "f") == 0 && strcmp(op.overload, "two") == 0);
    CHECK(op.params[0].flags == FAC_P_WRITE && op.params[0].alias == 'a');
    CHECK(op.params[1].length == 2 && op.params[1].fallback.len == 2);
    CHECK(op.params[1].fallback.v.ints[1] == 1);
    CHECK(op.params[2].flags == (FAC_P_OPTIONAL | FAC_P_KEYWORD | FAC_P_DEFAULT));
    CHECK(strcmp(op.params[3].fallback.v.s, "mean") == 0);
    CHECK(op.params[4].fallback.v.i == FAC_DT_F32);
    CHECK(op.params[5].flags & FAC_P_OPTIONAL_ITEM);
    CHECK(strcmp(op.result_names, "out more") == 0);
    CHECK(op.flags == (FAC_OP_WRITES | FAC_OP_LIST_RESULT));
    fac_schema_free(&op);
    static const char *const wrong[] = {"",
                                        "f",
                                        "f(",
                                        "f(Tensor)",
                                        "f(Tensr x) -> Tensor",
                                        "f(Tensor x)",
                                        "f(int x=) -> int",
                                        "f(int x, *, *) -> int",
                                        "f(str s='a) -> int",
                                        "f(Tensor x) -> Tensor y z"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        FAILS(FAC_VALUE_ERROR, "the schema is not valid", fac_schema_parse(wrong[i], &op));
}

/* --- size, threads, memory -------------------------------------------------------------------- */

TEST(a_million_nodes)
{
    FacTensor *x = leaf(1, (float[]){1}), *y = call("mul", ARGS(T(x), F(1)));
    const FacOp *add = fac_op_find("add");
    for (int i = 0; i < 1000000; i++) {
        FacValue result;
        OK(fac_call(add, ARGS(T(y), F(0)), &result));
        fac_release(y);
        y = result.v.t;
    }
    OK(fac_backward(y, NULL));
    HOLDS(fac_grad_of(x), 1);
    RELEASE(x, y);
}

enum { THREADS = 4, ROUNDS = 200 };
typedef struct Shared {
    FacTensor *leaf, *loss;
} Shared;

static void *
run_backwards(void *context)
{
    const Shared *s = context;
    for (int i = 0; i < ROUNDS; i++) {
        FacBackward what = {
            .nroots = 1, .roots = (FacTensor *const *)&s->loss, .retain_graph = true};
        OK(fac_backward_run(&what));
    }
    return NULL;
}

/* All threads go through the same nodes at the same time, and add to the same leaf. */
TEST(threads_share_a_graph)
{
    pthread_t threads[THREADS];
    FacTensor *x = leaf(2, (float[]){1, 2});
    FacTensor *y = call("mul", ARGS(T(x), T(x))), *z = call("add", ARGS(T(y), T(x)));
    Shared s = {x, call("sum", ARGS(T(z)))};
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run_backwards, &s);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    HOLDS(fac_grad_of(x), 3.0f * THREADS * ROUNDS, 5.0f * THREADS * ROUNDS);
    RELEASE(x, y, z, s.loss);
}

static FacStatus
leave_alone(FacForeign *hook, FacNode *node, int n, FacTensor **grads)
{
    (void)hook, (void)node, (void)n, (void)grads;
    return FAC_OK;
}

static void *
change_hooks(void *context)
{
    const Shared *s = context;
    FacForeign foreign = {.refs = 1, .destroy = nothing};
    for (int i = 0; i < ROUNDS; i++) {
        FacHook *hook;
        OK(fac_hook_tensor(s->leaf, &foreign, leave_alone, &hook));
        fac_hook_remove(hook);
        fac_hook_release(hook);
    }
    while (atomic_load(&foreign.refs) > 1) sched_yield(); /* a run may hold it still */
    return NULL;
}

/* Hooks come and go in one thread while others call them. */
TEST(hooks_change_while_they_run)
{
    pthread_t threads[THREADS];
    FacTensor *x = leaf(2, (float[]){1, 2}), *y = call("mul", ARGS(T(x), F(2)));
    Shared s = {x, call("sum", ARGS(T(y)))};
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, i ? run_backwards : change_hooks, &s);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    HOLDS(fac_grad_of(x), 2.0f * (THREADS - 1) * ROUNDS, 2.0f * (THREADS - 1) * ROUNDS);
    RELEASE(x, y, s.loss);
}

/* Makes, differentiates twice, changes a view in place; releases all of it. */
static FacStatus
scenario(void *context)
{
    static const float data[] = {1, 2, 3, 4};
    FacStatus st = FAC_OK;
    FacTensor *x = NULL, *y = NULL, *view = NULL, *same = NULL, *z = NULL, *loss = NULL,
              *first = NULL, *sum = NULL;
    (void)context;
    FAC_TRY(fac_tensor_from_data(data, FAC_DT_F32, 1, (FacDim[]){4}, &x));
    FAC_TRY(fac_requires_grad(x, true));
    FAC_TRY(try_call("mul", ARGS(T(x), T(x)), &y));
    FAC_TRY(try_call("select", ARGS(T(y), fac_v_int(0), fac_v_int(1)), &view));
    FAC_TRY(try_call("mul_", ARGS(T(view), F(2)), &same));
    FAC_TRY(try_call("exp", ARGS(T(y)), &z));
    FAC_TRY(try_call("sum", ARGS(T(z)), &loss));
    FAC_TRY(grad_of(loss, x, true, &first));
    FAC_TRY(try_call("sum", ARGS(T(first)), &sum));
    FAC_TRY(fac_backward(sum, NULL));
done:
    RELEASE(x, y, view, same, z, loss, first, sum);
    return st;
}

TEST(failing_allocations)
{
    EACH_ALLOCATION(scenario, NULL);
}

TEST(nothing_is_left)
{
    OK(scenario(NULL));
    int64_t before = test_live();
    for (int i = 0; i < 10; i++) OK(scenario(NULL));
    CHECK(test_live() == before);
}

RUN_TESTS(CASE(calls), CASE(out_form), CASE(call_errors), CASE(partial_overlap), CASE(meta),
          CASE(products), CASE(broadcast), CASE(roots), CASE(inputs), CASE(higher_orders),
          CASE(saved_results), CASE(grad_mode), CASE(inplace), CASE(modified_after_saving),
          CASE(inplace_through_a_view), CASE(view_follows_its_base), CASE(buffer_filled_in_parts),
          CASE(views_that_refuse), CASE(leaves), CASE(hooks), CASE(packed_tensors),
          CASE(overwritten_by), CASE(custom_operators), CASE(schemas), CASE(a_million_nodes),
          CASE(threads_share_a_graph), CASE(hooks_change_while_they_run), CASE(failing_allocations),
          CASE(nothing_is_left))
