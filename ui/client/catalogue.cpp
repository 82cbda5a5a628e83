// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/catalogue.h"

#include <QCoreApplication>
#include <QDir>
#include <QDirIterator>
#include <QFileInfo>
#include <QFutureWatcher>
#include <QtConcurrentRun>

namespace luthier::ui {

namespace {

/// "*.jsonl", "*.csv.gz", … as the engine said when it was asked last.
QStringList& dataPatterns() {
    static QStringList patterns;
    return patterns;
}

}  // namespace

QString dataFileFilter() {
    const QString all = QCoreApplication::translate("Catalogue", "All files (*)");
    if (dataPatterns().isEmpty()) return all;
    return QCoreApplication::translate("Catalogue", "Data (%1)").arg(dataPatterns().join(' ')) +
           ";;" + all;
}

Catalogue::Catalogue(ServeClient& engine, QObject* parent) : QObject(parent), m_engine(engine) {}

void Catalogue::setFolders(const QStringList& folders) {
    m_folders = folders;
    m_folders.removeDuplicates();
}

const MethodInfo* Catalogue::method(const QString& name) const {
    for (const MethodInfo& info : methods())
        if (info.name == name) return &info;
    return nullptr;
}

void Catalogue::refreshMethods() {
    m_engine.request(
        "methods", {}, this,
        {[this](const QJsonValue& value) {
             setMethodFacts(value.toObject());
             const bool isFirst = dataPatterns().isEmpty();
             dataPatterns().clear();
             for (const QJsonValue& kind : value["file_kinds"].toArray())
                 for (const char* key : {"endings", "packed_endings"})
                     for (const QJsonValue& ending : kind[QLatin1String(key)].toArray())
                         dataPatterns() << "*" + ending.toString();
             if (isFirst) findDatasets();
             m_problem = {};
             m_sections = value["sections"].toObject();
             emit methodsChanged();
         },
         [this](const ServeProblem& problem) {
             m_problem = problem;
             emit methodsChanged();
         },
         {}});
}

void Catalogue::refreshModels() {
    m_engine.request(
        "models", {{"folders", QJsonArray::fromStringList(m_folders)}}, this,
        {[this](const QJsonValue& value) {
             m_models.clear();
             const QJsonArray models =
                 value.isArray() ? value.toArray() : value["models"].toArray();
             for (const QJsonValue& entry : models) {
                 QJsonObject model =
                     entry.isString() ? QJsonObject{{"path", entry.toString()}} : entry.toObject();
                 // Adapters, and GGUF files that are imported first, cannot be chosen as a model.
                 if (const QString kind = model["kind"].toString("model"); kind != "model")
                     continue;
                 if (model["name"].toString().isEmpty())
                     model["name"] = QFileInfo(model["path"].toString()).fileName();
                 m_models.push_back(model);
             }
             m_modelsLoaded = true;
             emit modelsChanged();
         },
         [this](const ServeProblem& problem) {
             m_problem = problem;
             m_modelsLoaded = true;
             emit modelsChanged();
         },
         {}});
    findDatasets();
}

void Catalogue::findDatasets() {
    if (dataPatterns().isEmpty()) return;  // an empty list of patterns would match every file
    auto* watcher = new QFutureWatcher<QStringList>(this);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher] {
        watcher->deleteLater();
        std::vector<QJsonObject> found;
        for (const QString& path : watcher->result())
            found.push_back(m_inspected.contains(path)
                                ? m_inspected[path]
                                : QJsonObject{{"path", path}, {"kind", "unknown"}});
        m_datasets = found;
        emit modelsChanged();
        for (const QString& path : watcher->result()) {
            if (m_inspected.contains(path)) continue;
            inspect(
                path, this,
                [this, path](const QJsonObject& value) {
                    for (QJsonObject& entry : m_datasets)
                        if (entry["path"].toString() == path) entry = value;
                    std::erase_if(m_datasets, [](const QJsonObject& entry) {
                        return entry["kind"] != "dataset" && entry["kind"] != "unknown";
                    });
                    emit modelsChanged();
                },
                [this, path](const ServeProblem& problem) {
                    for (QJsonObject& entry : m_datasets)
                        if (entry["path"].toString() == path)
                            entry = {
                                {"path", path},
                                {"kind", "dataset"},
                                {"problems", QJsonArray{QJsonObject{{"level", "error"},
                                                                    {"message", problem.message},
                                                                    {"hint", problem.hint}}}}};
                    emit modelsChanged();
                });
        }
    });
    watcher->setFuture(QtConcurrent::run([folders = m_folders, patterns = dataPatterns()] {
        QStringList files;
        for (const QString& folder : folders) {
            const QFileInfo single(folder);
            if (single.isFile()) {
                files << single.absoluteFilePath();
                continue;
            }
            for (const QString& place : {folder, folder + "/data"}) {
                for (const QFileInfo& file : QDir(place).entryInfoList(patterns, QDir::Files)) {
                    // Run configurations lie there, not rows.
                    if (place == folder && file.suffix() == "json") continue;
                    files << file.absoluteFilePath();
                }
            }
        }
        files.removeDuplicates();
        return files.mid(0, 200);
    }));
}

void Catalogue::inspect(const QString& path, QObject* context,
                        std::function<void(const QJsonObject&)> done,
                        std::function<void(const ServeProblem&)> failed) {
    const auto known = m_inspected.find(path);
    if (known != m_inspected.end()) {
        const QJsonObject object = *known;  // `done` may ask for more, and the table moves
        return done(object);
    }
    QPointer<QObject> guard(context);
    m_engine.request("inspect", {{"path", path}}, this,
                     {[this, path, guard, done](const QJsonValue& value) {
                          QJsonObject object = value.toObject();
                          if (object["path"].toString().isEmpty()) object["path"] = path;
                          m_inspected[path] = object;
                          if (guard) done(object);
                      },
                      [guard, failed](const ServeProblem& problem) {
                          if (guard && failed) failed(problem);
                      },
                      {}});
}

}  // namespace luthier::ui
