// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Export: a finished run in a format of other tools. Every export is read back and compared before
// it is called done; the certificate lies beside the files and is what the page shows, also for
// exports made by luthier-cli.

#include "pages/export_records.h"
#include "pages/export_snippets.h"
#include "pages/page.h"

#include <QFutureWatcher>
#include <QJsonObject>

class QComboBox;
class QGridLayout;
class QLabel;
class QLineEdit;
class QStackedWidget;

namespace luthier::ui {

class ElidedLabel;
class EmptyState;
class ExportCard;
class ExportDetail;
class PaneHeader;
class RunList;
class SimpleTable;

class ExportPage final : public Page {
    Q_OBJECT
public:
    explicit ExportPage(Workbench& bench);
    QString title() const override { return tr("Export"); }
    QString context() const override { return tr("Files that other tools load"); }
    void enter() override;
    void select(const QString& runId);
    bool perform(PageCommand command) override;
    bool isSettled() const override {
        return m_bench.runs.isLoaded() && m_hasFormats && !m_reader.isRunning() && !m_request &&
               m_waiting.isEmpty();
    }

protected:
    void resizeEvent(QResizeEvent*) override;

private:
    struct Format {
        QString format, title, summary;
        QJsonObject facts;  ///< core/export/exporter.h: what it takes, refuses and writes
        bool has(const char* key) const { return facts[QLatin1String(key)].toBool(); }
    };
    QString whyNot(const RunInfo& run, const Format& format) const;  ///< empty: it can be written
    Holds holdsOf(const QString& format) const;
    const Format* formatOf(const QString& name) const;  ///< also by a name of former times
    QWidget* buildCentre();
    void fill();
    void readRecords();
    void loadFormats();
    void buildCards();
    void layOutCards();
    void showRun();
    void showCards();
    void showDetail();
    void chooseFolder();
    void write(const QString& run, const QString& format);
    void writeNext();
    const ExportRecord* recordOf(const QString& run, const QString& format) const;
    QString exportsFolder() const;
    QString cardTitle(const QString& format) const;

    std::vector<Format> m_formats;
    std::vector<ExportRecord> m_records;
    QFutureWatcher<std::vector<ExportRecord>> m_reader;
    bool m_hasFormats = false, m_readAgain = false;
    QString m_run, m_card, m_path;       ///< m_path: a written export chosen in the table, else ""
    QHash<QString, QString> m_failures;  ///< by run and format
    QHash<QString, double> m_seconds;    ///< by path, of this session
    int m_request = 0;
    QList<QPair<QString, QString>> m_waiting;  ///< run and format, in order
    QString m_writingRun, m_writingFormat, m_phase;
    int m_done = 0, m_total = 1;
    QStackedWidget* m_stack;
    EmptyState* m_empty;
    PaneHeader* m_listHead;
    QLineEdit* m_filter;
    RunList* m_list;
    ElidedLabel* m_name;
    QComboBox* m_folder;
    QWidget* m_cardBox;
    QGridLayout* m_grid;
    std::vector<ExportCard*> m_cards;
    SimpleTable* m_written;
    QLabel* m_writtenEmpty;
    ExportDetail* m_detail;
};

}  // namespace luthier::ui
