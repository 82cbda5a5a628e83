// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_snippets.h"

#include <QCoreApplication>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QRegularExpression>

namespace luthier::ui {

namespace {

QString tr(const char* text) { return QCoreApplication::translate("ExportDetail", text); }

QJsonObject readObject(const QString& path) {
    QFile file(path);
    return file.open(QIODevice::ReadOnly) ? QJsonDocument::fromJson(file.readAll()).object()
                                          : QJsonObject();
}

/// A Python string literal.
QString pythonText(QString text) {
    return '"' + text.replace('\\', "\\\\").replace('"', "\\\"") + '"';
}

enum class Kind { Decoder, EncoderDecoder, Classifier };

/// What a folder's own files say it is for: an adapter's task_type, else the model's class.
Kind kindOf(const QString& folder, const QString& base) {
    const QString task = readObject(folder + "/adapter_config.json")["task_type"].toString();
    if (task == "SEQ_CLS") return Kind::Classifier;
    if (task == "SEQ_2_SEQ_LM") return Kind::EncoderDecoder;
    const QString own = QFileInfo::exists(folder + "/config.json") ? folder : base;
    const QString name =
        readObject(own + "/config.json")["architectures"].toArray().first().toString();
    if (name.endsWith("ForSequenceClassification")) return Kind::Classifier;
    return name.endsWith("ForConditionalGeneration") ? Kind::EncoderDecoder : Kind::Decoder;
}

QString autoClass(Kind kind) {
    if (kind == Kind::Classifier) return QStringLiteral("AutoModelForSequenceClassification");
    return kind == Kind::EncoderDecoder ? QStringLiteral("AutoModelForSeq2SeqLM")
                                        : QStringLiteral("AutoModelForCausalLM");
}

QString pythonBase(Kind kind, const QString& base) {
    return QStringLiteral(
               "from transformers import \\\n    %1, AutoTokenizer\n\nbase = %2\ntokenizer = "
               "AutoTokenizer.from_pretrained(base)\nmodel = %1.from_pretrained(base)\n")
        .arg(autoClass(kind), pythonText(base));
}

QString peftText(Kind kind, const QString& base, const QString& folder) {
    return "from peft import PeftModel\n" + pythonBase(kind, base) +
           QStringLiteral("model = PeftModel.from_pretrained(\n    model, %1)\n")
               .arg(pythonText(folder));
}

QString adaptersText(Kind kind, const QString& base, const QString& folder) {
    return "import adapters\n" + pythonBase(kind, base) +
           QStringLiteral(
               "adapters.init(model)\nname = "
               "model.load_adapter(%1)\nmodel.set_active_adapters(name)\n")
               .arg(pythonText(folder));
}

QString luthierText(const QString& model, const QString& adapter) {
    const QString with = adapter.isEmpty()
                             ? QString()
                             : QStringLiteral("  --adapter %1 \\\n").arg(shellWord(adapter));
    return QStringLiteral("luthier-cli generate %1 \\\n%2  --prompt \"Once upon a time\"\n")
        .arg(shellWord(model), with);
}

/// The largest file with this ending: of a model in parts, the first one, which names the others.
QString fileIn(const QString& folder, const QString& pattern) {
    const QStringList parts = QDir(folder).entryList({"*-00001-of-*.gguf"}, QDir::Files),
                      all = QDir(folder).entryList({pattern}, QDir::Files, QDir::Size);
    if (all.isEmpty()) return {};
    return QDir(folder).absoluteFilePath(parts.isEmpty() ? all.first() : parts.first());
}

/// A name as Ollama takes it, from a folder's.
QString plainName(const QString& folder) {
    QString name =
        QFileInfo(folder).fileName().toLower().replace(QRegularExpression("[^a-z0-9._-]+"), "-");
    return name.remove(QRegularExpression("^[._-]+|[._-]+$"));
}

/// Writes a Modelfile where the user is, makes the model of it and starts it.
QString ollamaText(const QStringList& modelfile, const QString& name) {
    return "cat > Modelfile <<'END'\n" + modelfile.join('\n') +
           QStringLiteral(
               "\nEND\nollama create %1 -f Modelfile\nollama run %1 \"Once upon a time\"\n")
               .arg(name);
}

Elsewhere ggufModel(const QString& folder) {
    Elsewhere result;
    const QString file = fileIn(folder, "*.gguf");
    if (file.isEmpty()) return result;
    const QString name = plainName(folder);
    result.snippets = {
        {"llama.cpp", QStringLiteral("llama-cli -m %1 \\\n  -p \"Once upon a time\" -n 64\n")
                          .arg(shellWord(file))},
        {"Ollama", ollamaText({"FROM " + file}, name)},
        {"LM Studio",
         QStringLiteral("lms import --copy \\\n  --user-repo luthier/%1 \\\n  %2\nlms load %1\n")
             .arg(name, shellWord(file))}};
    result.limits = tr("A whole model in one file, its tokenizer inside: it needs no base.");
    return result;
}

Elsewhere ggufAdapter(const QString& folder, const QString& base, const QString& modelFormat) {
    Elsewhere result;
    const QString file = fileIn(folder, "*.gguf");
    if (file.isEmpty()) return result;
    // llama.cpp and Ollama read a GGUF of the base; a base that is a folder is written as one
    // first.
    const bool isFile = base.endsWith(".gguf");
    const QString model =
        isFile ? base
               : QFileInfo(folder).absolutePath() + "/" + QFileInfo(base).fileName() + ".gguf";
    const QString first = isFile || QFileInfo::exists(model)
                              ? QString()
                              : QStringLiteral("luthier-cli export %1 \\\n  --format %2 --out %3\n")
                                    .arg(shellWord(base), modelFormat, shellWord(model));
    result.snippets = {
        {"llama.cpp",
         first +
             QStringLiteral("llama-cli -m %1 \\\n  --lora %2 \\\n  -p \"Once upon a time\" -n 64\n")
                 .arg(shellWord(model), shellWord(file))}};
    const QString own = folder + "/Modelfile";
    const QString name = plainName(folder);
    if (QFileInfo::exists(own))
        result.snippets << Snippet{
            "Ollama", QStringLiteral("ollama create %1 -f %2\nollama run %1 \"Once upon a time\"\n")
                          .arg(name, shellWord(own))};
    else
        result.snippets << Snippet{"Ollama",
                                   first + ollamaText({"FROM " + model, "ADAPTER " + file}, name)};
    if (!isFile) {
        result.snippets << Snippet{"luthier-cli", luthierText(base, file)};
        result.canTry = true;
        result.tryModel = base;
        result.tryAdapter = file;
    }
    result.limits = tr("It needs the same base: %1. LM Studio loads whole models only: export the "
                       "GGUF model for it.")
                        .arg(QFileInfo(base).fileName());
    return result;
}

Elsewhere modelFolder(const QString& folder) {
    const Kind kind = kindOf(folder, {});
    Elsewhere result;
    result.snippets = {
        {"Transformers",
         QStringLiteral(
             "from transformers import \\\n    %1, AutoTokenizer\n\npath = %2\ntokenizer = "
             "AutoTokenizer.from_pretrained(path)\nmodel = %1.from_pretrained(path)\n")
             .arg(autoClass(kind), pythonText(folder))}};
    result.canTry = kind != Kind::Classifier;
    if (result.canTry) result.snippets << Snippet{"luthier-cli", luthierText(folder, {})};
    result.tryModel = folder;
    result.limits =
        tr("A whole model, its tokenizer beside it: whatever loads the base loads this.");
    return result;
}

Elsewhere adapterFolder(const QString& folder, const QString& base, bool isBottleneck) {
    const Kind kind = kindOf(folder, base);
    Elsewhere result;
    result.snippets = {isBottleneck
                           ? Snippet{tr("Python, adapters"), adaptersText(kind, base, folder)}
                           : Snippet{tr("Python, PEFT"), peftText(kind, base, folder)}};
    result.canTry = kind != Kind::Classifier;
    if (result.canTry) result.snippets << Snippet{"luthier-cli", luthierText(base, folder)};
    result.tryModel = base;
    result.tryAdapter = folder;
    result.limits = tr("It needs the same base: %1.").arg(QFileInfo(base).fileName());
    return result;
}

}  // namespace

QString shellWord(const QString& text) {
    static const QRegularExpression plain("^[A-Za-z0-9_./+:@%,-]+$");
    return plain.match(text).hasMatch() ? text : "'" + QString(text).replace('\'', "'\\''") + "'";
}

Elsewhere elsewhere(const Holds& holds, const QString& folder, const QString& base) {
    if (holds.what == "gguf-model") return ggufModel(folder);
    if (holds.what == "gguf-adapter") return ggufAdapter(folder, base, holds.modelFormat);
    if (QFileInfo::exists(folder + "/adapter_config.json"))
        return adapterFolder(folder, base,
                             !QFileInfo::exists(folder + "/adapter_model.safetensors"));
    if (QFileInfo::exists(folder + "/config.json")) return modelFolder(folder);
    return {};
}

}  // namespace luthier::ui
