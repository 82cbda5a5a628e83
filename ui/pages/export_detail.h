// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The right side of the Export page: the files of one export, the certificate that its reload test
// wrote, and how to load it elsewhere.

#include "pages/export_records.h"
#include "pages/export_snippets.h"

#include <QStringList>
#include <QWidget>

class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;

namespace luthier::ui {

class Chip;
class FactRows;
class SegmentedControl;

class ExportDetail final : public QWidget {
    Q_OBJECT
public:
    ExportDetail();
    /// What the chosen card would write; nothing is verified yet.
    void showPlan(const QString& title, const QString& explanation);
    void showRecord(const QString& title, const ExportRecord& record, double seconds,
                    const Holds& holds = {});
    /// A folder that the run wrote itself.
    void showFolder(const QString& title, const QString& path, const QString& explanation,
                    const QStringList& files, const QString& base);
    QString path() const;

signals:
    void copied();
    void showWanted();
    void tryWanted(const QString& model, const QString& adapter);

private:
    void setSnippets(const Holds& holds, const QString& path, const QString& base);
    void showSnippet(int index);
    void showPath(const QString& path);

    QLabel *m_title, *m_filesNote, *m_certificateTitle, *m_certificateText, *m_explanation,
        *m_limits;
    Chip* m_chip;
    QLineEdit* m_path;
    QPushButton *m_copyPath, *m_copy, *m_show, *m_try;
    FactRows *m_files, *m_certificate;
    QWidget *m_pathBox, *m_filesBox, *m_certificateBox, *m_snippetBox;
    SegmentedControl* m_tabs;
    QPlainTextEdit* m_snippet;
    Elsewhere m_elsewhere;
};

}  // namespace luthier::ui
