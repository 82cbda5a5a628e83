// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What there is to work with: methods and their schemas, models and datasets found. Filled from the
// serve session, kept here so that a page opens with the last answer and is told when a new one
// comes.

#include "client/method_facts.h"
#include "client/serve_client.h"

#include <QHash>
#include <QJsonObject>
#include <QObject>
#include <QStringList>

#include <vector>

namespace luthier::ui {

/// What a file dialog offers as data: the kinds that the engine opens.
QString dataFileFilter();

class Catalogue final : public QObject {
    Q_OBJECT
public:
    Catalogue(ServeClient& engine, QObject* parent = nullptr);

    void setFolders(
        const QStringList& folders);  ///< searched for models and data besides the cache
    QStringList folders() const { return m_folders; }
    void refreshMethods();
    void refreshModels();

    const std::vector<MethodInfo>& methods() const { return knownMethods(); }
    const MethodInfo* method(const QString& name) const;  ///< nullptr: not known, or not yet
    QJsonArray section(const QString& name) const {
        return m_sections[name].toObject()["fields"].toArray();
    }
    const std::vector<QJsonObject>& models() const { return m_models; }
    const std::vector<QJsonObject>& datasets() const { return m_datasets; }
    bool methodsLoaded() const { return !methods().empty(); }
    bool modelsLoaded() const { return m_modelsLoaded; }
    const ServeProblem* problem() const {
        return m_problem.message.isEmpty() ? nullptr : &m_problem;
    }

    /// The whole `inspect` value of a path, from the cache or the engine.
    void inspect(const QString& path, QObject* context,
                 std::function<void(const QJsonObject&)> done,
                 std::function<void(const ServeProblem&)> failed = {});
    QJsonObject knownInspect(const QString& path) const { return m_inspected.value(path); }

signals:
    void methodsChanged();
    void modelsChanged();

private:
    void findDatasets();
    ServeClient& m_engine;
    QStringList m_folders;
    QJsonObject m_sections;
    std::vector<QJsonObject> m_models, m_datasets;
    QHash<QString, QJsonObject> m_inspected;
    ServeProblem m_problem;
    bool m_modelsLoaded = false;
};

}  // namespace luthier::ui
