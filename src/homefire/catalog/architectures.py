"""The model families we convert and teach: what `config.json` says of them, which tensors they must have.

One table of expected tensors (name there, name in GGUF, shape) serves the converter and the inspector: what
is missing, unknown or of another shape is found before anything is computed. Pure; no NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from homefire.errors import BadModel, quoted

GGUF_NAMES = {"qwen3": "qwen3", "qwen2": "qwen2", "llama": "llama"}
"""`model_type` of config.json -> `general.architecture`."""

ROPE_SCALINGS = ("default", "linear", "yarn", "llama3")
IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)
"""Tensors that old checkpoints hold and nobody reads."""


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of the checkpoint and its place in GGUF. `num_rope_heads` > 0: rows are to be permuted."""

    name: str
    gguf_name: str
    shape: tuple[int, ...]
    num_rope_heads: int = 0


@dataclass(frozen=True, slots=True)
class Architecture:
    """The figures of one model. All counts are of elements, not bytes."""

    gguf_name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    feed_forward_size: int
    context_length: int
    rms_epsilon: float
    rope_theta: float
    rope: Mapping[str, Any]
    vocab_size: int
    tied: bool
    has_attention_bias: bool
    has_output_bias: bool
    has_mlp_bias: bool

    def expected_tensors(self) -> Iterator[ExpectedTensor]:
        """Every tensor the checkpoint must hold, in the order they are written."""
        hidden, vocab = self.hidden_size, self.vocab_size
        yield ExpectedTensor("model.embed_tokens.weight", "token_embd.weight", (vocab, hidden))
        for layer in range(self.num_layers):
            yield from self._layer_tensors(f"model.layers.{layer}", f"blk.{layer}")
        yield ExpectedTensor("model.norm.weight", "output_norm.weight", (hidden,))
        if not self.tied:
            yield ExpectedTensor("lm_head.weight", "output.weight", (vocab, hidden))

    def _layer_tensors(self, theirs: str, ours: str) -> Iterator[ExpectedTensor]:
        hidden, wide = self.hidden_size, self.feed_forward_size
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        is_llama = self.gguf_name == "llama"
        rope_heads = {"q": self.num_heads if is_llama else 0, "k": self.num_kv_heads if is_llama else 0}
        yield ExpectedTensor(f"{theirs}.input_layernorm.weight", f"{ours}.attn_norm.weight", (hidden,))
        for letter, size in (("q", queries), ("k", keys), ("v", keys)):
            name, permuted = f"{theirs}.self_attn.{letter}_proj", rope_heads.get(letter, 0)
            yield ExpectedTensor(f"{name}.weight", f"{ours}.attn_{letter}.weight", (size, hidden), permuted)
            if self.has_attention_bias:
                yield ExpectedTensor(f"{name}.bias", f"{ours}.attn_{letter}.bias", (size,), permuted)
        yield ExpectedTensor(
            f"{theirs}.self_attn.o_proj.weight", f"{ours}.attn_output.weight", (hidden, queries)
        )
        if self.has_output_bias:
            yield ExpectedTensor(f"{theirs}.self_attn.o_proj.bias", f"{ours}.attn_output.bias", (hidden,))
        if self.gguf_name == "qwen3":
            for letter in ("q", "k"):
                name = f"{theirs}.self_attn.{letter}_norm.weight"
                yield ExpectedTensor(name, f"{ours}.attn_{letter}_norm.weight", (self.head_dim,))
        yield ExpectedTensor(
            f"{theirs}.post_attention_layernorm.weight", f"{ours}.ffn_norm.weight", (hidden,)
        )
        for name, gguf_name, shape in (
            ("gate_proj", "ffn_gate", (wide, hidden)),
            ("up_proj", "ffn_up", (wide, hidden)),
            ("down_proj", "ffn_down", (hidden, wide)),
        ):
            yield ExpectedTensor(f"{theirs}.mlp.{name}.weight", f"{ours}.{gguf_name}.weight", shape)
            if self.has_mlp_bias:
                yield ExpectedTensor(f"{theirs}.mlp.{name}.bias", f"{ours}.{gguf_name}.bias", shape[:1])


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """The architecture a parsed `config.json` describes; BadModel where we cannot serve it faithfully."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in GGUF_NAMES:
        raise BadModel(
            f"Models of the kind {quoted(kind)} cannot be converted here.",
            hint=f"Known are {', '.join(sorted(GGUF_NAMES))}; others can be added as a GGUF file.",
        )
    if config.get("use_sliding_window"):
        raise BadModel("The model asks for a sliding attention window, which is not converted yet.")
    if config.get("hidden_act", "silu") != "silu":
        raise BadModel(
            f"The activation {quoted(config['hidden_act'])} is not known for this family (silu is)."
        )
    if config.get("quantization_config"):
        raise BadModel(
            "The weights are quantized in a form that is not converted.",
            hint="Fetch the original weights, or a GGUF file of the model.",
        )
    try:
        return _read_figures(str(kind), config)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise BadModel(f"config.json lacks a figure or holds a wrong one: {error}.") from error


def _read_figures(kind: str, config: Mapping[str, Any]) -> Architecture:
    num_heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    biased = bool(config.get("attention_bias", False))
    if kind == "qwen3" and biased:
        raise BadModel("Qwen3 with attention biases is not known to the engine.")
    rope = _read_rope(config)
    architecture = Architecture(
        gguf_name=GGUF_NAMES[kind],
        num_layers=int(config["num_hidden_layers"]),
        hidden_size=hidden,
        num_heads=num_heads,
        num_kv_heads=int(config.get("num_key_value_heads") or num_heads),
        head_dim=int(config.get("head_dim") or hidden // num_heads),
        feed_forward_size=int(config["intermediate_size"]),
        context_length=int(config["max_position_embeddings"]),
        rms_epsilon=float(config["rms_norm_eps"]),
        rope_theta=float(rope.get("rope_theta", 10000.0)),
        rope=rope,
        vocab_size=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        has_attention_bias=biased or kind == "qwen2",
        has_output_bias=biased,
        has_mlp_bias=bool(config.get("mlp_bias", False)),
    )
    if min(_counts(architecture)) < 1:
        raise ValueError("a size or a number is not positive")
    if kind != "qwen3" and architecture.head_dim * num_heads != hidden:
        raise BadModel(f"A {kind} model with heads of {architecture.head_dim} is not known to the engine.")
    return architecture


def _counts(model: Architecture) -> tuple[int, ...]:
    return (
        model.num_layers, model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim,
        model.feed_forward_size, model.context_length, model.vocab_size,
    )  # fmt: skip


def _read_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings in one shape: transformers 5 writes `rope_parameters`, older ones two fields."""
    rope = dict(config.get("rope_parameters") or {})
    if not rope:
        rope = dict(config.get("rope_scaling") or {})
    if "rope_theta" not in rope and config.get("rope_theta") is not None:
        rope["rope_theta"] = config["rope_theta"]
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    if not isinstance(rope["rope_type"], str) or rope["rope_type"] not in ROPE_SCALINGS:
        raise BadModel(
            f"The rotary scaling {quoted(rope['rope_type'])} is not converted.",
            hint=f"Known are {', '.join(ROPE_SCALINGS)}.",
        )
    return rope


def check_tensors(architecture: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare a checkpoint's tensors with what the architecture needs; BadModel names what differs."""
    if architecture.num_layers > len(shapes):
        # Before they are listed: the number is only what config.json says.
        raise BadModel(
            f"config.json promises {architecture.num_layers} layers; the checkpoint has {len(shapes)} tensors."
        )
    expected = {tensor.name: tensor.shape for tensor in architecture.expected_tensors()}
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise BadModel(
            f"The checkpoint lacks {len(missing)} of {len(expected)} tensors, first {quoted(missing[0])}.",
            hint="The folder is incomplete: fetch it again.",
        )
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise BadModel(
                f"Tensor {quoted(name)} has the shape {list(shapes[name])}; config.json asks for {list(shape)}."
            )
    tied_copy = {"lm_head.weight"} if architecture.tied else set()
    unknown = [
        name
        for name in shapes
        if name not in expected and name not in tied_copy and not name.endswith(IGNORED_SUFFIXES)
    ]
    if unknown:
        raise BadModel(f"The checkpoint holds tensors this family does not have, first {quoted(unknown[0])}.")
