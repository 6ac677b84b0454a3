"""llama.cpp in this process, through `xllamacpp`: only the engine worker imports this.

What it promises beyond the library:
- the GGUF header of every file is checked before native code sees it (its hash was, by the server);
- a prompt that leaves no room for an answer is a ContextOverflow with exact numbers before anything is
  computed. One that fits is answered even when `max_tokens` would not fit: it then ends with `length`.
  Nothing is ever cut or shifted;
- a JSON schema is enforced or refused (the library would continue without it);
- `temperature=None` is the model's own default from its metadata, greedy where that states none;
- a chat template that does not come to an end, or takes too much memory, ends this worker or fails its request;
- answers stop within one token (or one batch of a long prompt) of being cancelled.

The library opens an HTTP listener of its own. It is given a Unix socket inside the worker's private 0700
directory (mode 0600), so there is no TCP listener; we use it to count tokens, which the bindings cannot do.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import socket
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

from homefire.engines.base import Embeddings, Finish, GgufSource, ModelSpec
from homefire.engines.control_text import ControlText, Piece
from homefire.engines.gguf_check import check_gguf
from homefire.engines.json_grammar import SchemaMatcher, to_grammar
from homefire.engines.llama_stream import Emit, Job, Stream
from homefire.engines.memory_estimate import ALL_F32, PROMPT_BATCH_TOKENS, SLOT_MULTIPLE_TOKENS, round_up
from homefire.engines.slots import SlotTable
from homefire.engines.template import ChatTemplate
from homefire.errors import (
    BadModel,
    ContextOverflow,
    EngineError,
    EngineOutOfMemory,
    HomefireError,
    InvalidRequest,
)
from homefire.machine.limits import bounded
from homefire.types import Message, Sampling, Usage

MAX_GRAMMAR_CHARACTERS = 64 * 1024
"""All requests wait while llama.cpp compiles one."""
TEMPLATE_TIMEOUT_S = 10.0
"""Compiling a chat template, or rendering one conversation: beyond that the worker is ended (`worker_process`)."""
TEMPLATE_MEMORY_BYTES = 1 << 30
"""What that may take on top."""
_QUIET = -1
_RANDOM_SEED = (1 << 32) - 1
"""LLAMA_DEFAULT_SEED of llama.h."""
_SAMPLERS = ("penalties", "temperature", "top_k", "top_p", "min_p")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is to read; `add_special`: the tokenizer puts its own first token before it."""

    pieces: list[Piece]
    add_special: bool

    @property
    def is_one_text(self) -> bool:
        """Whether the library tokenises it as it is meant."""
        return len(self.pieces) == 1 and not self.pieces[0].plain and bool(self.pieces[0].text)


class LlamaModel:
    """A loaded model. Any number of threads may call; `num_parallel` generations are decoded together."""

    def __init__(self, spec: ModelSpec, *, directory: Path) -> None:
        self.spec = spec
        self._directory = directory
        self._embedder: xllamacpp.Server | None = None
        self._embedder_lock = threading.Lock()
        assert isinstance(spec.source, GgufSource)
        self._source = spec.source
        self.header = check_gguf(Path(spec.source.path))
        for adapter in spec.source.adapters:
            check_gguf(Path(adapter.path))
        self.template = self._read_template()
        self._slots = SlotTable(spec.num_parallel)
        self._server = self._start(self._parameters(num_parallel=spec.num_parallel))

    def _read_template(self) -> ChatTemplate | None:
        source = self.header.metadata.get("tokenizer.chat_template")
        if not isinstance(source, str):
            return None
        with self._template_bounds():
            return ChatTemplate(
                source,
                bos_token=self.header.token("bos"),
                eos_token=self.header.token("eos"),
                control_tokens=self.header.control_tokens,
            )

    @contextlib.contextmanager
    def _template_bounds(self) -> Iterator[None]:
        """What a template's author may use of this process; who uses more time ends it (`worker_process`)."""
        try:
            with bounded(timeout_s=TEMPLATE_TIMEOUT_S, memory_bytes=TEMPLATE_MEMORY_BYTES):
                yield
        except MemoryError:
            raise BadModel(
                f"The chat template of {self.spec.name} takes more than {TEMPLATE_MEMORY_BYTES >> 20} MiB "
                "of memory.",
                hint="Use another model, or a raw prompt.",
            ) from None

    def _parameters(self, *, num_parallel: int) -> xllamacpp.CommonParams:
        spec = self.spec
        parameters = xllamacpp.CommonParams()
        parameters.model.path = self._source.path
        parameters.n_ctx = round_up(spec.context_length) * num_parallel
        parameters.n_parallel = num_parallel
        parameters.kv_unified = False
        parameters.n_batch = parameters.n_ubatch = PROMPT_BATCH_TOKENS
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = spec.num_threads
        if self.header.metadata.get("general.file_type") == ALL_F32:
            # Who serves f32 wants exactness; f16 in the cache, and in flash attention whatever the cache
            # holds, costs three digits (measured: errors of 5e-3 instead of 4e-6 in a log-probability).
            parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.n_threads_http = 1
        parameters.n_gpu_layers = 0
        parameters.fit_params = False
        parameters.ctx_shift = False
        parameters.cache_ram_mib = 0
        # The model's template is rendered by us; llama.cpp need not understand it.
        parameters.use_jinja = False
        parameters.chat_template = "chatml"
        parameters.ui = False
        parameters.warmup = False
        parameters.endpoint_slots = False
        parameters.verbosity = _QUIET
        parameters.hostnames = [str(self._directory / "http.sock")]
        parameters.port = 1  # a Unix socket has none; zero would make the library look for a free one
        adapters = []
        for adapter in self._source.adapters:
            info = xllamacpp.CommonAdapterLoraInfo()
            info.path, info.scale = adapter.path, adapter.scale
            adapters.append(info)
        parameters.lora_adapters = adapters
        return parameters

    def _start(self, parameters: xllamacpp.CommonParams) -> xllamacpp.Server:
        try:
            return xllamacpp.Server(parameters)
        except MemoryError as error:
            raise EngineOutOfMemory(f"There is not enough memory to load {self.spec.name}.") from error
        except RuntimeError as error:
            raise BadModel(
                f"llama.cpp cannot load {self.spec.name}: {error}",
                hint="Its architecture may be unknown to this release of the engine.",
                file=self._source.path,
            ) from error

    # Text to tokens

    def prompt_of(self, messages: Sequence[Message], prompt: str | None) -> Prompt:
        """What is to be read: the conversation in the model's format, or a raw prompt as it is."""
        if prompt is not None:
            return Prompt([Piece(self._normalize(prompt), plain=False)], add_special=True)
        if not messages:
            raise InvalidRequest("There is nothing to answer: no messages and no prompt.", param="messages")
        if self.template is None:
            raise BadModel(
                f"{self.spec.name} has no chat template: it is not a chat model.",
                hint="Send a raw prompt instead.",
            )
        with self._template_bounds():
            pieces = self.template.render(messages).pieces
        return Prompt([Piece(self._normalize(each.text), each.plain) for each in pieces], add_special=False)

    def _normalize(self, text: str) -> str:
        form = self.header.metadata.get("homefire.normalizer")
        return unicodedata.normalize("NFC", text) if form == "NFC" else text

    @functools.cached_property
    def adds_bos(self) -> bool:
        """Whether llama.cpp puts a token before a text by itself."""
        stated = self.header.metadata.get("tokenizer.ggml.add_bos_token")
        return bool(stated) if stated is not None else True

    @functools.cached_property
    def _control_text(self) -> ControlText:
        return ControlText(self.header.control_tokens)

    def tokenize(self, prompt: Prompt) -> list[int]:
        """Its token ids."""
        tokens: list[int] = []
        for index, piece in enumerate(prompt.pieces):
            tokens += self._tokenize(piece, add_special=prompt.add_special and index == 0)
        return tokens

    def _tokenize(self, piece: Piece, *, add_special: bool) -> list[int]:
        connection = _UnixConnection(self._directory / "http.sock")
        try:
            body = json.dumps(
                {"content": piece.text, "add_special": add_special, "parse_special": not piece.plain}
            )
            connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise EngineError(f"The engine could not count tokens (status {answer.status}).")
        tokens: list[int] = json.loads(content)["tokens"]
        return tokens

    def count(self, messages: Sequence[Message], prompt: str | None) -> int:
        """Exact number of tokens of what a request with these would have as its prompt."""
        return len(self.tokenize(self.prompt_of(messages, prompt)))

    # Generation

    def generate(self, job: Job, emit: Emit) -> Finish:
        """Answer one request; blocks its thread. Pieces go to `emit`, errors are typed."""
        request = job.request
        prompt = self.prompt_of(request.messages, request.prompt)
        body = self._sampling_body(request.sampling)
        body["prompt"] = self._checked_prompt(prompt, body, request.sampling.max_tokens)
        schema = SchemaMatcher(body["grammar"]) if request.sampling.json_schema is not None else None
        stream = Stream(
            job,
            emit,
            num_logprobs=request.sampling.num_logprobs,
            context_length=self.spec.context_length,
            schema=schema,
        )
        body["id_slot"] = slot = self._slots.acquire(request.conversation)
        try:
            self._server.handle_completions(body, stream.take)
        finally:
            self._slots.release(slot)
        return stream.finish(self._library_error)

    def _checked_prompt(
        self, prompt: Prompt, body: dict[str, Any], max_tokens: int | None
    ) -> str | list[int]:
        """The prompt as the library is to get it: as text where that is exact, else as tokens."""
        limit = self.spec.context_length
        exact_as_text = prompt.add_special or not self.adds_bos
        if prompt.is_one_text and exact_as_text and limit % SLOT_MULTIPLE_TOKENS == 0:
            return prompt.pieces[0].text  # the library refuses an over-long one with the same numbers
        tokens = self.tokenize(prompt)
        if not tokens:
            raise InvalidRequest("The prompt is empty.", param="prompt")
        if len(tokens) >= limit:
            raise self.overflow(len(tokens), max_tokens)
        room = limit - len(tokens)
        body["n_predict"] = room if max_tokens is None else min(room, max_tokens)
        return tokens

    def overflow(self, prompt_tokens: int, max_tokens: int | None) -> ContextOverflow:
        """The refusal of a prompt that leaves no room for an answer."""
        limit = self.spec.context_length
        return ContextOverflow(
            f"The prompt has {prompt_tokens} tokens; {self.spec.name} holds {limit}, including the answer.",
            hint="Shorten the conversation, or use a model with a longer context.",
            prompt_tokens=prompt_tokens,
            limit=limit,
            max_tokens=max_tokens,
        )

    def _sampling_body(self, sampling: Sampling) -> dict[str, Any]:
        if sampling.max_tokens is not None and sampling.max_tokens < 1:
            raise InvalidRequest("max_tokens must be at least 1.", param="max_tokens")
        if sampling.json_schema is not None and sampling.grammar is not None:
            raise InvalidRequest("Give json_schema or grammar, not both.", param="grammar")
        body: dict[str, Any] = {
            "stream": True,
            "return_progress": True,
            "timings_per_token": True,
            "cache_prompt": True,
            "n_predict": -1 if sampling.max_tokens is None else sampling.max_tokens,
            "samplers": list(_SAMPLERS),
            "temperature": self._default(sampling.temperature, "temp", 0.0),
            "top_p": self._default(sampling.top_p, "top_p", 1.0),
            "top_k": int(self._default(sampling.top_k, "top_k", 0)),
            "min_p": self._default(sampling.min_p, "min_p", 0.0),
            "repeat_penalty": self._default(sampling.repetition_penalty, "penalty_repeat", 1.0),
            # As in transformers: the penalty looks at everything, the prompt included.
            "repeat_last_n": self.spec.context_length,
        }
        if sampling.seed is not None:
            body["seed"] = library_seed(sampling.seed)
        if sampling.num_logprobs is not None:
            body["n_probs"] = max(sampling.num_logprobs, 1)
        if sampling.json_schema is not None:
            body["grammar"] = to_grammar(sampling.json_schema)
        if sampling.grammar is not None:
            if len(sampling.grammar) > MAX_GRAMMAR_CHARACTERS:
                raise InvalidRequest(
                    f"The grammar has more than {MAX_GRAMMAR_CHARACTERS} characters.", param="grammar"
                )
            if sampling.grammar.lstrip().startswith("%"):
                raise InvalidRequest("The grammar is not GBNF.", param="grammar")
            body["grammar"] = sampling.grammar
        return body

    def _default(self, asked: float | None, key: str, otherwise: float) -> float:
        if asked is not None:
            return asked
        stated = self.header.metadata.get(f"general.sampling.{key}")
        return float(stated) if isinstance(stated, int | float) else otherwise

    # Embeddings

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors. The first call loads a second context beside the first; the weights are shared."""
        texts = [self._normalize(text) for text in texts]
        prompts = [Prompt([Piece(text, self._control_text.is_in(text))], add_special=True) for text in texts]
        tokens = [self.tokenize(prompt) for prompt in prompts]
        num_tokens = [len(each) for each in tokens]
        if max(num_tokens, default=0) > self.spec.context_length:
            raise self.overflow(max(num_tokens), None)
        with self._embedder_lock:
            if self._embedder is None:
                self._embedder = self._start(self._embedding_parameters())
        inputs = [
            text if prompt.is_one_text else ids
            for text, prompt, ids in zip(texts, prompts, tokens, strict=True)
        ]
        body = {"input": inputs, "embd_normalize": 2}
        answer = self._embedder.handle_embeddings(body)
        if "error" in answer:
            raise self._library_error(answer["error"], None)
        rows = sorted(answer["data"], key=lambda row: int(row["index"]))
        vectors = tuple(tuple(float(value) for value in row["embedding"]) for row in rows)
        return Embeddings(vectors, Usage(prompt_tokens=sum(num_tokens), completion_tokens=0))

    def _embedding_parameters(self) -> xllamacpp.CommonParams:
        parameters = self._parameters(num_parallel=1)
        parameters.embedding = True
        parameters.hostnames = [str(self._directory / "embed.sock")]
        # The library reads a text for its embedding in one batch.
        parameters.n_batch = parameters.n_ubatch = round_up(self.spec.context_length)
        if f"{self.header.architecture}.pooling_type" not in self.header.metadata:
            parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        return parameters

    def _library_error(self, error: Mapping[str, Any], max_tokens: int | None) -> HomefireError:
        """What llama.cpp said, as one of our errors."""
        message = str(error.get("message", "unknown error"))
        if error.get("type") == "exceed_context_size_error":
            return self.overflow(int(error["n_prompt_tokens"]), max_tokens)
        if "grammar" in message:
            return InvalidRequest(f"The grammar cannot be used: {message}.", param="grammar")
        if "memory" in message:
            return EngineOutOfMemory(f"llama.cpp ran out of memory: {message}.")
        if error.get("type") == "invalid_request_error":
            return InvalidRequest(f"llama.cpp refused the request: {message}.")
        return EngineError(f"llama.cpp failed: {message}.")


def library_seed(seed: int) -> int:
    """The seed as llama.cpp takes it: 32 bits, of which one value means "a random one"."""
    if 0 <= seed < _RANDOM_SEED:
        return seed
    return int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8]) % _RANDOM_SEED


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
