"""Micro-benchmarks for src/cost: Triton kernels and PyTorch calls on the card of this machine, one line of JSON each on
standard output. See README.md."""

import json
import time

import torch, triton, triton.language as tl

torch.set_grad_enabled(False)
dev = "cuda"
flush = torch.empty(256 << 20, dtype=torch.int8, device=dev)


def t(fn, n=7):
    fn()
    torch.cuda.synchronize()
    ts = []
    for _ in range(n):
        flush.random_(0, 3)
        torch.cuda._sleep(200000)  # hides the host's launch time
        a = torch.cuda.Event(True)
        b = torch.cuda.Event(True)
        a.record()
        fn()
        b.record()
        torch.cuda.synchronize()
        ts.append(a.elapsed_time(b) * 1e3)
    ts.sort()
    return ts[n // 2]


def rec(kind, fn, **kw):
    kw.pop("lib", None)
    try:
        us = t(fn)
    except Exception as e:
        kw["err"] = repr(e)[:120]
        us = None
    print(json.dumps(dict(kind=kind, us=us, **kw)), flush=True)


@triton.jit
def gemm(
    a,
    b,
    c,
    M,
    N,
    K,
    sam,
    sak,
    sbk,
    sbn,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    IEEE: tl.constexpr,
    CAST: tl.constexpr,
    MASK: tl.constexpr,
    I8: tl.constexpr,
):
    pm = tl.program_id(0)
    pn = tl.program_id(1)
    om = pm * BM + tl.arange(0, BM)
    on = pn * BN + tl.arange(0, BN)
    ok = tl.arange(0, BK)
    ap = a + om[:, None] * sam + ok[None, :] * sak
    bp = b + ok[:, None] * sbk + on[None, :] * sbn
    acc = tl.zeros((BM, BN), dtype=tl.int32 if I8 else tl.float32)
    for k in range(0, K, BK):
        if MASK:
            x = tl.load(ap, mask=(om[:, None] < M) & (ok[None, :] < K - k), other=0)
            y = tl.load(bp, mask=(ok[:, None] < K - k) & (on[None, :] < N), other=0)
        else:
            x = tl.load(ap)
            y = tl.load(bp)
        if CAST:
            x = x.to(tl.float32)
            y = y.to(tl.float32)
        if I8:
            acc += tl.dot(x, y, out_dtype=tl.int32)
        elif IEEE:
            acc += tl.dot(x, y, input_precision="ieee")
        else:
            acc += tl.dot(x, y)
        ap += BK * sak
        bp += BK * sbk
    tl.store(
        c + om[:, None] * N + on[None, :],
        acc.to(c.dtype.element_ty),
        mask=(om[:, None] < M) & (on[None, :] < N),
    )


def G(ty, M, N, K, BM, BN, BK, w, s, nk, mask=True):
    ieee = ty == "ieee"
    i8 = ty == "i8"
    cast = ty == "i8cast"
    dt = {
        "tf32": torch.float32,
        "ieee": torch.float32,
        "f16": torch.float16,
        "bf16": torch.bfloat16,
        "i8": torch.int8,
        "i8cast": torch.int8,
    }[ty]
    mk = lambda *sh: (
        torch.randint(-100, 100, sh, device=dev, dtype=dt)
        if dt == torch.int8
        else torch.randn(*sh, device=dev).to(dt)
    )
    a = mk(M, K)
    b = mk(N, K) if nk else mk(K, N)
    sb = (1, K) if nk else (N, 1)
    c = torch.empty(
        M,
        N,
        device=dev,
        dtype=torch.int32 if i8 else torch.float32 if dt != torch.float16 else torch.float16,
    )
    rec(
        "gemm",
        lambda: gemm[(triton.cdiv(M, BM), triton.cdiv(N, BN))](
            a, b, c, M, N, K, K, 1, *sb, BM, BN, BK, ieee, cast, mask, i8, num_warps=w, num_stages=s
        ),
        ty=ty,
        M=M,
        N=N,
        K=K,
        BM=BM,
        BN=BN,
        BK=BK,
        w=w,
        s=s,
        nk=nk,
        mask=mask,
    )


for nk in (False, True):
    for ty in ("tf32", "f16", "i8"):
        for BM, BN, BK, w, s in (
            (64, 64, 32, 4, 3),
            (64, 64, 64, 4, 3),
            (128, 64, 32, 4, 3),
            (128, 128, 32, 4, 3),
            (128, 128, 32, 8, 3),
            (128, 128, 64, 8, 3),
            (64, 128, 32, 4, 2),
            (32, 32, 32, 4, 3),
            (16, 64, 32, 4, 2),
            (128, 256, 64, 8, 3),
        ):
            if ty == "tf32" and BN == 256:
                continue
            G(ty, 2048, 4096, 4096, BM, BN, BK, w, s, nk)
    G("i8cast", 2048, 4096, 4096, 64, 64, 32, 4, 3, nk)
    G("i8cast", 128, 2048, 2048, 64, 64, 32, 4, 3, nk)
    G("i8", 128, 2048, 2048, 64, 64, 32, 4, 3, nk)
    G("ieee", 2048, 2048, 2048, 64, 64, 32, 4, 3, nk)
    G("ieee", 2048, 2048, 2048, 128, 128, 32, 8, 3, nk)
    G("tf32", 2048, 4096, 4096, 64, 64, 32, 4, 1, nk)
    G("bf16", 2048, 4096, 4096, 128, 128, 64, 8, 3, nk)
    G("tf32", 16, 4096, 25088, 128, 64, 32, 4, 3, nk)
    G("tf32", 16, 4096, 4096, 64, 64, 32, 4, 3, nk)
    G("f16", 128, 8192, 8192, 64, 64, 64, 4, 3, nk)
    G("tf32", 16, 768, 256, 64, 64, 32, 4, 2, nk)


@triton.jit
def stream(x, y, n, B: tl.constexpr):
    o = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    m = o < n
    tl.store(y + o, tl.maximum(tl.load(x + o, mask=m), 0.0), mask=m)


for dt in (torch.float32, torch.float16):
    n = 1 << 29
    x = torch.randn(n, device=dev, dtype=dt)
    y = torch.empty_like(x)
    for B, w in (
        (128, 4),
        (256, 8),
        (256, 4),
        (512, 4),
        (512, 8),
        (1024, 4),
        (1024, 8),
        (2048, 4),
        (4096, 8),
        (64, 1),
        (1024, 1),
    ):
        rec(
            "stream",
            lambda: stream[(triton.cdiv(n, B),)](x, y, n, B, num_warps=w),
            n=n,
            bytes=x.element_size(),
            B=B,
            w=w,
        )
    del x, y


@triton.jit
def rowred(x, y, R, st, B: tl.constexpr, INLOOP: tl.constexpr):
    p = tl.program_id(0).to(tl.int64) * st
    o = tl.arange(0, B)
    if INLOOP:
        s = 0.0
        for i in range(0, R, B):
            v = tl.load(x + p + i + o, mask=i + o < R, other=0.0)
            s += tl.sum(v * v, axis=0)
        tl.store(y + tl.program_id(0), s)
    else:
        acc = tl.zeros((B,), tl.float32)
        for i in range(0, R, B):
            v = tl.load(x + p + i + o, mask=i + o < R, other=0.0)
            acc += v * v
        tl.store(y + tl.program_id(0), tl.sum(acc, axis=0))


@triton.jit
def rowscale(x, y, R, st, B: tl.constexpr):
    p = tl.program_id(0).to(tl.int64) * st
    o = tl.arange(0, B)
    for i in range(0, R, B):
        v = tl.load(x + p + i + o, mask=i + o < R, other=0.0)
        tl.store(y + p + i + o, v * 2.0, mask=i + o < R)


for rows, R in (
    (8192, 65536),
    (8192, 65535),
    (262144, 2048),
    (1024, 65536),
    (256, 65536),
    (64, 65536),
):
    x = torch.randn(rows * R, device=dev)
    y = torch.empty(rows * R, device=dev)
    for B, w in ((256, 4), (256, 8), (1024, 4), (4096, 8)):
        for il in (False, True):
            rec(
                "rowred",
                lambda: rowred[(rows,)](x, y, R, R, B, il, num_warps=w),
                rows=rows,
                R=R,
                B=B,
                w=w,
                inloop=il,
            )
        rec(
            "rowscale",
            lambda: rowscale[(rows,)](x, y, R, R, B, num_warps=w),
            rows=rows,
            R=R,
            B=B,
            w=w,
        )
    del x, y


@triton.jit
def strided(x, y, n, S, RUN: tl.constexpr, B: tl.constexpr):
    # lanes run RUN elements, then jump: RUN=1 is a column of a matrix of S
    o = tl.program_id(0) * B + tl.arange(0, B)
    a = (o // RUN) % S
    c = (o // RUN) // S
    v = tl.load(x + (a.to(tl.int64) * S * RUN + c * RUN + o % RUN))
    tl.store(y + o, v)


x = torch.randn(1 << 28, device=dev)
y = torch.empty_like(x)
for RUN in (1, 2, 4, 8, 16, 32):
    S = int((x.numel() // RUN) ** 0.5)
    S = 1 << (S.bit_length() - 1)
    n = S * S * RUN
    for B, w in ((256, 4), (1024, 4)):
        rec(
            "strided",
            lambda: strided[(n // B,)](x, y, n, S, RUN, B, num_warps=w),
            RUN=RUN,
            S=S,
            n=n,
            B=B,
            w=w,
        )


@triton.jit
def tiny(x, y, C, HW, B: tl.constexpr):
    # a softmax of C channels for one pixel a program: short programs, strided
    p = tl.program_id(0)
    o = tl.arange(0, B)
    q = (p // HW) * C * HW + p % HW
    v = tl.load(x + q + o * HW, mask=o < C, other=-1e30)
    v = tl.exp(v - tl.max(v, axis=0))
    tl.store(y + q + o * HW, v / tl.sum(v, axis=0), mask=o < C)


for C, HW, B, w in (
    (16, 1 << 14, 16, 4),
    (16, 1 << 14, 32, 4),
    (64, 1 << 14, 64, 4),
    (64, 1 << 14, 64, 1),
    (32, 1 << 14, 32, 2),
):
    n = 1 << 21
    rec("tiny", lambda: tiny[(n,)](x, y, C, HW, B, num_warps=w), C=C, B=B, w=w, n=n)


@triton.jit
def rank1(x, w, y, M, K, N: tl.constexpr, BM: tl.constexpr):
    om = tl.program_id(0) * BM + tl.arange(0, BM)
    on = tl.arange(0, N)
    acc = tl.zeros((BM, N), tl.float32)
    for k in range(0, K):
        a = tl.load(x + k * M + om)
        b = tl.load(w + k * N + on)
        acc += a[:, None] * b[None, :]
    tl.store(y + om[:, None] * N + on[None, :], acc)


for BM, N, w in ((32, 64, 4), (64, 64, 4), (128, 64, 4), (128, 32, 8)):
    M = 1 << 19
    rec(
        "rank1",
        lambda: rank1[(M // BM,)](x, x, y, M, 72, N, BM, num_warps=w),
        M=M,
        K=72,
        BM=BM,
        N=N,
        w=w,
    )


@triton.jit
def atom(x, y, n, per, B: tl.constexpr):
    p = tl.program_id(0)
    o = p * B + tl.arange(0, B)
    tl.atomic_add(y + p // per, tl.sum(tl.load(x + o), axis=0))


for per in (1, 16, 256, 4096, 1 << 20):
    rec("atomic", lambda: atom[(1 << 20,)](x, y, 1 << 28, per, 256, num_warps=4), per=per)


@triton.jit
def nop(x):
    pass


rec("nop", lambda: nop[(1,)](x))
rec("nop_many", lambda: nop[(1 << 20,)](x, num_warps=4))
rec("nop_many1", lambda: nop[(1 << 20,)](x, num_warps=1))
rec("nop_many8", lambda: nop[(1 << 20,)](x, num_warps=8))
del x, y
torch.cuda.empty_cache()
F = torch.nn.functional
R = lambda *s, dt=torch.float32: torch.randn(*s, device=dev).to(dt)
h = torch.float16
bf = torch.bfloat16


def L(name, fn, **kw):
    rec(name, fn, lib=True, **kw)


for dt in (torch.float32, h):
    for M, N, K in (
        (16, 4096, 4096),
        (16, 4096, 25088),
        (128, 2048, 2048),
        (128, 8192, 8192),
        (512, 1024, 1024),
        (1024, 8192, 8192),
        (2048, 2048, 2048),
        (4096, 4096, 4096),
        (8192, 4096, 4096),
        (10, 1000, 512),
        (8192, 384, 128),
        (31360, 288, 96),
        (31360, 96, 384),
        (64, 8192, 256),
        (16384, 64, 64),
    ):
        a = R(M, K, dt=dt)
        b = R(N, K, dt=dt)
        L("linear", lambda: F.linear(a, b), dt=str(dt), M=M, N=N, K=K)
    for B, M, N, K in (
        (64, 512, 512, 64),
        (1920, 49, 49, 32),
        (1920, 49, 32, 49),
        (16, 4096, 4096, 32),
        (128, 128, 256, 512),
    ):
        a = R(B, M, K, dt=dt)
        b = R(B, K, N, dt=dt)
        L("bmm", lambda: torch.bmm(a, b), dt=str(dt), B=B, M=M, N=N, K=K)
for sh in ((8192, 8192), (4096, 25088), (4096, 4096), (2048, 2048), (1024, 256)):
    for dt in (torch.float32, h, torch.int8):
        a = torch.ones(sh, device=dev, dtype=dt)
        L("transpose", lambda: a.t().contiguous(), sh=sh, dt=str(dt))
a = R(16, 224, 224, 64)
L("nhwc2nchw", lambda: a.permute(0, 3, 1, 2).contiguous(), n=a.numel())
a = R(16, 64, 224, 224)
L("nchw2nhwc", lambda: a.permute(0, 2, 3, 1).contiguous(), n=a.numel())
a = R(4096, 2, 8, 64)
L("permute_heads", lambda: a.permute(1, 2, 0, 3).contiguous(), n=a.numel())
for n in (1 << 10, 1 << 20, 1 << 24, 1 << 28):
    a = R(n)
    b = R(n)
    c = torch.empty_like(a)
    L("relu", lambda: torch.relu(a), n=n)
    L("add", lambda: a + b, n=n)
    L("sigmoid", lambda: torch.sigmoid(a), n=n)
    L("gelu", lambda: F.gelu(a), n=n)
    L("tanh", lambda: torch.tanh(a), n=n)
    L("clone", lambda: a.clone(), n=n)
    L("zeros", lambda: torch.zeros(n, device=dev), n=n)
    L("tohalf", lambda: a.to(h), n=n)
    L("mul_scalar", lambda: a * 2.0, n=n)
    L("softplus", lambda: F.softplus(a), n=n)
    L("mish", lambda: F.mish(a), n=n)
    L("clamp", lambda: a.clamp(-1, 1), n=n)
    L("sum_all", lambda: a.sum(), n=n)
for rows, cols in (
    (1 << 16, 1024),
    (1 << 15, 4096),
    (1 << 10, 1 << 16),
    (1 << 20, 64),
    (128, 1 << 20),
    (1 << 12, 1 << 14),
):
    a = R(rows, cols)
    w = R(cols)
    for nm, fn in (
        ("softmax", lambda: torch.softmax(a, -1)),
        ("layer_norm", lambda: F.layer_norm(a, (cols,), w, w)),
        ("sum_last", lambda: a.sum(-1)),
        ("sum_first", lambda: a.sum(0)),
        ("max_last", lambda: a.max(-1)),
        ("argmax_last", lambda: a.argmax(-1)),
        ("logsumexp", lambda: torch.logsumexp(a, -1)),
        ("cumsum", lambda: torch.cumsum(a, -1)),
        ("cumsum0", lambda: torch.cumsum(a, 0)),
        ("norm", lambda: a.norm(dim=1)),
        ("bias_add", lambda: a + w),
        ("col_mul", lambda: a * a[:, :1]),
        ("log_softmax", lambda: torch.log_softmax(a, -1)),
        ("mean_last", lambda: a.mean(-1)),
        ("var_last", lambda: a.var(-1)),
        ("normalize", lambda: F.normalize(a, dim=-1)),
        ("cumprod", lambda: torch.cumprod(a, -1)),
        ("rms", lambda: F.rms_norm(a, (cols,))),
    ):
        L(nm, fn, rows=rows, cols=cols)
for N, C, H in ((16, 64, 224), (32, 256, 56), (128, 512, 14), (16, 3, 224)):
    a = R(N, C, H, H)
    w = R(C)
    for nm, fn in (
        ("bn_eval", lambda: F.batch_norm(a, w, w.abs(), w, w, False)),
        ("bn_train", lambda: F.batch_norm(a, w, w.abs(), w, w, True)),
        ("group_norm", lambda: F.group_norm(a, min(8, C) if C % 8 == 0 else 1, w, w)),
        ("instance_norm", lambda: F.instance_norm(a)),
        ("max_pool2", lambda: F.max_pool2d(a, 2)),
        ("max_pool3s2", lambda: F.max_pool2d(a, 3, 2, 1)),
        ("avg_pool2", lambda: F.avg_pool2d(a, 2)),
        ("gap", lambda: F.adaptive_avg_pool2d(a, 1)),
        ("softmax_c", lambda: torch.softmax(a, 1)),
        ("sum_c", lambda: a.sum(1)),
        ("cat", lambda: torch.cat([a, a], 1)),
        ("min_c", lambda: a.min(1)),
        ("lse_c", lambda: torch.logsumexp(a, 1)),
        ("sum_hw", lambda: a.sum((2, 3))),
    ):
        L(nm, fn, N=N, C=C, H=H)
for N, C, O, H, k, st, g in (
    (16, 64, 64, 224, 3, 1, 1),
    (16, 3, 64, 224, 3, 1, 1),
    (16, 3, 64, 224, 7, 2, 1),
    (16, 8, 64, 128, 3, 1, 1),
    (16, 64, 128, 112, 3, 1, 1),
    (16, 128, 128, 56, 3, 1, 1),
    (16, 256, 256, 28, 3, 1, 1),
    (16, 512, 512, 14, 3, 1, 1),
    (16, 512, 512, 7, 3, 1, 1),
    (16, 64, 256, 56, 1, 1, 1),
    (16, 256, 64, 56, 1, 1, 1),
    (16, 32, 64, 256, 9, 1, 1),
    (16, 16, 32, 256, 5, 1, 1),
    (16, 64, 128, 256, 1, 1, 1),
    (16, 64, 64, 224, 3, 1, 64),
    (16, 256, 256, 56, 3, 1, 256),
    (16, 240, 120, 112, 1, 1, 3),
    (2, 64, 64, 112, 3, 1, 1),
    (16, 128, 256, 56, 3, 2, 1),
    (64, 32, 64, 64, 3, 1, 1),
    (16, 256, 256, 28, 3, 1, 8),
    (16, 24, 144, 112, 1, 1, 1),
    (16, 960, 320, 7, 1, 1, 1),
):
    a = R(N, C, H, H)
    w = R(O, C // g, k, k)
    L(
        "conv2d",
        lambda: F.conv2d(a, w, stride=st, padding=k // 2, groups=g),
        N=N,
        C=C,
        O=O,
        H=H,
        k=k,
        st=st,
        g=g,
    )
    if g == 1:
        ah = a.half()
        wh = w.half()
        L(
            "conv2d_f16",
            lambda: F.conv2d(ah, wh, stride=st, padding=k // 2, groups=g),
            N=N,
            C=C,
            O=O,
            H=H,
            k=k,
            st=st,
            g=g,
        )
for N, C, O, D, H, k in (
    (16, 3, 16, 16, 32, 3),
    (16, 32, 64, 16, 32, 3),
    (16, 16, 32, 32, 64, 3),
    (4, 64, 64, 16, 56, 3),
):
    a = R(N, C, D, H, H)
    w = R(O, C, k, k, k)
    L("conv3d", lambda: F.conv3d(a, w), N=N, C=C, O=O, D=D, H=H, k=k)
    wt = R(C, O, k, k, k)
    L("convT3d_s1", lambda: F.conv_transpose3d(a, wt), N=N, C=C, O=O, D=D, H=H, k=k)
    if N * O * D * H * H * 8 < 2e9:
        L(
            "convT3d_s2",
            lambda: F.conv_transpose3d(a, wt, stride=2, padding=1),
            N=N,
            C=C,
            O=O,
            D=D,
            H=H,
            k=k,
        )
for N, C, O, H, k, st in (
    (16, 64, 64, 128, 3, 1),
    (16, 64, 64, 128, 3, 2),
    (16, 32, 64, 256, 3, 2),
    (16, 64, 128, 128, 4, 2),
    (16, 128, 64, 64, 5, 1),
):
    a = R(N, C, H, H)
    w = R(C, O, k, k)
    L(
        "convT2d",
        lambda: F.conv_transpose2d(a, w, stride=st, padding=1),
        N=N,
        C=C,
        O=O,
        H=H,
        k=k,
        st=st,
    )
for N, C, O, Ln, k, d in (
    (16, 64, 128, 65536, 3, 1),
    (16, 32, 64, 131072, 3, 2),
    (32, 128, 128, 4096, 5, 1),
):
    a = R(N, C, Ln)
    w = R(O, C, k)
    L("conv1d", lambda: F.conv1d(a, w, dilation=d), N=N, C=C, O=O, L=Ln, k=k, d=d)
    wt = R(C, O, k)
    L("convT1d", lambda: F.conv_transpose1d(a, wt, stride=2), N=N, C=C, O=O, L=Ln, k=k)
for T, B, I, Hh, nl, bi in (
    (512, 10, 128, 256, 2, False),
    (512, 10, 128, 256, 2, True),
    (128, 64, 256, 512, 1, False),
    (512, 32, 128, 256, 1, False),
):
    xx = R(T, B, I)
    for nm, cl in (("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM), ("rnn", torch.nn.RNN)):
        m = cl(I, Hh, nl, bidirectional=bi).cuda()
        L(nm, lambda: m(xx), T=T, B=B, I=I, H=Hh, layers=nl, bi=bi)
for B, Hd, S, D in ((8, 16, 1024, 64), (2, 4, 4096, 32), (32, 32, 512, 128)):
    for dt in (torch.float32, h):
        q = R(B, Hd, S, D, dt=dt)
        L(
            "sdpa",
            lambda: F.scaled_dot_product_attention(q, q, q),
            B=B,
            heads=Hd,
            S=S,
            D=D,
            dt=str(dt),
        )
        L(
            "sdpa_causal",
            lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True),
            B=B,
            heads=Hd,
            S=S,
            D=D,
            dt=str(dt),
        )


# host cost of eager calls: 400 tiny calls, wall time each
def host(nm, fn, n=400):
    fn()
    torch.cuda.synchronize()
    a = time.perf_counter()
    for _ in range(n):
        fn()
    b = time.perf_counter()
    torch.cuda.synchronize()
    c = time.perf_counter()
    print(json.dumps(dict(kind="host", name=nm, host_us=(b - a) / n * 1e6, us=(c - a) / n * 1e6)))


a = R(10, 256)
b = R(768, 256)
c = R(10, 768)
w4 = R(8, 8, 3, 3)
x4 = R(1, 8, 8, 8)
bnm = torch.nn.BatchNorm2d(8).cuda().eval()
lin = torch.nn.Linear(256, 768).cuda()
host("add", lambda: a + a)
host("empty", lambda: torch.empty_like(a))
host("linear", lambda: F.linear(a, b))
host("lin_module", lambda: lin(a))
host("conv", lambda: F.conv2d(x4, w4))
host("bn_module", lambda: bnm(x4))
host("softmax", lambda: torch.softmax(a, -1))
host("contig", lambda: a.contiguous())
host("tcontig", lambda: a.t().contiguous())
host("chunk", lambda: c.chunk(3, dim=1))
host("slice", lambda: c[0])
host("setitem", lambda: c.__setitem__(0, c[1]))
host("view", lambda: a.view(-1))
host("sum", lambda: a.sum())
host(
    "triton_gemm",
    lambda: gemm[(1, 12)](
        a,
        b,
        c,
        10,
        768,
        256,
        256,
        1,
        1,
        256,
        64,
        64,
        32,
        False,
        False,
        True,
        False,
        num_warps=4,
        num_stages=2,
    ),
)
host("triton_nop", lambda: nop[(1,)](a))
host(
    "triton_stream",
    lambda: stream[lambda m: (triton.cdiv(2560, m["B"]),)](a, a, 2560, B=256, num_warps=4),
)
