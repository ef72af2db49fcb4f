/* cohere.c - Cohere's Command R7B, Command A and North: an array of objects between <|START_ACTION|> and <|END_ACTION|>; Command R+:
 * `Action:` and a fence. */
#include "text/toolcall/dialect.h"

const qn_dialect qn__dialect_cohere = {
    .name = "cohere",
    .form = QN_FORM_OBJECT,
    .sign = {"<|START_ACTION|>", "\"tool_name\"", "<|END_ACTION|>"},
    .open = "<|START_ACTION|>",
    .close = "<|END_ACTION|>",
    .array = true,
    .id = QN_ID_INDEX,
    .index_after = "\"tool_call_id\": \"",
    .written = {.lead = "",
                .first = "<|START_ACTION|>[\n    {\"tool_call_id\": \"\x01\", \"tool_name\": \"",
                .mid = "\", \"parameters\": ",
                .between = "},\n    {\"tool_call_id\": \"\x01\", \"tool_name\": \"",
                .last = "}\n]<|END_ACTION|>"},
};

const qn_dialect qn__dialect_cohere_action = {
    .name = "command-r",
    .form = QN_FORM_OBJECT,
    .sign = {"Action:", "```json", "\"tool_name\""},
    .open = "Action:\n```json",
    .close = "```",
    .array = true,
    .written = {.lead = "\n",
                .first = "Action:\n```json\n[\n    {\n        \"tool_name\": \"",
                .mid = "\",\n        \"parameters\": ",
                .between = "\n    },\n    {\n        \"tool_name\": \"",
                .last = "\n    }\n]```"},
};
