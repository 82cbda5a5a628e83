// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/method_facts.h"

#include "theme/format.h"

#include <QCoreApplication>
#include <QJsonObject>

#include <map>

namespace luthier::ui {

namespace {

struct Facts {
    std::vector<MethodInfo> methods;
    QString byDefault;
    std::map<QString, MethodInfo> unknown;  // callers keep references into it
};

Facts& facts() {
    static Facts known;
    return known;
}

}  // namespace

void setMethodFacts(const QJsonObject& answer) {
    Facts& known = facts();
    known.methods.clear();
    known.byDefault = answer["default"].toString();
    for (const QJsonValue& entry : answer["methods"].toArray()) {
        MethodInfo info;
        info.name = entry["name"].toString();
        info.title = entry["title"].toString();
        info.group = entry["group"].toString();
        info.summary = entry["summary"].toString();
        info.peftType = entry["peft_type"].toString();
        info.mergeable = entry["mergeable"].toBool();
        info.fields = entry["schema"]["fields"].toArray();
        info.help = entry["help"].toString();
        info.usualRate = entry["usual_learning_rate"].toDouble();
        info.rateSource = entry["rate_source"].toString();
        info.leavesModel = entry["leaves_model"].toBool();
        info.hasGguf = entry["in_gguf"].toBool();
        info.trainedBlocksKey = entry["trained_blocks_key"].toString();
        info.library = entry["library"].toString();
        info.tensorFile = entry["tensor_file"].toString();
        info.glyph = entry["glyph"].toString();
        for (const QJsonValue& mark : entry["marks"].toArray()) info.marks << mark.toString();
        info.words = entry["words"].toArray();
        known.methods.push_back(std::move(info));
    }
}

const std::vector<MethodInfo>& knownMethods() { return facts().methods; }

const MethodInfo& methodFacts(const QString& type) {
    for (const MethodInfo& info : facts().methods)
        if (info.name == type) return info;
    MethodInfo& info = facts().unknown[type];
    info.name = info.title = type;
    return info;
}

QString defaultMethod() { return facts().byDefault; }

QString methodTitle(const QString& type) { return methodFacts(type).title; }

QString shortModules(const QJsonValue& targets) {
    if (targets.isString()) return targets.toString();
    QStringList names;
    for (const QJsonValue& value : targets.toArray()) {
        QString name = value.toString().section('.', -1);
        if (name.endsWith("_proj")) name.chop(5);
        names << name;
    }
    if (names.size() > 4)
        return QCoreApplication::translate("RunLibrary", "%1 matrices").arg(names.size());
    return names.join(' ');
}

QString methodSettings(const QString& method,
                       const std::function<QJsonValue(const QString& key)>& valueOf) {
    QStringList words;
    for (const QJsonValue& word : methodFacts(method).words) {
        const QString text = word[1].toString();
        const QJsonValue value = valueOf(word[0].toString());
        if (text.isEmpty()) {
            if (value.isString()) words << value.toString();
        } else if (value.isDouble() && value.toDouble() > 0) {
            words << text.arg(format::real(value.toDouble()));
        }
    }
    if (const QString modules = shortModules(valueOf("target_modules")); !modules.isEmpty())
        words << modules;
    return words.join(", ");
}

}  // namespace luthier::ui
