#!/usr/bin/env python3
"""options.py SOURCE: the documents name no option that there is not, and from-torchtitan.md every one of torchtitan's."""
import glob
import os
import re
import sys

ROOT = sys.argv[1]
table = open(os.path.join(ROOT, "runtime/options.def")).read()
known = set(re.findall(r'^OPTION\(\w+,\s*"([^"]+)"', table, re.M))
models = glob.glob(os.path.join(ROOT, "models/*.tt"))
values = "".join(open(path).read() for path in models)
failed = []
for name in ("checkpoints.md", "data.md", "from-torchtitan.md", "generation.md", "metrics.md", "models.md", "reliability.md", "tokenizer.md"):
    for code in re.findall(r"`([^`]+)`", open(os.path.join(ROOT, "docs", name)).read()):
        if re.match(r"tools/|\w+\.py ", code):
            continue  # has options of its own
        failed += [f"{name}: there is no option {o}" for o in re.findall(r"(?<![\w-])--[a-z][\w-]*", code) if o not in known]
        failed += [f"{name}: no model has a value {v}" for v in re.findall(r"-D ([a-z]\w*)=", code) if not re.search(rf"\b{v} = ", values)]

# The options of torchtitan's configuration.
THEIRS = """
job: config_file dump_folder description print_args
profiling: enable_profiling save_traces_folder profile_freq enable_memory_snapshot save_memory_snapshot_folder
metrics: log_freq enable_tensorboard enable_wandb disable_color_printing save_tb_folder save_for_all_ranks
model: name flavor hf_assets_path converters print_after_conversion
optimizer: name lr beta1 beta2 eps weight_decay implementation early_step_in_backward
lr_scheduler: warmup_steps decay_ratio decay_type min_lr_factor
training: dataset dataset_path local_batch_size global_batch_size seq_len max_norm steps enable_cpu_offload dtype mixed_precision_param
training: mixed_precision_reduce gc_freq gc_debug seed deterministic debug_moe_force_load_balance
parallelism: data_parallel_replicate_degree data_parallel_shard_degree enable_compiled_autograd fsdp_reshard_after_forward
parallelism: tensor_parallel_degree disable_loss_parallel enable_async_tensor_parallel pipeline_parallel_degree
parallelism: pipeline_parallel_split_points module_fqns_per_model_part pipeline_parallel_first_stage_less_layers
parallelism: pipeline_parallel_last_stage_less_layers pipeline_parallel_layers_per_stage pipeline_parallel_schedule
parallelism: pipeline_parallel_schedule_csv pipeline_parallel_microbatch_size context_parallel_degree context_parallel_rotate_method
parallelism: expert_parallel_degree expert_tensor_parallel_degree
checkpoint: enable folder interval initial_load_path initial_load_model_only initial_load_in_hf last_save_model_only last_save_in_hf
checkpoint: export_dtype async_mode keep_latest_k load_step exclude_from_loading enable_first_step_checkpoint create_seed_checkpoint
checkpoint: load_only
activation_checkpoint: mode selective_ac_option per_op_sac_force_recompute_mm_shapes_by_fqns early_stop
compile: enable components backend
comm: init_timeout_seconds train_timeout_seconds trace_buf_size save_traces_folder save_traces_file_prefix
memory_estimation: enable disable_fake_mode
fault_tolerance: *
quantize: *
validation: enable dataset dataset_path local_batch_size seq_len freq steps
"""
text = open(os.path.join(ROOT, "docs/from-torchtitan.md")).read()
for line in THEIRS.strip().split("\n"):
    section, names = line.split(":")
    failed += [f"from-torchtitan.md: {section}.{n} is missing" for n in names.split() if f"`{section}.{n}`" not in text]
if failed:
    sys.exit("\n".join(failed))
