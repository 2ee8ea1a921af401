using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace Kapell.ApiServer.Http;

/// <summary>Counters, gauges and histograms of one server, in Prometheus' text form. Safe for concurrent use.</summary>
public sealed class MetricsRegistry
{
    private readonly ConcurrentDictionary<string, Metric> _all = new(StringComparer.Ordinal);

    public Counter Counter(string name, string help, IReadOnlyList<string> labels) =>
        (Counter)_all.GetOrAdd(name, _ => new Counter(name, "counter", help, labels));

    public Counter Gauge(string name, string help, IReadOnlyList<string> labels) =>
        (Counter)_all.GetOrAdd(name, _ => new Counter(name, "gauge", help, labels));

    public Histogram Histogram(string name, string help, IReadOnlyList<string> labels, IReadOnlyList<double> bounds) =>
        (Histogram)_all.GetOrAdd(name, _ => new Histogram(name, help, labels, bounds));

    public string Expose()
    {
        StringBuilder text = new();
        foreach (Metric metric in _all.Values.OrderBy(m => m.Name, StringComparer.Ordinal))
        {
            text.Append("# HELP ").Append(metric.Name).Append(' ').Append(metric.Help).Append('\n');
            text.Append("# TYPE ").Append(metric.Name).Append(' ').Append(metric.Type).Append('\n');
            metric.Write(text);
        }

        return text.ToString();
    }
}

/// <summary>One named family of series.</summary>
public abstract class Metric(string name, string type, string help, IReadOnlyList<string> labels)
{
    private const char Separator = '\u0001';

    public string Name { get; } = name;

    public string Type { get; } = type;

    public string Help { get; } = help;

    internal abstract void Write(StringBuilder text);

    private protected static string KeyOf(ReadOnlySpan<string> values) => string.Join(Separator, values);

    private protected string Labels(string key, string extra)
    {
        StringBuilder text = new();
        string[] values = key.Split(Separator);
        for (int i = 0; i < labels.Count; i++)
        {
            string value = values[i].Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
                .Replace("\n", "\\n", StringComparison.Ordinal);
            text.Append(text.Length == 0 ? "" : ",").Append(labels[i]).Append("=\"").Append(value).Append('"');
        }

        text.Append(text.Length > 0 && extra.Length > 0 ? "," : "").Append(extra);
        return text.Length == 0 ? "" : "{" + text + "}";
    }
}

/// <summary>A counter, or a gauge when registered as one.</summary>
public sealed class Counter : Metric
{
    private readonly ConcurrentDictionary<string, StrongBox> _series = new(StringComparer.Ordinal);

    internal Counter(string name, string type, string help, IReadOnlyList<string> labels)
        : base(name, type, help, labels)
    {
    }

    public void Add(long delta, params ReadOnlySpan<string> labels) =>
        Interlocked.Add(ref _series.GetOrAdd(KeyOf(labels), static _ => new StrongBox()).Value, delta);

    internal override void Write(StringBuilder text)
    {
        foreach ((string key, StrongBox value) in _series.OrderBy(s => s.Key, StringComparer.Ordinal))
        {
            text.Append(Name).Append(Labels(key, "")).Append(' ').Append(Interlocked.Read(ref value.Value)).Append('\n');
        }
    }

    private sealed class StrongBox
    {
        public long Value;
    }
}

/// <summary>A histogram with fixed bounds.</summary>
public sealed class Histogram : Metric
{
    private readonly ConcurrentDictionary<string, Series> _series = new(StringComparer.Ordinal);
    private readonly IReadOnlyList<double> _bounds;

    internal Histogram(string name, string help, IReadOnlyList<string> labels, IReadOnlyList<double> bounds)
        : base(name, "histogram", help, labels) => _bounds = bounds;

    public void Observe(double value, params ReadOnlySpan<string> labels)
    {
        Series series = _series.GetOrAdd(KeyOf(labels), _ => new Series(_bounds.Count));
        int at = 0;
        while (at < _bounds.Count && value > _bounds[at])
        {
            at++;
        }

        lock (series)
        {
            series.Counts[at]++;
            series.Sum += value;
        }
    }

    internal override void Write(StringBuilder text)
    {
        foreach ((string key, Series series) in _series.OrderBy(s => s.Key, StringComparer.Ordinal))
        {
            long[] counts;
            double sum;
            lock (series)
            {
                counts = [.. series.Counts];
                sum = series.Sum;
            }

            long running = 0;
            for (int i = 0; i <= _bounds.Count; i++)
            {
                running += counts[i];
                string bound = i < _bounds.Count ? _bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
                text.Append(Name).Append("_bucket").Append(Labels(key, $"le=\"{bound}\"")).Append(' ').Append(running).Append('\n');
            }

            text.Append(Name).Append("_sum").Append(Labels(key, "")).Append(' ').Append(sum.ToString(CultureInfo.InvariantCulture)).Append('\n');
            text.Append(Name).Append("_count").Append(Labels(key, "")).Append(' ').Append(running).Append('\n');
        }
    }

    private sealed class Series(int bounds)
    {
        public long[] Counts { get; } = new long[bounds + 1];

        public double Sum { get; set; }
    }
}
