"""Names that look unused to vulture (`make check`) and are not, with who uses them. Never run, only read.

A name is listed when something outside this code reads or calls it: a client, a library, a file. A name that
only a test uses does not belong here: remove what it names.
"""

from typing import Any

_: Any = None

# The native API's documents are read by clients; the store's rows, the machine, comparisons and manifests are
# parts of them.
_ = (_.is_home, _.updated_at_s, _.database_failure)
_ = (_.dialects, _.num_pending_examples, _.removed, _.rollback_to, _.uptime_s)
_ = (_.disk_free_bytes, _.disk_total_bytes, _.memory_limit_bytes, _.sqlite)
_ = _.teaching_needs
_ = (_.moved_at_s, _.examples_only_in_a, _.examples_only_in_b, _.code_version)

# The metrics library calls it.
_ = _.collect

# psycopg reads them.
_ = (_.cursor_factory, _.prepare_threshold)

# The tokenizer library reads it.
_ = _.encode_special_tokens

# The pages' templates read them.
_ = _.tone
_ = (_.next_before, _.num_messages_before)

# A run's progress is written to its journal and passed on as it is.
_ = (_.num_replay, _.num_trainable, _.start_s, _.new_loss, _.replay_loss, _.save_s)

# What OpenAI's, Anthropic's and Ollama's clients read in an answer.
_ = (_.cache_creation_input_tokens, _.cache_read_input_tokens, _.display_name, _.done_reason)
_ = (_.embedding, _.eval_count, _.eval_duration, _.expires_at, _.families, _.finish_reason, _.first_id)
_ = (_.input_tokens, _.last_id, _.lifecycle, _.load_duration, _.max_input_tokens, _.model_info)
_ = (_.modelfile, _.modified_at, _.output_tokens, _.owned_by, _.parameter_size, _.parent_model)
_ = (_.prompt_eval_count, _.prompt_eval_duration, _.prompt_tokens_details, _.quantization_level)
_ = (_.requested, _.size_vram, _.stop_sequence, _.total_duration, _.total_tokens, _.trimmed_messages)

# What those clients send and is accepted where it asks for nothing this server does not do; a name that is
# not known is refused.
_ = (_.budget_tokens, _.cache_control, _.display, _.frequency_penalty)
_ = (_.functions, _.include_obfuscation, _.logit_bias, _.mirostat, _.modalities)
_ = (_.parallel_tool_calls, _.presence_penalty, _.prompt_cache_key, _.safety_identifier, _.service_tier)
_ = (_.strict, _.ttl, _.user_id, _.verbose)
_ = (_.billing_policy, _.compaction, _.container, _.context_management, _.diagnostics, _.fallbacks)
_ = (_.inference_geo, _.mcp_servers, _.moderation, _.prediction, _.prompt_cache_breakpoint)
_ = (_.prompt_cache_options, _.prompt_cache_retention, _.reasoning_effort, _.speed)
_ = (_.web_search_options, _.embedding_only, _.f16_kv, _.height, _.logits_all, _.low_vram, _.main_gpu)
_ = (_.mirostat_eta, _.mirostat_tau, _.num_batch, _.num_gpu, _.num_keep, _.num_thread, _.numa)
_ = (_.penalize_newline, _.repeat_last_n, _.shift, _.tfs_z, _.think, _.typical_p, _.use_mlock)
_ = (_.use_mmap, _.vocab_only, _.parsed_arguments)

# Set on an object of a library, which reads it: llama.cpp's parameters, …
_ = (_.cache_ram_mib, _.cache_type_k, _.cache_type_v, _.ctx_shift, _.endpoint_slots, _.fit_params)
_ = (_.flash_attn_type, _.hostnames, _.kv_unified, _.lora_adapters, _.n_batch, _.n_ctx, _.n_gpu_layers)
_ = (_.n_parallel, _.n_threads, _.n_threads_http, _.n_ubatch, _.pooling_type, _.ui, _.use_jinja)
_ = (_.verbosity, _.warmup)
# … uvicorn's server (and what pages ask of an event stream), Starlette's response and application,
# Typer's function, a log record, pydantic's class, a model of torch.
_ = _.should_exit
_ = (_.openapi, _.__annotations__, _.msg, _.model_config, _.generation_config)

# Called by a library: uvicorn, Jinja, http.server, torch's optimizer.
_ = (_.capture_signals, _._render_marked, _.do_POST, _.log_message, _.protocol_version, _.closure)

# Called by name as a hook: `homefire.plugins`.
_ = _.homefire_engines

# What a router may decide by; the rules that read it come with it.
_ = _.principal_id
# Read by prompt_toolkit's session.
_ = (_.bottom_toolbar, _.refresh_interval)

# Rows and reports that clients read as JSON.
_ = (_.num_bodies, _.parent_id, _.was_waiting, _.num_messages, _.num_contents)

# Read by the standard library: where temporary files go.
_ = _.tempdir
