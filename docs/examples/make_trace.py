#!/usr/bin/env python3
"""Makes routing traces for moqa (docs/formats.md, "Trace"). Needs h5py and numpy.

As a program it runs a Hugging Face model over a text (needs torch and transformers):

    make_trace.py MODEL_FOLDER TEXT_FILE OUT.h5 [--window 2048] [--windows 128]

As a module, write_trace() takes what another engine recorded:

    write_trace("out.h5", experts[tokens, layers, top_k], ids[tokens], starts, ...)
"""
import argparse
import datetime
import hashlib
import pathlib

import h5py
import numpy as np


def write_trace(path, experts, ids, window_starts, *, num_experts, vocab_size, window, model_name,
                model_type, norm_topk_prob, num_shared_experts=0, gates=None, layers=None,
                vocabulary=None, dataset="", config_sha256="", tokenizer_sha256="",
                creator="make_trace.py"):
    """experts, gates: [tokens, layers, top_k], as vLLM and SGLang return `routed_experts`; -1 is a
    slot that was not routed. layers: the numbers of the model's MoE layers; arrays over all layers
    are cut down to these (engines fill dense ones with zeros). vocabulary: the bytes of every
    token, in a list."""
    experts = np.asarray(experts)
    layers = np.arange(experts.shape[1]) if layers is None else np.asarray(layers)
    keep = layers if len(layers) < experts.shape[1] else slice(None)
    experts = experts[:, keep].transpose(1, 0, 2)
    if experts.min() < -1 or experts.max() >= num_experts:
        raise ValueError(f"experts from {experts.min()} to {experts.max()}, not -1 to {num_experts - 1}")
    small = np.uint8 if num_experts < 255 else np.uint16
    experts = np.where(experts < 0, np.iinfo(small).max, experts).astype(small)
    chunks = (1, min(16384, experts.shape[1]), experts.shape[2])
    packed = {"chunks": chunks, "shuffle": True, "compression": "gzip"}
    with h5py.File(path, "w") as f:
        f.attrs.update({
            "schema": "moqa.trace", "schema_version": 1, "creator": creator,
            "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "model_name": model_name, "model_type": model_type, "num_moe_layers": experts.shape[0],
            "num_experts": num_experts, "top_k": experts.shape[2],
            "num_shared_experts": num_shared_experts, "vocab_size": vocab_size,
            "norm_topk_prob": bool(norm_topk_prob), "dataset": dataset, "window": window,
            "config_sha256": config_sha256, "tokenizer_sha256": tokenizer_sha256})
        f["/tokens/ids"] = np.asarray(ids, np.uint32)
        f["/tokens/window_starts"] = np.asarray(window_starts, np.uint64)
        f["/layers/index"] = layers.astype(np.uint16)
        f.create_dataset("/routing/experts", data=experts, **packed)
        if gates is not None:
            gates = np.asarray(gates, np.float32)[:, keep].transpose(1, 0, 2)
            f.create_dataset("/routing/gates", data=gates, **packed)
        if vocabulary is not None:
            offsets = np.cumsum([0] + [len(text) for text in vocabulary])
            f["/vocab/offsets"] = offsets.astype(np.uint64)
            f["/vocab/bytes"] = np.frombuffer(b"".join(vocabulary), np.uint8)


def byte_alphabet():
    """Byte-level BPE writes each byte as one printable character."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(b): b for b in plain}
    table.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)})
    return table


def vocabulary_of(tokenizer, vocab_size):
    table, added = byte_alphabet(), set(tokenizer.get_added_vocab())
    texts = [b""] * vocab_size
    for token, number in tokenizer.get_vocab().items():
        if number < vocab_size:
            level = token not in added and all(c in table for c in token)
            texts[number] = bytes(table[c] for c in token) if level else token.encode()
    return texts


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def record(model, ids, window):
    """Runs windows of ids through the model; experts and gates as [tokens, MoE layers, top_k]."""
    import torch
    routers = [(int(name.split(".layers.")[1].split(".")[0]), module)
               for name, module in model.named_modules() if name.endswith(".mlp.gate")]
    top_k, seen = model.config.num_experts_per_tok, {}

    def hook(layer):
        def keep(module, inputs, output):
            logits = output[0] if isinstance(output, tuple) else output
            gates, experts = torch.softmax(logits.float(), -1).topk(top_k, -1)
            if model.config.norm_topk_prob:
                gates = gates / gates.sum(-1, keepdim=True)
            seen.setdefault(layer, []).append((experts.cpu().numpy(), gates.cpu().numpy()))
        return keep

    handles = [module.register_forward_hook(hook(layer)) for layer, module in routers]
    with torch.no_grad():
        for start in range(0, len(ids), window):
            model(torch.tensor([ids[start:start + window]], device=model.device), use_cache=False)
    for handle in handles:
        handle.remove()
    layers = sorted(seen)
    both = [np.stack([np.concatenate([part[i] for part in seen[layer]]) for layer in layers], 1)
            for i in (0, 1)]
    return both[0], both[1], layers


def main():
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    parser = argparse.ArgumentParser(description="Records which experts serve the tokens of a text.")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("out")
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--windows", type=int, default=128)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    config, window = model.config, options.window
    ids = tokenizer(options.text.read_text(), add_special_tokens=False)["input_ids"]
    ids = ids[:min(options.windows, len(ids) // window) * window]
    experts, gates, layers = record(model, ids, window)
    write_trace(options.out, experts, ids, range(0, len(ids), window), gates=gates, layers=layers,
                num_experts=config.num_experts, vocab_size=config.vocab_size, window=window,
                model_name=options.model.resolve().name, model_type=config.model_type,
                norm_topk_prob=config.norm_topk_prob,
                num_shared_experts=int(getattr(config, "shared_expert_intermediate_size", 0) > 0),
                vocabulary=vocabulary_of(tokenizer, config.vocab_size), dataset=options.text.name,
                config_sha256=sha256(options.model / "config.json"),
                tokenizer_sha256=sha256(options.model / "tokenizer.json"))


if __name__ == "__main__":
    main()
