/* pretok_tables.h - the patterns of the pre-tokenizers, as their models' tokenizer files publish them, written for
 * PCRE2.
 *
 * Differences from the published text, none of which changes what is matched:
 *   \s, \S           are spelled out as the characters with the property White_Space (PCRE2's own \s has U+180E too)
 *   (?i:'s|...)      are spelled out ('s and 'S)
 *   [A&&[^B]]        is written as one negated class
 *   $, nested loops  are made possessive or anchored where the plain form would be quadratic on long runs
 */
#ifndef QN_TEXT_PRETOK_TABLES_H
#define QN_TEXT_PRETOK_TABLES_H

#define WS "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define S "[" WS "]"
/* A run of spaces, but for the last one when a word follows. */
#define SPACES_BUT_ONE S "+(?![^" WS "])"
#define CONTRACTION "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*"
#define LINES S "*[\\r\\n]+"
#define TAIL LINES "|" SPACES_BUT_ONE "|" S "+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" SPACES_BUT_ONE "|" S "+"
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" TAIL
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" TAIL
#define QWEN35 CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL
#define K2_HORIZON CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}\\x{200c}\\x{200d}]+|\\p{N}{1,3}|" SYMBOLS "|" TAIL
#define SEED_CODER CONTRACTION "|" WORD "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" TAIL
#define BAILING CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" S "*[\\r\\n]|" SPACES_BUT_ONE "|" S "+"

/* Upper-case beginnings and lower-case rests: the o200k family. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix)                                                                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffix
#define SYMBOLS_SLASH " ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*"
#define GPT4O CASED("(?:" CONTRACTION ")?") "|\\p{N}{1,3}|" SYMBOLS_SLASH "|" TAIL
#define TEKKEN CASED("") "|\\p{N}|" SYMBOLS_SLASH "|" TAIL
#define YOUTU CASED("(?:" CONTRACTION ")?") "|\\p{N}|" SYMBOLS_SLASH "|" TAIL
#define YOUTU_CJK                                                                                                      \
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+"
/* The same without Han: L and M less a case less Han = neither P, S, Z, C, N nor that case nor Han. */
#define NOT_HAN(case) "[^\\p{P}\\p{S}\\p{Z}\\p{C}\\p{N}\\p{sc:Han}" case "]"
#define KIMI_UPPER NOT_HAN("\\p{Ll}")
#define KIMI_LOWER NOT_HAN("\\p{Lu}\\p{Lt}")
#define KIMI                                                                                                           \
    "\\p{sc:Han}+|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+(?:" CONTRACTION ")?"                            \
    "|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*(?:" CONTRACTION ")?|\\p{N}{1,3}|" SYMBOLS "|" TAIL

#define DEEPSEEK_WORDS                                                                                                 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"                \
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL
/* Cased letters, as the model's file lists them (it omits some newer ones). */
#define CASED_LETTERS                                                                                                  \
    "\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}\\x{295}-\\x{2af}"         \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}"                      \
    "\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"         \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}"                  \
    "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"                  \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}"          \
    "\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"         \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}"          \
    "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                    \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"          \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"                   \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"                  \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"            \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_LETTERS S "?[A-Za-z" CASED_LETTERS "]+"
#define CJK "[一-龥ࠀ-一가-\\x{d7ff}]+"

#define FALCON_PUNCT "[\\p{P}$+<=>^~|`]+"
#define DEFAULT_PUNCT "[\\p{P}$+<=>^~|]+"
#define BLOOM " ?[^(" WS "|.,!?…。，、।۔،)]+"
#define EXAONE_MOE                                                                                                     \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}"                    \
                "| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]?|" S "*[\\r\\n]|" SPACES_BUT_ONE "|" S "+"
/* Looking back keeps a long run of spaces without a line end from being searched again for each 512 of them. */
#define JAIS2_RUN(n) "|" S "{" n "}(?![^" WS "])"
#define JAIS2                                                                                                          \
    CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|(?<![\\t\\x0b\\f\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}"        \
                "\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}])" LINES JAIS2_RUN("512") JAIS2_RUN("256")              \
                    JAIS2_RUN("128") JAIS2_RUN("64") JAIS2_RUN("32") JAIS2_RUN("16") JAIS2_RUN("8") JAIS2_RUN("4")     \
                        JAIS2_RUN("1,2") "|" S
#define AFMOE_SCRIPTS                                                                                                       \
    "[一-\\x{9fff}㐀-䶿豈-\\x{faff}\\x{3040}-ゟ゠-ヿ\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}เ-\\x{e7f}\\x{e80}-\\x{" \
    "eff}"                                                                                                                  \
    "ក-\\x{17ff}က-႟ꩠ-ꩿꧠ-\\x{a9ff}가-\\x{d7af}ᄀ-ᇿ]+"
/* A whole run of decimal digits, seen from its first one only. */
#define DIGIT_RUN "(?<!\\p{Nd})\\p{Nd}++"
#define DIGIT_RUN_ALONE DIGIT_RUN "(?![\\p{L}\\p{M}\\p{N}\\p{Pc}])"

/* A stage beginning with THREES cuts its matches into threes of characters, counted from the end. */
#define THREES "\x01"

enum { MAX_STAGES = 6 };

/* The rule sets. */
static const struct rules {
    const char *stage[MAX_STAGES];
} rules_gpt2 = {{GPT2}}, rules_digit_gpt2 = {{"\\p{N}", GPT2}}, rules_llama3 = {{LLAMA3}}, rules_qwen2 = {{QWEN2}},
  rules_qwen35 = {{QWEN35}}, rules_seed_coder = {{SEED_CODER}}, rules_bailing = {{BAILING}}, rules_gpt4o = {{GPT4O}},
  rules_tekken = {{TEKKEN}}, rules_youtu = {{YOUTU_CJK, YOUTU}}, rules_kimi = {{KIMI}},
  rules_deepseek_llm = {{"[\\r\\n]", DEEPSEEK_LETTERS, S "?[!-/:-~！-／：-～‘-‟\\x{3000}-。]+", "(?<!" S ")" S "++\\z",
                         CJK, "\\p{N}+"}},
  rules_deepseek_coder = {{"[\\r\\n]", S "?\\p{L}+", S "?\\p{P}+", CJK, "\\p{N}"}},
  rules_deepseek_v3 = {{"\\p{N}{1,3}", "[一-龥\\x{3040}-ゟ゠-ヿ]+", DEEPSEEK_WORDS}},
  rules_falcon = {{FALCON_PUNCT, GPT2, "[0-9][0-9][0-9]"}},
  rules_default = {{DEFAULT_PUNCT, GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}}, rules_bloom = {{BLOOM}},
  rules_viking = {{BLOOM, "\\p{N}"}},
  rules_chameleon = {{"<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}", "[\\p{P}!-/:-@\\[-`{-~]",
                      GPT2}},
  rules_superbpe = {{"\\p{N}+", THREES DIGIT_RUN}}, rules_tiny_aya = {{THREES DIGIT_RUN_ALONE, GPT4O}},
  rules_afmoe = {{THREES "\\p{N}++", AFMOE_SCRIPTS, DEEPSEEK_WORDS}}, rules_exaone_moe = {{EXAONE_MOE}},
  rules_jais2 = {{JAIS2}}, rules_k2_horizon = {{K2_HORIZON}}, rules_minicpm5 = {{"\\p{N}{1,3}", GPT2}},
  rules_laguna = {{"[^\\n]+|\\n+", QWEN2}}, rules_lines = {{"[^\\n]+|\\n+"}};

/* What tokenizer.ggml.pre may say. */
enum { WHOLE = 1, BOS = 2, SEP = 4, RAW = 8 };
static const struct named {
    const char *name;
    const struct rules *rules;
    unsigned flags;
} named[] = {
    {"default", &rules_default, 0},
    /* llama 3 and those that took its pattern and its whole words */
    {"llama-bpe", &rules_llama3, WHOLE | BOS},
    {"llama3", &rules_llama3, WHOLE | BOS},
    {"llama-v3", &rules_llama3, WHOLE | BOS},
    {"falcon3", &rules_llama3, WHOLE | BOS},
    {"falcon-h1", &rules_llama3, WHOLE | BOS},
    {"pixtral", &rules_llama3, WHOLE | BOS},
    {"midm-2.0", &rules_llama3, WHOLE | BOS},
    {"lfm2", &rules_llama3, WHOLE | BOS},
    {"jina-v5-nano", &rules_llama3, WHOLE | BOS},
    {"dbrx", &rules_llama3, 0},
    {"smaug-bpe", &rules_llama3, 0},
    {"chatglm-bpe", &rules_llama3, 0},
    {"k2-horizon", &rules_k2_horizon, 0},
    {"glm4", &rules_llama3, 0},
    /* one digit at a time */
    {"qwen2", &rules_qwen2, 0},
    {"deepseek-r1-qwen", &rules_qwen2, 0},
    {"stablelm2", &rules_qwen2, 0},
    {"hunyuan", &rules_qwen2, 0},
    {"solar-open", &rules_qwen2, 0},
    {"grok-2", &rules_qwen2, 0},
    {"megrez", &rules_qwen2, 0},
    {"kormo", &rules_qwen2, 0},
    {"laguna", &rules_laguna, 0},
    {"f2llmv2", &rules_qwen2, 0},
    {"qwen35", &rules_qwen35, 0},
    {"seed-coder", &rules_seed_coder, 0},
    {"bailingmoe", &rules_bailing, 0},
    {"bailingmoe2", &rules_bailing, 0},
    {"llada-moe", &rules_bailing, 0},
    {"exaone-moe", &rules_exaone_moe, 0},
    /* gpt-2 */
    {"gpt-2", &rules_gpt2, 0},
    {"gpt2", &rules_gpt2, 0},
    {"mpt", &rules_gpt2, 0},
    {"olmo", &rules_gpt2, 0},
    {"jais", &rules_gpt2, 0},
    {"phi-2", &rules_gpt2, 0},
    {"jina-es", &rules_gpt2, 0},
    {"jina-de", &rules_gpt2, 0},
    {"jina-v2-es", &rules_gpt2, 0},
    {"jina-v2-de", &rules_gpt2, 0},
    {"jina-v1-en", &rules_gpt2, SEP},
    {"jina-v2-code", &rules_gpt2, SEP},
    {"roberta-bpe", &rules_gpt2, SEP},
    {"modern-bert", &rules_gpt2, 0},
    {"gigachat", &rules_gpt2, 0},
    {"a.x-4.0", &rules_gpt2, 0},
    {"mellum", &rules_gpt2, 0},
    {"exaone4", &rules_gpt2, 0},
    {"trillion", &rules_gpt2, 0},
    {"granite-docling", &rules_gpt2, 0},
    {"minicpm5", &rules_minicpm5, WHOLE},
    {"starcoder", &rules_digit_gpt2, 0},
    {"refact", &rules_digit_gpt2, 0},
    {"command-r", &rules_digit_gpt2, 0},
    {"smollm", &rules_digit_gpt2, 0},
    {"codeshell", &rules_digit_gpt2, 0},
    {"exaone", &rules_digit_gpt2, 0},
    {"minerva-7b", &rules_digit_gpt2, 0},
    /* cased */
    {"gpt-4o", &rules_gpt4o, 0},
    {"llama4", &rules_gpt4o, 0},
    {"kanana2", &rules_gpt4o, 0},
    {"talkie", &rules_gpt4o, 0},
    {"minimax-m2", &rules_gpt4o, 0},
    {"tekken", &rules_tekken, WHOLE | BOS},
    {"youtu", &rules_youtu, WHOLE},
    {"kimi-k2", &rules_kimi, 0},
    {"tiny_aya", &rules_tiny_aya, 0},
    {"cohere2moe", &rules_tiny_aya, 0},
    /* the rest */
    {"deepseek-llm", &rules_deepseek_llm, 0},
    {"deepseek-coder", &rules_deepseek_coder, 0},
    {"deepseek-v3", &rules_deepseek_v3, 0},
    {"hunyuan-dense", &rules_deepseek_v3, 0},
    {"joyai-llm", &rules_deepseek_v3, 0},
    {"falcon", &rules_falcon, 0},
    {"bloom", &rules_bloom, 0},
    {"poro-chat", &rules_bloom, 0},
    {"gpt3-finnish", &rules_bloom, 0},
    {"viking", &rules_viking, 0},
    {"jais-2", &rules_jais2, 0},
    {"chameleon", &rules_chameleon, BOS},
    {"superbpe", &rules_superbpe, 0},
    {"afmoe", &rules_afmoe, 0},
    {"gemma4", &rules_lines, RAW},
    {"granite-embed-multi-311m", &rules_lines, RAW},
    {"sarvam-moe", &rules_lines, RAW},
};

#endif
