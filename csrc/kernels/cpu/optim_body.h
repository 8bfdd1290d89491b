/* optim_body.h - the elements [begin, end) of one parameter through a step, in one real type, T;
 * included by optim.c.
 *
 * What a loop stores to, and a division that is nearly never needed, are decided outside the loop, by
 * constants that the always-inline function receives; other options are selects of numbers that do
 * not change within the loop.
 */

/* The gradient, negated to maximize; of the optimizers that take a scaled one, as it would be without. */
#define GRADIENT T g = sign * grad[i]
#define UNSCALED                                                                                   \
    GRADIENT;                                                                                      \
    if (scaled) g = g / scale
#define OPTIM_EACH                                                                                 \
    _Pragma("GCC ivdep")                                                                           \
    for (int64_t i = begin; i < end; i++)
/* The point of the way from x to y that weight says; the form whose end is the nearer one. */
#define LERP(x, y, weight)                                                                         \
    (((weight) < (T)0.5 ? (weight) : (weight) - 1) * ((y) - (x)) + ((weight) < (T)0.5 ? (x) : (y)))

OPTIM_INLINE void
NAME(sgd_loop)(int64_t begin, int64_t end, const Step *s, bool buffered, bool scaled)
{
    T *p = s->at[PARAM], *buffer = s->at[STATE];
    const T *grad = s->at[GRAD];
    const T lr = (T)-s->lr, decay = (T)s->weight_decay, momentum = (T)s->momentum;
    const T fresh = (T)(1 - s->dampening), sign = s->maximize ? -1 : 1, scale = (T)s->scale;
    const bool decays = decay != 0, first = s->first, nesterov = s->nesterov;
    OPTIM_EACH
    {
        UNSCALED;
        g = decays ? decay * p[i] + g : g;
        if (buffered) {
            const T b = first ? g : fresh * g + (T)(buffer[i] * momentum);
            buffer[i] = b;
            g = nesterov ? momentum * b + g : b;
        }
        p[i] = lr * g + p[i];
    }
}

static void
NAME(sgd)(int64_t begin, int64_t end, const Step *s)
{
    const bool scaled = s->scale != 1;
    if (s->at[STATE])
        scaled ? NAME(sgd_loop)(begin, end, s, true, true)
               : NAME(sgd_loop)(begin, end, s, true, false);
    else
        scaled ? NAME(sgd_loop)(begin, end, s, false, true)
               : NAME(sgd_loop)(begin, end, s, false, false);
}

OPTIM_INLINE void
NAME(adam_loop)(int64_t begin, int64_t end, const Step *s, bool amsgrad, bool scaled)
{
    T *p = s->at[PARAM], *m = s->at[STATE], *v = s->at[STATE + 1], *top = s->at[STATE + 2];
    const T *grad = s->at[GRAD];
    const T keep = s->decoupled ? (T)(1 - s->lr * s->weight_decay) : 1;
    const T decay = s->decoupled ? 0 : (T)s->weight_decay;
    const T b1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2);
    const T size = (T)-s->size, root = (T)s->root, eps = (T)s->eps;
    const T sign = s->maximize ? -1 : 1, scale = (T)s->scale;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        UNSCALED;
        const T x = p[i] * keep;
        g = decays ? decay * x + g : g;
        m[i] = LERP(m[i], g, b1);
        const T kept = v[i] * b2;
        T w = c2 * g * g + kept;
        v[i] = w;
        if (amsgrad) top[i] = w = w > top[i] || w != w ? w : top[i];
        p[i] = size * m[i] / (SQRT(w) / root + eps) + x;
    }
}

static void
NAME(adam)(int64_t begin, int64_t end, const Step *s)
{
    const bool scaled = s->scale != 1;
    if (s->at[STATE + 2])
        scaled ? NAME(adam_loop)(begin, end, s, true, true)
               : NAME(adam_loop)(begin, end, s, true, false);
    else
        scaled ? NAME(adam_loop)(begin, end, s, false, true)
               : NAME(adam_loop)(begin, end, s, false, false);
}

#define DECAYED_GRADIENT                                                                           \
    GRADIENT;                                                                                      \
    g = decays ? decay * p[i] + g : g

OPTIM_INLINE void
NAME(rmsprop_loop)(int64_t begin, int64_t end, const Step *s, bool centered, bool buffered)
{
    T *p = s->at[PARAM], *v = s->at[STATE], *mean = s->at[STATE + 1], *buffer = s->at[STATE + 2];
    const T *grad = s->at[GRAD];
    const T lr = (T)-s->lr, decay = (T)s->weight_decay, momentum = (T)s->momentum;
    const T b2 = (T)s->beta2, c2 = (T)(1 - s->beta2), eps = (T)s->eps;
    const T sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        DECAYED_GRADIENT;
        const T kept = v[i] * b2;
        T w = c2 * g * g + kept;
        v[i] = w;
        if (centered) {
            const T now = LERP(mean[i], g, c2);
            mean[i] = now;
            w = w - now * now;
        }
        const T root = SQRT(w) + eps;
        if (buffered) {
            const T moved = buffer[i] * momentum, b = g / root + moved;
            buffer[i] = b;
            p[i] = lr * b + p[i];
        } else {
            p[i] = lr * g / root + p[i];
        }
    }
}

static void
NAME(rmsprop)(int64_t begin, int64_t end, const Step *s)
{
    const bool buffered = s->at[STATE + 2];
    if (s->at[STATE + 1])
        buffered ? NAME(rmsprop_loop)(begin, end, s, true, true)
                 : NAME(rmsprop_loop)(begin, end, s, true, false);
    else
        buffered ? NAME(rmsprop_loop)(begin, end, s, false, true)
                 : NAME(rmsprop_loop)(begin, end, s, false, false);
}

static void
NAME(adagrad)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *sum = s->at[STATE];
    const T *grad = s->at[GRAD];
    const T size = (T)-s->size, decay = (T)s->weight_decay, eps = (T)s->eps;
    const T sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        DECAYED_GRADIENT;
        const T w = g * g + sum[i];
        sum[i] = w;
        p[i] = size * g / (SQRT(w) + eps) + p[i];
    }
}

static void
NAME(adadelta)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *square = s->at[STATE], *delta = s->at[STATE + 1];
    const T *grad = s->at[GRAD];
    const T lr = (T)-s->lr, decay = (T)s->weight_decay, eps = (T)s->eps;
    const T b2 = (T)s->beta2, c2 = (T)(1 - s->beta2), sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        DECAYED_GRADIENT;
        const T kept = square[i] * b2, w = c2 * g * g + kept;
        square[i] = w;
        const T d = SQRT(delta[i] + eps) / SQRT(w + eps) * g, kept_delta = delta[i] * b2;
        delta[i] = c2 * d * d + kept_delta;
        p[i] = lr * d + p[i];
    }
}

static void
NAME(adamax)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *m = s->at[STATE], *top = s->at[STATE + 1];
    const T *grad = s->at[GRAD];
    const T size = (T)-s->size, decay = (T)s->weight_decay, eps = (T)s->eps;
    const T b1 = (T)(1 - s->beta1), b2 = (T)s->beta2, sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        DECAYED_GRADIENT;
        const T kept = top[i] * b2, now = (g < 0 ? -g : g) + eps;
        const T w = now > kept || now != now ? now : kept;
        m[i] = LERP(m[i], g, b1);
        top[i] = w;
        p[i] = size * m[i] / w + p[i];
    }
}

/* size and next: how far along the gradient, and along its mean. */
static void
NAME(nadam)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *m = s->at[STATE], *v = s->at[STATE + 1];
    const T *grad = s->at[GRAD];
    const T keep = s->decoupled ? (T)(1 - s->lr * s->weight_decay) : 1;
    const T decay = s->decoupled ? 0 : (T)s->weight_decay;
    const T b1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2);
    const T size = (T)-s->size, next = (T)-s->next, root = (T)s->root, eps = (T)s->eps;
    const T sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        GRADIENT;
        const T x = p[i] * keep;
        g = decays ? decay * x + g : g;
        m[i] = LERP(m[i], g, b1);
        const T kept = v[i] * b2, w = c2 * g * g + kept;
        v[i] = w;
        const T d = SQRT(w / root) + eps, y = size * g / d + x;
        p[i] = next * m[i] / d + y;
    }
}

/* root is 0 while the variance of the step is not yet tractable: then the mean alone counts. */
static void
NAME(radam)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *m = s->at[STATE], *v = s->at[STATE + 1];
    const T *grad = s->at[GRAD];
    const T keep = s->decoupled ? (T)(1 - s->lr * s->weight_decay) : 1;
    const T decay = s->decoupled ? 0 : (T)s->weight_decay;
    const T b1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2), lr = (T)s->lr;
    const T correction = (T)s->size, rectified = (T)s->next, root = (T)s->root, eps = (T)s->eps;
    const T sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0, tractable = s->root != 0;
    OPTIM_EACH
    {
        GRADIENT;
        const T x = p[i] * keep;
        g = decays ? decay * x + g : g;
        m[i] = LERP(m[i], g, b1);
        const T kept = v[i] * b2, w = c2 * g * g + kept;
        v[i] = w;
        const T plain = m[i] / correction * lr, d = root / (SQRT(w) + eps);
        p[i] = x - (tractable ? plain * d * rectified : plain);
    }
}

/* Steps grow where the sign of the gradient stays, shrink where it turns, which also skips one. */
static void
NAME(rprop)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *before = s->at[STATE], *step = s->at[STATE + 1];
    const T *grad = s->at[GRAD];
    const T shrink = (T)s->beta1, grow = (T)s->beta2, least = (T)s->size, most = (T)s->next;
    const T sign = s->maximize ? -1 : 1;
    OPTIM_EACH
    {
        GRADIENT;
        const T turn = g * before[i], factor = turn > 0 ? grow : turn < 0 ? shrink : 1;
        T width = step[i] * factor;
        width = width < least ? least : width;
        width = width > most ? most : width;
        g = turn < 0 ? 0 : g;
        step[i] = width;
        before[i] = g;
        p[i] = p[i] - (g > 0 ? width : g < 0 ? -width : 0);
    }
}

/* size: the learning rate of this step; next: how far the average moves. */
static void
NAME(asgd)(int64_t begin, int64_t end, const Step *s)
{
    T *p = s->at[PARAM], *average = s->at[STATE];
    const T *grad = s->at[GRAD];
    const T size = (T)-s->size, keep = (T)(1 - s->beta1 * s->size), mu = (T)s->next;
    const T decay = (T)s->weight_decay, sign = s->maximize ? -1 : 1;
    const bool decays = decay != 0;
    OPTIM_EACH
    {
        DECAYED_GRADIENT;
        const T kept = p[i] * keep, x = size * g + kept, moved = (x - average[i]) * mu;
        p[i] = x;
        average[i] = mu == 1 ? x : average[i] + moved;
    }
}

#undef DECAYED_GRADIENT
#undef UNSCALED
#undef GRADIENT
#undef OPTIM_EACH
#undef LERP
#undef T
#undef NAME
#undef SQRT
