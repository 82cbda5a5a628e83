// SPDX-License-Identifier: Apache-2.0
// Greedy tokens from the real llama.cpp (node-llama-cpp's built binaries). Reads jobs from the file named first, one JSON object:
// {"model", "lora" or null, "jobs": [{"prompt": ids or null, "text": text or null, "count"}]}; prints {"results": [{"prompt", "ids"}]}.
import {readFileSync} from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const request = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1, skipDownload: true});
const model = await llama.loadModel({modelPath: request.model, useMmap: true});
const context = await model.createContext({contextSize: 256, sequences: 1, threads: 1, ...(request.lora ? {lora: {adapters: [{filePath: request.lora, scale: 1}]}} : {})});
const results = [];
for (const job of request.jobs) {
    const prompt = job.prompt ?? [...(job.bos ? [model.tokens.bos] : []), ...model.tokenize(job.text)];
    const sequence = context.getSequence();
    const ids = [];
    for await (const id of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        ids.push(id);
        if (ids.length === job.count) break;
    }
    sequence.dispose();
    results.push({prompt, ids});
}
console.log(JSON.stringify({results}));
process.exit(0);
