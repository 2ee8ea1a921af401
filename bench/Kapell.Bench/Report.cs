using System.Globalization;
using System.Text;

namespace Kapell.Bench;

/// <summary>The lines that are printed.</summary>
internal static class Report
{
    private const string Columns = "     {0,9} {1,9} {2,9} {3,9} {4,9} {5,9} {6,8} {7,7} {8,6}";

    public static string Header(BenchOptions o)
    {
        string load = $"{o.Scenario}: {o.Clients.Value} clients, {o.Connections.Value} connections, keys {o.KeySize.Value} B, "
            + $"values {o.ValueSize.Value} B";
        return load + "\n" + Format(
            Columns, "ops", "ops/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "cpu us", "rss MB", "errors");
    }

    public static string Line(string name, RunResult r)
    {
        StringBuilder text = new(Format(
            Columns, r.Operations, r.PerSecond.ToString("F0", CultureInfo.InvariantCulture),
            Ms(r.Latency.Quantile(0.5)), Ms(r.Latency.Quantile(0.99)), Ms(r.Latency.Quantile(0.999)), Ms(r.Latency.Max),
            r.CpuMicrosecondsPerOperation?.ToString("F1", CultureInfo.InvariantCulture) ?? "-",
            r.ServerCpu is null ? "-" : (r.ServerResidentBytes / 1e6).ToString("F0", CultureInfo.InvariantCulture), r.Errors));
        text.Remove(0, name.Length).Insert(0, name);
        if (r.Deliveries is { } d && r.Events > 0)
        {
            text.Append(Format("\n  events: {0}, {1:F0}/s, cpu {2:F2} us, from write to event p50 {3} ms, p99 {4} ms, p99.9 {5} ms",
                r.Events, r.Events / r.Elapsed.TotalSeconds, r.CpuMicrosecondsPerEvent ?? double.NaN, Ms(d.Quantile(0.5)), Ms(d.Quantile(0.99)), Ms(d.Quantile(0.999))));
        }

        if (r.Errors > 0)
        {
            text.Append("\n  first error: ").Append(r.FirstError);
        }

        return text.ToString();
    }

    /// <summary>A over B, round by round: the median ratio, and the lowest and highest.</summary>
    public static string Compare(List<RunResult> a, List<RunResult> b)
    {
        StringBuilder text = new("A / B, median of the rounds (lowest to highest):");
        Append(text, "ops/s", a, b, r => r.PerSecond);
        Append(text, "p50", a, b, r => r.Latency.Quantile(0.5).TotalMilliseconds);
        Append(text, "p99", a, b, r => r.Latency.Quantile(0.99).TotalMilliseconds);
        Append(text, "cpu/op", a, b, r => r.CpuMicrosecondsPerOperation ?? double.NaN);
        Append(text, "cpu/event", a, b, r => r.CpuMicrosecondsPerEvent ?? double.NaN);
        Append(text, "memory", a, b, r => r.ServerResidentBytes == 0 ? double.NaN : r.ServerResidentBytes);
        return text.ToString();
    }

    private static void Append(StringBuilder text, string name, List<RunResult> a, List<RunResult> b, Func<RunResult, double> value)
    {
        List<double> ratios = [.. a.Zip(b, (x, y) => value(x) / value(y)).Where(double.IsFinite).Order()];
        if (ratios.Count > 0)
        {
            double middle = (ratios[(ratios.Count - 1) / 2] + ratios[ratios.Count / 2]) / 2;
            text.Append(Format("\n  {0,-9} {1:F2} ({2:F2} to {3:F2})", name, middle, ratios[0], ratios[^1]));
        }
    }

    private static string Ms(TimeSpan time) => time.TotalMilliseconds.ToString("F3", CultureInfo.InvariantCulture);

    private static string Format(string format, params object[] values) =>
        string.Format(CultureInfo.InvariantCulture, format, values);
}
