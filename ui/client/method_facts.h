// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the engine says of each method of fitting (`methods --json`): the window names none by
// itself. Filled by the catalogue when the session answers; until then a method is called by its
// type.

#include <QJsonArray>
#include <QString>
#include <QStringList>

#include <functional>
#include <vector>

namespace luthier::ui {

struct MethodInfo {
    QString name, title, group, summary, peftType;
    bool mergeable = false;
    QJsonArray fields;
    QString help;              ///< Markdown
    double usualRate = 0;      ///< learning rate this method is usually trained with
    QString rateSource;        ///< who says so
    bool leavesModel = false;  ///< its result is a whole model, no adapter
    bool hasGguf = false;      ///< a GGUF adapter file can hold it
    QString trainedBlocksKey;  ///< setting that says how many last blocks are trained
    QString library;           ///< that reads its folders; empty: PEFT
    QString tensorFile;        ///< "adapter_model.safetensors"
    QString glyph;             ///< drawMethodGlyph()
    QStringList marks;         ///< what a picture of the model shows: all, norms, prefix, …
    QJsonArray words;          ///< [key, text]: settings as its short description says them

    bool hasMark(const char* mark) const { return marks.contains(QLatin1String(mark)); }
};

/// The answer of `methods`; replaces what was known before.
void setMethodFacts(const QJsonObject& answer);
const std::vector<MethodInfo>& knownMethods();
/// An empty one, with the type for a title, of what the engine did not name.
const MethodInfo& methodFacts(const QString& type);
/// What a new run begins with.
QString defaultMethod();

/// Title of a method type: "lora" gives "LoRA".
QString methodTitle(const QString& type);
QString shortModules(const QJsonValue& targets);  ///< ["q_proj","v_proj"] gives "q v"
/// "r 16, q k v o", "20 tokens": what sets a method's size, from whatever tells the value of a key.
QString methodSettings(const QString& method,
                       const std::function<QJsonValue(const QString& key)>& valueOf);

}  // namespace luthier::ui
