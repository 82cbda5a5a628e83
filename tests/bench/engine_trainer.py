# SPDX-License-Identifier: Apache-2.0
"""The other side of the comparison: transformers' Trainer on a peft model, as its users write it. One JSON object a line on stdout."""
import json
import os
import sys
import time


def say(**event):
    print(json.dumps({**event, "time": time.time()}), file=sys.__stdout__, flush=True)


def status(key):
    """VmRSS or VmHWM of this process in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":"))


def make(folder, shape, method, dtype, seed):
    """A random LLaMA and a fresh adapter of it, written once for both sides."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**shape)).to(getattr(torch, dtype))
    model.save_pretrained(os.path.join(folder, "model"))
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **method)).save_pretrained(os.path.join(folder, "start"))


def train(folder, dtype, steps, batch, learning_rate, device):
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_utils import set_seed

    imported = status("VmRSS")
    set_seed(1)
    model = LlamaForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=getattr(torch, dtype))
    model = PeftModel.from_pretrained(model, os.path.join(folder, "start"), is_trainable=True)
    with open(os.path.join(folder, "rows.jsonl")) as file:
        rows = [json.loads(line) for line in file]

    class InOrder(Trainer):
        """Rows in file order, and every step's loss kept."""

        def _get_train_sampler(self, dataset=None):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def training_step(self, *arguments, **named):
            loss = super().training_step(*arguments, **named)
            self.last_loss = loss.item()
            return loss

    class Turns(TrainerCallback):
        """Each step waits for a line on stdin, so that the two sides take turns."""

        def on_step_begin(self, *_, **__):
            sys.stdin.readline()
            self.start = time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            if device == "cuda":
                torch.cuda.synchronize()
            say(type="step", step=state.global_step, seconds=time.perf_counter() - self.start, loss=trainer.last_loss)

    def padded(batch):
        """As transformers' collators do: to the longest row of the batch, on the right."""
        longest = max(len(row["input_ids"]) for row in batch)
        fill = lambda key, value: torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in batch])
        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch])
        return dict(input_ids=fill("input_ids", 0), labels=fill("labels", -100), attention_mask=mask)

    collator = padded if len({len(row["input_ids"]) for row in rows}) > 1 else None
    arguments = TrainingArguments(output_dir=os.path.join(folder, "theirs"), max_steps=steps, per_device_train_batch_size=batch,
                                  learning_rate=learning_rate, lr_scheduler_type="linear", weight_decay=0.0, max_grad_norm=1.0,
                                  save_strategy="no", logging_strategy="no", report_to=[], use_cpu=device == "cpu", disable_tqdm=True)
    trainer = InOrder(model=model, args=arguments, train_dataset=rows, data_collator=collator, callbacks=[Turns()])
    say(type="ready", imported=imported, threads=torch.get_num_threads())
    trainer.train()
    say(type="end", device_peak=torch.cuda.max_memory_reserved() if device == "cuda" else 0)


if __name__ == "__main__":
    from transformers.utils import logging

    sys.stdout = sys.stderr  # what libraries print must not meet the events
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    {"make": make, "train": train}[sys.argv[1]](*json.loads(sys.argv[2]))
