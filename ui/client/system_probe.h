// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What the status bar and Start say about this computer: /proc and statvfs for the host, NVML
// (loaded at run time, never linked) for a GPU. One reading every two seconds in a worker thread,
// because a driver call may block.

#include <QObject>
#include <QString>
#include <QTimer>

#include <vector>

namespace luthier::ui {

struct GpuReading {
    QString name, driver;
    double totalBytes = 0, usedBytes = 0, watts = 0;
    int celsius = 0;
};

struct SystemReading {
    QString cpuName;
    int cores = 0;
    double cpuShare = 0, memoryTotal = 0, memoryUsed = 0, diskFree = 0, diskTotal = 0;
    int celsius = 0;  ///< 0 = no sensor
    std::vector<GpuReading> gpus;
};

class SystemProbe final : public QObject {
    Q_OBJECT
public:
    explicit SystemProbe(QObject* parent = nullptr);
    const SystemReading& reading() const { return m_reading; }
    void setDiskPath(const QString& path) { m_diskPath = path; }
    void refresh();

signals:
    void changed();

private:
    SystemReading m_reading;
    QString m_diskPath = "/";
    QTimer m_timer;
    bool m_isReading = false;
    double m_lastBusy = 0, m_lastTotal = 0;
};

}  // namespace luthier::ui
