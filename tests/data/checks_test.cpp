// SPDX-License-Identifier: Apache-2.0
// Every check of the list against data with exactly one planted mistake: that one is named and no
// other. And against clean data: silence.
#include "data/dataset.h"
#include "data/order.h"
#include "letters.h"

#include <doctest/doctest.h>

#include <functional>
#include <set>

using namespace luthier;

namespace {

using Rows = std::vector<Json>;

/// A clean data set and what a case needs besides.
struct Case {
    Rows rows;
    std::optional<Rows> evalRows;
    bool evalIsTrain = false;
    Json data = Json::object();
    std::string task = "causal_lm";
    Letters letters;
    std::string tail;  ///< raw text behind the rows
};

std::uint64_t pick(std::uint64_t seed, std::uint64_t index, std::uint64_t limit) {
    return counterHash(seed, "test", 0, index) % limit;
}

std::string words(std::uint64_t seed, std::uint64_t index, int count) {
    static const char* const kWords[] = {"river",  "stone",  "lamp",    "Ärger",  "garden", "naïve",
                                         "copper", "silent", "morning", "bridge", "你好",   "paper",
                                         "salt",   "window", "engine",  "50 %"};
    std::string text;
    for (int i = 0; i < count; ++i)
        text += std::string(i > 0 ? " " : "") +
                kWords[pick(seed, index * 31 + static_cast<std::uint64_t>(i), std::size(kWords))];
    return text;
}

Case pairs(std::uint64_t seed) {
    Case made;
    for (std::uint64_t i = 0; i < 24; ++i)
        made.rows.push_back(
            {{"prompt", "Write about " + words(seed, i, 3) + ", part " + std::to_string(i) + ":"},
             {"completion", " " + words(seed, i + 100, 5) + "."}});
    return made;
}

Case questions(std::uint64_t seed) {
    Case made;
    for (std::uint64_t i = 0; i < 24; ++i)
        made.rows.push_back(
            {{"question", "What is " + words(seed, i, 3) + " number " + std::to_string(i) + "?"},
             {"answer", std::to_string(i * 7) + " " + words(seed, i + 50, 2)}});
    return made;
}

Case alpaca(std::uint64_t seed) {
    Case made;
    for (std::uint64_t i = 0; i < 24; ++i)
        made.rows.push_back({{"instruction", "Translate line " + std::to_string(i)},
                             {"input", i % 3 == 0 ? "" : words(seed, i, 4)},
                             {"output", words(seed, i + 9, 4)}});
    return made;
}

Case texts(std::uint64_t seed) {
    Case made;
    for (std::uint64_t i = 0; i < 24; ++i)
        made.rows.push_back(
            {{"text", "Chapter " + std::to_string(i) + "\n" + words(seed, i, 12) + "."}});
    return made;
}

Json message(const std::string& role, const std::string& content) {
    return Json{{"role", role}, {"content", content}};
}

Case chats(std::uint64_t seed) {
    Case made;
    made.letters.isChat = true;
    for (std::uint64_t i = 0; i < 24; ++i) {
        Json list = Json::array();
        if (i % 2 == 0) list.push_back(message("system", "Be brief."));
        for (std::uint64_t turn = 0; turn < 1 + i % 2; ++turn) {
            list.push_back(
                message("user", "Question " + std::to_string(i) + ": " + words(seed, i + turn, 3)));
            list.push_back(message("assistant", words(seed, i + 70 + turn, 4)));
        }
        made.rows.push_back({{"messages", list}});
    }
    return made;
}

Case classes(std::uint64_t seed) {
    Case made;
    made.task = "sequence_classification";
    for (std::uint64_t i = 0; i < 24; ++i)
        made.rows.push_back({{"text", words(seed, i, 5) + " " + std::to_string(i)},
                             {"label", pick(seed, i, 2) == 0 || i == 1 ? "good" : "bad"}});
    made.rows[0]["label"] = "bad";
    return made;
}

Case tokenized(std::uint64_t seed) {
    Case made;
    for (std::uint64_t i = 0; i < 24; ++i) {
        Json ids = Json::array({256}), labels = Json::array({-100});
        for (std::uint64_t k = 0; k < 8 + i; ++k) {
            ids.push_back(40 + pick(seed, i * 64 + k, 80));
            labels.push_back(k < 4 ? Json(-100) : ids.back());
        }
        ids.push_back(257);
        labels.push_back(257);
        made.rows.push_back({{"input_ids", ids}, {"labels", labels}});
    }
    return made;
}

std::string linesOf(const Rows& rows) {
    std::string text;
    for (const Json& row : rows) text += row.dump() + "\n";
    return text;
}

std::set<std::string> codesOf(const Case& made) {
    const DataFile file("checks.jsonl", linesOf(made.rows) + made.tail);
    const DataFile evalFile("checks-eval.jsonl", linesOf(made.evalRows.value_or(Rows{})));
    Json section = withDefaults(Json::object(), dataSchema());
    setDotted(section, "train.path", file.path.string());
    setDotted(section, "eval.split", 0.0);
    if (made.evalRows) setDotted(section, "eval.path", evalFile.path.string());
    if (made.evalIsTrain) setDotted(section, "eval.path", file.path.string());
    for (const auto& [key, value] : made.data.items()) setDotted(section, key, value);
    RunConfig config;
    config.document = Json{{"model", {{"task", made.task}}},
                           {"method", {{"type", "lora"}}},
                           {"data", section},
                           {"train", {{"seed", 42}}}};
    const auto dataset = Dataset::build(config, made.letters);
    REQUIRE_MESSAGE(dataset.ok(), describe(dataset.ok() ? Problems{} : dataset.problems()));
    std::set<std::string> codes;
    for (const DataProblem& problem : dataset->problems) codes.insert(problem.code);
    return codes;
}

struct Planted {
    const char* code;
    Case (*clean)(std::uint64_t seed);
    std::function<void(Case&)> plant;
};

const std::vector<Planted> kPlanted{
    {"empty_prompts", pairs, [](Case& c) { c.rows[3]["prompt"] = "  "; }},
    {"empty_answers", pairs, [](Case& c) { c.rows[4]["completion"] = ""; }},
    {"empty_texts", texts, [](Case& c) { c.rows[4]["text"] = " \n "; }},
    {"empty_messages", chats, [](Case& c) { c.rows[5]["messages"][0]["content"] = " "; }},
    {"replacement_characters", texts,
     [](Case& c) { c.rows[2]["text"] = "caf\xEF\xBF\xBD at noon"; }},
    {"mojibake", pairs, [](Case& c) { c.rows[9]["completion"] = " cafÃ© and more"; }},
    {"control_characters", questions,
     [](Case& c) { c.rows[9]["answer"] = std::string("a\x01 b"); }},
    {"byte_order_mark", texts, [](Case& c) { c.rows[9]["text"] = "\xEF\xBB\xBFOnce upon a time"; }},
    {"literal_escapes", texts,
     [](Case& c) {
         for (int i = 0; i < 12; ++i)
             c.rows[static_cast<std::size_t>(i)]["text"] = "line " + std::to_string(i) + "\\nnext";
     }},
    {"html_entities", texts,
     [](Case& c) {
         for (int i = 0; i < 12; ++i)
             c.rows[static_cast<std::size_t>(i)]["text"] = "salt &amp; pepper " + std::to_string(i);
     }},
    {"special_tokens_in_text", pairs, [](Case& c) { c.rows[6]["completion"] = " stop here<e>"; }},
    {"foreign_template", texts,
     [](Case& c) { c.rows[6]["text"] = "<|im_start|>user\nHello<|im_end|>"; }},
    {"template_twice", alpaca,
     [](Case& c) {
         c.rows[6]["instruction"] = "### Instruction:\nAdd the numbers\n### Response:";
     }},
    {"prompt_in_answer", pairs,
     [](Case& c) {
         c.rows[7]["completion"] = " " + c.rows[7]["prompt"].get<std::string>() + " and so on";
     }},
    {"answer_in_prompt", pairs,
     [](Case& c) {
         c.rows[7]["prompt"] = "Q: where? " + std::string("it is behind the old mill by the river");
         c.rows[7]["completion"] = " it is behind the old mill by the river";
     }},
    {"placeholder_answers", questions, [](Case& c) { c.rows[7]["answer"] = "N/A"; }},
    {"constant_answer", questions,
     [](Case& c) {
         for (Json& row : c.rows) row["answer"] = "forty-two";
     }},
    {"constant_prompt", pairs,
     [](Case& c) {
         for (std::size_t i = 0; i < c.rows.size(); ++i)
             c.rows[i] = {{"prompt", "Write a poem:"},
                          {"completion", " poem " + std::to_string(i)}};
     }},
    {"glued_words", pairs,
     [](Case& c) {
         for (std::size_t i = 0; i < c.rows.size(); ++i)
             c.rows[i] = {{"prompt", "count " + std::to_string(i)},
                          {"completion", "word " + std::to_string(i)}};
     }},
    {"prompt_ends_with_space", pairs,
     [](Case& c) {
         for (std::size_t i = 0; i < c.rows.size(); ++i)
             c.rows[i] = {{"prompt", "count " + std::to_string(i) + ": "},
                          {"completion", "word " + std::to_string(i)}};
     }},
    {"roles_out_of_order", chats,
     [](Case& c) {
         c.rows[1]["messages"].insert(c.rows[1]["messages"].begin(),
                                      message("user", "hello there"));
     }},
    {"chat_unanswered", chats,
     [](Case& c) { c.rows[1]["messages"].push_back(message("user", "and then?")); }},
    {"unknown_role", chats, [](Case& c) { c.rows[1]["messages"][0]["role"] = "narrator"; }},
    {"system_not_first", chats,
     [](Case& c) {
         c.rows[1]["messages"].insert(c.rows[1]["messages"].begin() + 2,
                                      message("system", "Be long."));
     }},
    {"double_begin_token", tokenized,
     [](Case& c) {
         c.rows[5] = {{"input_ids", {256, 256, 65, 66, 257}},
                      {"labels", {-100, -100, 65, 66, 257}}};
     }},
    {"double_end_token", tokenized,
     [](Case& c) {
         c.rows[5] = {{"input_ids", {256, 65, 66, 257, 257}}, {"labels", {-100, 65, 66, 257, 257}}};
     }},
    {"padding_trained", tokenized,
     [](Case& c) {
         c.rows[5] = {{"input_ids", {256, 65, 66, 257, 0, 0}},
                      {"labels", {-100, 65, 66, 257, 0, 0}}};
     }},
    {"shifted_labels", tokenized,
     [](Case& c) {
         c.rows[5] = {{"input_ids", {256, 65, 66, 67, 257}}, {"labels", {65, 66, 67, 257, -100}}};
     }},
    {"labels_not_ids", tokenized,
     [](Case& c) {
         c.rows[5] = {{"input_ids", {256, 65, 66, 67, 257}}, {"labels", {-100, 70, 71, 72, 257}}};
     }},
    {"unknown_tokens", texts,
     [](Case& c) {
         c.letters.unknownId = 'q';
         c.rows[5]["text"] = "qqqq qqq";
     }},
    {"single_class", classes,
     [](Case& c) {
         for (Json& row : c.rows) row["label"] = "good";
     }},
    {"uneven_classes", classes,
     [](Case& c) {
         for (Json& row : c.rows) row["label"] = "good";
         c.rows[9]["label"] = "bad";
     }},
    {"contradicting_labels", classes,
     [](Case& c) {
         c.rows[1] = {{"text", "the same words"}, {"label", "good"}};
         c.evalRows = Rows{{{"text", "the same words, other row"}, {"label", "bad"}},
                           {{"text", "the same words, other row"}, {"label", "good"}}};
     }},
    {"unshuffled_classes", classes,
     [](Case& c) {
         c.data = {{"shuffle", false}};
         for (std::size_t i = 0; i < c.rows.size(); ++i)
             c.rows[i]["label"] = i < 12 ? "bad" : "good";
     }},
    {"class_only_in_eval", classes,
     [](Case& c) { c.evalRows = Rows{{{"text", "a new kind"}, {"label", "other"}}}; }},
    {"eval_same_file", texts, [](Case& c) { c.evalIsTrain = true; }},
    {"eval_in_train", texts, [](Case& c) { c.evalRows = Rows{c.rows[3], {{"text", "fresh"}}}; }},
    {"duplicates", pairs, [](Case& c) { c.rows.push_back(c.rows[2]); }},
    {"rows_truncated", texts,
     [](Case& c) {
         c.rows[0] = {{"prompt", "p:"}, {"completion", " " + std::string(700, 'x')}};
         for (std::size_t i = 1; i < c.rows.size(); ++i)
             c.rows[i] = {{"prompt", "part " + std::to_string(i) + ":"},
                          {"completion", " number " + std::to_string(i)}};
     }},
    {"most_rows_truncated", pairs,
     [](Case& c) {
         for (std::size_t i = 0; i < 16; ++i)
             c.rows[i]["completion"] = " " + std::string(700, static_cast<char>('a' + i));
     }},
    {"answers_cut_away", pairs, [](Case& c) { c.rows[3]["prompt"] = std::string(700, 'x') + ":"; }},
    {"rows_skipped", tokenized,
     [](Case& c) {
         c.rows[3]["labels"] = Json::array();
         for (std::size_t i = 0; i < c.rows[3]["input_ids"].size(); ++i)
             c.rows[3]["labels"].push_back(-100);
     }},
    {"no_end_token", texts, [](Case& c) { c.letters.hasEnd = false; }},
    {"unusable_rows", pairs, [](Case& c) { c.tail = "{\"prompt\": oops}\n"; }},
    {"row_not_utf8", pairs, [](Case& c) { c.tail = "{\"prompt\": \"\xFF\"}\n"; }},
    {"row_nul", pairs, [](Case& c) { c.tail = std::string("{\"prompt\": \"\0\"}\n", 16); }},
    {"row_wrong_type", pairs,
     [](Case& c) { c.tail = "{\"prompt\": [1], \"completion\": \"x\"}\n"; }},
};

std::string joined(const std::set<std::string>& codes) {
    std::string text;
    for (const std::string& code : codes) text += code + " ";
    return text;
}

}  // namespace

TEST_CASE("every planted mistake is named and no other") {
    CHECK(kPlanted.size() >= 40);
    std::uint64_t seed = 1000;
    for (const Planted& planted : kPlanted) {
        Case made = planted.clean(++seed);
        planted.plant(made);
        const std::set<std::string> codes = codesOf(made);
        CHECK_MESSAGE(codes == std::set<std::string>{planted.code},
                      planted.code << " got " << joined(codes));
    }
}

TEST_CASE("clean data pass without a word") {
    int count = 0;
    for (const auto clean : {pairs, questions, alpaca, texts, chats, classes, tokenized})
        for (std::uint64_t seed = 1; seed <= 3; ++seed, ++count) {
            const std::set<std::string> codes = codesOf(clean(seed * 77));
            CHECK_MESSAGE(codes.empty(), count << " got " << joined(codes));
        }
    CHECK(count >= 20);
}
