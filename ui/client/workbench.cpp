// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/workbench.h"

#include "client/cli_locator.h"
#include "settings/settings.h"

#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonDocument>
#include <QTimer>

namespace luthier::ui {

Workbench::Workbench(const QString& workspace, QObject* parent)
    : QObject(parent),
      quick(cliPath()),
      heavy(cliPath(), 900000),
      queue(cliPath(), runs),
      catalogue(quick) {
    // Titles of methods; in a turn of its own, the pages fill their forms in this one.
    connect(&catalogue, &Catalogue::methodsChanged, this,
            [this] { QTimer::singleShot(150, &runs, &RunLibrary::changed); });
    setWorkspace(workspace);
}

void Workbench::setWorkspace(const QString& workspace) {
    m_workspace = QDir(workspace).absolutePath();
    QDir().mkpath(m_workspace);
    m_feeds.clear();
    runs.setWorkspace(m_workspace);
    queue.setWorkspace(m_workspace);
    probe.setDiskPath(m_workspace);
    quick.setWorkingFolder(m_workspace);
    heavy.setWorkingFolder(m_workspace);
    refreshFolders();
    emit workspaceChanged();
}

void Workbench::refreshFolders() {
    QStringList folders = {m_workspace, m_workspace + "/models"};
    if (!demoFolder().isEmpty()) folders << demoFolder();
    folders << Settings::value("library/folders").toStringList();
    catalogue.setFolders(folders);
}

void Workbench::addFolder(const QString& path) {
    QStringList folders = Settings::value("library/folders").toStringList();
    if (!folders.contains(path)) folders << path;
    Settings::set("library/folders", folders);
    refreshFolders();
    catalogue.refreshModels();
}

std::shared_ptr<RunFeed> Workbench::feed(const QString& id) {
    constexpr qsizetype kKept =
        3;  // one that nobody holds costs memory, and reading it again costs time
    if (m_feeds.size() > kKept)
        erase_if(m_feeds, [&](const auto& entry) {
            return entry.key() != id && entry.key() != queue.activeId() &&
                   entry.value().use_count() == 1;
        });
    std::shared_ptr<RunFeed>& feed = m_feeds[id];
    if (!feed) {
        // Deleted later: the last holder may let go while the feed tells it something.
        feed = std::shared_ptr<RunFeed>(new RunFeed(m_workspace + "/runs/" + id),
                                        [](RunFeed* gone) { gone->deleteLater(); });
        feed->setErrorFile(queue.errorFile(id));
    }
    return feed;
}

QString Workbench::modelName(const QString& path) const {
    for (const RunInfo& run : runs.runs())
        if (run.hasFullModel && QDir::cleanPath(path) == run.folder + "/model") return run.name;
    return QFileInfo(path).fileName();
}

QJsonObject Workbench::demoConfig() const {
    const QString folder = demoFolder();
    if (folder.isEmpty()) return {};
    for (const QString& name : {QStringLiteral("poems-lora.json"),
                                QDir(folder).entryList({"*lora*.json"}, QDir::Files).value(0)})
        if (!name.isEmpty() && QFileInfo::exists(folder + "/" + name))
            return withAbsolutePaths(readJsonWithComments(folder + "/" + name), folder);
    return {};
}

QJsonObject readJsonWithComments(const QString& path, QString* error) {
    QFile file(path);
    if (!file.open(QIODevice::ReadOnly)) {
        if (error) *error = file.errorString();
        return {};
    }
    const QByteArray text = file.readAll();
    QByteArray plain;
    bool inString = false;
    for (qsizetype i = 0; i < text.size(); ++i) {
        const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : '\0';
        if (inString) {
            plain += c;
            if (c == '\\' && next)
                plain += text[++i];
            else if (c == '"')
                inString = false;
        } else if (c == '/' && next == '/') {
            while (i < text.size() && text[i] != '\n') ++i;
            plain += '\n';
        } else if (c == '/' && next == '*') {
            i = text.indexOf("*/", i + 2) + 1;
            if (i <= 0) break;
        } else {
            inString = c == '"';
            plain += c;
        }
    }
    QJsonParseError parse;
    const QJsonObject object = QJsonDocument::fromJson(plain, &parse).object();
    if (error && parse.error != QJsonParseError::NoError) *error = parse.errorString();
    return object;
}

QJsonObject withAbsolutePaths(QJsonObject config, const QString& folder) {
    const QDir base(folder);
    const auto fix = [&](const QString& path) {
        return path.isEmpty() ? path : QDir::cleanPath(base.absoluteFilePath(path));
    };
    QJsonObject model = config["model"].toObject();
    if (model.contains("path")) model["path"] = fix(model["path"].toString());
    config["model"] = model;
    QJsonObject data = config["data"].toObject();
    for (const char* split : {"train", "eval"}) {
        QJsonObject part = data[QLatin1String(split)].toObject();
        if (part["path"].isString()) part["path"] = fix(part["path"].toString());
        if (!part.isEmpty()) data[QLatin1String(split)] = part;
    }
    config["data"] = data;
    QJsonObject method = config["method"].toObject();
    if (method["init_from"].isString()) method["init_from"] = fix(method["init_from"].toString());
    config["method"] = method;
    return config;
}

}  // namespace luthier::ui
