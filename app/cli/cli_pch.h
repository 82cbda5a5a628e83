// SPDX-License-Identifier: Apache-2.0
#pragma once
// What nearly every command includes, compiled once. Sources still include what they use.

#include "kernels/torch_pch.h"

#include "command.h"

#include "contract/events.h"
#include "contract/run_config.h"
#include "contract/run_store.h"
#include "data/dataset.h"
#include "export/exporter.h"
#include "generate/generator.h"
#include "loaded.h"
#include "model/model.h"
#include "model/open.h"
#include "peft/adapter_file.h"
#include "peft/method.h"
#include "task/task.h"
#include "text/tokenizer.h"
