/* test_base.c - the room base/: messages, memory, dtypes, halves, values, processors.
 *
 * Numeric conversions are tested exhaustively where there are at most 2^16 inputs, and against an
 * independent rule (nearest by search among all codes) rather than against stored answers.
 */
#include "check.h"

#include "base/cpu.h"
#include "base/dtype.h"
#include "base/half.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/value.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* --- status ----------------------------------------------------------------------------------- */

TEST(messages)
{
    FAILS(FAC_VALUE_ERROR, "3 of 4", fac_error(FAC_VALUE_ERROR, "%d of %d", 3, 4));
    CHECK(fac_error(FAC_TYPE_ERROR, "outer (%s)", fac_error_message()) == FAC_TYPE_ERROR);
    CHECK(strcmp(fac_error_message(), "outer (3 of 4)") == 0);
    fac_error_prefix("add");
    fac_error_prefix("add");
    CHECK(strcmp(fac_error_message(), "add: outer (3 of 4)") == 0);
    CHECK(strcmp(fac_status_python_class(FAC_INDEX_ERROR), "IndexError") == 0);
}

TEST(long_messages_are_cut)
{
    char wide[5000];
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = 0;
    CHECK(fac_error(FAC_VALUE_ERROR, "%s", wide) == FAC_VALUE_ERROR);
    size_t n = strlen(fac_error_message());
    CHECK(n > 1000 && n < sizeof wide);
    fac_error_prefix("matmul");
    CHECK(strncmp(fac_error_message(), "matmul: xxx", 11) == 0);
    CHECK(strlen(fac_error_message()) == n);
}

TEST(texts)
{
    FacText text = {.len = 0};
    fac_text_dims(&text, 3, (FacDim[]){2, -1, 30});
    CHECK(strcmp(text.at, "[2, -1, 30]") == 0);
    for (int i = 0; i < 1000; i++) fac_text_add(&text, "%d ", i);
    CHECK(strlen(text.at) == text.len && text.len < sizeof text.at);
    CHECK(strcmp(text.at + text.len - 3, "...") == 0);
}

static int warnings_heard;
static FacStatus
hear(FacWarning kind, const char *message)
{
    warnings_heard += kind == FAC_WARN_DEPRECATION && strcmp(message, "old 7") == 0;
    return FAC_FOREIGN;
}

TEST(warnings)
{
    fac_set_warn_hook(hear);
    CHECK(fac_warn(FAC_WARN_DEPRECATION, "old %d", 7) == FAC_FOREIGN);
    CHECK(warnings_heard == 1);
    fac_set_warn_hook(NULL);
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct Thing {
    char body[40];
} Thing;
FAC_FREE_LIST(thing, Thing)

static void *
use_things(void *unused)
{
    Thing *things[600];
    for (int i = 0; i < 600; i++) things[i] = thing_alloc();
    for (int i = 0; i < 600; i++) thing_free(things[i]);
    return unused;
}

TEST(live_blocks)
{
    int64_t before = fac_mem_live();
    void *a = fac_mem_alloc(10), *b = fac_mem_zalloc(0);
    CHECK(a && b && fac_mem_live() == before + 2);
    a = fac_mem_realloc(a, 1000);
    fac_mem_free(a);
    fac_mem_free(b);
    fac_mem_free(NULL);
    CHECK(fac_mem_live() == before);
}

TEST(free_lists)
{
    int64_t before = fac_mem_live();
    use_things(NULL);
    Thing *first = thing_alloc();
    thing_free(first);
    if (!fac_stress()) {
        Thing *again = thing_alloc();
        CHECK(again == first);
        thing_free(again);
    }
    CHECK(fac_mem_live() == before);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, use_things, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(fac_mem_live() == before); /* the thread's lists went with it */
}

TEST(failure_on_demand)
{
    CHECK(fac_mem_fail_after(2) == 0);
    void *a = fac_mem_alloc(1), *b = fac_mem_alloc(1), *c = fac_mem_alloc(1);
    CHECK(a && !b && c);
    CHECK(fac_mem_fail_after(0) == 0);
    fac_mem_free(a);
    fac_mem_free(c);
    fac_mem_fail_after(5);
    CHECK(fac_mem_fail_after(0) == 5);
}

/* --- dtypes ----------------------------------------------------------------------------------- */

TEST(dtype_table)
{
    for (int i = 0; i < FAC_DTYPES; i++) {
        const FacDTypeInfo *info = &fac_dtype_info[i];
        CHECK(fac_dtype_from_name(info->name) == (FacDType)i);
        CHECK(info->compute >= 0 && fac_dtype_info[info->compute].compute == info->compute);
        if (FAC_IS_COMPLEX(i)) CHECK(fac_dtype_info[info->real].size * 2 == info->size);
    }
    CHECK(fac_dtype_from_name("float") == FAC_DT_NONE);
}

TEST(promotion)
{
    for (int a = 0; a < FAC_DTYPES; a++)
        for (int b = 0; b < FAC_DTYPES; b++) {
            FacDType c = fac_promote((FacDType)a, (FacDType)b);
            CHECK(c == fac_promote((FacDType)b, (FacDType)a));
            if (c != FAC_DT_NONE) CHECK(fac_can_cast((FacDType)a, c));
        }
    CHECK(fac_promote(FAC_DT_U8, FAC_DT_I8) == FAC_DT_I16);
    CHECK(fac_promote(FAC_DT_U8, FAC_DT_I64) == FAC_DT_I64);
    CHECK(fac_promote(FAC_DT_BOOL, FAC_DT_I8) == FAC_DT_I8);
    CHECK(fac_promote(FAC_DT_I64, FAC_DT_F16) == FAC_DT_F16);
    CHECK(fac_promote(FAC_DT_F16, FAC_DT_BF16) == FAC_DT_F32);
    CHECK(fac_promote(FAC_DT_BF16, FAC_DT_C32) == FAC_DT_C64);
    CHECK(fac_promote(FAC_DT_F16, FAC_DT_C32) == FAC_DT_C32);
    CHECK(fac_promote(FAC_DT_F64, FAC_DT_C32) == FAC_DT_C128);
    CHECK(fac_promote(FAC_DT_I32, FAC_DT_C64) == FAC_DT_C64);
    CHECK(fac_promote(FAC_DT_U16, FAC_DT_I32) == FAC_DT_NONE);
    CHECK(fac_promote(FAC_DT_U64, FAC_DT_F32) == FAC_DT_F32);
    CHECK(fac_promote(FAC_DT_F8_E5M2, FAC_DT_F32) == FAC_DT_NONE);
    CHECK(!fac_can_cast(FAC_DT_C64, FAC_DT_F64) && !fac_can_cast(FAC_DT_I8, FAC_DT_BOOL));
}

TEST(default_dtype)
{
    CHECK(fac_default_dtype() == FAC_DT_F32 && fac_default_complex() == FAC_DT_C64);
    OK(fac_set_default_dtype(FAC_DT_F64));
    CHECK(fac_default_complex() == FAC_DT_C128);
    CHECK(fac_v_dtype_of_number(fac_v_float(1)) == FAC_DT_F64);
    FAILS(FAC_TYPE_ERROR, "int32", fac_set_default_dtype(FAC_DT_I32));
    OK(fac_set_default_dtype(FAC_DT_F32));
}

/* --- halves ----------------------------------------------------------------------------------- */

TEST(float16_and_bfloat16_round_trip)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = fac_f16_to_f32((uint16_t)h), b = fac_bf16_to_f32((uint16_t)h);
        CHECK(isnan(f) ? isnan(fac_f16_to_f32(fac_f32_to_f16(f))) : fac_f32_to_f16(f) == h);
        CHECK(isnan(b) ? isnan(fac_bf16_to_f32(fac_f32_to_bf16(b))) : fac_f32_to_bf16(b) == h);
    }
    CHECK(fac_f16_to_f32(0x3c01) == 1.0009765625f && fac_f16_to_f32(0x0001) == 0x1p-24f);
    CHECK(fac_f32_to_f16(65520.0f) == 0x7c00 && fac_f32_to_f16(65519.0f) == 0x7bff);
    CHECK(fac_f32_to_f16(0x1p-25f) == 0 && fac_f32_to_f16(0x1.8p-25f) == 1);
    CHECK(fac_f32_to_bf16(1.00390625f) == 0x3f80 && fac_f32_to_bf16(1.01171875f) == 0x3f82);
}

typedef struct Float8 {
    float (*decode)(uint8_t);
    uint8_t (*encode)(float);
    float largest;
} Float8;

static const Float8 float8s[] = {
    {fac_f8_e4m3fn_to_f32, fac_f32_to_f8_e4m3fn, 448.0f},
    {fac_f8_e5m2_to_f32, fac_f32_to_f8_e5m2, 57344.0f},
    {fac_f8_e4m3fnuz_to_f32, fac_f32_to_f8_e4m3fnuz, 240.0f},
    {fac_f8_e5m2fnuz_to_f32, fac_f32_to_f8_e5m2fnuz, 57344.0f},
};

/* The code whose value is nearest to f, the even code on a tie. */
static uint8_t
nearest(const Float8 *form, float f)
{
    int best = 0;
    for (int code = 0; code < 128; code++) {
        float value = form->decode((uint8_t)code);
        if (isnan(value) || isinf(value)) continue;
        float off = fabsf(value - f), least = fabsf(form->decode((uint8_t)best) - f);
        if (off < least || (off == least && code % 2 == 0)) best = code;
    }
    return (uint8_t)best;
}

TEST(float8_forms)
{
    for (size_t i = 0; i < sizeof float8s / sizeof float8s[0]; i++) {
        const Float8 *form = &float8s[i];
        float largest = 0;
        for (int code = 0; code < 256; code++) {
            float f = form->decode((uint8_t)code);
            CHECK(isnan(f) ? isnan(form->decode(form->encode(f))) : form->encode(f) == code);
            if (isfinite(f) && f > largest) largest = f;
        }
        CHECK(largest == form->largest);
        srand(7);
        for (int k = 0; k < 20000; k++) {
            float f = ldexpf((float)rand() / (float)RAND_MAX, rand() % 40 - 26);
            if (f > largest) continue;
            CHECK(form->encode(f) == nearest(form, f));
        }
    }
    CHECK(fac_f8_e4m3fn_to_f32(fac_f32_to_f8_e4m3fn(-INFINITY)) == -448.0f);
    CHECK(isnan(fac_f8_e4m3fnuz_to_f32(fac_f32_to_f8_e4m3fnuz(256.0f))));
    CHECK(isinf(fac_f8_e5m2_to_f32(fac_f32_to_f8_e5m2(1e9f))));
    CHECK(fac_f32_to_f8_e5m2fnuz(-0.0f) == 0);
}

/* --- values ----------------------------------------------------------------------------------- */

TEST(numbers_in_and_out)
{
    double c[2], in[2] = {1.5, -2.0};
    char at[16];
    for (int i = 0; i < FAC_DTYPES; i++) {
        fac_v_store(fac_v_int(1), (FacDType)i, at);
        FacValue v = fac_v_load((FacDType)i, at, c);
        CHECK(fac_v_as_float(v) == 1.0 && fac_v_as_int(v) == 1 && fac_v_is_true(v));
    }
    fac_v_store(fac_v_int(-1), FAC_DT_U8, at);
    CHECK(fac_v_load(FAC_DT_U8, at, c).v.i == 255);
    fac_v_store(fac_v_int(300), FAC_DT_I8, at);
    CHECK(fac_v_load(FAC_DT_I8, at, c).v.i == 44);
    fac_v_store(fac_v_float(-2.9), FAC_DT_I32, at);
    CHECK(fac_v_load(FAC_DT_I32, at, c).v.i == -2);
    fac_v_store((FacValue){.tag = FAC_V_COMPLEX, .v.c = in}, FAC_DT_C32, at);
    CHECK(fac_v_load(FAC_DT_C32, at, c).tag == FAC_V_COMPLEX && c[0] == 1.5 && c[1] == -2.0);
    memset(at, 0xff, 8);
    FacValue big = fac_v_load(FAC_DT_U64, at, c);
    CHECK(big.flags & FAC_VALUE_UNSIGNED && fac_v_as_float(big) == 0x1p64);
    CHECK(fac_v_as_int(fac_v_float(NAN)) == INT64_MIN);
}

static int tensors_held;
static void
hold(FacTensor *unused)
{
    (void)unused;
    tensors_held++;
}
static void
drop(FacTensor *unused)
{
    (void)unused;
    tensors_held--;
}

static FacStatus
keep_and_release(void *context)
{
    FacTensor *tensors[] = {(FacTensor *)&tensors_held, NULL};
    const double c[] = {1, 2};
    const FacValue inner[] = {{.tag = FAC_V_COMPLEX, .v.c = c}, fac_v_int(3), fac_v_str("three")};
    const FacValue all[] = {fac_v_str("text"),
                            fac_v_ints((int64_t[]){1, 2}, 2),
                            fac_v_ints(NULL, 0),
                            fac_v_tensor(tensors[0]),
                            fac_v_tensors(tensors, 2),
                            fac_v_tensors(tensors, 0),
                            {.tag = FAC_V_VALUES, .len = 3, .v.values = inner}};
    enum { N = sizeof all / sizeof all[0] };
    FacValue kept[N];
    FacStatus st = FAC_OK;
    int n = 0;
    for (; n < N; n++) FAC_TRY(fac_value_keep(all[n], &kept[n]));
    CHECK(strcmp(kept[0].v.s, "text") == 0 && kept[1].v.ints[1] == 2);
    CHECK(kept[6].v.values[0].v.c[1] == 2 && kept[6].v.values != inner);
done:
    fac_values_release(kept, n);
    CHECK(tensors_held == 0);
    (void)context;
    return st;
}

TEST(owning_copies)
{
    FacValueHooks before = fac_value_hooks;
    fac_value_hooks.retain_tensor = hold;
    fac_value_hooks.release_tensor = drop;
    EACH_ALLOCATION(keep_and_release, NULL);
    FacTensor **slots;
    FacValue list;
    OK(fac_value_new_tensors(2, &list, &slots));
    slots[1] = (FacTensor *)&tensors_held;
    tensors_held = 1;
    fac_value_release(&list);
    CHECK(tensors_held == 0 && list.tag == FAC_V_NONE);
    fac_value_hooks = before;
}

/* --- the machine ------------------------------------------------------------------------------ */

TEST(machine)
{
    CHECK(fac_cpu_count() >= 1 && fac_cpu_tier() <= fac_cpu_tier_best());
    CHECK(fac_cpu_cache(1) >= 4096 && fac_cpu_cache(2) >= fac_cpu_cache(1));
    CHECK(strlen(fac_cpu_model()) > 0);
    const char *found = fac_library_dir();
    CHECK(strcmp(found + strlen(found) - 4, "/lib") == 0);
    OK(fac_set_library_dir("/some/where/"));
    CHECK(strcmp(fac_library_dir(), "/some/where") == 0);
}

RUN_TESTS(CASE(messages), CASE(long_messages_are_cut), CASE(texts), CASE(warnings),
          CASE(live_blocks), CASE(free_lists), CASE(failure_on_demand), CASE(dtype_table),
          CASE(promotion), CASE(default_dtype), CASE(float16_and_bfloat16_round_trip),
          CASE(float8_forms), CASE(numbers_in_and_out), CASE(owning_copies), CASE(machine))
