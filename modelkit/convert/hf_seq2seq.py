"""Encoder and decoders of sequence-to-sequence models: T5, BART and kin, Whisper.

There are three decoders.  ``decoder`` gives logits alone.  ``decoder-first`` and
``decoder-with-past`` go together, as the ecosystem has them: the first step gives the keys and
values of its tokens and of the encoder's, every further step takes them and gives its own, grown.
"""

from typing import Any

import torch
from transformers.cache_utils import EncoderDecoderCache

from modelkit.convert.hf_causal import filled, flat
from modelkit.convert.hf_folder import Load, Part, input_specs
from modelkit.errors import BadInput, Unsupported
from modelkit.model import InputSpec
from modelkit.safe import safe

_SIDES = ("decoder", "encoder")


class _Encoder(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, inner: Any, masked: bool) -> None:
        super().__init__()
        self.encoder = inner.get_encoder()
        self.masked = masked

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids or features, and a mask where there is one."""
        words = {"attention_mask": values[1]} if self.masked else {}
        return (self.encoder(values[0], return_dict=True, **words).last_hidden_state,)


class _Decoder(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, inner: Any, masked: bool, *, cached: bool) -> None:
        super().__init__()
        self.inner = inner
        self.masked = masked
        self.cached = cached

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids, what the encoder gave, and its mask where there is one."""
        words: dict[str, Any] = {"attention_mask": values[2]} if self.masked else {}
        if self.cached:
            words["past_key_values"] = EncoderDecoderCache(filled([]), filled([]))
        found = self.inner(
            decoder_input_ids=values[0],
            encoder_outputs=(values[1],),
            use_cache=self.cached,
            return_dict=True,
            **words,
        )
        return (found.logits, *(_presents(found.past_key_values) if self.cached else ()))


class _Continued(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, inner: Any, masked: bool, width: int) -> None:
        super().__init__()
        self.inner = inner
        self.masked = masked
        self.width = width

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Ids, the encoder's mask where there is one, then keys and values.

        Of each layer there are four: key and value of the decoder, key and value of the encoder.
        """
        past = list(values[1 + self.masked :])
        words = {"attention_mask": values[1]} if self.masked else {}
        groups = [past[start : start + 4] for start in range(0, len(past), 4)]
        own = filled([tensor for group in groups for tensor in group[:2]])
        other = filled([tensor for group in groups for tensor in group[2:]])
        cache = EncoderDecoderCache(own, other)
        cache.is_updated = dict.fromkeys(range(len(groups)), True)
        # Its length alone counts: its keys and values are in the cache.
        hidden = past[2].new_zeros((past[2].shape[0], past[2].shape[2], self.width))
        found = self.inner(
            decoder_input_ids=values[0],
            encoder_outputs=(hidden,),
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
            **words,
        )
        return (found.logits, *flat(found.past_key_values.self_attention_cache))


def _presents(cache: Any) -> list[torch.Tensor]:
    """For each layer key and value of the decoder and of the encoder."""
    own, other = flat(cache.self_attention_cache), flat(cache.cross_attention_cache)
    return [
        tensor
        for start in range(0, len(own), 2)
        for tensor in (*own[start : start + 2], *other[start : start + 2])
    ]


def encoder(load: Load, config: dict[str, Any]) -> Part:
    """The encoder of a sequence-to-sequence model."""
    inner = load(_loader(config))
    names = _encoder_inputs(inner)
    return Part(_Encoder(inner, len(names) > 1), input_specs(names, config), ("last_hidden_state",))


def decoder(load: Load, config: dict[str, Any]) -> Part:
    """The decoder of a sequence-to-sequence model, without a cache."""
    inner = load(_loader(config))
    specs = _decoder_inputs(inner, config)
    return Part(_Decoder(inner, len(specs) > 2, cached=False), specs, ("logits",))


def decoder_first(load: Load, config: dict[str, Any]) -> Part:
    """The decoder at the first step, which gives the cache for all others."""
    inner = load(_loader(config))
    specs = _decoder_inputs(inner, config)
    names = [f"present.{name}" for name, _, _ in _kept(inner, _width(config))]
    return Part(_Decoder(inner, len(specs) > 2, cached=True), specs, ("logits", *names))


def decoder_with_past(load: Load, config: dict[str, Any]) -> Part:
    """The decoder at every further step, which takes and gives the cache."""
    inner = load(_loader(config))
    specs = list(_decoder_inputs(inner, config))
    masked = len(specs) > 2
    del specs[1]
    outputs = ["logits"]
    for name, heads, width in _kept(inner, _width(config)):
        own = ".decoder." in name
        shape = ("batch", heads, "past_sequence" if own else "encoder_sequence", width)
        specs.append(InputSpec(f"past_key_values.{name}", "float32", shape, "past"))
        outputs += [f"present.{name}"] if own else []
    module = _Continued(inner, masked, _width(config))
    return Part(module, tuple(specs), tuple(outputs))


def _kept(inner: Any, width: int) -> list[tuple[str, int, int]]:
    """Name, heads and width of what the model keeps, as it does for one token."""
    ids, hidden = torch.zeros((1, 1), dtype=torch.int64), torch.zeros((1, 3, width))
    with torch.no_grad():
        try:
            tensors = _Decoder(inner, masked=False, cached=True)(ids, hidden)[1:]
        except Exception as error:  # transformers raises any type on a cache that it does not know
            raise Unsupported(
                f"{type(inner).__name__} keeps no cache of keys and values",
                cause=f"{type(error).__name__}: {safe(str(error), 200)}",
                hint="--task decoder exports it without a cache",
            ) from None
    return [
        (f"{n // 4}.{_SIDES[n % 4 // 2]}.{('key', 'value')[n % 2]}", held.shape[1], held.shape[3])
        for n, held in enumerate(tensors)
    ]


def _decoder_inputs(inner: Any, config: dict[str, Any]) -> tuple[InputSpec, ...]:
    """Ids, what the encoder gave, and its mask where there is one."""
    ids = input_specs(["input_ids"], config)[0]
    shape = ("batch", "encoder_sequence")
    hidden = InputSpec("encoder_hidden_states", "float32", (*shape, _width(config)), "float")
    if len(_encoder_inputs(inner)) == 1:
        return ids, hidden
    return ids, hidden, InputSpec("encoder_attention_mask", "int64", shape, "mask", 0.0, 1.0)


def _width(config: dict[str, Any]) -> int:
    width = config.get("d_model") or config.get("hidden_size")
    if not isinstance(width, int):
        raise BadInput("config.json has no d_model")
    return width


def _loader(config: dict[str, Any]) -> str:
    if "Speech" in str(config.get("architectures")) or config.get("model_type") == "whisper":
        return "AutoModelForSpeechSeq2Seq"
    return "AutoModelForSeq2SeqLM"


def _encoder_inputs(inner: Any) -> list[str]:
    """Ids with a mask, or features of sound of one length."""
    main = inner.get_encoder().main_input_name
    if main == "input_ids":
        return ["input_ids", "attention_mask"]
    if main == "input_features":
        return ["input_features"]
    raise Unsupported(
        f"the encoder of {type(inner).__name__} takes {safe(str(main), 60)},"
        " which has no route to ONNX yet"
    )
