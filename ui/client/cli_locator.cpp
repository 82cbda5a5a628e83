// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/cli_locator.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>
#include <QStandardPaths>

namespace luthier::ui {

QString cliPath() {
    const QString fromEnvironment = qEnvironmentVariable("LUTHIER_CLI");
    if (!fromEnvironment.isEmpty()) return fromEnvironment;
    const QDir here(QCoreApplication::applicationDirPath());
    for (const char* place :
         {"luthier-cli", "../cli/luthier-cli", "../bin/luthier-cli", "../app/cli/luthier-cli"}) {
        const QFileInfo file(here.filePath(QLatin1String(place)));
        if (file.isExecutable() && file.isFile()) return file.canonicalFilePath();
    }
    return QStandardPaths::findExecutable("luthier-cli");
}

QString demoFolder() {
    const QDir here(QCoreApplication::applicationDirPath());
    QStringList places = {here.filePath("resources/demo"), here.filePath("../share/luthier/demo"),
                          here.filePath("../share/luthier/resources/demo")};
    QDir up = here;
    for (int i = 0; i < 6 && up.cdUp(); ++i) places << up.filePath("resources/demo");
#ifdef LUTHIER_SOURCE_DIR
    places << QStringLiteral(LUTHIER_SOURCE_DIR "/resources/demo");
#endif
    for (const QString& place : places)
        if (QFileInfo(place).isDir()) return QFileInfo(place).canonicalFilePath();
    return {};
}

QString defaultWorkspace() {
    const QString fromEnvironment = qEnvironmentVariable("LUTHIER_WORKSPACE");
    if (!fromEnvironment.isEmpty()) return QDir(fromEnvironment).absolutePath();
    return QDir(QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation))
        .filePath("luthier");
}

}  // namespace luthier::ui
