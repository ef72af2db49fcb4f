/* tokenizer_vocab.c - reading a vocabulary from a GGUF's metadata: texts, kinds of token, scores, and which ids are
 * special. Arrays of unequal length and ids outside the vocabulary are refused; a wrong kind of a token that is known
 * by its name is put right, because files in the wild have it wrong. */
#include <math.h>
#include <string.h>

#include "text/tokenizer_internal.h"

static qn_status array_of(const qn_gguf *g, const char *key, qn_gguf_kind a, qn_gguf_kind b, int32_t n,
                          const qn_gguf_kv **out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_kv(g, key);
    if (kv && (kv->kind != QN_GGUF_ARR || (kv->elem != a && kv->elem != b)))
        return qn__fail(err, QN_EFORMAT, key, "The value must be an array of %s.", qn__gguf_kind_name(a));
    if (kv && n >= 0 && kv->n != (uint64_t)n)
        return qn__fail(err, QN_EFORMAT, key, "The array has %llu elements; the vocabulary has %d tokens.",
                        (unsigned long long)kv->n, n);
    *out = kv;
    return QN_OK;
}

static qn_status read_texts(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    const char *where = "tokenizer.ggml.tokens";
    const qn_gguf_kv *kv;
    qn_status st = array_of(g, where, QN_GGUF_STR, QN_GGUF_STR, -1, &kv, err);
    if (st)
        return st;
    if (!kv || !kv->n)
        return qn__fail(err, QN_EFORMAT, where, "The vocabulary is %s.", kv ? "empty" : "missing");
    if (kv->n > INT32_MAX / 4)
        return qn__fail(err, QN_EFORMAT, where, "A vocabulary of %llu tokens is not possible.",
                        (unsigned long long)kv->n);
    size_t n = (size_t)kv->n;
    t->info.n_vocab = (int32_t)n;
    t->text = qn__calloc(n, sizeof *t->text);
    t->attr = qn__alloc(n);
    t->flags = qn__calloc(n, 1);
    if (!t->text || !t->attr || !t->flags)
        return qn__fail_mem(err, where);
    memset(t->attr, QN_TOKEN_NORMAL, n);
    qn__gguf_arr_strs(kv, t->text);
    for (size_t i = 0; i < n; i++) {
        if (t->text[i].n > QN_TOKEN_BYTES_MAX)
            return qn__fail(err, QN_EFORMAT, where, "Token %zu has %zu bytes; more than %d is not a token.", i,
                            t->text[i].n, QN_TOKEN_BYTES_MAX);
        if (t->text[i].n > t->max_bytes)
            t->max_bytes = t->text[i].n;
    }
    return qn__tok_map_build(t, where, err);
}

static qn_status read_kinds(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    const char *where = "tokenizer.ggml.token_type";
    const qn_gguf_kv *kv;
    qn_status st = array_of(g, where, QN_GGUF_I32, QN_GGUF_U32, t->info.n_vocab, &kv, err);
    if (st || !kv)
        return st;
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t a = qn__gguf_arr_int(kv, i);
        if (a < 0 || a > QN_TOKEN_BYTE)
            return qn__fail(err, QN_EFORMAT, where, "Token %llu is of kind %lld; 1 to 6 are known.",
                            (unsigned long long)i, (long long)a);
        t->attr[i] = a ? (uint8_t)a : QN_TOKEN_NORMAL;
    }
    return QN_OK;
}

static qn_status read_scores(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    const char *where = "tokenizer.ggml.scores";
    const qn_gguf_kv *kv;
    qn_status st = array_of(g, where, QN_GGUF_F32, QN_GGUF_F64, t->info.n_vocab, &kv, err);
    if (st)
        return st;
    if (!kv)
        return qn__fail(err, QN_EFORMAT, where,
                        "The key is missing; this kind of tokenizer needs a score for each token.");
    size_t bytes;
    if (!qn__mul((size_t)kv->n, sizeof *t->score, &bytes) || !(t->score = qn__alloc(bytes)))
        return qn__fail_mem(err, where);
    for (uint64_t i = 0; i < kv->n; i++) {
        double s = qn__gguf_arr_float(kv, i);
        if (!isfinite(s) || fabs(s) > 1e30)
            return qn__fail(err, QN_EFORMAT, where, "The score of token %llu is not a sensible number.",
                            (unsigned long long)i);
        t->score[i] = (float)s + 0.0f; /* no negative zero */
    }
    return QN_OK;
}

static qn_status read_model(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    static const struct {
        const char *name;
        qn_tok_kind kind;
    } models[] = {{"gpt2", QN_TOK_BPE},
                  {"llama", QN_TOK_SPM},
                  {"t5", QN_TOK_UNIGRAM},
                  {"bert", QN_TOK_WORDPIECE},
                  {"gemma4", QN_TOK_BPE}};
    const char *where = "tokenizer.ggml.model";
    qn_slice model, pre;
    qn_status st = qn__gguf_str(g, where, &model, err);
    if (!st)
        st = qn__gguf_str(g, "tokenizer.ggml.pre", &pre, err);
    if (st)
        return st;
    if (!model.p)
        return qn__fail(err, QN_EFORMAT, where, "The key is missing: the file has no tokenizer.");
    size_t i = 0;
    while (i < sizeof models / sizeof *models &&
           (strlen(models[i].name) != model.n || memcmp(models[i].name, model.p, model.n) != 0))
        i++;
    if (i == sizeof models / sizeof *models)
        return qn__fail(err, QN_EUNSUPPORTED, where,
                        "The tokenizer \"%.*s\" is unknown to this build; it has gpt2, llama, t5 and bert.",
                        model.n > 64 ? 64 : (int)model.n, model.p);
    t->kind = models[i].kind;
    memcpy(t->model, model.p, model.n);
    if (!pre.p && model.n == 6) {
        pre = model; /* gemma4 names its rules by its model */
    }
    if (pre.n >= sizeof t->pre)
        return qn__fail(err, QN_EUNSUPPORTED, "tokenizer.ggml.pre",
                        "The pre-tokenizer \"%.40s...\" is unknown to this build.", pre.p);
    if (pre.n)
        memcpy(t->pre, pre.p, pre.n);
    t->info.model = t->model;
    t->info.pre = t->pre;
    return QN_OK;
}

qn_status qn__tok_vocab_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_status st = read_model(t, g, err);
    if (!st)
        st = read_texts(t, g, err);
    if (!st)
        st = read_kinds(t, g, err);
    if (!st && (t->kind == QN_TOK_SPM || t->kind == QN_TOK_UNIGRAM))
        st = read_scores(t, g, err);
    return st;
}

/* ---- special ids ---- */

static qn_status read_id(const qn_tokenizer *t, const qn_gguf *g, const char *key, int32_t fallback, int32_t *out,
                         qn_err *err)
{
    int64_t v;
    bool present = qn__gguf_kv(g, key) != NULL;
    qn_status st = qn__gguf_int(g, key, INT64_MIN, INT64_MAX, -1, &v, err);
    if (st)
        return st;
    if (!present)
        v = fallback < t->info.n_vocab ? fallback : -1;
    else if (v == -1 || v == UINT32_MAX)
        v = -1; /* how some files write "none" */
    else if (v < 0 || v >= t->info.n_vocab)
        return qn__fail(err, QN_EFORMAT, key, "The id %lld is outside the vocabulary of %d tokens.", (long long)v,
                        t->info.n_vocab);
    *out = (int32_t)v;
    return QN_OK;
}

/* Tokens that are known by their text, in order of preference. */
static const char *const eot_names[] = {"<|eot_id|>",         "<|im_end|>", "<|end|>",
                                        "<end_of_turn>",      "<|EOT|>",    "<|endoftext|>",
                                        "<end_of_utterance>", "<|eot|>",    NULL};
static const char *const eom_names[] = {"<|eom_id|>", "<|eom|>", NULL};
static const char *const fim_pre_names[] = {"<|fim_prefix|>",  "<fim-prefix>",    "<fim_prefix>", "<PRE>",    "▁<PRE>",
                                            "<｜fim▁begin｜>", "<|code_prefix|>", "<|prefix|>",   "[PREFIX]", NULL};
static const char *const fim_suf_names[] = {"<|fim_suffix|>", "<fim-suffix>",    "<fim_suffix>", "<SUF>",    "▁<SUF>",
                                            "<｜fim▁hole｜>", "<|code_suffix|>", "<|suffix|>",   "[SUFFIX]", NULL};
static const char *const fim_mid_names[] = {"<|fim_middle|>", "<fim-middle>",    "<fim_middle>", "<MID>",    "▁<MID>",
                                            "<｜fim▁end｜>",  "<|code_middle|>", "<|middle|>",   "[MIDDLE]", NULL};
static const char *const fim_pad_names[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", NULL};
static const char *const fim_rep_names[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
                                            "<REPO>",       "<reponame>",    NULL};
static const char *const fim_sep_names[] = {"<|file_sep|>", NULL};
/* Everything that ends a turn wherever it appears. */
static const char *const end_names[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<|flush|>",
                                        "<|calls|>",
                                        "<end_of_turn>",
                                        "<turn|>",
                                        "<|tool_response>",
                                        "<|endoftext|>",
                                        "<|eom_id|>",
                                        "<|eot|>",
                                        "<|eom|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "▁<EOT>",
                                        "<|EOT|>",
                                        "[EOT]",
                                        "[EOS]",
                                        "<eos>",
                                        "</s>",
                                        "<|end_of_text|>",
                                        "<end_of_utterance>",
                                        "<|END_OF_TURN_TOKEN|>",
                                        "<|END_RESPONSE|>",
                                        "<｜end▁of▁sentence｜>",
                                        "<|role_end|>",
                                        "[|endofturn|]",
                                        "<|endofturn|>",
                                        NULL};

/* A token with such a name is a control token, whatever the file says. Names that could be ordinary text ("</s>" is
 * HTML) stay what they are when the file calls them ordinary: then they are found where special tokens are parsed, but
 * do not end a turn and are not hidden. */
static bool promote(qn_tokenizer *t, int32_t id)
{
    qn_slice s = t->text[id];
    bool telling = s.n > 4 && (memchr(s.p, '|', s.n) || (unsigned char)s.p[1] >= 0x80 || memchr(s.p, '_', s.n) ||
                               memchr(s.p, '-', s.n));
    t->flags[id] |= QN_TF_SPECIAL;
    if (t->attr[id] == QN_TOKEN_NORMAL && !telling)
        return false;
    t->attr[id] = QN_TOKEN_CONTROL;
    return true;
}

static int32_t by_name(qn_tokenizer *t, const char *const *names)
{
    for (; *names; names++) {
        int32_t id = qn__tok_map_find(t, *names, strlen(*names));
        if (id >= 0 && promote(t, id))
            return id;
    }
    return -1;
}

static void mark_ends(qn_tokenizer *t)
{
    const int32_t ids[] = {t->info.eos, t->info.eot, t->info.eom};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i] >= 0)
            t->flags[ids[i]] |= QN_TF_ENDS;
    /* Where tools answer behind <|tool_response>, </s> is HTML like other tags of the vocabulary. */
    bool html = qn__tok_map_find(t, "<|tool_response>", 16) >= 0;
    for (const char *const *name = end_names; *name; name++) {
        int32_t id = qn__tok_map_find(t, *name, strlen(*name));
        if (html && id != t->info.eos && strcmp(*name, "</s>") == 0)
            continue;
        if (id >= 0 && promote(t, id))
            t->flags[id] |= QN_TF_ENDS;
    }
    /* The channel format: <|end|> closes one message of several; <|return|> and <|call|> end the turn. */
    int32_t end = qn__tok_map_find(t, "<|end|>", 7);
    if (end >= 0 && end != t->info.eos && qn__tok_map_find(t, "<|return|>", 10) >= 0 &&
        qn__tok_map_find(t, "<|call|>", 8) >= 0)
        t->flags[end] &= (uint8_t)~QN_TF_ENDS;
}

static qn_status read_ids(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_tokenizer_info *f = &t->info;
    bool spm = t->kind == QN_TOK_SPM, t5 = t->kind == QN_TOK_UNIGRAM, bert = t->kind == QN_TOK_WORDPIECE;
    int32_t cls = -1;
    const struct {
        const char *key;
        int32_t fallback, *out;
    } keys[] = {
        {"tokenizer.ggml.cls_token_id", bert ? 101 : -1, &cls},
        {"tokenizer.ggml.bos_token_id", spm ? 1 : -1, &f->bos},
        {"tokenizer.ggml.eos_token_id",
         spm  ? 2
         : t5 ? 1
              : -1,
         &f->eos},
        {"tokenizer.ggml.eot_token_id", -1, &f->eot},
        {"tokenizer.ggml.eom_token_id", -1, &f->eom},
        {"tokenizer.ggml.unknown_token_id",
         spm    ? 0
         : t5   ? 2
         : bert ? 100
                : -1,
         &f->unk},
        {"tokenizer.ggml.separator_token_id", bert ? 102 : -1, &f->sep},
        {"tokenizer.ggml.padding_token_id", t5 || bert ? 0 : -1, &f->pad},
        {"tokenizer.ggml.mask_token_id", bert ? 103 : -1, &f->mask},
        {"tokenizer.ggml.prefix_token_id", -1, &f->fim_pre},
        {"tokenizer.ggml.suffix_token_id", -1, &f->fim_suf},
        {"tokenizer.ggml.middle_token_id", -1, &f->fim_mid},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        qn_status st = read_id(t, g, keys[i].key, keys[i].fallback, keys[i].out, err);
        if (st)
            return st;
    }
    const struct {
        const char *key;
        int32_t *out;
    } newer[] = {
        {"tokenizer.ggml.seperator_token_id", &f->sep}, /* sic: how the format spells it */
        {"tokenizer.ggml.fim_pre_token_id", &f->fim_pre}, {"tokenizer.ggml.fim_suf_token_id", &f->fim_suf},
        {"tokenizer.ggml.fim_mid_token_id", &f->fim_mid}, {"tokenizer.ggml.fim_pad_token_id", &f->fim_pad},
        {"tokenizer.ggml.fim_rep_token_id", &f->fim_rep}, {"tokenizer.ggml.fim_sep_token_id", &f->fim_sep},
    };
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++) {
        qn_status st = read_id(t, g, newer[i].key, *newer[i].out, newer[i].out, err);
        if (st)
            return st;
    }
    if (f->bos < 0)
        f->bos = cls;
    return QN_OK;
}

static void find_by_names(qn_tokenizer *t)
{
    qn_tokenizer_info *f = &t->info;
    const struct {
        int32_t *id;
        const char *const *names;
    } known[] = {{&f->eot, eot_names},         {&f->eom, eom_names},         {&f->fim_pre, fim_pre_names},
                 {&f->fim_suf, fim_suf_names}, {&f->fim_mid, fim_mid_names}, {&f->fim_pad, fim_pad_names},
                 {&f->fim_rep, fim_rep_names}, {&f->fim_sep, fim_sep_names}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (*known[i].id < 0)
            *known[i].id = by_name(t, known[i].names);
}

static qn_status read_adds(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_tokenizer_info *f = &t->info;
    const qn_pretok_info none = {0}, *pre = t->pretok ? qn__pretok_info(t->pretok) : &none;
    bool spm = t->kind == QN_TOK_SPM, t5 = t->kind == QN_TOK_UNIGRAM, bert = t->kind == QN_TOK_WORDPIECE, sep;
    qn_status st = qn__gguf_bool(g, "tokenizer.ggml.add_bos_token", spm || bert || pre->add_bos, &f->add_bos, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.add_eos_token", t5, &f->add_eos, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.add_sep_token", bert || pre->add_sep, &sep, err);
    if (!st)
        st = qn__gguf_bool(g, "tokenizer.ggml.add_space_prefix", spm || t5, &f->add_space_prefix, err);
    if (st)
        return st;
    if (!spm && !t5)
        f->add_space_prefix = false;
    if (strcmp(t->model, "gemma4") == 0)
        f->add_bos = true; /* some files say false, and their models babble without it */
    t->tail = f->add_eos && f->eos >= 0 ? f->eos : -1;
    if (sep && t->tail < 0)
        t->tail = f->sep >= 0 ? f->sep : f->eos;
    return QN_OK;
}

/* Tokens that swallow the white space before or after them. GGUF has no field for it: it follows from the family. */
static qn_status strip_rules(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_slice name, arch;
    qn_status st = qn__gguf_str(g, "general.name", &name, err);
    if (!st)
        st = qn__gguf_str(g, "general.architecture", &arch, err);
    if (st)
        return st;
    bool phi3 = false;
    for (size_t i = 0; i + 4 <= name.n; i++) {
        bool phi = (name.p[i] | 32) == 'p' && (name.p[i + 1] | 32) == 'h' && (name.p[i + 2] | 32) == 'i';
        size_t at = i + 3 + (name.p[i + 3] == '-');
        phi3 |= phi && at < name.n && name.p[at] == '3';
    }
    if (phi3) {
        static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
        for (int32_t id = 0; id < t->info.n_vocab; id++)
            if (t->flags[id] & QN_TF_SPECIAL)
                t->flags[id] |= QN_TF_RSTRIP;
        for (size_t i = 0; i < sizeof keep / sizeof *keep; i++) {
            int32_t id = qn__tok_map_find(t, keep[i], strlen(keep[i]));
            if (id >= 0)
                t->flags[id] &= (uint8_t)~QN_TF_RSTRIP;
        }
    }
    static const char *const masks[] = {"jina-v2-de", "jina-v2-es", "jina-v2-code", "roberta-bpe", "modern-bert"};
    bool mask = arch.n == 14 && !memcmp(arch.p, "nomic-bert-moe", 14);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        mask |= !strcmp(t->pre, masks[i]);
    int32_t id = qn__tok_map_find(t, "<mask>", 6);
    if (id < 0)
        id = qn__tok_map_find(t, "[MASK]", 6);
    if (mask && id >= 0)
        t->flags[id] |= QN_TF_LSTRIP;
    return QN_OK;
}

qn_status qn__tok_specials_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err)
{
    qn_status st = read_ids(t, g, err);
    if (st)
        return st;
    find_by_names(t);
    mark_ends(t);
    if (!qn__trie_init(&t->special))
        return qn__fail_mem(err, "tokenizer.ggml.tokens");
    for (int32_t id = 0; id < t->info.n_vocab; id++) {
        uint8_t a = t->attr[id];
        qn_slice s = t->text[id];
        bool special = a == QN_TOKEN_CONTROL || a == QN_TOKEN_USER || a == QN_TOKEN_UNKNOWN;
        if ((!special && !(t->flags[id] & QN_TF_SPECIAL)) || !s.n)
            continue;
        if (s.n > QN_SPECIAL_BYTES_MAX)
            return qn__fail(err, QN_EFORMAT, "tokenizer.ggml.tokens",
                            "The special token %d has %zu bytes; more than %d is not one.", id, s.n,
                            QN_SPECIAL_BYTES_MAX);
        if (!qn__trie_add(&t->special, s.p, s.n, id))
            return qn__fail_mem(err, "tokenizer.ggml.tokens");
        t->flags[id] |= QN_TF_SPECIAL;
        t->has_user |= a == QN_TOKEN_USER;
    }
    st = read_adds(t, g, err);
    return st ? st : strip_rules(t, g, err);
}
