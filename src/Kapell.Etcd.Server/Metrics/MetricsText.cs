using System.Globalization;
using System.Text;
using Kapell.Base;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>Writes metrics as Prometheus reads them: its text format, version 0.0.4.</summary>
internal sealed class MetricsText
{
    private readonly StringBuilder _text = new();

    public void Gauge(string name, string help, decimal value) => Single(name, help, "gauge", value);

    public void Counter(string name, string help, decimal value) => Single(name, help, "counter", value);

    /// <summary>Values with labels, such as <c>To="8e9e05c52164694d"</c>; nothing when there is no value.</summary>
    public void Gauges<T>(string name, string help, IEnumerable<(string Labels, T Value)> samples)
        where T : ISpanFormattable => Labelled(name, help, "gauge", samples);

    public void Counters(string name, string help, IEnumerable<(string Labels, long Value)> samples) => Labelled(name, help, "counter", samples);

    public void Histogram(string name, string help, Histogram histogram) => Histograms(name, help, [("", histogram)]);

    public void Histograms(string name, string help, IEnumerable<(string Labels, Histogram Times)> histograms)
    {
        bool any = false;
        foreach ((string labels, Histogram times) in histograms)
        {
            if (!any)
            {
                Head(name, help, "histogram");
                any = true;
            }

            string before = labels.Length > 0 ? labels + "," : "";
            string alone = labels.Length > 0 ? "{" + labels + "}" : "";
            long[] counts = times.Cumulated();
            for (int i = 0; i < times.Bounds.Count; i++)
            {
                _text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{{before}le=\"{times.Bounds[i]:0.######}\"}} {counts[i]}\n");
            }

            _text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{{before}le=\"+Inf\"}} {counts[^1]}\n");
            _text.Append(CultureInfo.InvariantCulture, $"{name}_sum{alone} {times.Sum}\n{name}_count{alone} {counts[^1]}\n");
        }
    }

    public override string ToString() => _text.ToString();

    /// <summary>A label's value: whatever a client said may stand in it.</summary>
    public static string Escape(string value) =>
        value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private void Single(string name, string help, string kind, decimal value)
    {
        Head(name, help, kind);
        _text.Append(CultureInfo.InvariantCulture, $"{name} {value}\n");
    }

    private void Labelled<T>(string name, string help, string kind, IEnumerable<(string Labels, T Value)> samples)
        where T : ISpanFormattable
    {
        bool any = false;
        foreach ((string labels, T value) in samples)
        {
            if (!any)
            {
                Head(name, help, kind);
                any = true;
            }

            _text.Append(CultureInfo.InvariantCulture, $"{name}{{{labels}}} {value}\n");
        }
    }

    private void Head(string name, string help, string kind) =>
        _text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {kind}\n");
}
