"""A Llama-shaped model with quoin's int8 layers: quantise, compare, save, reload, generate.

    python examples/python/llama.py                    # a small model with random weights
    python examples/python/llama.py --layers 8 --hidden 1024 --device cuda

Needs PyTorch 2.10 or later and transformers; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import quoin
import torch
from quoin.torch import Int8Linear, quantize_
from transformers import LlamaConfig, LlamaForCausalLM


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--tokens", type=int, default=16, help="tokens to generate")
    args = parser.parse_args()

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 7 // 2,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=max(args.hidden // 256, 1),
        vocab_size=4096,
    )
    with torch.device(args.device):
        model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    prompt = torch.randint(0, config.vocab_size, (1, 12), device=args.device)

    with torch.no_grad():
        expected = model(prompt).logits.float()
        report = quantize_(model)  # every nn.Linear but lm_head
        print(report)
        logits = model(prompt).logits.float()
    error = (logits - expected).norm() / expected.norm()
    agree = (logits.argmax(-1) == expected.argmax(-1)).float().mean()
    print(f"\nlogits: relative error {error:.4f} against bfloat16, same first choice {agree:.0%}")

    with tempfile.TemporaryDirectory() as folder:
        quoin.save_compressed(model, folder)
        size = sum(file.stat().st_size for file in pathlib.Path(folder).iterdir())
        print(f"saved as compressed-tensors W8A8, {size / 2**20:.1f} MiB")
        with torch.device(args.device):
            other = LlamaForCausalLM(config).to(torch.bfloat16).eval()
        quoin.load_compressed(folder, other)
    assert sum(isinstance(m, Int8Linear) for m in other.modules()) == len(report.layers)
    with torch.no_grad():
        again = other(prompt).logits.float()
    assert torch.equal(again, logits), "a reloaded model must give the same bits"
    print("reloaded: the same bits")

    start = time.perf_counter()
    with torch.no_grad():
        tokens = other.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=args.tokens,
            do_sample=False,
            pad_token_id=0,
        )
    seconds = time.perf_counter() - start
    new = tokens[0, prompt.shape[1] :].tolist()
    print(f"generated {len(new)} tokens in {seconds:.2f} s: {new}")


if __name__ == "__main__":
    main()
