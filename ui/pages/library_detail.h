// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The right side of the library: what the chosen model, dataset or adapter is, whether Luthier can
// train it and why not, where its parameters are, what training it would take on this computer, and
// its files.

#include "client/workbench.h"

#include <QWidget>

class QVBoxLayout;

namespace luthier::ui {

class LibraryDetail final : public QWidget {
    Q_OBJECT
public:
    explicit LibraryDetail(Workbench& bench);
    void showNothing();
    void showModel(const QJsonObject& model);
    void showDataset(const QJsonObject& dataset);
    void showAdapter(const RunInfo& run);

signals:
    void forgetWanted(const QString& path);

private:
    void begin();
    void end();
    QVBoxLayout* section(const QString& title, const QString& note = {});
    void addHead(const QString& name, const QString& path, const QString& avatar);
    void addProblems(const QJsonObject& object, const QString& fallback);
    void addButtons(const QString& first, const QString& icon, std::function<void()> run,
                    const QString& second, const QString& secondIcon,
                    std::function<void()> secondRun, const QString& path, bool isAllowed);
    void addFits(const QJsonObject& memory);
    void addTokenCounts(const QString& path);

    Workbench& m_bench;
    QWidget* m_content = nullptr;
    QVBoxLayout* m_column = nullptr;
    int m_generation = 0;  ///< answers to questions about an earlier choice are dropped
};

}  // namespace luthier::ui
