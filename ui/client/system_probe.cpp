// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/system_probe.h"

#include <QDir>
#include <QFile>
#include <QFutureWatcher>
#include <QStorageInfo>
#include <QThread>
#include <QtConcurrentRun>

#include <dlfcn.h>

namespace luthier::ui {

namespace {

QByteArray readAll(const QString& path) {
    QFile file(path);
    return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

/// The five NVML calls needed; struct layouts are those of nvml.h.
struct Nvml {
    using Device = void*;
    struct Memory {
        unsigned long long total, free, used;
    };
    int (*init)() = nullptr;
    int (*count)(unsigned*) = nullptr;
    int (*handle)(unsigned, Device*) = nullptr;
    int (*name)(Device, char*, unsigned) = nullptr;
    int (*memory)(Device, Memory*) = nullptr;
    int (*temperature)(Device, int, unsigned*) = nullptr;
    int (*power)(Device, unsigned*) = nullptr;
    int (*driver)(char*, unsigned) = nullptr;
    bool isReady = false;

    Nvml() {
        void* library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
        if (!library) return;
        const auto load = [library](auto& function, const char* symbol) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
                dlsym(library, symbol));
            return function != nullptr;
        };
        isReady = load(init, "nvmlInit_v2") && load(count, "nvmlDeviceGetCount_v2") &&
                  load(handle, "nvmlDeviceGetHandleByIndex_v2") &&
                  load(name, "nvmlDeviceGetName") && load(memory, "nvmlDeviceGetMemoryInfo") &&
                  load(temperature, "nvmlDeviceGetTemperature") &&
                  load(power, "nvmlDeviceGetPowerUsage") &&
                  load(driver, "nvmlSystemGetDriverVersion") && init() == 0;
    }

    std::vector<GpuReading> read() const {
        std::vector<GpuReading> gpus;
        unsigned n = 0;
        if (!isReady || count(&n) != 0) return gpus;
        for (unsigned i = 0; i < n; ++i) {
            Device device = nullptr;
            if (handle(i, &device) != 0) continue;
            GpuReading gpu;
            char text[96] = {};
            if (name(device, text, sizeof text) == 0) gpu.name = QString::fromLatin1(text);
            if (driver(text, sizeof text) == 0) gpu.driver = QString::fromLatin1(text);
            Memory m{};
            if (memory(device, &m) == 0) {
                gpu.totalBytes = static_cast<double>(m.total);
                gpu.usedBytes = static_cast<double>(m.used);
            }
            unsigned value = 0;
            if (temperature(device, 0, &value) == 0) gpu.celsius = static_cast<int>(value);
            if (power(device, &value) == 0) gpu.watts = value / 1000.0;
            gpus.push_back(gpu);
        }
        return gpus;
    }
};

struct RawReading {
    SystemReading reading;
    double busy = 0, total = 0;
};

RawReading probe(const QString& diskPath) {
    static const Nvml nvml;
    RawReading raw;
    SystemReading& r = raw.reading;
    for (const QByteArray& line : readAll("/proc/cpuinfo").split('\n'))
        if (line.startsWith("model name")) {
            r.cpuName = QString::fromUtf8(line.mid(line.indexOf(':') + 2));
            break;
        }
    for (const char* noise : {"(R)", "(TM)", "(tm)", " CPU", " Processor", " processor"})
        r.cpuName.remove(QLatin1String(noise));
    r.cpuName = r.cpuName.section(" @", 0, 0).simplified();
    if (r.cpuName.isEmpty()) r.cpuName = "CPU";
    r.cores = QThread::idealThreadCount();
    const auto kib = [&, text = readAll("/proc/meminfo")](const char* key) {
        const qsizetype at = text.indexOf(key);
        return at < 0 ? 0.0
                      : text.mid(at + static_cast<qsizetype>(qstrlen(key)), 24)
                                .simplified()
                                .split(' ')
                                .value(0)
                                .toDouble() *
                            1024;
    };
    r.memoryTotal = kib("MemTotal:");
    r.memoryUsed = r.memoryTotal - kib("MemAvailable:");
    const QList<QByteArray> cpu =
        readAll("/proc/stat").split('\n').value(0).simplified().split(' ');
    for (qsizetype i = 1; i < cpu.size(); ++i) raw.total += cpu[i].toDouble();
    raw.busy = raw.total - cpu.value(4).toDouble() - cpu.value(5).toDouble();
    for (int i = 0; i < 8 && r.celsius == 0; ++i) {
        const QByteArray type =
            readAll(QStringLiteral("/sys/class/thermal/thermal_zone%1/type").arg(i));
        if (type.contains("pkg") || type.contains("cpu"))
            r.celsius = readAll(QStringLiteral("/sys/class/thermal/thermal_zone%1/temp").arg(i))
                            .trimmed()
                            .toInt() /
                        1000;
    }
    QString existing = diskPath;
    while (!QFile::exists(existing) && existing.contains('/') && existing.size() > 1)
        existing = existing.section('/', 0, -2);
    const QStorageInfo disk(existing.isEmpty() ? "/" : existing);
    r.diskFree = static_cast<double>(disk.bytesAvailable());
    r.diskTotal = static_cast<double>(disk.bytesTotal());
    r.gpus = nvml.read();
    return raw;
}

}  // namespace

SystemProbe::SystemProbe(QObject* parent) : QObject(parent) {
    connect(&m_timer, &QTimer::timeout, this, &SystemProbe::refresh);
    m_timer.start(2000);
    QTimer::singleShot(0, this, &SystemProbe::refresh);
}

void SystemProbe::refresh() {
    if (std::exchange(m_isReading, true)) return;
    auto* watcher = new QFutureWatcher<RawReading>(this);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher] {
        const RawReading raw = watcher->result();
        m_reading = raw.reading;
        if (m_lastTotal > 0 && raw.total > m_lastTotal)
            m_reading.cpuShare = (raw.busy - m_lastBusy) / (raw.total - m_lastTotal);
        m_lastBusy = raw.busy;
        m_lastTotal = raw.total;
        m_isReading = false;
        watcher->deleteLater();
        emit changed();
    });
    watcher->setFuture(QtConcurrent::run([path = m_diskPath] { return probe(path); }));
}

}  // namespace luthier::ui
