// peer.mjs - one measurement of node-llama-cpp: prompts read and tokens generated, each once after a warm-up, printed as a
// JSON array of {n_prompt, n_gen, n_depth, avg_ts}, which is what llama-bench prints too.
// usage: node peer.mjs MODEL PROMPTS OUTPUTS DEPTHS THREADS   (comma lists)
import {getLlama} from "node-llama-cpp";

const [path, prompts, outputs, depths, threads] = process.argv.slice(2);
const list = (text) => text.split(",").map(Number).filter((n) => n > 0);
const llama = await getLlama({gpu: false, build: "never", maxThreads: Number(threads), logLevel: "error"});
const model = await llama.loadModel({modelPath: path, gpuLayers: 0});
const most = Math.max(0, ...list(prompts), ...list(outputs)) + Math.max(0, ...list(depths)) + 16;
const context = await model.createContext({contextSize: most, batchSize: 512, threads: Number(threads)});
const sequence = context.getSequence();
const vocabulary = 256; // byte tokens: every vocabulary has more
const text = (n, salt) => Array.from({length: n}, (_, i) => (i * 7919 + salt * 104729) % vocabulary);
const now = () => performance.now() / 1e3;

async function before(depth) {
    await sequence.clearHistory();
    if (depth > 0)
        await sequence.evaluateWithoutGeneratingNewTokens(text(depth, 1));
}

async function read(n, depth) {
    await before(depth);
    const start = now();
    await sequence.evaluateWithoutGeneratingNewTokens(text(n, 2));
    return n / (now() - start);
}

async function generate(n, depth) {
    await before(depth);
    let made = 0, start = 0;
    for await (const token of sequence.evaluate(text(1, 3), {temperature: 0, yieldEogToken: true})) {
        void token;
        if (made++ === 0)
            start = now();
        if (made > n)
            break;
    }
    return (made - 1) / (now() - start);
}

const results = [];
await read(32, 0);
await generate(4, 0);
for (const depth of depths.split(",").map(Number)) {
    for (const n of list(prompts))
        results.push({n_prompt: n, n_gen: 0, n_depth: depth, avg_ts: await read(n, depth)});
    for (const n of list(outputs))
        results.push({n_prompt: 0, n_gen: n, n_depth: depth, avg_ts: await generate(n, depth)});
}
console.log(JSON.stringify(results));
process.exit(0);
